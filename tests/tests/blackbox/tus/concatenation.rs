//! Concatenation: one file of several uploads.

use cloakroom_tests::{
    client::{Tus, described, expect, header, path_of, sample, sha256},
    inspect,
    service::Setup,
    stand::Stand,
};
use reqwest::StatusCode;

use super::{assert_answered, refused_by_tus, stand};

#[tokio::test]
async fn three_partial_uploads_are_one_file_in_the_order_that_is_asked_for() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let tus = Tus::new(&stand.user());
        let body = sample(7_000_001, 1);
        let thirds: Vec<&[u8]> = body.chunks(2_500_000).collect();
        // The last is the first to be uploaded.
        let mut paths = Vec::new();
        for third in thirds.iter().rev() {
            paths.insert(0, tus.partial(third).await);
        }
        let answer = tus.head(&paths[0]).await;
        assert_eq!(header(&answer, "upload-concat"), "partial");
        assert_eq!(header(&answer, "upload-offset"), "2500000");
        let path = paths[0].replace("/uploads", "");
        let none = tus.client().get(&path).send().await.unwrap();
        assert_eq!(
            none.status(),
            StatusCode::NOT_FOUND,
            "a partial upload is no file"
        );

        // Absolute and relative addresses alike.
        let list = [&*stand.url(&paths[0]), &*paths[1], &*stand.url(&paths[2])];
        let metadata = described(&[("filename", "whole.bin")]);
        let request = tus.join(&list).header("Upload-Metadata", &metadata);
        let answer = request.send().await.unwrap();
        assert_answered(&answer, StatusCode::CREATED);
        let path = path_of(header(&answer, "location"));
        let answer = tus.head(&path).await;
        assert_answered(&answer, StatusCode::OK);
        let concat = format!("final;{}", list.join(" "));
        assert_eq!(header(&answer, "upload-concat"), concat);
        assert_eq!(header(&answer, "upload-length"), "7000001");
        assert_eq!(header(&answer, "upload-offset"), "7000001");
        assert_eq!(header(&answer, "upload-metadata"), metadata);
        let file = path.replace("/uploads", "");
        let info = tus.client().get(&format!("{file}/info")).send().await;
        let info = expect(info.unwrap(), StatusCode::OK).await;
        assert_eq!(info["sha256"], sha256(&body), "{setup:?}");
        assert_eq!(info["filename"], "whole.bin");
        assert!(tus.client().bytes(&file).await == body);

        for offset in [0, 7_000_001] {
            let more = tus.patch(&path, offset, "x").send().await.unwrap();
            refused_by_tus(more, 403, "VAL_004").await;
        }
        // The partial ones are used up.
        let again = tus.join(&[&paths[0]]).send().await.unwrap();
        refused_by_tus(again, 410, "UPLOAD_001").await;
        stand.swept().await;
        inspect::assert_only(&stand, 1).await;
        stand.assert_consistent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_uploads_go_in_parallel_through_different_replicas() {
    let replicas = Stand::replicas(Setup::PostgresGarage, 2).await;
    let body = sample(24_000_000, 1);
    let one = Tus::new(&replicas[0].user());
    let parts: Vec<_> = body
        .chunks(8_000_000)
        .enumerate()
        .map(|(n, part)| {
            let (tus, part) = (Tus::new(&replicas[n % 2].user()), part.to_vec());
            let other = Tus::new(&replicas[(n + 1) % 2].user());
            tokio::spawn(async move {
                let headers = [("Upload-Concat", "partial")];
                let path = tus.created(part.len(), &headers).await;
                let middle = part.len() / 3;
                tus.patched(&path, 0, &part[..middle]).await;
                other.patched(&path, middle as u64, &part[middle..]).await;
                path
            })
        })
        .collect();
    let parts = futures_util::future::join_all(parts).await;
    let parts: Vec<String> = parts.into_iter().map(Result::unwrap).collect();
    let list: Vec<&str> = parts.iter().map(String::as_str).collect();
    let answer = one.join(&list).send().await.unwrap();
    assert_answered(&answer, StatusCode::CREATED);
    let file = path_of(header(&answer, "location")).replace("/uploads", "");
    assert!(replicas[1].user().bytes(&file).await == body);
    replicas[0].swept().await;
    inspect::assert_only(&replicas[0], 1).await;
}

