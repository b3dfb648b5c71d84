//! Pages of other origins: what they may read, and what they may change.

use std::time::Duration;

use cloakroom_tests::{
    client::{Client, Raw, expect, header, id, refused},
    stand::Stand,
};
use reqwest::{Method, RequestBuilder, Response, StatusCode};

pub const APP: &str = "https://app.example.com";
pub const FORMS: &str = "https://forms.example.org";
const EVIL: &str = "https://evil.example.com";

/// In development mode, so that a token comes in a cookie, with two other origins allowed.
pub async fn stand() -> Stand {
    let settings = [
        ("CLOAKROOM_ALLOWED_ORIGINS", FORMS),
        ("CLOAKROOM_FRONTEND_URL", "https://app.example.com/app"),
        ("CLOAKROOM_PUBLIC_URL", "https://files.example.com/files"),
        ("CLOAKROOM_HSTS", "24h"),
        ("CLOAKROOM_RATE_LIMIT", "on"),
        ("CLOAKROOM_RATE_LIMIT_DOWNLOAD", "1000/1s"),
        ("CLOAKROOM_RATE_LIMIT_AUTH_FAILURE", "1000/1s"),
    ];
    Stand::development_with(&settings).await
}

pub async fn public_file(api: &Client) -> String {
    let made = api.post("/files?visibility=public").body("0123456789");
    let file = expect(made.send().await.unwrap(), StatusCode::CREATED).await;
    format!("/files/{}", id(&file))
}

async fn from(origin: Option<&str>, request: RequestBuilder) -> Response {
    let request = match origin {
        Some(origin) => request.header("Origin", origin),
        None => request,
    };
    request.send().await.unwrap()
}

fn names(list: &str) -> Vec<String> {
    list.split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}

/// Requests for every kind of answer.
fn answers(api: &Client, nobody: &Client, path: &str, etag: &str) -> Vec<(u16, RequestBuilder)> {
    let large = |method| api.call(method, "/files").body(vec![0; 2000]);
    let expecting = || {
        api.with(Some("wrong"))
            .post("/files")
            .header("Expect", "100-continue")
    };
    vec![
        (200, nobody.get(path)),
        (200, nobody.call(Method::HEAD, path)),
        (206, nobody.get(path).header("Range", "bytes=0-1")),
        (206, nobody.get(path).header("Range", "bytes=0-0,8-8")),
        (304, nobody.get(path).header("If-None-Match", etag)),
        (412, nobody.get(path).header("If-Match", "\"x\"")),
        (416, nobody.get(path).header("Range", "bytes=99-")),
        (200, api.get(&format!("{path}/info"))),
        (200, api.get("/files")),
        (201, large(Method::POST)),
        (401, nobody.get("/files")),
        (401, expecting().body("x")),
        (404, api.get("/files/no-such-file")),
        (404, nobody.get("/nowhere")),
        (405, large(Method::PATCH)),
        (422, api.get("/files?limit=x")),
        (302, nobody.get("/files/x").header("Accept", "text/html")),
        (200, nobody.get("/health")),
        (405, nobody.call(Method::OPTIONS, path)),
    ]
}

