//! §4.4 Upload Append, §6 Problem Types.

use cloakroom_tests::{
    client::{Draft, PARTIAL_UPLOAD, Raw, header, offset_in, refused, sample, sha256},
    inspect,
    service::Setup,
    stand::Stand,
};
use reqwest::{Body, Method, StatusCode};
use serde_json::json;
use std::time::Duration;

use super::{refused_as, stand};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn upload_append_of_parts_of_any_size_makes_the_same_file() {
    for setup in Setup::all() {
        let stand = Stand::start(setup).await;
        let draft = Draft::new(&stand.user());
        let body = sample(11_500_000, 1);
        let path = draft.created(&body[..1], &[]).await;
        let mut offset = 1;
        for size in [5 * 1024 * 1024, 0, 77, 5_500_000] {
            draft
                .appended(&path, offset as u64, &body[offset..offset + size])
                .await;
            offset += size;
            assert_eq!(draft.offset(&path).await, offset as u64, "{setup:?}");
        }
        let file = draft.completed(&path, offset as u64, &body[offset..]).await;
        assert_eq!(file["sha256"], sha256(&body), "{setup:?}");
        assert_eq!(file["size"], body.len());
        stand.swept().await;
        inspect::assert_only(&stand, 1).await;
        stand.assert_consistent().await;
    }
}

#[tokio::test]
async fn upload_append_at_another_offset_is_409_with_both_offsets() {
    let (_stand, draft) = stand().await;
    let path = draft.created(b"hello", &[]).await;
    for (offset, complete) in [(0, "?0"), (4, "?1"), (6, "?0"), (999_999_999_999_999, "?1")] {
        let answer = draft.patch(&path, offset, complete, "x").send().await;
        let answer = answer.unwrap();
        assert_eq!(header(&answer, "upload-offset"), "5");
        assert_eq!(header(&answer, "upload-complete"), "?0");
        let kind = "mismatching-upload-offset";
        let problem = refused_as(answer, 409, "UPLOAD_002", kind).await;
        assert_eq!(problem["expected-offset"], 5);
        assert_eq!(problem["provided-offset"], offset);
    }
    assert_eq!(draft.offset(&path).await, 5);
}

#[tokio::test]
async fn upload_append_to_a_completed_upload_is_400_and_changes_nothing() {
    let (stand, draft) = stand().await;
    let path = draft.created(b"hello", &[]).await;
    draft.completed(&path, 5, b" world").await;
    for (offset, complete, body) in [
        (11, "?1", ""),
        (11, "?0", "x"),
        (5, "?1", " world"),
        (0, "?0", ""),
    ] {
        let answer = draft.patch(&path, offset, complete, body).send().await;
        let answer = answer.unwrap();
        assert_eq!(header(&answer, "upload-complete"), "?1");
        refused_as(answer, 400, "VAL_004", "completed-upload").await;
    }
    let file = path.replace("/uploads", "");
    assert_eq!(draft.client().bytes(&file).await, b"hello world");
    inspect::assert_only(&stand, 1).await;
}

#[tokio::test]
async fn upload_append_with_lengths_that_contradict_each_other_is_400() {
    let (_stand, draft) = stand().await;
    let kind = "inconsistent-upload-length";
    let path = draft.created(b"hello", &[("Upload-Length", "11")]).await;
    for request in [
        draft.patch(&path, 5, "?0", "x").header("Upload-Length", 12),
        draft.patch(&path, 5, "?1", " worl"),
        draft.patch(&path, 5, "?1", " world!"),
        draft.patch(&path, 5, "?0", " world!"),
        draft.patch(&path, 5, "?1", ""),
        draft
            .patch(&path, 5, "?1", " world")
            .header("Upload-Length", 12),
    ] {
        let answer = request.send().await.unwrap();
        refused_as(answer, 400, "VAL_004", kind).await;
        assert_eq!(draft.offset(&path).await, 5);
    }
    // Fewer than were to come, and nothing announced them.
    let chunks = || futures_util::stream::iter([Ok::<_, std::io::Error>(" wo"), Ok("r")]);
    let short = draft.patch(&path, 5, "?1", Body::wrap_stream(chunks()));
    refused_as(short.send().await.unwrap(), 400, "VAL_004", kind).await;
    assert_eq!(
        draft.offset(&path).await,
        9,
        "what came counts, and completes nothing"
    );
    draft.completed(&path, 9, b"ld").await;

    // The length may come with an append, and then stays.
    let path = draft.created(b"hello", &[]).await;
    let later = draft.patch(&path, 5, "?0", " ").header("Upload-Length", 11);
    assert_eq!(later.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let other = draft.patch(&path, 6, "?0", "w").header("Upload-Length", 10);
    refused_as(other.send().await.unwrap(), 400, "VAL_004", kind).await;
    draft.completed(&path, 6, b"world").await;
}

#[tokio::test]
async fn upload_append_beyond_the_length_ends_the_upload() {
    let (stand, draft) = stand().await;
    let path = draft.created(b"hello", &[("Upload-Length", "8")]).await;
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(" wo"), Ok("rld")]);
    let request = draft.patch(&path, 5, "?0", Body::wrap_stream(chunks));
    let kind = "inconsistent-upload-length";
    refused_as(request.send().await.unwrap(), 400, "VAL_004", kind).await;
    assert_eq!(draft.head(&path).await.status(), StatusCode::GONE);
    let more = draft.patch(&path, 8, "?1", "").send().await.unwrap();
    refused(more, 410, "UPLOAD_001").await;
    stand.assert_nothing_left().await;
}

