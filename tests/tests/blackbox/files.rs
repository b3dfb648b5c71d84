//! Files as things: info, list, trash, purge.

use cloakroom_tests::{
    client::{Client, expect, header, id, refused, sample},
    service::Setup,
    stand::Stand,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Changes what is known of a file.
pub async fn patch(api: &Client, path: &str, body: Value) -> reqwest::Response {
    api.call(Method::PATCH, &format!("{path}/info"))
        .json(&body)
        .send()
        .await
        .unwrap()
}

async fn names(api: &Client, query: &str) -> Vec<String> {
    let answer = api.get(&format!("/files?{query}")).send().await.unwrap();
    let page = expect(answer, StatusCode::OK).await;
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["filename"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn info_has_an_etag_of_its_own_and_a_patch_changes_only_what_it_names() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let api = stand.user();
        let file = api.stored("a.txt", "x").await;
        let path = format!("/files/{}", id(&file));
        let answer = api.get(&format!("{path}/info")).send().await.unwrap();
        let row = header(&answer, "etag").to_owned();
        assert_ne!(
            row,
            file["etag"].as_str().unwrap(),
            "the row's, not the bytes'"
        );
        assert_eq!(expect(answer, StatusCode::OK).await, file);
        let again = api
            .get(&format!("{path}/info"))
            .header("If-None-Match", &row);
        assert_eq!(
            again.send().await.unwrap().status(),
            StatusCode::NOT_MODIFIED
        );

        let renamed = expect(
            patch(&api, &path, json!({"filename": "b/../ü.txt"})).await,
            StatusCode::OK,
        )
        .await;
        assert_eq!(renamed["filename"], "b..ü.txt");
        assert_eq!(renamed["etag"], file["etag"]);
        let merged = patch(
            &api,
            &path,
            json!({"metadata": {"a": {"b": 1}, "c": 2}, "visibility": "account"}),
        )
        .await;
        let merged = expect(merged, StatusCode::OK).await;
        assert_eq!(
            (&merged["visibility"], &merged["filename"]),
            (&json!("account"), &json!("b..ü.txt"))
        );
        let merged = expect(
            patch(
                &api,
                &path,
                json!({"metadata": {"a": {"b": null}, "d": []}}),
            )
            .await,
            StatusCode::OK,
        )
        .await;
        assert_eq!(merged["metadata"], json!({"a": {}, "c": 2, "d": []}));

        let stale = api
            .call(Method::PATCH, &format!("{path}/info"))
            .header("If-Match", &row)
            .json(&json!({"filename": "c"}));
        refused(stale.send().await.unwrap(), 412, "FILE_005").await;
    }
}

#[tokio::test]
async fn a_patch_that_does_not_fit_changes_nothing() {
    let stand = Stand::simple().await;
    let api = stand.user();
    let file = api.stored("a.txt", "x").await;
    let path = format!("/files/{}", id(&file));
    for body in [
        json!({"visibility": "all"}),
        json!({"size": 1}),
        json!({"filename": 5}),
        json!({"metadata": []}),
        json!({"metadata": {"x": "y".repeat(17 * 1024)}}),
        json!({"topics": ["t"]}),
        json!([]),
    ] {
        refused(patch(&api, &path, body).await, 422, "VAL_001").await;
    }
    let broken = api
        .call(Method::PATCH, &format!("{path}/info"))
        .body("{")
        .send()
        .await
        .unwrap();
    refused(broken, 400, "VAL_004").await;
    let huge = api
        .call(Method::PATCH, &format!("{path}/info"))
        .body("[".repeat(70_000))
        .send()
        .await
        .unwrap();
    assert!(huge.status().is_client_error());
    let info = api.get(&format!("{path}/info")).send().await.unwrap();
    assert_eq!(expect(info, StatusCode::OK).await, file);
}

#[tokio::test]
async fn the_list_shows_ones_own_and_what_the_account_may_see_in_pages() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let api = stand.user();
        let colleague = stand
            .token("user", &["--account", "1", "--user", "8"])
            .await;
        let stranger = stand
            .token("user", &["--account", "2", "--user", "7"])
            .await;
        for n in 0..5 {
            api.stored(&format!("mine-{n}.txt"), "x").await;
        }
        colleague.stored("secret.txt", "x").await;
        let shared = colleague
            .post("/files?visibility=account&filename=shared.pdf")
            .body("%PDF-1.4")
            .send()
            .await
            .unwrap();
        expect(shared, StatusCode::CREATED).await;
        stranger.stored("elsewhere.txt", "x").await;

        assert_eq!(
            names(&api, "").await,
            [
                "shared.pdf",
                "mine-4.txt",
                "mine-3.txt",
                "mine-2.txt",
                "mine-1.txt",
                "mine-0.txt"
            ]
        );
        assert_eq!(names(&stranger, "").await, ["elsewhere.txt"]);
        assert_eq!(names(&stand.admin(), "").await.len(), 8);
        assert_eq!(names(&api, "owner=8").await, ["shared.pdf"]);
        assert_eq!(names(&api, "type=application/pdf").await, ["shared.pdf"]);
        assert_eq!(
            names(&api, "type=text/*&limit=2").await,
            ["mine-4.txt", "mine-3.txt"]
        );
        assert_eq!(
            names(&api, "name=mine-&limit=2").await,
            ["mine-0.txt", "mine-1.txt"],
            "by name"
        );
        assert_eq!(names(&api, "name=%25").await, Vec::<String>::new());
        assert!(
            names(&api, "created_after=2091-01-01T00:00:00Z")
                .await
                .is_empty()
        );

        let mut seen = Vec::new();
        let mut query = "limit=2".to_owned();
        loop {
            let page = expect(
                api.get(&format!("/files?{query}")).send().await.unwrap(),
                StatusCode::OK,
            )
            .await;
            seen.extend(
                page["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|f| id(f).to_owned()),
            );
            let Some(cursor) = page["next_cursor"].as_str() else {
                break;
            };
            query = format!("limit=2&cursor={cursor}");
            api.stored("newcomer.txt", "x").await;
        }
        let mut unique = seen.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(
            (seen.len(), unique.len()),
            (6, 6),
            "no gap and no repetition under inserts"
        );
        let slash = api.get("/files/").send().await.unwrap();
        expect(slash, StatusCode::OK).await;
    }
}

