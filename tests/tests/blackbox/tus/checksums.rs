//! Checksums of single requests: what does not match is as if it had never come.

use base64::{Engine, engine::general_purpose::STANDARD};
use cloakroom_tests::{
    client::{Tus, header, sample, sha256},
    inspect,
    service::Setup,
    stand::Stand,
};
use reqwest::StatusCode;
use sha2::{Digest, Sha256};

use super::{assert_answered, refused_by_tus, stand};

/// `hello`, by what the protocol calls them.
const HELLO: [&str; 3] = [
    "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=",
    "sha256 LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
    "md5 XUFAKrxLKna5cZ2REBfFkg==",
];

fn by_sha256(body: &[u8]) -> String {
    format!("sha256 {}", STANDARD.encode(Sha256::digest(body)))
}

#[tokio::test]
async fn a_chunk_is_verified_and_discarded_where_it_does_not_match() {
    let (stand, tus) = stand().await;
    for checksum in HELLO {
        let path = tus.created(10, &[]).await;
        let send = |offset, body: &'static str| {
            let request = tus.patch(&path, offset, body);
            request.header("Upload-Checksum", checksum).send()
        };
        for wrong in ["jello", "hell", "hello!", ""] {
            let answer = send(0, wrong).await.unwrap();
            refused_by_tus(answer, 460, "VAL_003").await;
            assert_eq!(tus.offset(&path).await, 0, "{checksum}: {wrong}");
        }
        assert_answered(&send(0, "hello").await.unwrap(), StatusCode::NO_CONTENT);
        refused_by_tus(send(5, "jello").await.unwrap(), 460, "VAL_003").await;
        assert_eq!(tus.offset(&path).await, 5);
        let answer = send(5, "hello").await.unwrap();
        assert_eq!(header(&answer, "upload-offset"), "10");
        assert_answered(&answer, StatusCode::NO_CONTENT);
        let body = tus.client().bytes(&path.replace("/uploads", "")).await;
        assert_eq!(body, b"hellohello");
    }
    stand.swept().await;
    inspect::assert_only(&stand, 3).await;
}

#[tokio::test]
async fn a_digest_of_a_chunk_is_a_checksum_too() {
    let (_stand, tus) = stand().await;
    let path = tus.created(5, &[]).await;
    let digest = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest("hello")));
    let send = |body: &'static str| {
        let request = tus.patch(&path, 0, body);
        request.header("Content-Digest", &digest).send()
    };
    refused_by_tus(send("jello").await.unwrap(), 460, "VAL_003").await;
    assert_eq!(tus.offset(&path).await, 0);
    assert_answered(&send("hello").await.unwrap(), StatusCode::NO_CONTENT);
    let body = tus.client().bytes(&path.replace("/uploads", "")).await;
    assert_eq!(body, b"hello");
}

#[tokio::test]
async fn a_checksum_that_cannot_be_read_is_400_before_a_byte_is_taken() {
    let (_stand, tus) = stand().await;
    let path = tus.created(10, &[]).await;
    for checksum in [
        "crc32 AAAAAA==",
        "sha512 AAAA",
        "sha1",
        "sha1 ",
        "sha1 AAAA",
        "sha1 not-base64",
        "SHA1 qvTGHdzF6KLavt4PO0gs2a6pQ00=",
        "",
        "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=, md5 XUFAKrxLKna5cZ2REBfFkg==",
    ] {
        let answer = tus.patch(&path, 0, "hello");
        let answer = answer.header("Upload-Checksum", checksum).send().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 400, "{checksum}");
        refused_by_tus(answer, 400, "VAL_004").await;
    }
    assert_eq!(tus.offset(&path).await, 0);
}

#[tokio::test]
async fn a_large_chunk_that_does_not_match_leaves_nothing_behind() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let tus = Tus::new(&stand.user());
        let body = sample(20_000_000, 1);
        let (first, second) = body.split_at(9_000_000);
        let path = tus.created(body.len(), &[]).await;
        let send = |offset: usize, body: &[u8], checksum: &[u8]| {
            let request = tus.patch(&path, offset as u64, body.to_vec());
            request
                .header("Upload-Checksum", by_sha256(checksum))
                .send()
        };
        for (offset, right) in [(0, first), (first.len(), second)] {
            let mut wrong = right.to_vec();
            wrong[right.len() / 2] ^= 1;
            let answer = send(offset, &wrong, right).await.unwrap();
            refused_by_tus(answer, 460, "VAL_003").await;
            assert_eq!(tus.offset(&path).await, offset as u64);
            let answer = send(offset, right, right).await.unwrap();
            assert_answered(&answer, StatusCode::NO_CONTENT);
        }
        let found = tus.client().bytes(&path.replace("/uploads", "")).await;
        assert_eq!(sha256(&found), sha256(&body), "{setup:?}");
        stand.swept().await;
        stand.assert_consistent().await;
    }
}
