//! Keys keep their identity, whatever they look like and whoever passes them on.

use std::time::Duration;

use cloakroom_tests::{
    client::{Answer, Client, Raw, expect, refused},
    servers::Nginx,
    stand::Stand,
};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{ALL, at, boxed, bucket, keys, page, put, removed, service, stored};

const PATIENCE: Duration = Duration::from_secs(10);

/// Ways to write keys in a path, and the keys that they are.
const SPELLED: [(&str, &str); 22] = [
    ("a", "a"),
    ("A", "A"),
    ("a/", "a/"),
    ("a//", "a//"),
    ("a/b", "a/b"),
    ("a//b", "a//b"),
    ("a%252Fb", "a%2Fb"),
    ("/a", "/a"),
    ("//a", "//a"),
    ("k%C3%B6ln", "k\u{f6}ln"),
    ("ko%CC%88ln", "ko\u{308}ln"),
    ("a%20b", "a b"),
    ("a+b", "a+b"),
    ("a%3Fb", "a?b"),
    ("a%23b", "a#b"),
    ("a%25b", "a%b"),
    ("a%0D%0Ab", "a\r\nb"),
    ("a%5Cb", "a\\b"),
    ("...", "..."),
    ("a;b=c,d", "a;b=c,d"),
    ("%F0%9F%98%80", "\u{1F600}"),
    (
        "files/upload/health/docs/objects",
        "files/upload/health/docs/objects",
    ),
];

/// A request with exactly this path.
async fn raw(base: &str, method: &str, path: &str, token: &str, body: &str) -> Answer {
    let mut connection = Raw::connect(base).await;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.send(head).await.unwrap();
    connection.answer(PATIENCE).await.unwrap()
}

async fn keep_their_identity(api: &Client, base: &str, token: &str) {
    for (spelled, key) in SPELLED {
        let path = format!("/objects/box/{spelled}");
        let put = raw(base, "PUT", &path, token, key).await;
        assert_eq!(put.status, 201, "{spelled}: {}", put.text());
    }
    for (spelled, key) in SPELLED {
        let path = format!("/objects/box/{spelled}");
        let got = raw(base, "GET", &path, token, "").await;
        assert_eq!((got.status, got.text().as_str()), (200, key), "{spelled}");
    }
    // Another spelling of the same key.
    for (spelled, key) in [
        ("a%2Fb", "a/b"),
        ("%61", "a"),
        ("a%2f%2Fb", "a//b"),
        ("%2e..", "..."),
    ] {
        let got = raw(base, "GET", &format!("/objects/box/{spelled}"), token, "").await;
        assert_eq!((got.status, got.text().as_str()), (200, key), "{spelled}");
    }
    let mut expected: Vec<&str> = SPELLED.iter().map(|(_, key)| *key).collect();
    expected.sort_unstable();
    assert_eq!(keys(&page(api, "").await), expected);
    for (_, key) in SPELLED {
        assert_eq!(removed(api, key).await, StatusCode::NO_CONTENT, "{key}");
    }
}

