//! The versions of a file: listed, restored, deleted.

use std::time::Duration;

use cloakroom_tests::{
    client::{Client, expect, header, id, refused},
    service::Setup,
    stand::Stand,
};
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// A file with the versions "one", "two" and "three"; its path.
async fn three_versions(api: &Client) -> String {
    let file = api.stored("a.txt", "one").await;
    let path = format!("/files/{}", id(&file));
    for body in ["two", "three"] {
        put(api, &path, body).await;
    }
    path
}

async fn put(api: &Client, path: &str, body: &'static str) -> Value {
    let request = api.call(Method::PUT, path).body(body);
    expect(request.send().await.unwrap(), StatusCode::OK).await
}

async fn list(api: &Client, path: &str, query: &str) -> Vec<Value> {
    page(api, path, query).await["items"]
        .as_array()
        .unwrap()
        .clone()
}

async fn page(api: &Client, path: &str, query: &str) -> Value {
    let request = api.get(&format!("{path}/versions{query}"));
    expect(request.send().await.unwrap(), StatusCode::OK).await
}

async fn restore_the_first(api: &Client, path: &str) {
    let request = api.post(&format!("{path}/versions/1/restore"));
    let restored = expect(request.send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(restored["version"], 1);
    assert_eq!(api.bytes(path).await, b"one");
}

#[tokio::test]
async fn versions_are_listed_newest_first_in_pages() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let api = stand.user();
        let path = three_versions(&api).await;
        let all = list(&api, &path, "").await;
        let numbers: Vec<i64> = all.iter().map(|v| v["version"].as_i64().unwrap()).collect();
        assert_eq!(numbers, [3, 2, 1]);
        assert_eq!(all[0]["current"], true);
        let page = page(&api, &path, "?limit=2").await;
        let rest = format!("?cursor={}", page["next_cursor"].as_str().unwrap());
        assert_eq!(list(&api, &path, &rest).await.len(), 1);
        stand.assert_consistent().await;
    }
}

#[tokio::test]
async fn a_restored_version_is_current_from_then_on_without_a_new_row() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let api = stand.user();
        let path = three_versions(&api).await;
        let before = api.get(&path).send().await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        restore_the_first(&api, &path).await;
        let after = api.get(&path).send().await.unwrap();
        assert_ne!(
            header(&before, "last-modified"),
            header(&after, "last-modified"),
            "when it became current"
        );
        assert_eq!(list(&api, &path, "").await.len(), 3, "no new row");
        stand.assert_consistent().await;
    }
}

#[tokio::test]
async fn versions_are_deleted_with_their_bytes_but_never_the_current_one() {
    let quick = [
        ("CLOAKROOM_DELETE_DELAY", "1s"),
        ("CLOAKROOM_SWEEP_INTERVAL", "500ms"),
    ];
    for setup in Setup::extremes() {
        let stand = Stand::start_with(setup, &quick).await;
        let api = stand.user();
        let path = three_versions(&api).await;
        restore_the_first(&api, &path).await;
        let delete = |number: u32| {
            api.call(Method::DELETE, &format!("{path}/versions/{number}"))
                .send()
        };
        refused(delete(1).await.unwrap(), 409, "FILE_006").await;
        assert_eq!(delete(2).await.unwrap().status(), StatusCode::NO_CONTENT);
        refused(delete(2).await.unwrap(), 404, "FILE_001").await;
        let next = put(&api, &path, "four").await;
        assert_eq!(next["version"], 4, "numbers are never used twice");
        stand
            .until("the deleted version's bytes are gone", async || {
                stand.objects().await == 3
            })
            .await;
        stand.assert_consistent().await;
    }
}

#[tokio::test]
async fn two_new_versions_at_once_get_numbers_of_their_own() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let api = stand.user();
        let file = api.stored("a.txt", "zero").await;
        let path = format!("/files/{}", id(&file));
        let puts = (0..8).map(|n| {
            api.call(Method::PUT, &path)
                .body(format!("body {n}"))
                .send()
        });
        let mut numbers = Vec::new();
        for answer in futures_util::future::join_all(puts).await {
            numbers.push(
                expect(answer.unwrap(), StatusCode::OK).await["version"]
                    .as_i64()
                    .unwrap(),
            );
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (2..=9).collect::<Vec<_>>());
        stand.assert_consistent().await;
    }
}
