//! nginx on the deployed files.

use std::time::Duration;

use cloakroom_tests::{
    client::{expect, refused},
    process::{Launch, eventually, free_port},
    servers::Nginx,
    service::Service,
};
use reqwest::StatusCode;

#[tokio::test]
async fn nginx_stands_before_services_is_killed_and_comes_back() {
    let port = free_port();
    let services = Service::builder()
        .env(
            "CLOAKROOM_PUBLIC_URL",
            format!("http://127.0.0.1:{port}/files"),
        )
        .start_replicas(1)
        .await;
    let mut nginx = Nginx::before([services[0].address()])
        .port(port)
        .start()
        .await;
    let user = nginx.client().with(Some(&services[0].user_token()));
    let file = user.uploaded("a.bin", (1, 1_000_000)).await;
    let id = file["file_id"].as_str().unwrap();
    user.assert_body(id, (1, 1_000_000)).await;
    assert!(
        file["public_url"]
            .as_str()
            .unwrap()
            .starts_with(&nginx.base())
    );
    assert!(nginx.access_log().contains("POST /files"));
    assert_eq!(nginx.temporary_bytes(), 0);

    nginx.kill();
    assert!(user.get("/health").send().await.is_err());
    nginx.restart().await;
    user.assert_body(id, (1, 1_000_000)).await;
}

#[tokio::test]
async fn nginx_speaks_tls_and_http_2_and_errors_as_the_service_does_where_nobody_answers() {
    let mut service = Service::start().await;
    let nginx = Nginx::before([service.address()]).tls().start().await;
    let curl = |version: &str| {
        let output = Launch::new("curl")
            .args([
                "--silent",
                "--show-error",
                version,
                "--write-out",
                "%{http_version}",
            ])
            .args(["--output", "/dev/null", "--cacert"])
            .args([nginx.certificate()])
            .args([nginx.url("/health")]);
        output.run()
    };
    assert_eq!(curl("--http2"), "2");
    assert_eq!(curl("--http1.1"), "1.1");

    service.kill9();
    let plain = Nginx::before([service.address()]).start().await;
    let health = plain.client().get("/health");
    refused(health.send().await.unwrap(), 503, "INFRA_001").await;
    service.restart().await;
    eventually("it is back", Duration::from_secs(15), async || {
        let answer = plain.client().get("/health").send().await.unwrap();
        answer.status() == StatusCode::OK
    })
    .await;
}

#[tokio::test]
async fn nginx_serves_whatever_else_it_is_given() {
    let service = Service::start().await;
    let nginx = Nginx::before([service.address()])
        .site("{upstream}server { listen {listen}; location /old/ { proxy_pass http://cloakroom/; } }")
        .start()
        .await;
    let answer = nginx.client().get("/old/health").send().await.unwrap();
    assert_eq!(expect(answer, StatusCode::OK).await["status"], "ok");
}