#[tokio::test]
async fn what_cannot_be_concatenated_is_refused_and_leaves_the_partial_ones_alone() {
    let (stand, tus) = stand().await;
    let whole = tus.partial(b"one").await;
    let begun = tus.created(3, &[("Upload-Concat", "partial")]).await;
    tus.patched(&begun, 0, b"tw").await;
    let plain = tus.created(3, &[]).await;
    let colleague = stand
        .token("user", &["--account", "1", "--user", "8"])
        .await;
    let theirs = Tus::new(&colleague).partial(b"theirs").await;
    let gone = tus.partial(b"gone").await;
    assert_answered(&tus.delete(&gone).await, StatusCode::NO_CONTENT);
    let many = vec![whole.as_str(); 1001];
    let elsewhere = whole.replace("/uploads", "");
    for (list, status, code) in [
        (&[whole.as_str(), &begun][..], 409, "FILE_006"),
        (&[&whole, &theirs], 404, "UPLOAD_001"),
        (&[&whole, &gone], 410, "UPLOAD_001"),
        (&[&whole, &whole], 422, "VAL_001"),
        (&[&whole, &plain], 422, "VAL_001"),
        (&[&whole, "/files/uploads/no-such"], 404, "UPLOAD_001"),
        (&[&whole, "nonsense"], 404, "UPLOAD_001"),
        (&[&whole, "/files/uploads/"], 404, "UPLOAD_001"),
        (
            &[&whole, "https://evil.example/files/uploads/%00"],
            404,
            "UPLOAD_001",
        ),
        (&[&elsewhere], 404, "UPLOAD_001"),
    ] {
        let answer = tus.join(list).send().await.unwrap();
        assert_eq!(answer.status(), status, "{list:?}");
        refused_by_tus(answer, status, code).await;
    }
    let answer = tus.join(&many).send().await.unwrap();
    refused_by_tus(answer, 422, "VAL_001").await;
    // Still good, the one that was named in all of these.
    assert_eq!(tus.offset(&begun).await, 2);
    tus.patched(&begun, 2, b"o").await;
    let answer = tus.join(&[&begun, &whole]).send().await.unwrap();
    assert_answered(&answer, StatusCode::CREATED);
    let file = path_of(header(&answer, "location")).replace("/uploads", "");
    assert_eq!(tus.client().bytes(&file).await, b"twoone");
    let final_one = path_of(header(&answer, "location"));
    let of_final = tus.join(&[&final_one]).send().await.unwrap();
    refused_by_tus(of_final, 422, "VAL_001").await;
    let theirs_still = Tus::new(&colleague).offset(&theirs).await;
    assert_eq!(theirs_still, 6, "a colleague's is untouched");
}

#[tokio::test]
async fn a_concatenation_that_cannot_be_read_or_has_more_than_its_parts_is_400() {
    let (_stand, tus) = stand().await;
    let whole = tus.partial(b"one").await;
    for concat in [
        "final",
        "final;",
        "final; ",
        "Final;/x",
        "partial;/x",
        "",
        "partial\u{a0}",
    ] {
        let headers = [("Upload-Length", "1"), ("Upload-Concat", concat)];
        let answer = tus.create(&headers).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{concat}");
        refused_by_tus(answer, 400, "VAL_004").await;
    }
    // A final upload has neither a length nor bytes of its own.
    let lengthy = tus.join(&[&whole]).header("Upload-Length", 3);
    refused_by_tus(lengthy.send().await.unwrap(), 400, "VAL_004").await;
    let bytes = tus.join(&[&whole]).body("one");
    let bytes = bytes.header("Content-Type", "application/offset+octet-stream");
    refused_by_tus(bytes.send().await.unwrap(), 400, "VAL_004").await;
    assert_eq!(tus.offset(&whole).await, 3);
}

#[tokio::test]
async fn together_they_may_not_be_larger_than_the_limit() {
    let stand = Stand::with(&[("CLOAKROOM_MAX_FILE_SIZE", "1000")]).await;
    let tus = Tus::new(&stand.user());
    let halves = [tus.partial(&[1; 600]).await, tus.partial(&[2; 401]).await];
    let answer = tus.join(&[&halves[0], &halves[1]]).send().await.unwrap();
    refused_by_tus(answer, 413, "FILE_003").await;
    assert_eq!(tus.offset(&halves[0]).await, 600);
    // Those that nobody joins can be given up.
    for half in &halves {
        assert_answered(&tus.delete(half).await, StatusCode::NO_CONTENT);
    }
    stand.swept().await;
    stand.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_finals_of_the_same_partial_uploads_at_once_one_gets_them() {
    let (_stand, tus) = stand().await;
    let (first, second) = (sample(100_000, 1), sample(100_000, 2));
    let paths = [tus.partial(&first).await, tus.partial(&second).await];
    let joins = (0..12).map(|_| tus.join(&[&paths[0], &paths[1]]).send());
    let mut files = Vec::new();
    for answer in futures_util::future::join_all(joins).await {
        let answer = answer.unwrap();
        let status = answer.status();
        if status == StatusCode::CREATED {
            files.push(path_of(header(&answer, "location")).replace("/uploads", ""));
        } else {
            assert_eq!(status, StatusCode::GONE);
        }
    }
    // Whoever comes after it was done is told of it.
    files.dedup();
    assert_eq!(files.len(), 1, "{files:?}");
    let again = tus.join(&[&paths[0], &paths[1]]).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::CREATED);
    let told = path_of(header(&again, "location")).replace("/uploads", "");
    assert_eq!(told, files[0]);
    for other in [vec![&*paths[1], &*paths[0]], vec![&*paths[0]]] {
        let other = tus.join(&other).send().await.unwrap();
        assert_eq!(other.status(), StatusCode::GONE);
    }
    assert!(tus.client().bytes(&files[0]).await == [first, second].concat());
}
