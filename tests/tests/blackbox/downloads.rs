//! Taking files out: conditions, ranges, headers.

use cloakroom_tests::{
    client::{Client, digest_field, expect, header, id, refused, sample},
    service::Setup,
    stand::Stand,
};
use reqwest::{Method, Response, StatusCode};

async fn get(api: &Client, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = api.get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// Every header of the contract for `a b.png`, which is 100 000 bytes long.
fn assert_headers(answer: &Response, file: &serde_json::Value, body: &[u8]) {
    assert_eq!(header(answer, "content-length"), "100000");
    assert_eq!(header(answer, "content-type"), "image/png");
    assert_eq!(header(answer, "etag"), file["etag"].as_str().unwrap());
    assert_eq!(header(answer, "accept-ranges"), "bytes");
    assert_eq!(header(answer, "repr-digest"), digest_field(body));
    assert_eq!(header(answer, "cache-control"), "private, no-cache");
    assert_eq!(
        header(answer, "content-disposition"),
        "attachment; filename=\"a b.png\"; filename*=UTF-8''a%20b.png"
    );
    assert_eq!(header(answer, "x-content-type-options"), "nosniff");
    assert_eq!(header(answer, "x-frame-options"), "DENY");
    assert_eq!(
        header(answer, "content-security-policy"),
        "sandbox; default-src 'none'"
    );
    assert_eq!(header(answer, "cross-origin-resource-policy"), "same-site");
    assert_eq!(
        header(answer, "referrer-policy"),
        "strict-origin-when-cross-origin"
    );
    for present in [
        "last-modified",
        "permissions-policy",
        "x-request-id",
        "date",
    ] {
        assert!(!header(answer, present).is_empty(), "{present}");
    }
    for absent in ["server", "x-xss-protection", "set-cookie"] {
        assert!(header(answer, absent).is_empty(), "{absent}");
    }
}

#[tokio::test]
async fn a_download_has_every_header_of_the_contract_and_head_the_same() {
    let stand = Stand::simple().await;
    let api = stand.user();
    let body = sample(100_000, 3);
    let file = api.stored("a b.png", body.clone()).await;
    let path = format!("/files/{}", id(&file));
    for method in [Method::GET, Method::HEAD] {
        let answer = api
            .call(method.clone(), &path)
            .header(
                "Range",
                if method == Method::HEAD {
                    "bytes=0-1"
                } else {
                    ""
                },
            )
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "Range on HEAD is ignored");
        assert_headers(&answer, &file, &body);
        let bytes = answer.bytes().await.unwrap();
        assert!(if method == Method::HEAD {
            bytes.is_empty()
        } else {
            bytes == body
        });
    }
    let inline = get(&api, &format!("{path}?disposition=inline"), &[]).await;
    assert!(header(&inline, "content-disposition").starts_with("inline; filename="));
    let known = get(&api, &path, &[("X-Request-Id", "abc-1.2_3")]).await;
    assert_eq!(header(&known, "x-request-id"), "abc-1.2_3");
    let rubbish = get(&api, &path, &[("X-Request-Id", "a b\"")]).await;
    assert_ne!(header(&rubbish, "x-request-id"), "a b\"");
}

#[tokio::test]
async fn one_range_of_every_form_is_what_rfc_9110_says() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let api = stand.user();
        let size = 2_000_000;
        let body = sample(size, 4);
        let file = api.stored("a.bin", body.clone()).await;
        let path = format!("/files/{}", id(&file));
        for (field, start, end) in [
            ("bytes=0-0", 0, 1),
            ("bytes=0-65535", 0, 65_536),
            ("bytes=70000-1900000", 70_000, 1_900_001),
            ("bytes=1999999-", 1_999_999, size),
            ("bytes=-5", size - 5, size),
            ("bytes=-99999999", 0, size),
            ("bytes=1999990-99999999999999999999", 1_999_990, size),
            ("BYTES=1-2", 1, 3),
            ("bytes=1-10,5-20", 1, 21),
            ("bytes=0-,0-,0-,5-7", 0, size),
        ] {
            let answer = get(&api, &path, &[("Range", field)]).await;
            assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT, "{field}");
            assert_eq!(
                header(&answer, "content-range"),
                format!("bytes {start}-{}/{size}", end - 1)
            );
            assert_eq!(
                header(&answer, "repr-digest"),
                digest_field(&body),
                "of the whole"
            );
            assert!(answer.bytes().await.unwrap() == body[start..end], "{field}");
        }
        let many: Vec<String> = (0..17).map(|n| format!("{n}-{n}")).collect();
        let many = format!("bytes={}", many.join(","));
        for field in [
            "items=0-1",
            "bytes=",
            "bytes=a-b",
            "bytes=5-2",
            "bytes=--1",
            "bytes=0-1,x",
            "bytes 0-1",
            &many,
        ] {
            let answer = get(&api, &path, &[("Range", field)]).await;
            assert_eq!(answer.status(), StatusCode::OK, "{field}");
            assert_eq!(answer.bytes().await.unwrap().len(), size, "{field}");
        }
        for field in ["bytes=2000000-", "bytes=9999999-99999999", "bytes=-0"] {
            let answer = get(&api, &path, &[("Range", field)]).await;
            assert_eq!(header(&answer, "content-range"), "bytes */2000000");
            refused(answer, 416, "FILE_004").await;
        }
    }
}

