//! PATCH and HEAD: where bytes belong, what they may be, what is said of them.

use cloakroom_tests::{
    client::{OFFSET_STREAM, Tus, expect, header, id, path_of, sample, sha256},
    inspect,
    service::Setup,
    stand::Stand,
};
use reqwest::{Body, Method, StatusCode};

use super::{assert_answered, refused_by_tus, stand};

#[tokio::test]
async fn an_upload_in_pieces_of_any_size_is_the_same_file() {
    for setup in Setup::all() {
        let stand = Stand::start(setup).await;
        let tus = Tus::new(&stand.user());
        let body = sample(12_500_000, 1);
        let path = tus.created(body.len(), &[]).await;
        let mut offset = 0;
        for size in [1, 5 * 1024 * 1024 + 1, 0, 100_000, 6_000_000, usize::MAX] {
            let end = body.len().min(offset + size.min(body.len()));
            let kept = tus.patched(&path, offset as u64, &body[offset..end]).await;
            assert_eq!(kept, end as u64);
            offset = end;
            assert_eq!(tus.offset(&path).await, kept, "{setup:?}");
        }
        let file = path.replace("/uploads", "");
        let info = tus.client().get(&format!("{file}/info"));
        let info = expect(info.send().await.unwrap(), StatusCode::OK).await;
        assert_eq!(info["sha256"], sha256(&body), "{setup:?}");
        assert!(tus.client().bytes(&file).await == body, "{setup:?}");
        stand.swept().await;
        inspect::assert_only(&stand, 1).await;
        stand.assert_consistent().await;
    }
}

#[tokio::test]
async fn hundreds_of_small_chunks_are_one_file() {
    let (stand, tus) = stand().await;
    let body = sample(600 * 7, 2);
    let path = tus.created(body.len(), &[]).await;
    for (n, chunk) in body.chunks(7).enumerate() {
        tus.patched(&path, n as u64 * 7, chunk).await;
    }
    assert!(tus.client().bytes(&path.replace("/uploads", "")).await == body);
    stand.swept().await;
    inspect::assert_only(&stand, 1).await;
}

#[tokio::test]
async fn bytes_at_another_offset_are_409_and_say_where_the_upload_is() {
    let (_stand, tus) = stand().await;
    let path = tus.created(10, &[]).await;
    tus.patched(&path, 0, b"01234").await;
    for offset in [0, 4, 6, 10, 11, u64::MAX] {
        let answer = tus.patch(&path, offset, "x").send().await.unwrap();
        assert_eq!(header(&answer, "upload-offset"), "5", "{offset}");
        refused_by_tus(answer, 409, "UPLOAD_002").await;
    }
    assert_eq!(tus.offset(&path).await, 5);
}

#[tokio::test]
async fn an_offset_that_is_none_is_400_and_another_type_415() {
    let (_stand, tus) = stand().await;
    let path = tus.created(10, &[]).await;
    let patch = || tus.client().call(Method::PATCH, &path).body("x");
    let typed = || patch().header("Content-Type", OFFSET_STREAM);
    refused_by_tus(typed().send().await.unwrap(), 400, "VAL_004").await;
    for offset in ["-1", "", "0x0", "0, 0", "18446744073709551616", "?0"] {
        let answer = typed()
            .header("Upload-Offset", offset)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 400, "{offset}");
        refused_by_tus(answer, 400, "VAL_004").await;
    }
    let at_zero = || patch().header("Upload-Offset", 0);
    refused_by_tus(at_zero().send().await.unwrap(), 415, "VAL_004").await;
    for kind in ["application/octet-stream", "application/partial-upload", ""] {
        let answer = at_zero().header("Content-Type", kind).send().await.unwrap();
        refused_by_tus(answer, 415, "VAL_004").await;
    }
    assert_eq!(tus.offset(&path).await, 0);
    let loose = at_zero().header("Content-Type", "Application/Offset+Octet-Stream; q=1");
    assert_answered(&loose.send().await.unwrap(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_patch_without_a_body_changes_nothing() {
    let (_stand, tus) = stand().await;
    let path = tus.created(10, &[]).await;
    let bodiless = || {
        tus.client()
            .call(Method::PATCH, &path)
            .header("Content-Type", OFFSET_STREAM)
    };
    let answer = bodiless().header("Upload-Offset", 0).send().await.unwrap();
    assert_answered(&answer, StatusCode::NO_CONTENT);
    assert_eq!(header(&answer, "upload-offset"), "0");
    let answer = bodiless().header("Upload-Offset", 1).send().await.unwrap();
    refused_by_tus(answer, 409, "UPLOAD_002").await;
    assert_eq!(tus.offset(&path).await, 0);
}

#[tokio::test]
async fn more_than_the_announced_length_is_413_and_the_upload_stays() {
    let (_stand, tus) = stand().await;
    let path = tus.created(10, &[]).await;
    tus.patched(&path, 0, b"01234").await;
    refused_by_tus(
        tus.patch(&path, 5, "567890").send().await.unwrap(),
        413,
        "VAL_004",
    )
    .await;
    assert_eq!(tus.offset(&path).await, 5, "announced: none is taken");
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>("56"), Ok("7890")]);
    let unannounced = tus.patch(&path, 5, Body::wrap_stream(chunks));
    refused_by_tus(unannounced.send().await.unwrap(), 413, "VAL_004").await;
    let offset = tus.offset(&path).await;
    assert!((5..=10).contains(&offset), "{offset}");
    let rest = &b"0123456789"[usize::try_from(offset).unwrap()..];
    tus.patched(&path, offset, rest).await;
    let body = tus.client().bytes(&path.replace("/uploads", "")).await;
    assert_eq!(body, b"0123456789");
}

