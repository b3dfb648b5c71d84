//! Uploads straight to the store: signed addresses, completion that looks before it believes, nothing left of failures.

use std::time::Duration;

use cloakroom_tests::{
    client::{Client, Raw, expect, header, id, refused, sample, sha256},
    service::Setup,
    stand::Stand,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const MIB: usize = 1024 * 1024;

async fn stand() -> Stand {
    let settings = [
        ("CLOAKROOM_DELETE_DELAY", "1s"),
        ("CLOAKROOM_SWEEP_INTERVAL", "1s"),
    ];
    Stand::start_with(Setup::PostgresGarage, &settings).await
}

async fn begin(api: &Client, request: Value) -> Value {
    let answer = api.post("/files/direct").json(&request).send().await;
    let answer = answer.unwrap();
    assert_eq!(header(&answer, "cache-control"), "no-store");
    expect(answer, StatusCode::CREATED).await
}

/// Sends the parts as the answer says, and gives the list for the completion.
async fn send(upload: &Value, body: &[u8]) -> Vec<Value> {
    let (mut start, mut sent) = (0, Vec::new());
    for part in upload["parts"].as_array().unwrap() {
        let size = usize::try_from(part["size"].as_u64().unwrap()).unwrap();
        let etag = put(part, &body[start..start + size]).await;
        sent.push(json!({"number": part["number"], "etag": etag}));
        start += size;
    }
    assert_eq!(start, body.len());
    sent
}

fn request_of(part: &Value, body: &[u8]) -> reqwest::RequestBuilder {
    assert_eq!(part["method"], "PUT");
    let mut request = reqwest::Client::new().put(part["url"].as_str().unwrap());
    for (name, value) in part["headers"].as_object().unwrap() {
        request = request.header(name, value.as_str().unwrap());
    }
    request.body(body.to_vec())
}

async fn put(part: &Value, body: &[u8]) -> String {
    let answer = request_of(part, body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    header(&answer, "etag").to_owned()
}

/// The store answers an error, perhaps before it has read the body, and then the connection may break first.
async fn is_refused(request: reqwest::RequestBuilder) -> bool {
    let answer = request.send().await;
    answer.map_or(true, |answer| answer.status().is_client_error())
}

async fn complete(api: &Client, id: &str, parts: &[Value]) -> reqwest::Response {
    let request = api.post(&format!("/files/direct/{id}/complete"));
    request.json(&json!({"parts": parts})).send().await.unwrap()
}

#[tokio::test]
async fn what_was_sent_straight_to_the_store_is_a_file_once_it_was_read() {
    let stand = stand().await;
    let api = stand.user();
    let body = sample(20 * MIB + 5, 1);
    let request = json!({"filename": "film é.mp4", "size": body.len(), "content_type": "video/mp4",
        "sha256": sha256(&body), "visibility": "account", "metadata": {"a": 1}});
    let upload = begin(&api, request).await;
    assert_eq!(upload["parts"].as_array().unwrap().len(), 3);
    let path = format!("/files/direct/{}", id(&upload));
    let open = expect(api.get(&path).send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(
        (&open["state"], &open["size"]),
        (&json!("uploading"), &json!(body.len()))
    );
    let file_path = format!("/files/{}", id(&upload));
    refused(api.get(&file_path).send().await.unwrap(), 404, "FILE_001").await;

    let parts = send(&upload, &body).await;
    let answer = complete(&api, id(&upload), &parts).await;
    assert!(header(&answer, "location").ends_with(&file_path));
    let file = expect(answer, StatusCode::CREATED).await;
    assert_eq!(file["sha256"], sha256(&body));
    assert_eq!(file["filename"], "film é.mp4");
    assert_eq!(file["visibility"], "account");
    assert_eq!(file["metadata"], json!({"a": 1}));
    assert_eq!(api.bytes(&file_path).await, body);

    // Asked again, it answers the same; an address does not work any more.
    let again = expect(
        complete(&api, id(&upload), &parts).await,
        StatusCode::CREATED,
    )
    .await;
    assert_eq!(again["file_id"], file["file_id"]);
    let late = request_of(&upload["parts"][0], &body[..8 * MIB]);
    assert!(is_refused(late).await);
    assert_eq!(api.bytes(&file_path).await, body);
    stand.assert_consistent().await;
}

#[tokio::test]
async fn parts_that_are_missing_named_twice_or_not_those_that_arrived_are_refused_and_can_be_mended()
 {
    let stand = stand().await;
    let api = stand.user();
    let body = sample(9 * MIB, 2);
    let upload = begin(&api, json!({"filename": "a", "size": body.len()})).await;
    let first = put(&upload["parts"][0], &body[..8 * MIB]).await;
    let part = |number: u32, etag: &str| json!({"number": number, "etag": etag});
    let other = "\"00000000000000000000000000000000\"";
    let wrong: [Vec<Value>; 6] = [
        vec![],
        vec![part(1, &first)],
        vec![part(1, &first), part(1, &first)],
        vec![part(1, &first), part(2, other)],
        vec![part(1, &first), part(2, other), part(3, other)],
        vec![part(0, &first), part(1, &first), part(2, other)],
    ];
    for parts in wrong {
        refused(complete(&api, id(&upload), &parts).await, 422, "VAL_001").await;
    }
    let short = request_of(&upload["parts"][1], &body[8 * MIB..9 * MIB - 1]);
    assert!(
        short
            .send()
            .await
            .is_ok_and(|it| it.status().is_client_error())
    );
    let second = put(&upload["parts"][1], &body[8 * MIB..]).await;
    let swapped = [part(1, &second), part(2, &first)];
    refused(complete(&api, id(&upload), &swapped).await, 422, "VAL_001").await;
    let right = [part(2, &second), part(1, &first)];
    expect(
        complete(&api, id(&upload), &right).await,
        StatusCode::CREATED,
    )
    .await;
    let path = format!("/files/{}", id(&upload));
    assert_eq!(api.bytes(&path).await, body);
}

#[tokio::test]
async fn bytes_of_another_digest_are_no_file_and_leave_nothing() {
    let stand = stand().await;
    let api = stand.user();
    let body = sample(MIB, 3);
    let request = json!({"filename": "a", "size": body.len(), "sha256": sha256(b"another")});
    let upload = begin(&api, request).await;
    let parts = send(&upload, &body).await;
    refused(complete(&api, id(&upload), &parts).await, 422, "VAL_003").await;
    let path = format!("/files/direct/{}", id(&upload));
    refused(api.get(&path).send().await.unwrap(), 422, "VAL_003").await;
    refused(complete(&api, id(&upload), &parts).await, 422, "VAL_003").await;
    stand
        .until("nothing is left", async || stand.objects().await == 0)
        .await;
    stand.assert_nothing_left().await;
}

#[tokio::test]
async fn an_upload_that_was_given_up_leaves_nothing_and_is_nobody_elses() {
    let stand = stand().await;
    let api = stand.user();
    let body = sample(MIB, 4);
    let upload = begin(&api, json!({"filename": "a", "size": body.len()})).await;
    let parts = send(&upload, &body).await;
    let path = format!("/files/direct/{}", id(&upload));
    let other = stand
        .token("user", &["--account", "1", "--user", "8"])
        .await;
    for stranger in [&other, &stand.admin()] {
        refused(stranger.get(&path).send().await.unwrap(), 404, "UPLOAD_001").await;
        refused(
            complete(stranger, id(&upload), &parts).await,
            404,
            "UPLOAD_001",
        )
        .await;
        let delete = stranger.call(Method::DELETE, &path).send();
        refused(delete.await.unwrap(), 404, "UPLOAD_001").await;
    }
    refused(
        stand.anonymous().get(&path).send().await.unwrap(),
        401,
        "AUTH_001",
    )
    .await;
    let tus = format!("/files/uploads/{}", id(&upload));
    let head = api.call(Method::HEAD, &tus).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::NOT_FOUND);

    let delete = api.call(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(delete.status(), StatusCode::NO_CONTENT);
    refused(complete(&api, id(&upload), &parts).await, 410, "UPLOAD_001").await;
    assert!(is_refused(request_of(&upload["parts"][0], &body)).await);
    stand.assert_nothing_left().await;
}

#[tokio::test]
async fn what_nobody_completes_expires() {
    let settings = [
        ("CLOAKROOM_UPLOAD_EXPIRY", "1s"),
        ("CLOAKROOM_SWEEP_INTERVAL", "1s"),
    ];
    let stand = Stand::start_with(Setup::PostgresGarage, &settings).await;
    let api = stand.user();
    let upload = begin(&api, json!({"filename": "a", "size": 5})).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let path = format!("/files/direct/{}", id(&upload));
    refused(api.get(&path).send().await.unwrap(), 410, "UPLOAD_001").await;
    stand
        .until("nothing is left", async || {
            cloakroom_tests::inspect::unfinished(&stand)
                .await
                .is_empty()
        })
        .await;
}

#[tokio::test]
async fn a_store_that_cannot_sign_is_409_and_bad_requests_are_told() {
    let stand = Stand::simple().await;
    let api = stand.user();
    let request = json!({"filename": "a", "size": 5});
    let answer = api
        .post("/files/direct")
        .json(&request)
        .send()
        .await
        .unwrap();
    refused(answer, 409, "FILE_006").await;
    stand.assert_nothing_left().await;
    let bad = [
        (json!({"filename": "a", "size": 0}), 422, "VAL_001"),
        (json!({"filename": "a", "size": -1}), 422, "VAL_001"),
        (json!({"filename": "a"}), 422, "VAL_001"),
        (
            json!({"filename": "a", "size": 5, "sha256": "00"}),
            422,
            "VAL_001",
        ),
        (
            json!({"filename": "a", "size": 5, "visibility": "x"}),
            422,
            "VAL_001",
        ),
        (
            json!({"filename": "a", "size": 5, "unknown": 1}),
            422,
            "VAL_001",
        ),
        (
            json!({"filename": "a", "size": 1_u64 << 50}),
            413,
            "FILE_003",
        ),
    ];
    for (request, status, code) in bad {
        let answer = api
            .post("/files/direct")
            .json(&request)
            .send()
            .await
            .unwrap();
        refused(answer, status, code).await;
    }
    let answer = api.post("/files/direct").body("{").send().await.unwrap();
    refused(answer, 400, "VAL_004").await;
    let nobody = stand
        .anonymous()
        .post("/files/direct")
        .json(&request)
        .send();
    refused(nobody.await.unwrap(), 401, "AUTH_001").await;
}

#[tokio::test]
async fn a_part_that_was_begun_anew_and_broke_off_can_be_sent_again_or_the_upload_given_up() {
    let stand = stand().await;
    let api = stand.user();
    let body = sample(9 * MIB, 5);
    for gives_up in [false, true] {
        let upload = begin(&api, json!({"filename": "a", "size": body.len()})).await;
        let parts = send(&upload, &body).await;
        break_off(&upload["parts"][0], &body[..MIB]).await;
        let answer = complete(&api, id(&upload), &parts).await;
        // Some stores keep the part that was whole.
        if answer.status() == StatusCode::CREATED {
            continue;
        }
        refused(answer, 422, "VAL_001").await;
        let path = format!("/files/direct/{}", id(&upload));
        if gives_up {
            let delete = api.call(Method::DELETE, &path).send().await.unwrap();
            assert_eq!(delete.status(), StatusCode::NO_CONTENT);
            continue;
        }
        let state = expect(api.get(&path).send().await.unwrap(), StatusCode::OK).await;
        assert_eq!(state["state"], "uploading");
        let parts = send(&upload, &body).await;
        expect(
            complete(&api, id(&upload), &parts).await,
            StatusCode::CREATED,
        )
        .await;
        assert_eq!(api.bytes(&format!("/files/{}", id(&upload))).await, body);
    }
}

/// Sends the head of a part and the beginning of its bytes, and hangs up.
async fn break_off(part: &Value, some: &[u8]) {
    let url = reqwest::Url::parse(part["url"].as_str().unwrap()).unwrap();
    let host = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let target = format!("{}?{}", url.path(), url.query().unwrap());
    let mut raw = Raw::connect(&format!("http://{host}")).await;
    let size = &part["size"];
    let head = format!("PUT {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n\r\n");
    raw.send(head).await.unwrap();
    raw.send(some).await.unwrap();
    stand_by().await;
    drop(raw);
    stand_by().await;
}

async fn stand_by() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}
