//! Requests that no client would send, through nginx.

use std::time::Duration;

use cloakroom_tests::{
    client::{Raw, refused},
    servers::Nginx,
    stand::Stand,
};

use super::{PATIENCE, through};

#[tokio::test(flavor = "multi_thread")]
async fn framing_that_could_smuggle_is_400_and_closed_through_nginx_and_leaves_nothing() {
    let stand = Stand::simple().await;
    let nginx = Nginx::before([stand.address()]).start().await;
    let hidden = "0\r\n\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n";
    for (fields, body) in [
        (
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            hidden,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            hidden,
        ),
        ("Content-Length: 4\r\nContent-Length: 5\r\n", "abcd"),
        ("Content-Length: 4\r\nContent-Length: 4\r\n", "abcd"),
        ("Content-Length: +4\r\n", "abcd"),
        ("Content-Length: 4, 4\r\n", "abcd"),
        ("Transfer-Encoding: chunked\r\n", "zz\r\nabcd\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "-4\r\nabcd\r\n0\r\n\r\n"),
        (
            "Transfer-Encoding: chunked\r\n",
            "fffffffffffffffff\r\nabcd\r\n0\r\n\r\n",
        ),
        ("Transfer-Encoding: chunked\r\n", "4\r\nabcdef\r\n0\r\n\r\n"),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            hidden,
        ),
    ] {
        let head = format!(
            "POST /files?filename=a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n{fields}\r\n",
            stand.user_token()
        );
        let mut connection = Raw::connect(&nginx.base()).await;
        connection
            .send([head.as_bytes(), body.as_bytes()].concat())
            .await
            .unwrap();
        let answer = connection.answer(PATIENCE).await.unwrap();
        assert_eq!(answer.status, 400, "{fields}{body}: {}", answer.text());
        assert!(
            connection.closed(PATIENCE).await,
            "{fields}{body}: not closed"
        );
    }
    stand.settle().await;
    stand.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_two_readers_could_read_differently_do_not_pass_nginx() {
    let stand = Stand::simple().await;
    let nginx = Nginx::before([stand.address()]).start().await;
    for head in [
        "GET /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /health HTTP/1.1\r\n\r\n",
        "GET /he\0alth HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut connection = Raw::connect(&nginx.base()).await;
        connection.send(head).await.unwrap();
        let answer = connection.answer(PATIENCE).await.unwrap();
        assert!(
            [400, 501].contains(&answer.status),
            "{head:?}: {}",
            answer.status
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_is_told_why_through_nginx_whether_it_waits_or_not() {
    let stand = Stand::with(&[("CLOAKROOM_MAX_FILE_SIZE", "10MiB")]).await;
    let nginx = Nginx::before([stand.address()]).start().await;
    let length = 50 * 1024 * 1024;
    let upload = |more: &str| stand.head("POST", "/files?filename=a", more, length);
    for more in ["", "Expect: 100-continue\r\n"] {
        let mut connection = Raw::connect(&nginx.base()).await;
        connection.send(upload(more)).await.unwrap();
        let sending = async {
            for _ in 0..50 {
                // The other side stops reading some time after its refusal.
                if connection.send(vec![7; 1024 * 1024]).await.is_err() {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, sending).await.ok();
        let mut answer = connection.answer(PATIENCE).await.unwrap();
        if answer.status == 100 {
            answer = connection.answer(PATIENCE).await.unwrap();
        }
        assert_eq!(answer.status, 413, "{}", answer.text());
        assert!(answer.text().contains("FILE_003"), "{}", answer.text());
    }
    // The service's own limit holds, and no other.
    let api = through(&nginx, &stand);
    let body = vec![7; 9 * 1024 * 1024];
    api.stored("a.bin", body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_of_8_kib_gets_through_to_be_judged() {
    let stand = Stand::simple().await;
    let nginx = Nginx::before([stand.address()]).start().await;
    let long = "x".repeat(8 * 1024);
    let get = nginx.client().get("/files").bearer_auth(&long);
    let get = get.timeout(Duration::from_secs(30));
    refused(get.send().await.unwrap(), 401, "AUTH_001").await;
    let cookie = format!("file_service_auth={long}; token={}", stand.user_token());
    let get = nginx.client().get("/files").header("Cookie", cookie);
    refused(get.send().await.unwrap(), 401, "AUTH_001").await;
}
