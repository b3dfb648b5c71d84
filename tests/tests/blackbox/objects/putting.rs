//! Putting objects: what is refused leaves nothing, and what is taken is whole.

use std::time::Duration;

use cloakroom_tests::{
    client::{Raw, digest_field, expect, refused, sample},
    service::Setup,
    stand::Stand,
};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{ALL, at, boxed, bucket, keys, page, put, removed, stored};

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_put_got_replaced_and_removed_wherever_it_lies() {
    for setup in Setup::all() {
        let stand = Stand::start_with(
            setup,
            &[
                ("CLOAKROOM_DELETE_DELAY", "0s"),
                ("CLOAKROOM_SWEEP_INTERVAL", "1s"),
            ],
        )
        .await;
        let api = boxed(&stand).await;
        let body = sample(9_000_000, 7);
        let made = put(&api, "dir/k").header("Content-Digest", digest_field(&body));
        let made = made.body(body.clone()).send().await.unwrap();
        assert_eq!(made.status(), StatusCode::CREATED, "{setup:?}");
        assert!(api.bytes(&at("dir/k")).await == body);
        let first = page(&api, "prefix=dir/").await;
        stored(&api, "dir/k", "").await;
        assert_eq!(api.bytes(&at("dir/k")).await, b"");
        let second = page(&api, "prefix=dir/").await;
        assert_eq!(second["items"][0]["size"], 0);
        assert!(
            second["items"][0]["modified_at"].as_str() > first["items"][0]["modified_at"].as_str()
        );
        // Both are kept, as versions of a file are.
        assert_eq!(stand.objects().await, 2);
        assert_eq!(removed(&api, "dir/k").await, 204);
        assert_eq!(removed(&api, "dir/k").await, 404);
        stand.assert_nothing_left().await;
        stand.assert_consistent().await;
    }
}

#[tokio::test]
async fn size_and_type_are_those_that_the_bucket_takes() {
    let stand = Stand::with(&[("CLOAKROOM_MAX_FILE_SIZE", "1000")]).await;
    let api = boxed(&stand).await;
    let grants = json!([{"service": "boxer", "allow": ALL}]);
    bucket(&stand, "box", json!({"grants": grants, "max_object_size": 10, "content_types": ["image/*", "text/plain"]})).await;
    let send = async |kind: Option<&str>, body: &[u8]| {
        let request = kind
            .iter()
            .fold(put(&api, "k"), |r, kind| r.header("Content-Type", *kind));
        request.body(body.to_vec()).send().await.unwrap()
    };
    let problem = refused(
        send(Some("text/plain"), b"12345678901").await,
        413,
        "FILE_003",
    )
    .await;
    assert!(
        problem["detail"].as_str().unwrap().contains("10 bytes"),
        "{problem}"
    );
    // Without a length the limit is found on the way.
    let chunks = futures_util::stream::iter((0..11).map(|_| Ok::<_, std::io::Error>("x")));
    let streamed = put(&api, "k").body(reqwest::Body::wrap_stream(chunks));
    refused(streamed.send().await.unwrap(), 413, "FILE_003").await;
    refused(send(Some("application/pdf"), b"x").await, 415, "FILE_007").await;
    // Neither is what is not declared, once it is known what it is.
    refused(send(None, b"%PDF-1.7").await, 415, "FILE_007").await;
    stand.assert_nothing_left().await;
    for kind in ["text/plain; charset=utf-8", "image/x-own"] {
        assert!(
            send(Some(kind), b"1234567890").await.status().is_success(),
            "{kind}"
        );
    }
    assert!(
        send(None, b"\x89PNG\r\n\x1a\n\0\0")
            .await
            .status()
            .is_success()
    );
    // A bucket that takes more than the service does not.
    bucket(
        &stand,
        "box",
        json!({"grants": grants, "max_object_size": 5000}),
    )
    .await;
    refused(
        send(Some("text/plain"), &[b'x'; 1001]).await,
        413,
        "FILE_003",
    )
    .await;
    assert_eq!(page(&api, "").await["items"][0]["size"], 10);
}

