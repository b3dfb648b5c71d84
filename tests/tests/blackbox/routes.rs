//! Every route with every kind of caller. A route that is not in the table fails the test.

use cloakroom_tests::{
    client::{Client, OFFSET_STREAM, TUS, Tus, described, expect, header, id, refused},
    jwt::{guest_claims, hs256},
    stand::Stand,
};
use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::Value;

/// The backend's secret key.
const SECRET: &str = "a5f0c2e4-of-the-backend";

/// The kinds of caller, in the order of the columns.
const CALLERS: [&str; 9] = [
    "owner",
    "colleague",
    "stranger",
    "service",
    "foreign service",
    "admin",
    "guest",
    "refused",
    "anonymous",
];

type Statuses = [u16; CALLERS.len()];

/// What each caller gets of a private file, a file of the account and a public one.
struct Row {
    method: &'static str,
    path: &'static str,
    body: Option<&'static str>,
    private: Statuses,
    account: Statuses,
    public: Statuses,
}

const fn row(
    method: &'static str,
    path: &'static str,
    body: Option<&'static str>,
    private: Statuses,
    account: Statuses,
    public: Statuses,
) -> Row {
    Row {
        method,
        path,
        body,
        private,
        account,
        public,
    }
}

/// The same for every file, or of no file.
const fn alike(
    method: &'static str,
    path: &'static str,
    body: Option<&'static str>,
    all: Statuses,
) -> Row {
    row(method, path, body, all, all, all)
}

const READ_PRIVATE: Statuses = [200, 403, 403, 403, 403, 200, 403, 401, 401];
const READ_ACCOUNT: Statuses = [200, 200, 403, 200, 403, 200, 200, 401, 401];
const READ_PUBLIC: Statuses = [200, 200, 200, 200, 200, 200, 200, 401, 200];
const CHANGE: Statuses = READ_PRIVATE;
const GONE: Statuses = [204, 403, 403, 403, 403, 204, 403, 401, 401];
/// An upload is its creator's.
const UPLOAD_SEEN: Statuses = [200, 404, 404, 404, 404, 404, 404, 401, 401];
const UPLOAD_CHANGED: Statuses = [204, 404, 404, 404, 404, 404, 404, 401, 401];
/// A folder has no addresses to send bytes to.
const NOT_DIRECT: Statuses = [409, 409, 409, 409, 409, 422, 409, 401, 401];
const NO_DIRECT: Statuses = [404, 404, 404, 404, 404, 404, 404, 401, 401];
const ANNOUNCED: Statuses = [204; CALLERS.len()];
const ANYBODY: Statuses = [200; CALLERS.len()];
const DIRECT: &str = r#"{"filename": "a", "size": 1, "content_type": "text/plain"}"#;
/// Without a file: 422 for those who may ask.
const EXPLAIN: Statuses = [403, 403, 403, 403, 403, 422, 403, 401, 401];