#[tokio::test]
async fn keys_that_look_alike_are_different_objects() {
    let stand = Stand::simple().await;
    let api = boxed(&stand).await;
    keep_their_identity(&api, &stand.base(), &stand.admin_token()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_look_alike_are_different_objects_through_nginx() {
    let settings = [
        ("CLOAKROOM_TRUSTED_PROXIES", "127.0.0.1"),
        ("CLOAKROOM_OFFLOAD", "x-accel"),
    ];
    let stand = Stand::with(&settings).await;
    boxed(&stand).await;
    let nginx = Nginx::before([stand.address()])
        .offload_from(stand.data_dir().join("objects"))
        .start()
        .await;
    let api = nginx.client().with(Some(&stand.admin_token()));
    keep_their_identity(&api, &nginx.base(), &stand.admin_token()).await;
    // A body that nginx sends, and one with fields that it does not know.
    let large = "x".repeat(200_000);
    for (key, meta) in [("large//plain ", None), ("large/with fields", Some("m"))] {
        let request = meta
            .iter()
            .fold(put(&api, key), |r, m| r.header("X-Meta-A", *m));
        let made = request.body(large.clone()).send().await.unwrap();
        assert_eq!(made.status(), 201);
        let got = api.get(&at(key)).send().await.unwrap();
        assert_eq!(got.status(), 200, "{key}");
        let back = got
            .headers()
            .get("x-meta-a")
            .map(|v| v.to_str().unwrap().to_owned());
        assert_eq!(back.as_deref(), meta, "{key}");
        assert!(got.bytes().await.unwrap() == large.as_bytes());
    }
    // As much as fits.
    let half = "m".repeat(8 * 1024 - r#"{"a":"","#.len());
    let fields = ["X-Meta-A", "X-Meta-B"];
    let request = fields
        .iter()
        .fold(put(&api, "most"), |r, name| r.header(*name, &half));
    assert_eq!(request.body("x").send().await.unwrap().status(), 201);
    let got = api.get(&at("most")).send().await.unwrap();
    assert_eq!(got.status(), 200);
    assert!(fields.iter().all(|name| got.headers()[*name] == half));
    for path in ["a/../b", "a/%2e%2e/b", "a/.", "../box/a"] {
        let path = format!("/objects/box/{path}");
        let answer = raw(&nginx.base(), "PUT", &path, &stand.admin_token(), "x").await;
        assert_eq!(answer.status, 422, "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn what_cannot_be_a_key_is_422() {
    let stand = Stand::simple().await;
    let api = boxed(&stand).await;
    let token = stand.admin_token();
    let longest = "%C3%B6".repeat(512);
    let put = raw(
        &stand.base(),
        "PUT",
        &format!("/objects/box/{longest}"),
        &token,
        "x",
    )
    .await;
    assert_eq!(put.status, 201, "{}", put.text());
    let long = "a".repeat(1025);
    for bad in [
        "..",
        ".",
        "a/..",
        "../../etc/passwd",
        "a/./b",
        "%2e%2E/a",
        "a%2F..%2Fb",
        "%00",
        "a%00b",
        "%FF",
        "%",
        "%4",
        "%zz",
        &long,
    ] {
        for method in ["PUT", "GET", "DELETE"] {
            let path = format!("/objects/box/{bad}");
            let answer = raw(&stand.base(), method, &path, &token, "x").await;
            let text = answer.text();
            assert_eq!(answer.status, 422, "{method} {bad}: {text}");
            assert!(text.contains("VAL_001"), "{text}");
        }
    }
    assert_eq!(keys(&page(&api, "").await).len(), 1);
    // Without a key it is the list, whose slash may be there.
    let list = raw(&stand.base(), "GET", "/objects/box/", &token, "").await;
    assert_eq!(list.status, 200);
    let list = raw(&stand.base(), "PUT", "/objects/box/", &token, "x").await;
    assert_eq!(list.status, 405);
    for bad in ["prefix=%00", "cursor=!", "limit=0", "limit=1001", "limit=x"] {
        let answer = api.get(&format!("/objects/box?{bad}")).send().await;
        refused(answer.unwrap(), 422, "VAL_001").await;
    }
}

#[tokio::test]
async fn a_bucket_may_be_called_like_a_route() {
    for mount in ["/files", "/"] {
        let stand = Stand::with(&[("CLOAKROOM_MOUNT", mount)]).await;
        let api = service(&stand, "s").await;
        for name in [
            "files", "upload", "health", "docs", "objects", "buckets", "uploads",
        ] {
            bucket(
                &stand,
                name,
                json!({"grants": [{"service": "s", "allow": ALL}]}),
            )
            .await;
            let path = format!("/objects/{name}/{name}");
            let put = api.call(Method::PUT, &path).body(name);
            assert_eq!(put.send().await.unwrap().status(), 201, "{mount} {name}");
            assert_eq!(api.bytes(&path).await, name.as_bytes());
            let list = api.get(&format!("/objects/{name}")).send().await.unwrap();
            let list = expect(list, StatusCode::OK).await;
            assert_eq!(keys(&list), [name]);
        }
    }
}

#[tokio::test]
async fn a_key_never_becomes_a_path() {
    let stand = Stand::simple().await;
    let api = boxed(&stand).await;
    for key in ["etc/passwd", "CON", "a/b.exe", ".hidden", "secret-name.PDF"] {
        stored(&api, key, "x").await;
    }
    for object in cloakroom_tests::inspect::objects(&stand).await {
        for part in ["passwd", "CON", "exe.", "hidden", "secret"] {
            assert!(!object.key.contains(part), "{}", object.key);
        }
    }
    stand.assert_consistent().await;
}