#[tokio::test]
async fn what_is_refused_changes_nothing() {
    let stand = Stand::simple().await;
    let api = boxed(&stand).await;
    let long = "x".repeat(9000);
    for (fields, status, code) in [
        (
            vec![("Content-Digest", digest_field(b"other"))],
            422,
            "VAL_003",
        ),
        (
            vec![("Repr-Digest", "sha-256=:!:".to_owned())],
            422,
            "VAL_001",
        ),
        (
            vec![("Content-Range", "bytes 0-0/2".to_owned())],
            400,
            "VAL_004",
        ),
        (vec![("Upload-Complete", "?0".to_owned())], 400, "VAL_004"),
        (vec![("Idempotency-Key", "k".repeat(256))], 422, "VAL_001"),
        (
            vec![("X-Meta-A", long.clone()), ("X-Meta-B", long)],
            422,
            "VAL_001",
        ),
        (vec![("X-Meta-", "x".to_owned())], 422, "VAL_001"),
        (vec![("X-Meta-A", "a\tb".to_owned())], 422, "VAL_001"),
        (vec![("If-Match", "*".to_owned())], 412, "FILE_005"),
    ] {
        let request = fields
            .iter()
            .fold(put(&api, "k"), |r, (name, value)| r.header(*name, value));
        refused(request.body("x").send().await.unwrap(), status, code).await;
    }
    let raw_bytes = put(&api, "k").header("X-Meta-A", &b"\xff"[..]).body("x");
    refused(raw_bytes.send().await.unwrap(), 422, "VAL_001").await;
    assert!(keys(&page(&api, "").await).is_empty());
    stand.assert_nothing_left().await;
}

#[tokio::test]
async fn a_body_cut_short_leaves_what_was_there() {
    let stand = Stand::simple().await;
    let api = boxed(&stand).await;
    let token = stand.admin_token();
    stored(&api, "k", "old").await;
    for key in ["k", "new"] {
        for sent in [0, 1, 70_000] {
            let mut connection = Raw::connect(&stand.base()).await;
            let head = format!(
                "PUT /objects/box/{key} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 100000\r\n\r\n"
            );
            connection.send(head).await.unwrap();
            connection.send("x".repeat(sent)).await.unwrap();
            stand.settle().await;
            connection.reset();
        }
    }
    stand.swept().await;
    assert_eq!(api.bytes(&at("k")).await, b"old");
    assert_eq!(keys(&page(&api, "").await), ["k"]);
    assert_eq!(stand.objects().await, 1);
}

#[tokio::test]
async fn who_waits_to_be_told_to_go_on_is_refused_before_the_body() {
    let stand = Stand::simple().await;
    let api = boxed(&stand).await;
    stored(&api, "there", "x").await;
    let grants = json!([{"service": "boxer", "allow": ALL}]);
    bucket(
        &stand,
        "box",
        json!({"grants": grants, "max_object_size": 10, "content_types": ["text/plain"]}),
    )
    .await;
    let (admin, user) = (stand.admin_token(), stand.user_token().to_owned());
    let ask = async |token: &str, path: &str, length: usize, more: &str| {
        let mut connection = Raw::connect(&stand.base()).await;
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\n\
             Content-Length: {length}\r\n{more}\r\n"
        );
        connection.send(head).await.unwrap();
        connection.answer(PATIENCE).await.unwrap().status
    };
    let plain = "Content-Type: text/plain\r\n";
    assert_eq!(ask(&admin, "/objects/box/k", 1, plain).await, 100);
    assert_eq!(ask(&admin, "/%6Fbjects/box/k", 11, plain).await, 413);
    assert_eq!(ask(&admin, "/objects/box/k", 11, plain).await, 413);
    assert_eq!(
        ask(&admin, "/objects/box/k", 1, "Content-Type: a/b\r\n").await,
        415
    );
    assert_eq!(
        ask(&admin, "/objects/box/there", 1, "If-None-Match: *\r\n").await,
        412
    );
    assert_eq!(ask(&admin, "/objects/box/a/../b", 1, plain).await, 422);
    assert_eq!(ask(&admin, "/objects/none/k", 1, plain).await, 404);
    assert_eq!(ask(&user, "/objects/box/k", 1, plain).await, 404);
    assert_eq!(ask("no-such-token", "/objects/box/k", 1, plain).await, 401);
}