const TABLE: &[Row] = &[
    alike("get", "/health", None, ANYBODY),
    alike("head", "/health", None, ANYBODY),
    alike("get", "/health/live", None, ANYBODY),
    alike("head", "/health/live", None, ANYBODY),
    alike("get", "/health/ready", None, ANYBODY),
    alike("head", "/health/ready", None, ANYBODY),
    alike(
        "post",
        "/access/revoke",
        Some(r#"{"file_id": "x"}"#),
        [403, 403, 403, 204, 204, 204, 403, 401, 401],
    ),
    alike("get", "/access/explain", None, EXPLAIN),
    alike("head", "/access/explain", None, EXPLAIN),
    alike(
        "get",
        "/files",
        None,
        [200, 200, 200, 200, 200, 200, 200, 401, 401],
    ),
    alike(
        "head",
        "/files",
        None,
        [200, 200, 200, 200, 200, 200, 200, 401, 401],
    ),
    alike(
        "post",
        "/files",
        Some("x"),
        [201, 201, 201, 201, 201, 422, 201, 401, 401],
    ),
    alike(
        "post",
        "/files/upload",
        Some("x"),
        [400, 400, 400, 400, 400, 400, 400, 401, 401],
    ),
    alike("options", "/files", None, ANNOUNCED),
    alike("options", "/files/uploads/{file_id}", None, ANNOUNCED),
    alike("head", "/files/uploads/{file_id}", None, UPLOAD_SEEN),
    alike("post", "/files/uploads/{file_id}", None, UPLOAD_SEEN),
    alike(
        "patch",
        "/files/uploads/{file_id}",
        Some("x"),
        UPLOAD_CHANGED,
    ),
    alike("delete", "/files/uploads/{file_id}", None, UPLOAD_CHANGED),
    alike("post", "/files/direct", Some(DIRECT), NOT_DIRECT),
    alike("get", "/files/direct/{file_id}", None, NO_DIRECT),
    alike("head", "/files/direct/{file_id}", None, NO_DIRECT),
    alike("delete", "/files/direct/{file_id}", None, NO_DIRECT),
    alike(
        "post",
        "/files/direct/{file_id}/complete",
        Some(r#"{"parts": []}"#),
        NO_DIRECT,
    ),
    row(
        "get",
        "/files/{file_id}",
        None,
        READ_PRIVATE,
        READ_ACCOUNT,
        READ_PUBLIC,
    ),
    row(
        "head",
        "/files/{file_id}",
        None,
        READ_PRIVATE,
        READ_ACCOUNT,
        READ_PUBLIC,
    ),
    row(
        "get",
        "/files/{file_id}/info",
        None,
        READ_PRIVATE,
        READ_ACCOUNT,
        READ_PUBLIC,
    ),
    row(
        "head",
        "/files/{file_id}/info",
        None,
        READ_PRIVATE,
        READ_ACCOUNT,
        READ_PUBLIC,
    ),
    row(
        "get",
        "/files/{file_id}/versions",
        None,
        READ_PRIVATE,
        READ_ACCOUNT,
        READ_PUBLIC,
    ),
    row(
        "head",
        "/files/{file_id}/versions",
        None,
        READ_PRIVATE,
        READ_ACCOUNT,
        READ_PUBLIC,
    ),
    row(
        "get",
        "/files/{file_id}/versions/{version}",
        None,
        READ_PRIVATE,
        READ_ACCOUNT,
        READ_PUBLIC,
    ),
    row(
        "head",
        "/files/{file_id}/versions/{version}",
        None,
        READ_PRIVATE,
        READ_ACCOUNT,
        READ_PUBLIC,
    ),
    alike("put", "/files/{file_id}", Some("x"), CHANGE),
    alike("patch", "/files/{file_id}/info", Some("{}"), CHANGE),
    alike("post", "/files/{file_id}/restore", None, CHANGE),
    alike(
        "post",
        "/files/{file_id}/versions/{version}/restore",
        None,
        CHANGE,
    ),
    alike(
        "post",
        "/files/reconcile",
        Some("{}"),
        [403, 403, 403, 200, 200, 422, 403, 401, 401],
    ),
    alike(
        "post",
        "/files/{file_id}/claim",
        None,
        [403, 403, 403, 200, 403, 200, 403, 401, 401],
    ),
    alike("get", "/files/{file_id}/links", None, CHANGE),
    alike("head", "/files/{file_id}/links", None, CHANGE),
    alike(
        "post",
        "/files/{file_id}/links",
        Some("{}"),
        [201, 403, 403, 403, 403, 201, 403, 401, 401],
    ),
    alike(
        "delete",
        "/files/{file_id}/links/{link_id}",
        None,
        [404, 403, 403, 403, 403, 404, 403, 401, 401],
    ),
    alike("delete", "/files/{file_id}/versions/{version}", None, GONE),
    alike("delete", "/files/{file_id}", None, GONE),
];

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
                let answer = ask(&owner, caller, row, visibility).await;
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
async fn ask(owner: &Client, caller: &Client, row: &Row, visibility: &str) -> u16 {
    let mut path = row.path.to_owned();
    if path.contains("/uploads/") {
        return ask_of_upload(owner, caller, row, visibility).await;
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
    ] {
        let answer = stand.user().call(method, path).send().await.unwrap();
        assert_eq!(header(&answer, "allow"), allowed, "{path}");
        refused(answer, 405, "INFRA_002").await;
    }
    let nowhere = stand.user().get("/nowhere").send().await.unwrap();
    refused(nowhere, 404, "FILE_001").await;
}
