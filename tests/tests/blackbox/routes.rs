//! Every route with every kind of caller. A route that is not in the table fails the test.

mod table;

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU32, Ordering},
};

use cloakroom_tests::{
    client::{Client, OFFSET_STREAM, TUS, Tus, described, expect, header, id, refused},
    jwt::{guest_claims, hs256},
    stand::Stand,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use self::table::{CALLERS, Row, TABLE};

/// The backend's secret key.
const SECRET: &str = "a5f0c2e4-of-the-backend";

#[tokio::test]
async fn every_route_answers_every_kind_of_caller_as_the_table_says() {
    let stand = Stand::with(&[("CLOAKROOM_AUTH_SECRET_KEY", SECRET)]).await;
    let document = expect(
        stand.anonymous().get("/openapi.json").send().await.unwrap(),
        StatusCode::OK,
    )
    .await;
    let listed: BTreeSet<(String, String)> = TABLE
        .iter()
        .map(|row| (row.method.to_owned(), row.path.to_owned()))
        .collect();
    assert_eq!(operations(&document), listed, "every route is in the table");

    let owner = stand.user();
    let callers = [
        owner.clone(),
        stand
            .token("user", &["--account", "1", "--user", "8"])
            .await,
        stand
            .token("user", &["--account", "2", "--user", "7"])
            .await,
        stand.token("service", &["--account", "1"]).await,
        stand.token("service", &["--account", "2"]).await,
        stand.admin(),
        stand.anonymous().with_header(
            "X-Guest-Authorization",
            &hs256(SECRET, &guest_claims(1, None)),
        ),
        stand.anonymous().with(Some("no-such-token")),
        stand.anonymous(),
    ];
    for row in TABLE {
        for (visibility, expected) in [
            ("private", row.private),
            ("account", row.account),
            ("public", row.public),
        ] {
            for ((name, caller), status) in CALLERS.iter().zip(&callers).zip(expected) {
                let answer = ask(&stand, caller, row, visibility).await;
                let (method, path) = (row.method, row.path);
                assert_eq!(
                    answer, status,
                    "{name}: {method} {path} of a {visibility} file"
                );
            }
        }
    }
}

/// Every call is made of a file of its own, with two versions, of which the second is current, or of an upload.
async fn ask(stand: &Stand, caller: &Client, row: &Row, visibility: &str) -> u16 {
    let mut path = row.path.to_owned();
    let owner = &stand.user();
    if path.contains("/uploads/") {
        return ask_of_upload(owner, caller, row, visibility).await;
    }
    if path.contains("{bucket}") {
        path = with_bucket(&stand.admin(), &path, visibility).await;
    }
    if path.contains("{file_id}") {
        let made = owner
            .post(&format!("/files?visibility={visibility}"))
            .body("1")
            .send()
            .await
            .unwrap();
        let file = expect(made, StatusCode::CREATED).await;
        let put = owner
            .call(Method::PUT, &format!("/files/{}", id(&file)))
            .body("2")
            .send()
            .await
            .unwrap();
        expect(put, StatusCode::OK).await;
        path = path
            .replace("{file_id}", id(&file))
            .replace("{version}", "1")
            .replace("{link_id}", "00000000-0000-4000-8000-000000000000");
    }
    let method = Method::from_bytes(row.method.to_uppercase().as_bytes()).unwrap();
    let mut request = caller.call(method, &path);
    if let Some(body) = row.body {
        request = request.body(body);
    }
    request.send().await.unwrap().status().as_u16()
}

/// The path with a bucket of its own: one that nobody was granted anything in, one that services were, one that is
/// public; with an object in it, unless it is about the bucket itself.
async fn with_bucket(admin: &Client, path: &str, visibility: &str) -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let name = format!("b{}", MADE.fetch_add(1, Ordering::Relaxed));
    let allow = ["read", "write", "delete", "list"];
    let policy = match visibility {
        "private" => json!({"account_id": 1}),
        "account" => {
            json!({"account_id": 1, "grants": [{"service": "test-service", "allow": allow}]})
        }
        _ => json!({"account_id": 1, "public_read": true}),
    };
    let set = admin.call(Method::PUT, &format!("/buckets/{name}"));
    let set = set.json(&policy).send().await.unwrap();
    expect(set, StatusCode::CREATED).await;
    let path = path.replace("{bucket}", &name).replace("{key}", "a/k");
    if path.ends_with("/a/k") {
        let put = admin.call(Method::PUT, &path).body("1");
        expect(put.send().await.unwrap(), StatusCode::CREATED).await;
    }
    path
}

async fn ask_of_upload(owner: &Client, caller: &Client, row: &Row, visibility: &str) -> u16 {
    let metadata = described(&[("visibility", visibility)]);
    let upload = Tus::new(owner)
        .created(10, &[("Upload-Metadata", &metadata)])
        .await;
    let method = Method::from_bytes(row.method.to_uppercase().as_bytes()).unwrap();
    let mut request = caller
        .call(method.clone(), &upload)
        .header(TUS.0, TUS.1)
        .header("Content-Type", OFFSET_STREAM)
        .header("Upload-Offset", 0)
        .body(row.body.unwrap_or_default());
    if method == Method::POST {
        request = request.header("X-HTTP-Method-Override", "HEAD");
    }
    request.send().await.unwrap().status().as_u16()
}

fn operations(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .keys()
                .map(move |method| (method.clone(), path.clone()))
        })
        .collect()
}

#[tokio::test]
async fn a_method_that_a_resource_does_not_have_is_405_with_those_it_has() {
    let stand = Stand::simple().await;
    for (method, path, allowed) in [
        (Method::PATCH, "/files", "GET, HEAD, POST, OPTIONS"),
        (
            Method::GET,
            "/files/uploads/x",
            "HEAD, PATCH, DELETE, POST, OPTIONS",
        ),
        (Method::GET, "/files/upload", "POST"),
        (Method::POST, "/health", "GET, HEAD"),
        (Method::PUT, "/files/x/info", "GET, HEAD, PATCH"),
        (Method::POST, "/objects/b/k", "GET, HEAD, PUT, DELETE"),
        (Method::PUT, "/objects/b", "GET, HEAD"),
        (Method::PATCH, "/buckets/b", "GET, HEAD, PUT, DELETE"),
    ] {
        let answer = stand.user().call(method, path).send().await.unwrap();
        assert_eq!(header(&answer, "allow"), allowed, "{path}");
        refused(answer, 405, "INFRA_002").await;
    }
    let nowhere = stand.user().get("/nowhere").send().await.unwrap();
    refused(nowhere, 404, "FILE_001").await;
}
