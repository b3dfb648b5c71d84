//! Objects by bucket and key, as other services see them.

mod callers;
mod getting;
mod keys;
mod lists;
mod program;
mod putting;
mod races;

use cloakroom_tests::{
    client::{Client, encoded, expect},
    stand::Stand,
};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// Every right.
const ALL: [&str; 4] = ["read", "write", "delete", "list"];

/// A caller with a token that was made for the service of that name.
async fn service(stand: &Stand, name: &str) -> Client {
    let command = [
        "token", "create", "--json", "--kind", "service", "--name", name,
    ];
    let ran = stand.run(&command).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let created: Value = serde_json::from_str(&ran.stdout).unwrap();
    stand.anonymous().with(created["token"].as_str())
}

/// Makes a bucket of account 1, or sets its policy.
async fn bucket(stand: &Stand, name: &str, policy: Value) -> Value {
    let mut body = json!({"account_id": 1});
    for (member, value) in policy.as_object().unwrap() {
        body[member] = value.clone();
    }
    let set = stand.admin().call(Method::PUT, &format!("/buckets/{name}"));
    let answer = set.json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    answer.json().await.unwrap()
}

/// A service and its own bucket `box`.
async fn boxed(stand: &Stand) -> Client {
    bucket(
        stand,
        "box",
        json!({"grants": [{"service": "boxer", "allow": ALL}]}),
    )
    .await;
    service(stand, "boxer").await
}

/// The path of an object in `box`, with everything in its key encoded.
fn at(key: &str) -> String {
    format!("/objects/box/{}", encoded(key))
}

fn put(api: &Client, key: &str) -> RequestBuilder {
    api.call(Method::PUT, &at(key))
}

/// Puts what must be taken, and answers its JSON.
async fn stored(api: &Client, key: &str, body: &str) -> Value {
    let answer = put(api, key).body(body.to_owned()).send().await.unwrap();
    let status = answer.status();
    assert!(status == 200 || status == 201, "{key}: {answer:?}");
    expect(answer, status).await
}

async fn removed(api: &Client, key: &str) -> StatusCode {
    let answer = api.call(Method::DELETE, &at(key)).send().await.unwrap();
    answer.status()
}

/// A page of `box`.
async fn page(api: &Client, query: &str) -> Value {
    let answer = api.get(&format!("/objects/box?{query}")).send().await;
    expect(answer.unwrap(), StatusCode::OK).await
}

fn keys(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    let key = |item: &Value| item["key"].as_str().unwrap().to_owned();
    items.iter().map(key).collect()
}