#[tokio::test]
async fn the_same_idempotency_key_gives_the_same_answer_whatever_its_condition() {
    let stand = Stand::simple().await;
    let api = boxed(&stand).await;
    let send = async |key: &str, body: &'static str| {
        let request = put(&api, key)
            .header("Idempotency-Key", "once")
            .header("If-None-Match", "*");
        request.body(body).send().await.unwrap()
    };
    let first = expect(send("k", "x").await, StatusCode::CREATED).await;
    assert_eq!(
        expect(send("k", "x").await, StatusCode::CREATED).await,
        first
    );
    refused(send("other", "x").await, 422, "VAL_001").await;
    refused(send("k", "xy").await, 422, "VAL_001").await;
    let conditional = put(&api, "k")
        .header("Idempotency-Key", "new")
        .header("If-None-Match", "*");
    refused(conditional.body("y").send().await.unwrap(), 412, "FILE_005").await;
    assert_eq!(api.bytes(&at("k")).await, b"x");
    assert_eq!(stand.objects().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_leaves_the_old_object_and_no_other() {
    let mut stand = Stand::with_own_servers(&[
        ("CLOAKROOM_UNCERTAIN_DELAY", "1s"),
        ("CLOAKROOM_SWEEP_INTERVAL", "1s"),
    ])
    .await;
    let api = boxed(&stand).await;
    stored(&api, "k", "old").await;
    stand.store_mut().kill();
    for key in ["k", "new"] {
        let failed = put(&api, key).body("x").send().await.unwrap();
        refused(failed, 503, "STORAGE_002").await;
    }
    assert_eq!(keys(&page(&api, "").await), ["k"]);
    stand.store_mut().restart().await;
    assert_eq!(api.bytes(&at("k")).await, b"old");
    stored(&api, "k", "new").await;
    assert_eq!(api.bytes(&at("k")).await, b"new");
    stand.swept().await;
    stand.assert_consistent().await;
}

#[tokio::test]
async fn puts_and_gets_count_as_uploads_and_downloads_however_the_path_is_spelled() {
    let stand = Stand::with(&[
        ("CLOAKROOM_RATE_LIMIT", "on"),
        ("CLOAKROOM_RATE_LIMIT_UPLOAD", "3/60s"),
        ("CLOAKROOM_RATE_LIMIT_DOWNLOAD", "2/60s"),
    ])
    .await;
    let api = boxed(&stand).await;
    for (method, paths) in [
        (
            Method::PUT,
            ["/objects/box/k", "/%6Fbjects/box/k", "/objects/%62ox/k"].as_slice(),
        ),
        (
            Method::GET,
            ["/objects/box/k", "/objects/box/%6B"].as_slice(),
        ),
    ] {
        for path in paths {
            let answer = api
                .call(method.clone(), path)
                .body("x")
                .send()
                .await
                .unwrap();
            assert!(answer.status().is_success(), "{method} {path}: {answer:?}");
        }
        let more = api.call(method, "/objects/box/other").body("x");
        refused(more.send().await.unwrap(), 429, "RATE_001").await;
    }
    // Lists and removals do not count.
    assert_eq!(keys(&page(&api, "").await), ["k"]);
    assert_eq!(removed(&api, "k").await, 204);
}

#[tokio::test]
async fn a_post_or_an_unknown_method_is_told_what_there_is() {
    let stand = Stand::simple().await;
    boxed(&stand).await;
    let answer = stand.admin().post(&at("k")).body("x").send().await.unwrap();
    refused(answer, 405, "INFRA_002").await;
    let answer = stand
        .admin()
        .call(Method::OPTIONS, &at("k"))
        .send()
        .await
        .unwrap();
    refused(answer, 405, "INFRA_002").await;
}
