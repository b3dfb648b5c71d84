//! The application beside the service, asked who may read what: its answers, its failures, and what is taken back.

use std::time::{Duration, Instant};

use cloakroom_tests::{
    client::{Client, expect, file_path, id, refused},
    hook::{HookServer, Reply},
    service::{Service, Setup},
    stand::Stand,
};
use futures_util::future::join_all;
use jsonwebtoken::{EncodingKey, Header};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::json;

/// What guests' tokens are signed with, here.
const SECRET: &str = "a-secret-of-the-application-beside-the-service";

/// A guest of account 1, whom nobody but the application can judge.
fn guest(number: u32) -> String {
    let claims = json!({
        "token_type": "guest", "account_id": 1, "user_id": null, "exp": 4_102_444_800_u64, "jti": number,
    });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
}

/// A request with the credential of such a guest.
fn credentialed(nobody: &Client, method: Method, path: &str, token: &str) -> RequestBuilder {
    nobody
        .call(method, path)
        .header("X-Guest-Authorization", token)
}

/// A service with that backend, and a private file of user 7.
async fn stand(server: &HookServer, more: &[(&str, &str)]) -> (Stand, String) {
    let url = server.url();
    let mut settings = vec![
        ("CLOAKROOM_PERMISSION_URL", url.as_str()),
        ("CLOAKROOM_PERMISSION_TIMEOUT", "2s"),
        ("CLOAKROOM_AUTH_SECRET_KEY", SECRET),
    ];
    settings.extend(more);
    let stand = Stand::with(&settings).await;
    let file = stand.user().stored("a.txt", "body").await;
    (stand, file_path(id(&file)))
}

async fn read(stand: &Stand, path: &str) -> reqwest::Response {
    let nobody = stand.anonymous();
    let request = credentialed(&nobody, Method::GET, path, &guest(1));
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_yes_gives_the_bytes_a_no_is_403_and_unknown_ids_are_404_unasked() {
    let server = HookServer::start().await;
    let (stand, path) = stand(&server, &[]).await;
    assert_eq!(read(&stand, &path).await.text().await.unwrap(), "body");
    let asked = server.asked().remove(0);
    assert_eq!(asked.header("x-guest-authorization"), guest(1));
    assert!(asked.body.contains("action=read"), "{}", asked.body);
    refused(read(&stand, "/files/unknown").await, 404, "FILE_001").await;
    let nobody = stand.anonymous();
    refused(nobody.get(&path).send().await.unwrap(), 401, "AUTH_001").await;
    let write = credentialed(&nobody, Method::DELETE, &path, &guest(1));
    refused(write.send().await.unwrap(), 403, "FILE_002").await;
    assert_eq!(server.count(), 1);
    server.will(Reply::Status(403));
    let other = credentialed(&nobody, Method::GET, &path, &guest(2));
    refused(other.send().await.unwrap(), 403, "FILE_002").await;
}

#[tokio::test]
async fn a_backend_that_fails_redirects_or_is_silent_is_502_or_504_and_never_a_yes() {
    let server = HookServer::start().await;
    let (stand, path) = stand(&server, &[]).await;
    for reply in [
        Reply::Status(500),
        Reply::Status(302),
        Reply::Garbage,
        Reply::Close,
    ] {
        server.will(reply);
        refused(read(&stand, &path).await, 502, "EXT_003").await;
    }
    server.will(Reply::Silence);
    let begun = Instant::now();
    refused(read(&stand, &path).await, 504, "EXT_004").await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    server.will(Reply::Status(204));
    assert_eq!(read(&stand, &path).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_answer_of_10_mb_is_502_and_not_held_in_memory() {
    let server = HookServer::start().await;
    let (stand, path) = stand(&server, &[("CLOAKROOM_PERMISSION_PROTOCOL", "batch")]).await;
    let before = stand.rss_bytes();
    server.will(Reply::Long {
        size: 10 << 20,
        announced: false,
    });
    for _ in 0..5 {
        refused(read(&stand, &path).await, 502, "EXT_003").await;
    }
    assert!(stand.rss_bytes() < before + (16 << 20));
    server.will(Reply::Results(json!({"allow": true, "ttl": 60})));
    assert_eq!(read(&stand, &path).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_slow_questions_leave_the_owners_own_gets_under_500_ms() {
    let server = HookServer::start().await;
    let (stand, path) = stand(&server, &[("CLOAKROOM_PERMISSION_TIMEOUT", "10s")]).await;
    let owner = stand.user();
    server.takes(Duration::from_secs(3));
    let nobody = stand.anonymous();
    let tokens: Vec<String> = (0..200).map(guest).collect();
    let slow = join_all(tokens.iter().map(|token| {
        let request = credentialed(&nobody, Method::GET, &path, token);
        async { request.send().await.unwrap().status().as_u16() }
    }));
    let own = async {
        while server.count() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut slowest = Duration::ZERO;
        for _ in 0..50 {
            let begun = Instant::now();
            assert_eq!(owner.bytes(&path).await, b"body");
            slowest = slowest.max(begun.elapsed());
        }
        slowest
    };
    let (statuses, slowest) = tokio::join!(slow, own);
    println!("the slowest of the owner's own: {slowest:?}");
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    assert!(statuses.iter().all(|status| [200, 504].contains(status)));
}

#[tokio::test]
async fn a_dead_backend_is_left_alone_and_comes_back_in_5_s() {
    let server = HookServer::start().await;
    let (stand, path) = stand(&server, &[]).await;
    server.will(Reply::Status(500));
    for _ in 0..30 {
        refused(read(&stand, &path).await, 502, "EXT_003").await;
    }
    assert!(server.count() < 20, "{} questions", server.count());
    server.will(Reply::Status(204));
    let back = Instant::now();
    while read(&stand, &path).await.status() != StatusCode::OK {
        assert!(back.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_is_asked_again_on_every_replica_within_100_ms() {
    let server = HookServer::start().await;
    let replicas = Service::builder()
        .setup(Setup::PostgresFs)
        .production()
        .env("CLOAKROOM_PERMISSION_URL", server.url())
        .env("CLOAKROOM_AUTH_SECRET_KEY", SECRET)
        .start_replicas(2)
        .await;
    let admin = replicas[0].admin();
    let made = admin.post("/files?account_id=1").body("x");
    let file = expect(made.send().await.unwrap(), StatusCode::CREATED).await;
    let path = file_path(id(&file));
    server.will(Reply::Full(
        204,
        "Cache-Control: max-age=600\r\n",
        String::new(),
    ));
    let status = async |replica: &Service| {
        let nobody = replica.anonymous();
        let request = credentialed(&nobody, Method::GET, &path, &guest(1));
        request.send().await.unwrap().status().as_u16()
    };
    // Both listen by the time that an answer outlives a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for replica in &replicas {
        assert_eq!((status(replica).await, status(replica).await), (200, 200));
    }
    assert_eq!(server.count(), 2);
    server.will(Reply::Status(403));
    assert_eq!(status(&replicas[1]).await, 200, "kept");
    let token = replicas[0]
        .create_token("service", &["--account", "9"])
        .await;
    let service = replicas[0].anonymous().with(Some(&token));
    let revoke = service
        .post("/access/revoke")
        .json(&json!({"file_id": id(&file)}));
    assert_eq!(
        revoke.send().await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(status(&replicas[0]).await, 403, "at once where it was said");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(status(&replicas[1]).await, 403);
}