#[tokio::test]
async fn upload_append_needs_its_media_type_and_its_fields() {
    let (_stand, draft) = stand().await;
    let path = draft.created(b"hello", &[]).await;
    let patch = || draft.client().call(Method::PATCH, &path).body("x");
    let typed = || patch().header("Content-Type", PARTIAL_UPLOAD);
    for kind in [
        "application/octet-stream",
        "application/offset+octet-stream",
        "application/*",
    ] {
        let answer = patch()
            .header("Content-Type", kind)
            .header("Upload-Offset", 5)
            .header("Upload-Complete", "?0");
        refused(answer.send().await.unwrap(), 415, "VAL_004").await;
    }
    for request in [
        typed(),
        typed().header("Upload-Offset", 5),
        typed().header("Upload-Complete", "?0"),
        // Ill-formed, so as if they were not there.
        typed()
            .header("Upload-Offset", "-5")
            .header("Upload-Complete", "?0"),
        typed()
            .header("Upload-Offset", "\"5\"")
            .header("Upload-Complete", "?0"),
        typed()
            .header("Upload-Offset", "5.0")
            .header("Upload-Complete", "?0"),
        typed()
            .header("Upload-Offset", 5)
            .header("Upload-Complete", "true"),
    ] {
        refused(request.send().await.unwrap(), 400, "VAL_004").await;
    }
    assert_eq!(draft.offset(&path).await, 5);
    let parameters = typed()
        .header("Upload-Offset", "5;why=because")
        .header("Upload-Complete", "?0;x");
    let answer = parameters.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(offset_in(&answer), 6);
}

#[tokio::test]
async fn upload_append_whose_body_is_shorter_than_announced_counts_and_completes_nothing() {
    let (stand, draft) = stand().await;
    let path = draft.created(b"hello", &[]).await;
    let more =
        format!("Upload-Offset: 5\r\nUpload-Complete: ?1\r\nContent-Type: {PARTIAL_UPLOAD}\r\n");
    let mut raw = Raw::connect(&stand.base()).await;
    let head = stand.head("PATCH", &path, &more, 6);
    raw.send(format!("{head} wor")).await.unwrap();
    raw.half_close().await.unwrap();
    let answer = raw.answer(PATIENCE).await;
    assert!(!answer.is_ok_and(|answer| answer.status < 300));
    let arrived = async || draft.offset(&path).await == 9;
    stand.until("what arrived counts", arrived).await;
    let answer = draft.head(&path).await;
    assert_eq!(header(&answer, "upload-complete"), "?0");
    assert_eq!(draft.completed(&path, 9, b"ld").await["size"], 11);
}

#[tokio::test]
async fn upload_append_with_the_last_bytes_answers_as_an_upload_in_one_request() {
    let (_stand, draft) = stand().await;
    let path = draft.created(b"hel", &[]).await;
    let answer = draft.patch(&path, 3, "?1", "lo").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(header(&answer, "upload-complete"), "?1");
    let location = header(&answer, "location").to_owned();
    let file: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(file["public_url"], json!(location));
    let plain = draft.client().stored("a.txt", "hello").await;
    let keys = |file: &serde_json::Value| -> Vec<String> {
        file.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys(&file), keys(&plain));
    assert_eq!(file["sha256"], plain["sha256"]);
}

#[tokio::test]
async fn upload_append_of_the_other_protocol_goes_on_with_the_same_upload() {
    let (stand, draft) = stand().await;
    let tus = cloakroom_tests::client::Tus::new(&stand.user());
    let path = tus.created(11, &[]).await;
    draft.appended(&path, 0, b"hello").await;
    assert_eq!(tus.offset(&path).await, 5);
    assert_eq!(tus.patched(&path, 5, b" world").await, 11);
    let answer = draft.head(&path).await;
    assert_eq!(header(&answer, "upload-complete"), "?1");
    assert_eq!(
        draft.client().bytes(&path.replace("/uploads", "")).await,
        b"hello world"
    );
}
