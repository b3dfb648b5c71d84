//! Nothing shows what opens a file: no log, no error, no page, no proxy.

use std::fs;

use cloakroom_tests::{
    client::{Client, expect, file_path, header, id, refused, sample},
    servers::{Nginx, garage},
    service::Setup,
    stand::Stand,
};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{made, path_of, token_of, uses_of};

/// More than what is sent from memory.
const SIZE: usize = 3_000_000;

#[tokio::test]
async fn no_log_and_no_answer_shows_a_link_and_no_answer_the_key() {
    let key = "canary-of-a-key-0123456789-0123456789";
    let stand = Stand::start_with(
        Setup::PostgresGarage,
        &[
            ("CLOAKROOM_LINK_KEY", key),
            ("CLOAKROOM_LOG", "trace"),
            ("CLOAKROOM_FRONTEND_URL", "https://app.example.com"),
        ],
    )
    .await;
    let owner = stand.user();
    let file = owner.stored("a.txt", "x").await;
    let link = made(&owner, id(&file), json!({"max_uses": 1})).await;
    let (token, path) = (token_of(&link), file_path(id(&file)));
    let nobody = stand.anonymous().with_header("Accept", "text/html");
    let mut told = String::new();
    for more in ["", "/info", "/versions/1", "/versions/9", "/links", "/x/y"] {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::PATCH] {
            let place = format!("{path}{more}?link={token}");
            let answer = nobody.call(method, &place).send().await.unwrap();
            told.push_str(&format!("{:?}", answer.headers()));
            told.push_str(&answer.text().await.unwrap());
        }
    }
    let list = owner.get(&format!("{path}/links")).send().await.unwrap();
    told.push_str(&list.text().await.unwrap());
    let (shown, line) = (stand.run(&["config", "show"]).await, stand.command_line());
    let log = stand.log_with("principal=\"link\"").await;
    for text in [&told, &log, &line, &shown.stdout, &shown.stderr] {
        for canary in [&token, key] {
            assert!(!text.contains(canary), "{canary}: {text}");
        }
    }
}

/// Everything that an nginx wrote down.
fn logs(nginx: &Nginx) -> String {
    format!("{}{}", nginx.log(), nginx.access_log())
}

fn settings() -> [(&'static str, &'static str); 2] {
    [
        ("CLOAKROOM_TRUSTED_PROXIES", "127.0.0.1"),
        ("CLOAKROOM_OFFLOAD", "x-accel"),
    ]
}

async fn bytes_of(api: &Client, path: &str, range: Option<&str>) -> (u16, Vec<u8>) {
    let mut request = api.get(path);
    if let Some(range) = range {
        request = request.header("Range", range);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    if status < 300 {
        assert_eq!(header(&answer, "referrer-policy"), "no-referrer");
        for (name, _) in answer.headers() {
            assert!(!name.as_str().starts_with("x-cloakroom"), "{name}");
        }
    }
    (status, answer.bytes().await.unwrap().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_nginx_sends_by_link_are_right_counted_once_and_logged_without_it() {
    for setup in [Setup::SqliteFs, Setup::SqliteGarage] {
        let stand = Stand::start_with(setup, &settings()).await;
        let empty = stand.data_dir().join("nothing-here");
        fs::create_dir_all(&empty).unwrap();
        // One that finds the bytes, and one that has to ask again.
        for finds in [true, false] {
            let nginx = Nginx::before([stand.address()]);
            let nginx = match (setup.has_garage(), finds) {
                (true, true) => nginx.offload_from_s3(garage::shared().address()),
                (true, false) => nginx.offload_from_s3("127.0.0.1:1"),
                (false, true) => nginx.offload_from(stand.data_dir().join("objects")),
                (false, false) => nginx.offload_from(&empty),
            };
            let nginx = nginx.start().await;
            let (owner, nobody) = (stand.user(), nginx.client());
            let body = sample(SIZE, 1);
            let file = owner.stored("a.bin", body.clone()).await;
            let link = made(&owner, id(&file), json!({"max_uses": 2})).await;
            let path = path_of(&link);
            let what = format!("{setup:?} {finds}");
            let whole = bytes_of(&nobody, &path, None).await;
            assert!(whole == (200, body.clone()), "{what}: {}", whole.0);
            let first = bytes_of(&nobody, &path, Some("bytes=0-1999999")).await;
            assert!(first == (206, body[..2_000_000].to_vec()), "{what}");
            assert_eq!(uses_of(&owner, id(&file), &link).await, 2, "{what}");
            let rest = bytes_of(&nobody, &path, Some("bytes=1000000-")).await;
            assert!(rest == (206, body[1_000_000..].to_vec()), "{what}");
            assert_eq!(bytes_of(&nobody, &path, None).await.0, 401, "{what}");
            // A receipt that nobody gave out is worth nothing.
            let forged = format!("{path}&link_receipt={}", "A".repeat(54));
            assert_eq!(bytes_of(&nobody, &forged, None).await.0, 401, "{what}");
            assert_eq!(uses_of(&owner, id(&file), &link).await, 2, "{what}");
            stand.settle().await;
            let (logs, token) = (logs(&nginx), token_of(&link));
            assert!(logs.contains(&file_path(id(&file))), "{what}: {logs}");
            assert!(!logs.contains(&token), "{what}: {logs}");
            assert!(!stand.log().contains(&token), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_before_a_service_that_is_gone_does_not_log_a_link() {
    let mut stand = Stand::with(&settings()).await;
    let nginx = Nginx::before([stand.address()]).start().await;
    let file = stand.user().stored("a.txt", "x").await;
    let link = made(&stand.user(), id(&file), json!({})).await;
    let nobody = nginx
        .client()
        .with_header("Referer", link["url"].as_str().unwrap());
    assert_eq!(nobody.bytes(&path_of(&link)).await, b"x");
    stand.terminate().await;
    let answer = nobody.get(&path_of(&link)).send().await.unwrap();
    refused(answer, 503, "INFRA_001").await;
    stand.settle().await;
    let logs = logs(&nginx);
    assert!(logs.contains(&file_path(id(&file))), "{logs}");
    assert!(!logs.contains(&token_of(&link)), "{logs}");
}

#[tokio::test]
async fn explaining_says_that_there_are_links() {
    let stand = Stand::simple().await;
    let owner = stand.user();
    let file = owner.stored("a.txt", "x").await;
    made(&owner, id(&file), json!({})).await;
    let used_up = made(&owner, id(&file), json!({"max_uses": 1})).await;
    let links = async || {
        let path = format!("/access/explain?file_id={}", id(&file));
        let answer = stand.admin().get(&path).send().await.unwrap();
        expect(answer, StatusCode::OK).await["links"].clone()
    };
    assert_eq!(links().await, 2);
    stand.anonymous().bytes(&path_of(&used_up)).await;
    assert_eq!(links().await, 1);
}
