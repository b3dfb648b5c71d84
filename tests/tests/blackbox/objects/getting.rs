//! Getting objects: ranges, validators, what was said of them, and nothing that a browser would run.

use cloakroom_tests::{
    client::{digest_field, header, refused, sample},
    stand::Stand,
};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{at, boxed, bucket, put, removed, stored};

#[tokio::test]
async fn an_object_comes_back_with_its_type_its_fields_and_validators() {
    let stand = Stand::with(&[("CLOAKROOM_ALLOWED_ORIGINS", "https://app.example.com")]).await;
    let api = boxed(&stand).await;
    let body = "0123456789";
    let made = put(&api, "a/Отчёт \"1\".bin")
        .header("Content-Type", "application/x-protobuf")
        .header("X-Meta-Owner", "Петров".as_bytes())
        .header("x-META-tags", "a, b")
        .header("X-Metal", "no")
        .body(body);
    let made = made.send().await.unwrap();
    let etag = header(&made, "etag").to_owned();
    assert_eq!(made.status(), StatusCode::CREATED);
    let made: serde_json::Value = made.json().await.unwrap();
    assert_eq!(made["key"], "a/Отчёт \"1\".bin");
    assert_eq!(made["content_type"], "application/x-protobuf");
    assert_eq!((&made["size"], &made["etag"]), (&json!(10), &json!(etag)));
    let path = at("a/Отчёт \"1\".bin");
    for method in [Method::GET, Method::HEAD] {
        let got = api.call(method.clone(), &path).send().await.unwrap();
        assert_eq!(got.status(), StatusCode::OK);
        assert_eq!(header(&got, "content-type"), "application/x-protobuf");
        let owner = got.headers()["x-meta-owner"].as_bytes();
        assert_eq!(owner, "Петров".as_bytes());
        assert_eq!(header(&got, "x-meta-tags"), "a, b");
        assert!(!got.headers().contains_key("x-metal"));
        assert_eq!(header(&got, "etag"), etag);
        assert_eq!(header(&got, "content-length"), "10");
        assert_eq!(header(&got, "repr-digest"), digest_field(body.as_bytes()));
        assert_eq!(header(&got, "cache-control"), "private, no-cache");
        assert!(header(&got, "content-disposition").starts_with("attachment; filename=\""));
        let text = got.text().await.unwrap();
        assert_eq!(text, if method == Method::GET { body } else { "" });
    }
    let page = api.get(&path).header("Origin", "https://app.example.com");
    let exposed = page.send().await.unwrap();
    let exposed = header(&exposed, "access-control-expose-headers");
    assert!(
        exposed.contains("x-meta-owner") && exposed.contains("ETag"),
        "{exposed}"
    );
    // What is put without fields has none.
    stored(&api, "a/Отчёт \"1\".bin", "new").await;
    let got = api.get(&path).send().await.unwrap();
    assert!(!got.headers().contains_key("x-meta-owner"));
}

#[tokio::test]
async fn ranges_and_conditions_are_those_of_files() {
    let stand = Stand::simple().await;
    let api = boxed(&stand).await;
    let etag = stored(&api, "k", "0123456789").await["etag"]
        .as_str()
        .unwrap()
        .to_owned();
    let other = "\"other\"".to_owned();
    for (name, value, status, text) in [
        ("Range", "bytes=2-4", 206, Some("234")),
        ("Range", "bytes=-3", 206, Some("789")),
        ("Range", "bytes=8-99", 206, Some("89")),
        ("Range", "lines=1-2", 200, Some("0123456789")),
        ("Range", "bytes=10-", 416, None),
        ("If-None-Match", &etag, 304, Some("")),
        ("If-None-Match", &other, 200, Some("0123456789")),
        ("If-Match", &other, 412, None),
        ("If-Match", &etag, 200, Some("0123456789")),
    ] {
        let got = api.get(&at("k")).header(name, value).send().await.unwrap();
        assert_eq!(got.status(), status, "{name}: {value}");
        let got = got.text().await.unwrap();
        assert!(
            text.is_none_or(|text| got == text),
            "{name}: {value}: {got}"
        );
    }
    let several = api.get(&at("k")).header("Range", "bytes=0-0,5-6");
    let several = several.send().await.unwrap();
    assert!(header(&several, "content-type").starts_with("multipart/byteranges"));
    // The condition of a DELETE.
    let delete = async |etag: &str| {
        let request = api.call(Method::DELETE, &at("k")).header("If-Match", etag);
        request.send().await.unwrap()
    };
    refused(delete("\"other\"").await, 412, "FILE_005").await;
    assert_eq!(delete(&etag).await.status(), 204);
    refused(delete(&etag).await, 404, "FILE_001").await;
    refused(api.get(&at("k")).send().await.unwrap(), 404, "FILE_001").await;
}

