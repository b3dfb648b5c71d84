//! Requests that come twice under one `Idempotency-Key`.

use cloakroom_tests::{
    client::{digest_field, expect, header, id, part, refused},
    service::Setup,
    stand::Stand,
};
use reqwest::{StatusCode, multipart::Form};
use serde_json::json;

use crate::files::patch;

#[tokio::test]
async fn fifty_uploads_under_one_idempotency_key_make_one_file() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let api = stand.user();
        let send = || {
            api.post("/files?filename=a.txt")
                .header("Idempotency-Key", "k-1")
                .body("hello")
                .send()
        };
        let answers = futures_util::future::join_all((0..50).map(|_| send())).await;
        let mut made = Vec::new();
        for answer in answers {
            let answer = answer.unwrap();
            if answer.status() == StatusCode::CREATED {
                made.push(id(&expect(answer, StatusCode::CREATED).await).to_owned());
            } else {
                assert!(!header(&answer, "retry-after").is_empty());
                refused(answer, 409, "FILE_006").await;
            }
        }
        made.sort();
        made.dedup();
        assert_eq!(made.len(), 1);
        let first = expect(send().await.unwrap(), StatusCode::CREATED).await;
        let path = format!("/files/{}", made[0]);
        expect(
            patch(&api, &path, json!({"filename": "other"})).await,
            StatusCode::OK,
        )
        .await;
        assert_eq!(
            expect(send().await.unwrap(), StatusCode::CREATED).await,
            first,
            "the same answer again"
        );
        assert_eq!(stand.objects().await, 1);
    }
}

#[tokio::test]
async fn a_key_is_for_one_request_of_one_caller() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let api = stand.user();
        let request = api
            .post("/files?filename=a.txt")
            .header("Idempotency-Key", "k-1")
            .body("hello");
        let made = expect(request.send().await.unwrap(), StatusCode::CREATED).await;
        let longer = api
            .post("/files?filename=a.txt")
            .header("Idempotency-Key", "k-1")
            .body("hello!");
        refused(longer.send().await.unwrap(), 422, "VAL_001").await;
        let elsewhere = api
            .post("/files/upload")
            .header("Idempotency-Key", "k-1")
            .multipart(Form::new().part("file", part("a", "text/plain", "x")));
        refused(elsewhere.send().await.unwrap(), 422, "VAL_001").await;
        let somebody = stand
            .token("user", &["--account", "1", "--user", "8"])
            .await;
        let theirs = somebody
            .post("/files?filename=a.txt")
            .header("Idempotency-Key", "k-1")
            .body("hello");
        assert_ne!(
            id(&expect(theirs.send().await.unwrap(), StatusCode::CREATED).await),
            id(&made)
        );
        assert_eq!(stand.objects().await, 2);
    }
}

#[tokio::test]
async fn a_key_whose_request_was_refused_may_be_used_again() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let api = stand.user();
        let wrong = api
            .post("/files")
            .header("Idempotency-Key", "k-2")
            .header("Repr-Digest", digest_field(b"y"))
            .body("x");
        refused(wrong.send().await.unwrap(), 422, "VAL_003").await;
        let right = api
            .post("/files")
            .header("Idempotency-Key", "k-2")
            .body("x");
        expect(right.send().await.unwrap(), StatusCode::CREATED).await;
    }
}
