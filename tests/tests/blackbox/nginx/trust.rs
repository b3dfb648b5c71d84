//! What goes to the service, and what comes back: looked at from the service's place.

use std::time::Duration;

use cloakroom_tests::{
    client::{Raw, file_path, id},
    servers::Nginx,
    stand::Stand,
};

use super::{PATIENCE, listening::Listening, through};

const NOTHING: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

async fn ask(nginx: &Nginx, request: &str) -> (u16, Vec<(String, String)>) {
    let mut connection = Raw::connect(&nginx.base()).await;
    connection.send(request).await.unwrap();
    let answer = connection.answer(PATIENCE).await.unwrap();
    (answer.status, answer.headers)
}

#[tokio::test]
async fn what_a_client_says_about_itself_is_replaced_and_what_only_nginx_may_say_is_dropped() {
    for offload in [false, true] {
        let mut service = Listening::answering(NOTHING).await;
        let nginx = Nginx::before([service.address]);
        let nginx = if offload {
            nginx.offload_from("/nowhere")
        } else {
            nginx
        };
        let nginx = nginx.start().await;
        let forged = [
            "X-Real-IP: 6.6.6.6",
            "X-Forwarded-For: 6.6.6.6",
            "X-Forwarded-For: 6.6.6.7",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: evil.example",
            "X-Forwarded-Port: 6666",
            "X-Forwarded-Server: evil.example",
            "Forwarded: for=6.6.6.6;host=evil.example",
            "X_Real_IP: 6.6.6.6",
            "X-Accel-Redirect: /_cloakroom/evil",
            "X-Accel-Buffering: evil",
            "X-Accel-Charset: evil",
            "X-Accel-Expires: evil",
            "X-Accel-Limit-Rate: evil",
            "X-Accel-Mapping: /=evil",
            "X-Cloakroom-Offload: evil",
            "X-Cloakroom-Offload: x-accel",
        ]
        .join("\r\n");
        let request = format!("GET / HTTP/1.1\r\nHost: files.example.com\r\n{forged}\r\n\r\n");
        assert_eq!(ask(&nginx, &request).await.0, 200);
        let (_, lines) = service.head().await;
        let about = |name: &str| {
            let lines = lines.iter().filter_map(|line| line.strip_prefix(name));
            lines.collect::<Vec<_>>()
        };
        assert_eq!(about("x-real-ip"), [": 127.0.0.1"]);
        assert_eq!(about("x-forwarded"), ["-for: 127.0.0.1", "-proto: http"]);
        assert_eq!(about("host"), [": files.example.com"]);
        let understood: &[&str] = if offload { &[": x-accel"] } else { &[] };
        assert_eq!(about("x-cloakroom-offload"), understood);
        let heard = lines.join("\n");
        for lie in ["evil", "6.6.6", "x-accel-", "6666"] {
            assert!(!heard.contains(lie), "{lie}: {heard}");
        }
    }
}

#[tokio::test]
async fn a_path_reaches_the_service_as_the_client_wrote_it() {
    let mut service = Listening::answering(NOTHING).await;
    let nginx = Nginx::before([service.address])
        .offload_from("/nowhere")
        .start()
        .await;
    for path in [
        "/files/a%20b%25.pdf?x=%2f",
        "/files/a%2Fb",
        "/files//a",
        "//files/a",
        "/files/./a/../b",
        "/files/%D0%9E%d1%82.pdf",
        "/files/a%252Fb",
        "/files/a+b;c=d,e'(f)!*~",
        "/files/?limit=1&cursor=a%3D",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(ask(&nginx, &request).await.0, 200, "{path}");
        assert_eq!(service.head().await.0, format!("GET {path} HTTP/1.1"));
    }
}

#[tokio::test]
async fn what_the_service_tells_nginx_is_not_told_to_clients() {
    let service = Listening::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\
         X-Accel-Expires: 10\r\nX-Accel-Buffering: yes\r\nX-Accel-Limit-Rate: 1000000\r\n\
         X-Cloakroom-Request: /files/a\r\nX-Cloakroom-Store-Host: s3.internal\r\n\
         X-Cloakroom-Store-Target: /bucket/key?X-Amz-Signature=canary\r\nX-Cloakroom-Store-Range: bytes=0-1\r\n\
         X-Cloakroom-Cache-Control: no-store\r\nX-Cloakroom-Content-Disposition: inline\r\n\r\nok",
    )
    .await;
    let nginx = Nginx::before([service.address]).start().await;
    let (status, headers) = ask(&nginx, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(status, 200);
    let told: Vec<&String> = headers
        .iter()
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("x-"))
        .collect();
    assert!(told.is_empty(), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_told_to_offload_sends_bytes_to_whoever_is_no_trusted_proxy() {
    let elsewhere = ("CLOAKROOM_TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8");
    let stand = Stand::with(&[elsewhere, ("CLOAKROOM_OFFLOAD", "x-accel")]).await;
    let file = stand.user().uploaded("a.bin", (4, 300_000)).await;
    let path = file_path(id(&file));
    let direct = stand
        .user()
        .get(&path)
        .header("X-Cloakroom-Offload", "x-accel");
    let answer = direct.send().await.unwrap();
    assert!(
        answer
            .headers()
            .keys()
            .all(|name| !name.as_str().starts_with("x-accel"))
    );
    assert_eq!(answer.bytes().await.unwrap().len(), 300_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nginx_that_does_not_offer_it_is_not_left_to_send_whatever_its_client_says() {
    let local = ("CLOAKROOM_TRUSTED_PROXIES", "127.0.0.1");
    let stand = Stand::with(&[local, ("CLOAKROOM_OFFLOAD", "x-accel")]).await;
    let nginx = Nginx::before([stand.address()]).start().await;
    let api = through(&nginx, &stand);
    let file = api.uploaded("a.bin", (4, 300_000)).await;
    let path = file_path(id(&file));
    let forged = api.get(&path).header("X-Cloakroom-Offload", "x-accel");
    let answer = forged
        .timeout(Duration::from_secs(30))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.bytes().await.unwrap().len(), 300_000);
}