#[tokio::test]
async fn what_a_browser_would_run_is_a_download_also_for_everybody() {
    let stand = Stand::with(&[("CLOAKROOM_PUBLIC_CACHE", "60s")]).await;
    let api = boxed(&stand).await;
    bucket(
        &stand,
        "box",
        json!({"public_read": true, "grants": [{"service": "boxer", "allow": super::ALL}]}),
    )
    .await;
    let anyone = stand.anonymous();
    for kind in [
        "text/html",
        "image/svg+xml",
        "application/xhtml+xml",
        "text/javascript",
    ] {
        let made = put(&api, "page")
            .header("Content-Type", kind)
            .body("<script>alert(1)</script>");
        assert!(made.send().await.unwrap().status().is_success());
        for query in ["", "?disposition=inline"] {
            let got = anyone
                .get(&format!("{}{query}", at("page")))
                .send()
                .await
                .unwrap();
            assert_eq!(got.status(), 200);
            assert_eq!(
                header(&got, "content-type"),
                "application/octet-stream",
                "{kind}"
            );
            assert!(header(&got, "content-disposition").starts_with("attachment"));
            assert_eq!(header(&got, "x-content-type-options"), "nosniff");
            assert_eq!(
                header(&got, "content-security-policy"),
                "sandbox; default-src 'none'"
            );
            assert_eq!(header(&got, "cache-control"), "public, max-age=60");
        }
        assert_eq!(
            super::page(&api, "").await["items"][0]["content_type"],
            kind
        );
    }
}

#[tokio::test]
async fn what_is_safe_to_show_is_shown_until_the_bucket_is_public_no_more() {
    let stand = Stand::simple().await;
    let api = boxed(&stand).await;
    let grants = json!([{"service": "boxer", "allow": super::ALL}]);
    bucket(
        &stand,
        "box",
        json!({"public_read": true, "grants": grants}),
    )
    .await;
    let anyone = stand.anonymous();
    let made = put(&api, "picture.png").body(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec());
    assert_eq!(made.send().await.unwrap().status(), 201);
    let got = anyone
        .get(&format!("{}?disposition=inline", at("picture.png")))
        .send()
        .await
        .unwrap();
    assert_eq!(header(&got, "content-type"), "image/png");
    assert!(header(&got, "content-disposition").starts_with("inline"));
    // Taken back at once.
    bucket(
        &stand,
        "box",
        json!({"grants": [{"service": "boxer", "allow": super::ALL}]}),
    )
    .await;
    let got = anyone.get(&at("picture.png")).send().await.unwrap();
    refused(got, 401, "AUTH_001").await;
}

#[tokio::test]
async fn whoever_reads_while_it_is_replaced_or_removed_reads_the_old_one_to_its_end() {
    let stand = Stand::with(&[("CLOAKROOM_SWEEP_INTERVAL", "1s")]).await;
    let api = boxed(&stand).await;
    let old = sample(8_000_000, 1);
    let made = put(&api, "k").body(old.clone()).send().await.unwrap();
    assert_eq!(made.status(), 201);
    let mut reading = api.get(&at("k")).send().await.unwrap();
    let mut read = reading.chunk().await.unwrap().unwrap().to_vec();
    assert_eq!(
        put(&api, "k").body("new").send().await.unwrap().status(),
        200
    );
    assert_eq!(api.bytes(&at("k")).await, b"new");
    assert_eq!(removed(&api, "k").await, 204);
    stand.settle().await;
    while let Some(chunk) = reading.chunk().await.unwrap() {
        read.extend(chunk);
    }
    assert!(read == old);
}
