//! Forms that are odd or cannot be read: each gets the contract's status and code within a second, and nothing is left.

use std::time::{Duration, Instant};

use cloakroom_tests::{
    client::{Client, expect, id, part, refused},
    stand::Stand,
};
use reqwest::{StatusCode, multipart::Form};

/// A form with these parts, in this order, as bytes.
pub fn form(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (headers, content) in parts {
        body.push_str(&format!("--b\r\n{headers}\r\n\r\n{content}\r\n"));
    }
    body.push_str("--b--\r\n");
    body.into_bytes()
}

/// The headers of the one part that must be there.
pub const FILE: &str = "Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"";

const BOUNDARY: &str = "multipart/form-data; boundary=b";

/// The headers of a part that is no file.
fn field(name: &str) -> String {
    format!("Content-Disposition: form-data; name=\"{name}\"")
}

/// More parts than a form may have.
const TOO_MANY: [(&str, &str); 33] = [("Content-Disposition: form-data; name=\"x\"", "1"); 33];

/// Each of these bodies is refused so, within a second.
async fn all_refused(api: &Client, bodies: Vec<(&str, &str, Vec<u8>)>, status: u16, code: &str) {
    for (what, kind, body) in bodies {
        let start = Instant::now();
        let request = api.post("/files").header("Content-Type", kind).body(body);
        let problem = refused(request.send().await.unwrap(), status, code).await;
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{what}: {problem}"
        );
    }
}

/// Nothing is left of what was refused, and the next upload is as good as ever.
async fn as_if_nothing_had_been(stand: &Stand) {
    stand.assert_nothing_left().await;
    let next = stand.user().upload("a.txt", "text/plain", "x").await;
    expect(next, StatusCode::CREATED).await;
}

#[tokio::test]
async fn forms_that_cannot_be_read_leave_nothing() {
    let stand = Stand::simple().await;
    let fine = form(&[(FILE, "x")]);
    let long_header = format!("{FILE}\r\nX-Long: {}", "x".repeat(17 * 1024));
    let after = [&[(FILE, "x")], &TOO_MANY[..]].concat();
    let bodies = vec![
        ("no boundary", "multipart/form-data", fine.clone()),
        (
            "another boundary",
            "multipart/form-data; boundary=c",
            fine.clone(),
        ),
        ("17 KiB of headers", BOUNDARY, form(&[(&long_header, "x")])),
        ("33 parts", BOUNDARY, form(&TOO_MANY)),
        ("33 parts after the file", BOUNDARY, form(&after)),
        ("a form cut short", BOUNDARY, fine[..70].to_vec()),
        ("nothing at all", BOUNDARY, Vec::new()),
    ];
    all_refused(&stand.user(), bodies, 400, "VAL_004").await;
    as_if_nothing_had_been(&stand).await;
}

#[tokio::test]
async fn forms_without_a_file_leave_nothing() {
    let stand = Stand::simple().await;
    let bodies = vec![
        ("no parts", BOUNDARY, form(&[])),
        ("no file", BOUNDARY, form(&[(&field("x"), "1")])),
    ];
    all_refused(&stand.user(), bodies, 422, "VAL_002").await;
    as_if_nothing_had_been(&stand).await;
}

#[tokio::test]
async fn forms_with_parts_that_do_not_fit_leave_nothing() {
    let stand = Stand::simple().await;
    let huge = "x".repeat(17 * 1024);
    let before = |name: &str, value: &str| form(&[(&field(name), value), (FILE, "x")]);
    let bodies = vec![
        ("two files", BOUNDARY, form(&[(FILE, "x"), (FILE, "y")])),
        (
            "metadata after the file",
            BOUNDARY,
            form(&[(FILE, "x"), (&field("metadata"), "{}")]),
        ),
        ("metadata of 17 KiB", BOUNDARY, before("metadata", &huge)),
        (
            "metadata not an object",
            BOUNDARY,
            before("metadata", "[1]"),
        ),
        ("metadata not JSON", BOUNDARY, before("metadata", "{")),
        ("an odd visibility", BOUNDARY, before("visibility", "all")),
        ("a topic", BOUNDARY, before("topic", "t")),
    ];
    all_refused(&stand.user(), bodies, 422, "VAL_001").await;
    as_if_nothing_had_been(&stand).await;
}

#[tokio::test]
async fn a_file_input_that_nothing_was_chosen_in_is_a_missing_file() {
    let stand = Stand::simple().await;
    let form = Form::new().part("file", part("", "application/octet-stream", ""));
    let answer = stand
        .user()
        .post("/files")
        .multipart(form)
        .send()
        .await
        .unwrap();
    refused(answer, 422, "VAL_002").await;
    stand.assert_nothing_left().await;
}

#[tokio::test]
async fn one_byte_chunks_are_read_like_any_others() {
    let stand = Stand::simple().await;
    let body = form(&[(FILE, "small steps")]);
    let bytes: Vec<Result<Vec<u8>, std::io::Error>> = body.iter().map(|b| Ok(vec![*b])).collect();
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(bytes));
    let request = stand
        .user()
        .post("/files")
        .header("Content-Type", "multipart/form-data; boundary=b")
        .body(stream);
    let file = expect(request.send().await.unwrap(), StatusCode::CREATED).await;
    assert_eq!(
        stand.user().bytes(&format!("/files/{}", id(&file))).await,
        b"small steps"
    );
}
