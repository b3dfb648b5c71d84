//! Settings that change what callers see.

use cloakroom_tests::{
    client::{expect, header, id, refused},
    service::Setup,
    stand::Stand,
};
use reqwest::{Method, StatusCode};

#[tokio::test]
async fn mounted_at_the_root_fixed_routes_win_over_ids_and_locations_are_right() {
    let settings = [
        ("CLOAKROOM_MOUNT", "/"),
        ("CLOAKROOM_PUBLIC_URL", "https://example.com/files"),
    ];
    let stand = Stand::with(&settings).await;
    let api = stand.user();
    let answer = api
        .post("/?filename=a%20b.txt")
        .body("x")
        .send()
        .await
        .unwrap();
    let location = header(&answer, "location").to_owned();
    let file = expect(answer, StatusCode::CREATED).await;
    assert_eq!(location, format!("https://example.com/files/{}", id(&file)));
    assert_eq!(file["public_url"], location);
    let path = format!("/{}", id(&file));
    assert_eq!(api.bytes(&path).await, b"x");
    expect(
        api.get(&format!("{path}/info")).send().await.unwrap(),
        StatusCode::OK,
    )
    .await;
    expect(api.get("/?limit=1").send().await.unwrap(), StatusCode::OK).await;
    let health = expect(api.get("/health").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(
        (&health["status"], &health["backend"]),
        (&"ok".into(), &"fs".into())
    );
    let lookalike = api.get("/docs_2024.pdf").send().await.unwrap();
    assert!(!header(&lookalike, "content-security-policy").contains("unsafe-inline"));
    refused(lookalike, 404, "FILE_001").await;
    let document = expect(
        api.get("/openapi.json").send().await.unwrap(),
        StatusCode::OK,
    )
    .await;
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.contains_key("/") && paths.keys().all(|path| path.starts_with('/')));
}

#[tokio::test]
async fn transport_security_resource_policy_and_public_caching_are_as_configured() {
    let stand = Stand::with(&[
        ("CLOAKROOM_HSTS", "24h"),
        ("CLOAKROOM_CORP", "cross-origin"),
        ("CLOAKROOM_PUBLIC_CACHE", "5m"),
    ])
    .await;
    let api = stand.user();
    let made = api
        .post("/files?visibility=public")
        .body("x")
        .send()
        .await
        .unwrap();
    let path = format!("/files/{}", id(&expect(made, StatusCode::CREATED).await));
    let answer = api.with(None).get(&path).send().await.unwrap();
    assert!(header(&answer, "strict-transport-security").starts_with("max-age=86400"));
    assert_eq!(
        header(&answer, "cross-origin-resource-policy"),
        "cross-origin"
    );
    assert!(header(&answer, "cache-control").contains("max-age=300"));
}

#[tokio::test]
async fn a_repeated_conditional_put_under_a_key_gets_its_first_answer_again() {
    let stand = Stand::simple().await;
    let api = stand.user();
    let file = api.stored("a.txt", "one").await;
    let path = format!("/files/{}", id(&file));
    let put = |key: &str| {
        api.call(Method::PUT, &path)
            .header("If-Match", file["etag"].as_str().unwrap())
            .header("Idempotency-Key", key)
            .body("two")
    };
    let first = expect(put("k").send().await.unwrap(), StatusCode::OK).await;
    let again = expect(put("k").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(first, again);
    refused(put("another").send().await.unwrap(), 412, "FILE_005").await;
    assert_eq!(stand.objects().await, 2);
}

#[tokio::test]
async fn a_stretch_of_a_body_is_not_taken_for_the_whole() {
    let stand = Stand::simple().await;
    let api = stand.user();
    let file = api.stored("a.txt", "whole").await;
    let path = format!("/files/{}", id(&file));
    let put = api
        .call(Method::PUT, &path)
        .header("Content-Range", "bytes 0-1/5")
        .body("wh");
    refused(put.send().await.unwrap(), 400, "VAL_004").await;
    assert_eq!(api.bytes(&path).await, b"whole");
    refused(
        api.get("/files?name=%00").send().await.unwrap(),
        422,
        "VAL_001",
    )
    .await;
}

#[tokio::test]
async fn keys_that_are_no_text_are_refused_and_anonymous_reads_may_expect_100_continue() {
    let stand = Stand::simple().await;
    let api = stand.user();
    let key = reqwest::header::HeaderValue::from_bytes(b"k\xe9").unwrap();
    let odd = api.post("/files").header("Idempotency-Key", key).body("x");
    refused(odd.send().await.unwrap(), 422, "VAL_001").await;
    let made = api
        .post("/files?visibility=public")
        .body("x")
        .send()
        .await
        .unwrap();
    let path = format!("/files/{}", id(&expect(made, StatusCode::CREATED).await));
    let expecting = api.with(None).get(&path).header("Expect", "100-continue");
    assert_eq!(expecting.send().await.unwrap().status(), StatusCode::OK);
    let unchanged = api
        .get(&path)
        .header("If-None-Match", "*")
        .send()
        .await
        .unwrap();
    assert_eq!(unchanged.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(
        header(&unchanged, "content-security-policy"),
        "sandbox; default-src 'none'"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_first_uploads_at_once_make_an_accounts_bucket_on_demand() {
    let prefix = format!("each-{}", hex::encode(rand::random::<[u8; 4]>()));
    let settings = [
        ("CLOAKROOM_S3_BUCKET", ""),
        ("CLOAKROOM_S3_BUCKET_PREFIX", prefix.as_str()),
    ];
    let stand = Stand::start_with(Setup::PostgresGarage, &settings).await;
    let admin = stand.admin();
    let upload = |n: u32| {
        admin
            .post("/files?account_id=1688")
            .body(format!("body {n}"))
            .send()
    };
    for (n, answer) in futures_util::future::join_all((0..12).map(upload))
        .await
        .into_iter()
        .enumerate()
    {
        let file = expect(answer.unwrap(), StatusCode::CREATED).await;
        assert_eq!(
            admin.bytes(&format!("/files/{}", id(&file))).await,
            format!("body {n}").as_bytes()
        );
    }
    let checked = stand.run(&["fsck", "--verify"]).await;
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
}

#[tokio::test]
async fn a_data_folder_may_be_given_from_where_the_service_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let here = std::env::current_dir().unwrap();
    let up = "../".repeat(here.components().count() - 1);
    let data = folder.path().join("data");
    let relative = format!("{up}{}", data.strip_prefix("/").unwrap().display());
    let stand = Stand::with(&[("CLOAKROOM_DATA_DIR", &relative)]).await;
    let file = stand.user().stored("a.txt", "here").await;
    let path = format!("/files/{}", id(&file));
    assert_eq!(stand.user().bytes(&path).await, b"here");
    assert!(data.join("objects").is_dir());
}