#[tokio::test]
async fn an_upload_without_a_length_stops_at_the_limit() {
    let stand = Stand::with(&[("CLOAKROOM_MAX_FILE_SIZE", "100000")]).await;
    let tus = Tus::new(&stand.user());
    let created = tus.create(&[("Upload-Defer-Length", "1")]).send().await;
    let path = path_of(header(&created.unwrap(), "location"));
    tus.patched(&path, 0, &sample(90_000, 1)).await;
    let answer = tus.patch(&path, 90_000, sample(10_001, 2)).send().await;
    refused_by_tus(answer.unwrap(), 413, "FILE_003").await;
    tus.patched(&path, 90_000, &sample(10_000, 2)).await;
    let answer = tus.patch(&path, 100_000, "x").send().await.unwrap();
    refused_by_tus(answer, 413, "FILE_003").await;
    assert_eq!(tus.offset(&path).await, 100_000);
}

#[tokio::test]
async fn a_completed_upload_takes_no_more_and_its_last_answer_can_be_asked_for_again() {
    let (stand, tus) = stand().await;
    let path = tus.created(5, &[]).await;
    tus.patched(&path, 0, b"hello").await;
    let answer = tus.head(&path).await;
    assert_answered(&answer, StatusCode::OK);
    assert_eq!(header(&answer, "upload-offset"), "5");
    assert_eq!(
        header(&answer, "upload-expires"),
        "",
        "a file does not expire"
    );

    assert_eq!(tus.patched(&path, 5, b"").await, 5, "nothing is sent again");
    let again = tus.patch(&path, 0, "hello").send().await.unwrap();
    assert_eq!(header(&again, "upload-offset"), "5");
    refused_by_tus(again, 409, "UPLOAD_002").await;
    let more = tus.patch(&path, 5, "!").send().await.unwrap();
    refused_by_tus(more, 403, "VAL_004").await;
    assert_eq!(
        tus.client().bytes(&path.replace("/uploads", "")).await,
        b"hello"
    );
    inspect::assert_only(&stand, 1).await;
}

#[tokio::test]
async fn a_post_may_stand_for_patch_delete_and_head() {
    let (_stand, tus) = stand().await;
    let path = tus.created(5, &[]).await;
    let post = |method: &str| {
        tus.client()
            .post(&path)
            .header("X-HTTP-Method-Override", method)
            .header("Content-Type", OFFSET_STREAM)
    };
    let answer = post("PATCH").header("Upload-Offset", 0).body("hel");
    let answer = answer.send().await.unwrap();
    assert_answered(&answer, StatusCode::NO_CONTENT);
    assert_eq!(header(&answer, "upload-offset"), "3");
    let answer = post("head").send().await.unwrap();
    assert_answered(&answer, StatusCode::OK);
    assert_eq!(header(&answer, "upload-offset"), "3");
    for other in ["PUT", "GET", "POST", "", "PATCH, DELETE"] {
        refused_by_tus(post(other).send().await.unwrap(), 405, "INFRA_002").await;
    }
    refused_by_tus(
        tus.client().post(&path).send().await.unwrap(),
        405,
        "INFRA_002",
    )
    .await;
    assert_eq!(tus.offset(&path).await, 3);
    let answer = post("DELETE").send().await.unwrap();
    assert_answered(&answer, StatusCode::NO_CONTENT);
    refused_by_tus(
        tus.patch(&path, 3, "lo").send().await.unwrap(),
        410,
        "UPLOAD_001",
    )
    .await;
}

#[tokio::test]
async fn what_is_no_upload_is_404() {
    let (stand, tus) = stand().await;
    let file = stand.user().stored("a.txt", "hello").await;
    let id = id(&file);
    for id in [id, "no-such", "00000000-0000-4000-8000-000000000000"] {
        let path = format!("/files/uploads/{id}");
        assert_answered(&tus.head(&path).await, StatusCode::NOT_FOUND);
        for answer in [
            tus.patch(&path, 0, "x").send().await.unwrap(),
            tus.delete(&path).await,
        ] {
            refused_by_tus(answer, 404, "UPLOAD_001").await;
        }
    }
    let impossible = format!("/files/uploads/{}", "x".repeat(600));
    refused_by_tus(tus.delete(&impossible).await, 422, "VAL_001").await;
    let get = tus.client().get(&format!("/files/uploads/{id}"));
    refused_by_tus(get.send().await.unwrap(), 405, "INFRA_002").await;
}
