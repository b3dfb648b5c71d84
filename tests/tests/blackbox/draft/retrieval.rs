//! §4.3 Offset Retrieval, §4.5 Upload Cancellation.

use cloakroom_tests::{
    client::{Draft, header, path_of, refused, sample},
    inspect,
    service::Setup,
    stand::Stand,
};
use reqwest::StatusCode;

use super::{member, refused_as, stand};

#[tokio::test]
async fn offset_retrieval_says_offset_completeness_length_and_limits() {
    let (stand, draft) = stand().await;
    let path = draft.created(b"hello", &[("Upload-Length", "11")]).await;
    let answer = draft.head(&path).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(header(&answer, "upload-offset"), "5");
    assert_eq!(header(&answer, "upload-complete"), "?0");
    assert_eq!(header(&answer, "upload-length"), "11");
    assert_eq!(header(&answer, "cache-control"), "no-store");
    let limit = header(&answer, "upload-limit");
    assert_eq!(member(limit, "max-size"), 104_857_600);
    let age = member(limit, "max-age");
    assert!((24 * 3600 - 300..=24 * 3600).contains(&age), "{age}");
    assert_eq!(header(&answer, "location"), "");

    let file = draft.completed(&path, 5, b" world").await;
    let answer = draft.head(&path).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(header(&answer, "upload-offset"), "11");
    assert_eq!(header(&answer, "upload-complete"), "?1");
    assert_eq!(header(&answer, "upload-length"), "11");
    // The answer that was missed can be found.
    let url = file["public_url"].as_str().unwrap();
    assert_eq!(header(&answer, "location"), url);
    assert_eq!(draft.client().bytes(&path_of(url)).await, b"hello world");
    inspect::assert_only(&stand, 1).await;
}

#[tokio::test]
async fn offset_retrieval_leaves_out_a_length_that_is_not_known() {
    let (_stand, draft) = stand().await;
    let path = draft.created(b"hello", &[]).await;
    let answer = draft.head(&path).await;
    assert_eq!(header(&answer, "upload-length"), "");
    assert_eq!(header(&answer, "upload-offset"), "5");
}

#[tokio::test]
async fn offset_retrieval_an_offset_that_equals_the_length_is_not_yet_complete() {
    let (_stand, draft) = stand().await;
    let path = draft.created(b"hello", &[("Upload-Length", "5")]).await;
    for _ in 0..2 {
        let answer = draft.head(&path).await;
        assert_eq!(header(&answer, "upload-offset"), "5");
        assert_eq!(header(&answer, "upload-complete"), "?0");
    }
    let file = path.replace("/uploads", "");
    let none = draft.client().get(&file).send().await.unwrap();
    refused(none, 404, "FILE_001").await;
    assert_eq!(draft.completed(&path, 5, b"").await["size"], 5);
    assert_eq!(draft.client().bytes(&file).await, b"hello");
}

#[tokio::test]
async fn offset_retrieval_of_what_is_no_upload_or_anothers_is_404_without_progress() {
    let (stand, draft) = stand().await;
    let path = draft.created(b"hello", &[]).await;
    let colleague = stand
        .token("user", &["--account", "1", "--user", "8"])
        .await;
    for (other, path, status) in [
        (draft.client().clone(), "/files/uploads/no-such", 404),
        (colleague, path.as_str(), 404),
        (stand.admin(), path.as_str(), 404),
        (stand.anonymous(), path.as_str(), 401),
    ] {
        let other = Draft::new(&other);
        let code = if status == 401 {
            "AUTH_001"
        } else {
            "UPLOAD_001"
        };
        let head = other.head(path).await;
        assert_eq!(head.status(), status);
        assert_eq!(header(&head, "upload-offset"), "");
        for answer in [
            other.patch(path, 5, "?0", "x").send().await.unwrap(),
            other.patch(path, 0, "?1", "x").send().await.unwrap(),
            other.delete(path).await,
        ] {
            assert_eq!(header(&answer, "upload-offset"), "");
            refused(answer, status, code).await;
        }
    }
    assert_eq!(draft.offset(&path).await, 5);
}

#[tokio::test]
async fn upload_cancellation_removes_the_upload_and_its_bytes() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let draft = Draft::new(&stand.user());
        let path = draft.created(&sample(6_000_000, 1), &[]).await;
        draft.appended(&path, 6_000_000, &[1; 1000]).await;
        let answer = draft.delete(&path).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(draft.head(&path).await.status(), StatusCode::GONE);
        for answer in [
            draft
                .patch(&path, 6_001_000, "?0", "x")
                .send()
                .await
                .unwrap(),
            draft
                .patch(&path, 6_001_000, "?1", "")
                .send()
                .await
                .unwrap(),
            draft.delete(&path).await,
        ] {
            refused(answer, 410, "UPLOAD_001").await;
        }
        stand.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn upload_cancellation_of_a_completed_upload_puts_its_file_into_the_trash() {
    let (_stand, draft) = stand().await;
    let path = draft.created(b"hello", &[]).await;
    draft.completed(&path, 5, b"").await;
    let again = draft.patch(&path, 5, "?1", "").send().await.unwrap();
    refused_as(again, 400, "VAL_004", "completed-upload").await;
    assert_eq!(draft.delete(&path).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(draft.head(&path).await.status(), StatusCode::GONE);
    let file = path.replace("/uploads", "");
    let gone = draft.client().get(&file).send().await.unwrap();
    refused(gone, 404, "FILE_001").await;
    let back = draft.client().post(&format!("{file}/restore"));
    assert_eq!(back.send().await.unwrap().status(), StatusCode::OK);
}