#[tokio::test]
async fn the_trash_hides_a_file_restore_brings_it_back_and_purge_takes_its_bytes() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let api = stand.user();
        let file = api.stored("a.txt", "one").await;
        let path = format!("/files/{}", id(&file));
        expect(
            api.call(Method::PUT, &path)
                .body("two")
                .send()
                .await
                .unwrap(),
            StatusCode::OK,
        )
        .await;
        let stale = api
            .call(Method::DELETE, &path)
            .header("If-Match", file["etag"].as_str().unwrap());
        refused(stale.send().await.unwrap(), 412, "FILE_005").await;

        let trash = || async { api.call(Method::DELETE, &path).send().await.unwrap() };
        assert_eq!(trash().await.status(), StatusCode::NO_CONTENT);
        for hidden in ["", "/info", "/versions", "/versions/1"] {
            refused(
                api.get(&format!("{path}{hidden}")).send().await.unwrap(),
                404,
                "FILE_001",
            )
            .await;
        }
        refused(trash().await, 404, "FILE_001").await;
        refused(
            api.call(Method::PUT, &path).body("x").send().await.unwrap(),
            404,
            "FILE_001",
        )
        .await;
        assert!(names(&api, "").await.is_empty());
        assert_eq!(names(&api, "deleted=true").await, ["a.txt"]);

        let back = api.post(&format!("{path}/restore")).send().await.unwrap();
        assert_eq!(
            expect(back, StatusCode::OK).await["deleted_at"],
            Value::Null
        );
        assert_eq!(api.bytes(&path).await, b"two");
        let purge = api
            .call(Method::DELETE, &format!("{path}?purge=true"))
            .send()
            .await
            .unwrap();
        assert_eq!(purge.status(), StatusCode::NO_CONTENT);
        refused(
            api.post(&format!("{path}/restore")).send().await.unwrap(),
            404,
            "FILE_001",
        )
        .await;
        stand.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn a_delete_that_races_a_download_leaves_it_whole_or_404() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let api = stand.user();
        let body = sample(3_000_000, 9);
        for _ in 0..10 {
            let file = api.stored("a.bin", body.clone()).await;
            let path = format!("/files/{}", id(&file));
            let purge = api
                .call(Method::DELETE, &format!("{path}?purge=true"))
                .send();
            let reads = futures_util::future::join_all((0..6).map(|_| api.get(&path).send()));
            let (reads, purged) = tokio::join!(reads, purge);
            assert_eq!(purged.unwrap().status(), StatusCode::NO_CONTENT);
            for answer in reads {
                let answer = answer.unwrap();
                match answer.status() {
                    StatusCode::OK => match answer.bytes().await {
                        Ok(bytes) => assert!(bytes == body),
                        // An object store may stop in the middle; then the connection breaks and does not end well.
                        Err(error) => assert!(error.is_body() || error.is_decode(), "{error}"),
                    },
                    status => assert_eq!(status, StatusCode::NOT_FOUND),
                }
            }
        }
        stand.assert_nothing_left().await;
    }
}
