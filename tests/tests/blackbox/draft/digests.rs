//! §9 Integrity Digests, §4.6 Concurrency of one connection, and the flow by `curl`.

use std::{path::Path, process::Command};

use cloakroom_tests::{
    client::{Draft, digest_field, header, refused, sample, sha256},
    inspect,
    service::Setup,
    stand::Stand,
};
use reqwest::StatusCode;

use super::stand;

#[tokio::test]
async fn integrity_content_digest_is_of_one_request_and_a_wrong_one_discards_it() {
    let (_stand, draft) = stand().await;
    let digest = digest_field(b"hello");
    let path = draft
        .created(b"hello", &[("Content-Digest", &digest)])
        .await;
    let append = |body: &'static str, of: &[u8]| {
        let request = draft.patch(&path, 5, "?0", body);
        request.header("Content-Digest", digest_field(of)).send()
    };
    let wrong = append(" wOrld", b" world").await.unwrap();
    refused(wrong, 422, "VAL_003").await;
    assert_eq!(draft.offset(&path).await, 5, "not appended");
    let right = append(" world", b" world").await.unwrap();
    assert_eq!(right.status(), StatusCode::NO_CONTENT);
    let last = draft.patch(&path, 11, "?1", "!");
    let wrong = last.header("Content-Digest", digest_field(b"?"));
    refused(wrong.send().await.unwrap(), 422, "VAL_003").await;
    assert_eq!(header(&draft.head(&path).await, "upload-complete"), "?0");
    let unreadable = draft.patch(&path, 11, "?1", "!");
    let unreadable = unreadable.header("Content-Digest", "sha-256=:!:");
    refused(unreadable.send().await.unwrap(), 422, "VAL_001").await;
    assert_eq!(draft.completed(&path, 11, b"!").await["size"], 12);
}

#[tokio::test]
async fn integrity_content_digest_of_a_creation_that_does_not_match_leaves_nothing() {
    let (stand, draft) = stand().await;
    let wrong = draft
        .create("jello")
        .header("Content-Digest", digest_field(b"hello"));
    refused(wrong.send().await.unwrap(), 422, "VAL_003").await;
    stand.assert_nothing_left().await;
}

#[tokio::test]
async fn integrity_repr_digest_is_of_the_whole_and_a_wrong_one_fails_the_upload() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let draft = Draft::new(&stand.user());
        let body = sample(6_000_000, 1);
        let (first, last) = body.split_at(5_500_000);
        let digest = digest_field(&body);
        let path = draft.created(first, &[("Repr-Digest", &digest)]).await;
        let file = draft.completed(&path, 5_500_000, last).await;
        assert_eq!(file["sha256"], sha256(&body));

        let path = draft.created(first, &[("Repr-Digest", &digest)]).await;
        let wrong = draft.patch(&path, 5_500_000, "?1", vec![0; 500_000]);
        refused(wrong.send().await.unwrap(), 422, "VAL_003").await;
        assert_eq!(draft.head(&path).await.status(), StatusCode::GONE);
        let more = draft
            .patch(&path, 6_000_000, "?1", "")
            .send()
            .await
            .unwrap();
        refused(more, 410, "UPLOAD_001").await;
        inspect::assert_only(&stand, 1).await;
    }
}

#[tokio::test]
async fn integrity_repr_digest_that_cannot_be_read_is_refused_before_an_upload_is_made() {
    let (stand, draft) = stand().await;
    let unreadable = draft.create("x").header("Repr-Digest", "sha-256=:!:");
    refused(unreadable.send().await.unwrap(), 422, "VAL_001").await;
    stand.assert_nothing_left().await;
}

#[tokio::test]
async fn the_flow_by_curl_goes_on_where_it_was_cut() {
    let (stand, draft) = stand().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/resumable.sh");
    let body = sample(3_000_000, 1);
    let file = stand.data_dir().join("body.bin");
    std::fs::write(&file, &body).unwrap();
    let output = Command::new("sh")
        .arg(script)
        .arg(stand.url("/files"))
        .arg(&file)
        .env("TOKEN", stand.user_token())
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}{err}");
    let location = out.lines().last().unwrap();
    assert!(draft.client().bytes(location).await == body, "{out}{err}");
}
