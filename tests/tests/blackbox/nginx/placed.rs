//! Under another application's host: a prefix that nginx takes away, or not.

use std::fs;

use cloakroom_tests::{
    client::{header, id, refused, sample},
    process::free_port,
    servers::Nginx,
    stand::Stand,
};
use reqwest::StatusCode;

use super::through;

const SITE: &str = "{upstream}
server {
    listen {listen};
    add_header X-Frame-Options SAMEORIGIN;
    location / { return 200 application; }
    location ~ \\.(bin|pdf)$ { return 410; }

    set $cloakroom_offload \"\";
    include cloakroom/offload.conf;
    location ^~ /files { proxy_pass http://cloakroom; include cloakroom/proxy.conf; }
    location ^~ /attachments/ { proxy_pass http://cloakroom/; include cloakroom/proxy.conf; }
}
";

#[tokio::test(flavor = "multi_thread")]
async fn beside_an_application_files_are_served_and_offloaded_below_their_prefix() {
    // One that takes no prefix away, and one that does; and nginx finding the bytes, or having to ask again.
    for (mount, prefix, finds) in [
        ("/files", "/files", true),
        ("/files", "/files", false),
        ("/", "/attachments", true),
        ("/", "/attachments", false),
    ] {
        let port = free_port();
        let public = format!("http://127.0.0.1:{port}{prefix}");
        let stand = Stand::with(&[
            ("CLOAKROOM_MOUNT", mount),
            ("CLOAKROOM_PUBLIC_URL", &public),
            ("CLOAKROOM_TRUSTED_PROXIES", "127.0.0.1"),
            ("CLOAKROOM_OFFLOAD", "x-accel"),
        ])
        .await;
        let empty = stand.data_dir().join("empty");
        fs::create_dir(&empty).unwrap();
        let objects = if finds {
            stand.data_dir().join("objects")
        } else {
            empty
        };
        let nginx = Nginx::before([stand.address()])
            .site(SITE)
            .offload_from(objects)
            .port(port)
            .start()
            .await;
        let api = through(&nginx, &stand);
        let body = sample(300_000, 1);
        let request = api.post(&format!("{prefix}/upload?filename=a%20b.bin"));
        let form = reqwest::multipart::Form::new().part(
            "file",
            cloakroom_tests::client::part("a b.bin", "application/octet-stream", body.clone()),
        );
        let answer = request.multipart(form).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{mount} {prefix}");
        let file: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let address = file["public_url"].as_str().unwrap();
        assert_eq!(address, format!("{public}/{}", id(&file)));
        let answer = api.get(address).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{mount} {prefix} {finds}");
        if finds {
            assert_eq!(header(&answer, "x-frame-options"), "DENY");
        }
        assert!(answer.bytes().await.unwrap() == body);
        let unknown = api.get(&format!("{address}x")).send().await.unwrap();
        refused(unknown, 404, "FILE_001").await;
        assert_eq!(api.bytes("/elsewhere").await, b"application");
    }
}