#[tokio::test]
async fn an_allowed_page_may_read_every_kind_of_answer_and_another_none() {
    let stand = stand().await;
    let (api, nobody) = (stand.user(), stand.anonymous());
    let path = public_file(&api).await;
    let made = api.get(&path).send().await.unwrap();
    let etag = header(&made, "etag").to_owned();
    for (origin, allowed) in [
        (Some(APP), true),
        (Some(FORMS), true),
        (Some(EVIL), false),
        (Some("null"), false),
        (Some("https://app.example.com.evil.com"), false),
        (None, false),
    ] {
        let cases = answers(&api, &nobody, &path, &etag);
        for (status, request) in cases {
            let answer = from(origin, request).await;
            let what = format!("{} {origin:?}", answer.url());
            assert_eq!(answer.status(), status, "{what}");
            assert!(
                names(header(&answer, "vary")).contains(&"origin".to_owned()),
                "{what}"
            );
            let named = header(&answer, "access-control-allow-origin");
            let credentials = header(&answer, "access-control-allow-credentials");
            let exposed = header(&answer, "access-control-expose-headers");
            if allowed {
                assert_eq!((Some(named), credentials), (origin, "true"), "{what}");
                for name in [
                    "etag",
                    "content-disposition",
                    "upload-offset",
                    "retry-after",
                    "ratelimit",
                ] {
                    assert!(names(exposed).contains(&name.to_owned()), "{name}: {what}");
                }
            } else {
                assert_eq!((named, credentials, exposed), ("", "", ""), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_preflight_is_answered_for_every_path_and_any_other_options_is_not_one() {
    let stand = stand().await;
    for path in [
        "/files",
        "/files/upload",
        "/files/x",
        "/files/x/info",
        "/files/uploads/x",
        "/nowhere",
    ] {
        for (origin, allowed) in [(APP, true), (EVIL, false), ("null", false)] {
            let asked = stand
                .anonymous()
                .call(Method::OPTIONS, path)
                .header("Access-Control-Request-Method", "PATCH")
                .header(
                    "Access-Control-Request-Headers",
                    "tus-resumable,upload-offset,x-guest-authorization,x-new",
                );
            let answer = from(Some(origin), asked).await;
            assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{path}");
            assert_eq!(
                header(&answer, "access-control-allow-origin") == origin,
                allowed
            );
            assert_eq!(
                !header(&answer, "access-control-max-age").is_empty(),
                allowed
            );
            let methods = names(header(&answer, "access-control-allow-methods"));
            let headers = names(header(&answer, "access-control-allow-headers"));
            for name in [
                "tus-resumable",
                "upload-offset",
                "x-guest-authorization",
                "x-new",
                "idempotency-key",
            ] {
                assert_eq!(headers.contains(&name.to_owned()), allowed, "{name}");
            }
            assert_eq!(methods.contains(&"patch".to_owned()), allowed);
            assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        }
    }
    let other = |path| stand.anonymous().call(Method::OPTIONS, path);
    refused(
        from(Some(APP), other("/files/upload")).await,
        405,
        "INFRA_002",
    )
    .await;
    let protocol = from(Some(APP), other("/files")).await;
    assert_eq!(protocol.status(), StatusCode::NO_CONTENT);
    assert_eq!(header(&protocol, "tus-version"), "1.0.0");
    assert_eq!(header(&protocol, "access-control-allow-methods"), "");
    assert_eq!(header(&protocol, "access-control-allow-origin"), APP);
}

#[tokio::test]
async fn a_refusal_for_the_rate_is_readable_by_an_allowed_page_too() {
    let settings = [
        ("CLOAKROOM_ALLOWED_ORIGINS", APP),
        ("CLOAKROOM_RATE_LIMIT", "on"),
        ("CLOAKROOM_RATE_LIMIT_DOWNLOAD", "1/60s"),
        ("CLOAKROOM_MAX_FILE_SIZE", "100"),
    ];
    let stand = Stand::with(&settings).await;
    let path = public_file(&stand.user()).await;
    let limited = || stand.anonymous().get(&path);
    assert_eq!(from(Some(APP), limited()).await.status(), 200);
    let answer = from(Some(APP), limited()).await;
    assert_eq!(header(&answer, "access-control-allow-origin"), APP);
    refused(answer, 429, "RATE_001").await;
    let large = stand.user().post("/files").body(vec![0; 200]);
    let answer = from(Some(APP), large).await;
    assert_eq!(header(&answer, "access-control-allow-origin"), APP);
    refused(answer, 413, "FILE_003").await;
}

/// What comes with a change by cookie, and whether it may be.
const CHANGES: [(&[(&str, &str)], bool); 12] = [
    (&[], true),
    (&[("Origin", APP)], true),
    (&[("Origin", FORMS)], true),
    (&[("Origin", "https://files.example.com")], true),
    (&[("Origin", EVIL)], false),
    (&[("Origin", "null")], false),
    (&[("Origin", "http://app.example.com")], false),
    (&[("Sec-Fetch-Site", "same-origin")], true),
    (&[("Sec-Fetch-Site", "none")], true),
    (&[("Sec-Fetch-Site", "same-site")], false),
    (&[("Sec-Fetch-Site", "cross-site")], false),
    (
        &[("Origin", EVIL), ("Sec-Fetch-Site", "same-origin")],
        false,
    ),
];

#[tokio::test]
async fn with_a_cookie_only_an_allowed_page_may_change_things_and_with_a_header_anybody() {
    let stand = stand().await;
    let user = stand.user();
    let path = public_file(&user).await;
    let cookie = format!("token={}", stand.user_token());
    for (headers, allowed) in CHANGES {
        let with = |caller: &Client, method, path: &str| {
            let request = caller.call(method, path).header("Cookie", &cookie);
            headers
                .iter()
                .fold(request, |it, (name, value)| it.header(*name, *value))
        };
        let nobody = stand.anonymous();
        let changes = [
            (with(&nobody, Method::POST, "/files").body("x"), 201),
            (with(&nobody, Method::PUT, &path).body("x"), 200),
            (
                with(&nobody, Method::PATCH, &format!("{path}/info")).body("{}"),
                200,
            ),
            (with(&nobody, Method::POST, &format!("{path}/restore")), 200),
        ];
        for (change, status) in changes {
            let waiting = change.try_clone().unwrap().header("Expect", "100-continue");
            for change in [change, waiting] {
                let answer = change.send().await.unwrap();
                if allowed {
                    assert_eq!(answer.status(), status, "{headers:?}");
                } else {
                    refused(answer, 403, "PERM_001").await;
                }
            }
        }
        // Reading is no change, and a header is no cookie: no browser sends it by itself.
        assert_eq!(
            with(&nobody, Method::GET, "/files")
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
        assert_eq!(
            with(&user, Method::PUT, &path)
                .body("x")
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
    }
}

#[tokio::test]
async fn a_foreign_pages_change_is_refused_before_its_body_is_read() {
    let stand = stand().await;
    let mut raw = Raw::connect(&stand.base()).await;
    let head = format!(
        "POST /files HTTP/1.1\r\nHost: x\r\nOrigin: {EVIL}\r\nCookie: token={}\r\nContent-Length: 50000000\r\n\r\n",
        stand.user_token()
    );
    raw.send(head).await.unwrap();
    let answer = raw.answer(Duration::from_secs(10)).await.unwrap();
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("PERM_001"));
    assert_eq!(stand.objects().await, 0);
}

#[tokio::test]
async fn in_development_pages_of_this_machine_may_work_with_the_service_until_others_are_named() {
    let stand = Stand::development().await;
    let cookie = format!("token={}", stand.user_token());
    for (origin, allowed) in [
        ("http://localhost:5173", true),
        ("http://127.0.0.1:3000", true),
        (EVIL, false),
        ("null", false),
    ] {
        let upload = stand
            .anonymous()
            .post("/files")
            .header("Cookie", &cookie)
            .body("x");
        let answer = from(Some(origin), upload).await;
        assert_eq!(
            header(&answer, "access-control-allow-origin") == origin,
            allowed
        );
        assert_eq!(answer.status() == StatusCode::CREATED, allowed, "{origin}");
    }
    let stand = Stand::development_with(&[("CLOAKROOM_ALLOWED_ORIGINS", APP)]).await;
    let cookie = format!("token={}", stand.user_token());
    let upload = stand
        .anonymous()
        .post("/files")
        .header("Cookie", &cookie)
        .body("x");
    let answer = from(Some("http://localhost:5173"), upload).await;
    refused(answer, 403, "PERM_001").await;
}
