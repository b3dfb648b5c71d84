//! Taking answers back and explaining them, as callers see it. What the application answers is in `hook`.

use cloakroom_tests::{
    client::{expect, id, refused},
    hook::HookServer,
    stand::Stand,
};
use reqwest::StatusCode;
use serde_json::{Value, json};

#[tokio::test]
async fn revoking_needs_something_named_and_takes_numbers_and_strings_for_ids() {
    let stand = Stand::simple().await;
    let service = stand.token("service", &["--account", "1"]).await;
    let revoke = async |body: Value| {
        let request = service.post("/access/revoke").json(&body);
        request.send().await.unwrap()
    };
    for good in [
        json!({"user_id": 7}),
        json!({"account_id": "1"}),
        json!({"file_id": "x", "user_id": "u", "account_id": 3}),
    ] {
        assert_eq!(revoke(good).await.status(), StatusCode::NO_CONTENT);
    }
    refused(revoke(json!({})).await, 422, "VAL_002").await;
    for bad in [
        json!({"user_id": true}),
        json!({"user_id": 1.5}),
        json!({"file_id": ""}),
        json!({"file_id": "a\u{0}b"}),
        json!({"file_id": "x".repeat(513)}),
        json!({"file": "x"}),
    ] {
        refused(revoke(bad).await, 422, "VAL_001").await;
    }
    let broken = service.post("/access/revoke").body("{");
    refused(broken.send().await.unwrap(), 400, "VAL_004").await;
    let huge = service.post("/access/revoke").body("x".repeat(100_000));
    refused(huge.send().await.unwrap(), 413, "FILE_003").await;
}

#[tokio::test]
async fn explaining_names_the_rules_in_order_and_asks_nobody() {
    let server = HookServer::start().await;
    let url = server.url();
    let stand = Stand::with(&[
        ("CLOAKROOM_PERMISSION_URL", url.as_str()),
        ("CLOAKROOM_PERMISSION_ACTIONS", "read,write"),
        ("CLOAKROOM_MOUNT", "/"),
    ])
    .await;
    let made = stand.user().post("/").body("x").send().await.unwrap();
    let file = expect(made, StatusCode::CREATED).await;
    let admin = stand.admin();
    let explain = async |query: &str| {
        let path = format!("/access/explain?file_id={}&{query}", id(&file));
        admin.get(&path).send().await.unwrap()
    };
    let told = async |query: &str| expect(explain(query).await, StatusCode::OK).await;
    let owner = told("user_id=7&account_id=1").await;
    assert_eq!(owner["decision"], "yes");
    assert_eq!(
        owner["caller"],
        json!({"kind": "user", "user_id": 7, "account_id": 1})
    );
    let rules: Vec<&str> = owner["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["rule"].as_str().unwrap())
        .collect();
    assert_eq!(rules, ["file", "admin", "owner"]);
    let colleague = told("user_id=8&account_id=1&action=write").await;
    assert_eq!(colleague["decision"], "ask");
    assert_eq!(
        colleague["hook"],
        json!({"configured": true, "actions": ["read", "write"], "circuit": "closed", "last_asked": null})
    );
    assert_eq!(
        told("user_id=8&account_id=1&action=delete").await["decision"],
        "no"
    );
    assert_eq!(told("").await["caller"]["kind"], "anonymous");
    refused(explain("user_id=8").await, 422, "VAL_002").await;
    refused(explain("action=chew").await, 422, "VAL_001").await;
    refused(explain("kind=cat").await, 422, "VAL_001").await;
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn tokens_of_the_service_never_reach_the_application() {
    let server = HookServer::start().await;
    let url = server.url();
    let stand = Stand::with(&[("CLOAKROOM_PERMISSION_URL", url.as_str())]).await;
    let file = stand.user().stored("a.txt", "x").await;
    let path = format!("/files/{}", id(&file));
    let colleague = ["--account", "1", "--user", "8"];
    for caller in [
        stand.token("user", &colleague).await,
        stand.token("service", &["--account", "1"]).await,
    ] {
        refused(caller.get(&path).send().await.unwrap(), 403, "FILE_002").await;
    }
    refused(
        stand.anonymous().get(&path).send().await.unwrap(),
        401,
        "AUTH_001",
    )
    .await;
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn a_permission_backend_that_cannot_be_one_stops_the_start() {
    for (name, value) in [
        ("CLOAKROOM_PERMISSION_URL", "backend:8000/check"),
        (
            "CLOAKROOM_PERMISSION_URL",
            "http://user:hunter2@backend/check",
        ),
        ("CLOAKROOM_PERMISSION_ACTIONS", "read,chew"),
        ("CLOAKROOM_PERMISSION_PROTOCOL", "soap"),
        ("CLOAKROOM_PERMISSION_TIMEOUT", "0s"),
        ("CLOAKROOM_PERMISSION_CONCURRENCY", "0"),
    ] {
        let output = Stand::serve_fails(&[(name, value)]).await;
        assert_ne!(output.code, 0, "{name}={value}");
        assert!(output.stderr.contains(name), "{}", output.stderr);
        assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
    }
}