#[tokio::test]
async fn several_ranges_are_multipart_byteranges_of_the_stated_length() {
    let stand = Stand::simple().await;
    let api = stand.user();
    let body = sample(200_000, 5);
    let file = api.stored("a.bin", body.clone()).await;
    let path = format!("/files/{}", id(&file));
    let answer = get(
        &api,
        &path,
        &[("Range", "bytes=150000-150009, 0-99999, -1")],
    )
    .await;
    assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
    let kind = header(&answer, "content-type").to_owned();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap()
        .to_owned();
    let length: usize = header(&answer, "content-length").parse().unwrap();
    let bytes = answer.bytes().await.unwrap();
    assert_eq!(bytes.len(), length);
    let mut expected = Vec::new();
    for (at, (start, end)) in [(150_000, 150_010), (0, 100_000), (199_999, 200_000)]
        .into_iter()
        .enumerate()
    {
        let lead = if at == 0 { "" } else { "\r\n" };
        let head = format!(
            "{lead}--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {start}-{}/200000\r\n\r\n",
            end - 1
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&body[start..end]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(bytes == expected);
}

#[tokio::test]
async fn conditions_are_judged_in_the_order_of_rfc_9110() {
    let stand = Stand::simple().await;
    let api = stand.user();
    let file = api.stored("a.txt", "hello").await;
    let path = format!("/files/{}", id(&file));
    let etag = file["etag"].as_str().unwrap();
    let weak = format!("W/{etag}");
    let list = format!("\"x\", {etag}");
    let first = get(&api, &path, &[]).await;
    let date = header(&first, "last-modified").to_owned();
    let (past, future) = (
        "Mon, 01 Jan 2001 00:00:00 GMT",
        "Mon, 01 Jan 2091 00:00:00 GMT",
    );
    let cases: &[(&[(&str, &str)], u16)] = &[
        (&[("If-None-Match", etag)], 304),
        (&[("If-None-Match", &weak)], 304),
        (&[("If-None-Match", &list)], 304),
        (&[("If-None-Match", "*")], 304),
        (
            &[("If-None-Match", "\"x\""), ("If-Modified-Since", future)],
            200,
        ),
        (&[("If-Modified-Since", &date)], 304),
        (&[("If-Modified-Since", past)], 200),
        (&[("If-Modified-Since", "nonsense")], 200),
        (&[("If-Match", etag)], 200),
        (&[("If-Match", "*")], 200),
        (&[("If-Match", &weak)], 412),
        (&[("If-Match", "\"x\"")], 412),
        (&[("If-Match", "\"x\""), ("If-None-Match", etag)], 412),
        (&[("If-Match", etag), ("If-Unmodified-Since", past)], 200),
        (&[("If-Unmodified-Since", past)], 412),
        (&[("If-Unmodified-Since", &date)], 200),
        (&[("Range", "bytes=0-0"), ("If-Range", etag)], 206),
        (&[("Range", "bytes=0-0"), ("If-Range", &date)], 206),
        (&[("Range", "bytes=0-0"), ("If-Range", &weak)], 200),
        (&[("Range", "bytes=0-0"), ("If-Range", "\"x\"")], 200),
        (&[("Range", "bytes=0-0"), ("If-Range", past)], 200),
        (&[("Range", "bytes=0-0"), ("If-None-Match", etag)], 304),
        (&[("Range", "bytes=99-"), ("If-None-Match", etag)], 304),
        (&[("Range", "bytes=99-"), ("If-Range", "\"x\"")], 200),
    ];
    for (headers, status) in cases {
        let answer = get(&api, &path, headers).await;
        assert_eq!(answer.status().as_u16(), *status, "{headers:?}");
        if *status == 304 {
            assert_eq!(header(&answer, "etag"), etag);
            assert!(
                !header(&answer, "cache-control").is_empty()
                    && !header(&answer, "last-modified").is_empty()
            );
            assert!(answer.bytes().await.unwrap().is_empty());
        }
    }
    refused(
        get(&api, &path, &[("If-Match", "\"x\"")]).await,
        412,
        "FILE_005",
    )
    .await;
}

#[tokio::test]
async fn a_public_file_may_be_cached_and_an_empty_one_has_no_range() {
    let stand = Stand::simple().await;
    let api = stand.user();
    let answer = api
        .post("/files?visibility=public&filename=e.txt")
        .body("")
        .send()
        .await
        .unwrap();
    let file = expect(answer, StatusCode::CREATED).await;
    let path = format!("/files/{}", id(&file));
    let nobody = api.with(None);
    let answer = get(&nobody, &path, &[]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(header(&answer, "cache-control").starts_with("public"));
    assert_eq!(header(&answer, "content-length"), "0");
    assert_eq!(
        get(&nobody, &path, &[("Range", "bytes=-5")]).await.status(),
        StatusCode::OK
    );
    refused(
        get(&nobody, &path, &[("Range", "bytes=0-")]).await,
        416,
        "FILE_004",
    )
    .await;
}

#[tokio::test]
async fn every_version_is_a_download_of_its_own() {
    let stand = Stand::simple().await;
    let api = stand.user();
    let file = api.stored("a.txt", "one").await;
    let path = format!("/files/{}", id(&file));
    expect(
        api.call(Method::PUT, &path)
            .body("second")
            .send()
            .await
            .unwrap(),
        StatusCode::OK,
    )
    .await;
    let first = get(
        &api,
        &format!("{path}/versions/1"),
        &[("Range", "bytes=1-")],
    )
    .await;
    assert_eq!(first.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(header(&first, "etag"), file["etag"].as_str().unwrap());
    assert_eq!(first.bytes().await.unwrap(), "ne");
    assert_eq!(api.bytes(&format!("{path}/versions/2")).await, b"second");
    for missing in ["3", "0", "x", "-1", "99999999999999999999"] {
        let answer = get(&api, &format!("{path}/versions/{missing}"), &[]).await;
        refused(answer, 404, "FILE_001").await;
    }
}
