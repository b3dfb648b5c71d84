//! Signed links: what one opens, and what it does not.

mod counted;
mod kept;
mod replicas;
mod secret;

use std::time::Duration;

use cloakroom_tests::{
    client::{Client, expect, file_path, header, id, refused},
    stand::Stand,
};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

/// Makes a link to the file and answers its JSON.
pub async fn made(api: &Client, file: &str, wish: Value) -> Value {
    let request = api.post(&format!("{}/links", file_path(file))).json(&wish);
    expect(request.send().await.unwrap(), StatusCode::CREATED).await
}

/// The path and query of a link's address: the service under test is asked wherever its public address leads.
pub fn path_of(link: &Value) -> String {
    let url = reqwest::Url::parse(link["url"].as_str().unwrap()).unwrap();
    format!("{}?{}", url.path(), url.query().unwrap())
}

/// What opens the file.
pub fn token_of(link: &Value) -> String {
    let (_, token) = link["url"].as_str().unwrap().split_once("?link=").unwrap();
    token.to_owned()
}

/// How often the link was used, as its list tells.
pub async fn uses_of(api: &Client, file: &str, link: &Value) -> u64 {
    let answer = api.get(&format!("{}/links", file_path(file)));
    let page = expect(answer.send().await.unwrap(), StatusCode::OK).await;
    let mut items = page["items"].as_array().unwrap().iter();
    let found = items.find(|item| item["link_id"] == link["link_id"]);
    found.unwrap()["uses"].as_u64().unwrap()
}

async fn get(api: &Client, path: &str) -> Response {
    api.get(path).send().await.unwrap()
}

#[tokio::test]
async fn whoever_has_a_link_reads_that_file_without_a_credential() {
    let public = ("CLOAKROOM_PUBLIC_URL", "https://example.com/files");
    let stand = Stand::with(&[public]).await;
    let owner = stand.user();
    let file = owner.stored("Отчёт 1.txt", "0123456789").await;
    let link = made(&owner, id(&file), json!({})).await;
    let url = link["url"].as_str().unwrap();
    let begins = format!("https://example.com/files/{}?link=", id(&file));
    assert!(url.starts_with(&begins), "{url}");
    assert_eq!(token_of(&link).len(), 64);
    for (member, value) in [
        ("uses", json!(0)),
        ("max_uses", Value::Null),
        ("version", Value::Null),
        ("disposition", json!("attachment")),
    ] {
        assert_eq!(link[member], value, "{member}");
    }
    for member in ["link_id", "created_at", "expires_at"] {
        assert!(link[member].is_string(), "{member}");
    }

    let nobody = stand.anonymous();
    let answer = get(&nobody, &path_of(&link)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(header(&answer, "referrer-policy"), "no-referrer");
    assert_eq!(header(&answer, "cache-control"), "private, no-cache");
    assert!(header(&answer, "content-disposition").starts_with("attachment;"));
    assert_eq!(header(&answer, "etag"), file["etag"]);
    assert_eq!(answer.text().await.unwrap(), "0123456789");
    let head = nobody.call(Method::HEAD, &path_of(&link)).send().await;
    assert_eq!(header(&head.unwrap(), "content-length"), "10");
    let part = nobody.get(&path_of(&link)).header("Range", "bytes=2-4");
    let part = part.send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.text().await.unwrap(), "234");
    // The link says how it is to be shown, not whoever follows it.
    let inline = format!("{}&disposition=inline", path_of(&link));
    let answer = get(&nobody, &inline).await;
    assert!(header(&answer, "content-disposition").starts_with("attachment;"));
}

#[tokio::test]
async fn a_link_opens_nothing_but_its_own_file_and_version() {
    let stand = Stand::simple().await;
    let owner = stand.user();
    let (file, other) = (owner.stored("a", "1").await, owner.stored("b", "2").await);
    let put = owner.call(Method::PUT, &file_path(id(&file))).body("3");
    expect(put.send().await.unwrap(), StatusCode::OK).await;
    let (path, nobody) = (file_path(id(&file)), stand.anonymous());
    let link = made(&owner, id(&file), json!({})).await;
    let pinned = made(&owner, id(&file), json!({"version": 1})).await;
    let (token, old) = (token_of(&link), token_of(&pinned));

    for elsewhere in [
        format!("{}?link={token}", file_path(id(&other))),
        format!("/files/unknown?link={token}"),
        format!("{path}/versions/1?link={token}"),
        format!("{path}/versions/2?link={token}"),
        format!("{path}/versions/x?link={token}"),
        format!("{path}?link={old}"),
        format!("{path}/versions/2?link={old}"),
        format!("{path}/info?link={token}"),
        format!("{path}/links?link={token}"),
        format!("{path}/versions?link={token}"),
        format!("/files?link={token}"),
        format!("/files/{}?link={token}", "x".repeat(600)),
    ] {
        refused(get(&nobody, &elsewhere).await, 401, "AUTH_001").await;
    }
    for method in [Method::PUT, Method::DELETE] {
        let call = nobody.call(method, &path_of(&link)).body("x");
        refused(call.send().await.unwrap(), 401, "AUTH_001").await;
    }
    assert_eq!(
        get(&nobody, &path_of(&pinned)).await.text().await.unwrap(),
        "1"
    );
    assert_eq!(
        get(&nobody, &path_of(&link)).await.text().await.unwrap(),
        "3"
    );
}

#[tokio::test]
async fn a_link_altered_by_one_character_or_cut_or_given_twice_is_refused() {
    let stand = Stand::simple().await;
    let owner = stand.user();
    let file = owner.stored("a", "1").await;
    let (path, nobody) = (file_path(id(&file)), stand.anonymous());
    let link = made(&owner, id(&file), json!({})).await;
    let token = token_of(&link);
    for at in 0..token.len() {
        let altered = if token.as_bytes()[at] == b'A' {
            "B"
        } else {
            "A"
        };
        let altered = format!("{}{altered}{}", &token[..at], &token[at + 1..]);
        let answer = get(&nobody, &format!("{path}?link={altered}")).await;
        refused(answer, 401, "AUTH_001").await;
    }
    for bad in [
        format!("link={}", &token[1..]),
        format!("link={token}A"),
        format!("link={token}="),
        format!("link=%00{token}"),
        format!("link={token}&link={token}"),
        format!("link={}", "A".repeat(64)),
        format!("link={}", "A".repeat(6000)),
        "link=".to_owned(),
        "link".to_owned(),
        "link=%ff".to_owned(),
    ] {
        let answer = get(&nobody, &format!("{path}?{bad}")).await;
        refused(answer, 401, "AUTH_001").await;
    }
}

#[tokio::test]
async fn beside_a_link_no_other_credential_counts_and_nobody_is_sent_to_sign_in() {
    let frontend = ("CLOAKROOM_FRONTEND_URL", "https://app.example.com");
    let stand = Stand::development_with(&[frontend]).await;
    let owner = stand.user();
    let file = owner.stored("a.txt", "x").await;
    let path = file_path(id(&file));
    let link = made(&owner, id(&file), json!({})).await;
    let cookie = format!("token={}", stand.user_token());
    for refused_link in ["A", &"A".repeat(64), ""] {
        let path = format!("{path}?link={refused_link}");
        let browser = owner
            .get(&path)
            .header("Accept", "text/html")
            .header("Cookie", &cookie);
        let answer = browser.send().await.unwrap();
        assert!(!answer.headers().contains_key("location"));
        assert_eq!(header(&answer, "referrer-policy"), "no-referrer");
        refused(answer, 401, "AUTH_001").await;
    }
    let with_a_wrong_one = stand.anonymous().with(Some("wrong"));
    let answer = with_a_wrong_one
        .get(&path_of(&link))
        .header("Accept", "text/html");
    assert_eq!(answer.send().await.unwrap().status(), StatusCode::OK);
    // Neither is anybody sent elsewhere by another error, or from another route.
    let nobody = stand.anonymous().with_header("Accept", "text/html");
    let token = token_of(&link);
    for elsewhere in ["/info", "/versions/1", "/nowhere/at/all"] {
        let answer = get(&nobody, &format!("{path}{elsewhere}?link={token}")).await;
        assert!(!answer.headers().contains_key("location"), "{elsewhere}");
        assert!(answer.status().is_client_error(), "{elsewhere}");
    }
    let answer = get(&nobody, &path).await;
    assert_eq!(answer.status(), StatusCode::FOUND);
}

#[tokio::test]
async fn a_link_to_a_version_stays_with_it_and_one_to_the_file_goes_along() {
    let stand = Stand::simple().await;
    let (owner, nobody) = (stand.user(), stand.anonymous());
    let file = owner.stored("a.txt", "one").await;
    let path = file_path(id(&file));
    let current = made(&owner, id(&file), json!({})).await;
    let pinned = made(&owner, id(&file), json!({"version": 1})).await;
    assert_eq!(pinned["version"], 1);
    assert!(
        pinned["url"]
            .as_str()
            .unwrap()
            .contains("/versions/1?link=")
    );
    let put = owner.call(Method::PUT, &path).body("two");
    expect(put.send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(nobody.bytes(&path_of(&current)).await, b"two");
    assert_eq!(nobody.bytes(&path_of(&pinned)).await, b"one");
    let delete = owner.call(Method::DELETE, &format!("{path}/versions/1"));
    assert_eq!(
        delete.send().await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    refused(get(&nobody, &path_of(&pinned)).await, 404, "FILE_001").await;

    let trash = owner.call(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(trash.status(), StatusCode::NO_CONTENT);
    refused(get(&nobody, &path_of(&current)).await, 404, "FILE_001").await;
    let restore = owner.post(&format!("{path}/restore")).send().await.unwrap();
    expect(restore, StatusCode::OK).await;
    assert_eq!(nobody.bytes(&path_of(&current)).await, b"two");
    owner.purge(id(&file)).await;
    refused(get(&nobody, &path_of(&current)).await, 404, "FILE_001").await;
}

#[tokio::test]
async fn inline_is_for_types_that_are_safe_to_show() {
    let stand = Stand::simple().await;
    let (owner, nobody) = (stand.user(), stand.anonymous());
    let wish = json!({"disposition": "inline"});
    for (name, kind, expected) in [
        ("a.txt", "text/plain", "inline;"),
        ("a.html", "text/html", "attachment;"),
        ("a.svg", "image/svg+xml", "attachment;"),
    ] {
        let answer = owner.upload(name, kind, "<p>x</p>").await;
        let file = expect(answer, StatusCode::CREATED).await;
        let link = made(&owner, id(&file), wish.clone()).await;
        assert_eq!(link["disposition"], "inline");
        let answer = get(&nobody, &path_of(&link)).await;
        let shown = header(&answer, "content-disposition");
        assert!(shown.starts_with(expected), "{name}: {shown}");
        assert!(header(&answer, "content-security-policy").starts_with("sandbox;"));
    }
}

#[tokio::test]
async fn a_link_ends_with_its_time_or_when_it_is_revoked() {
    let stand = Stand::simple().await;
    let (owner, nobody) = (stand.user(), stand.anonymous());
    let file = owner.stored("a.txt", "x").await;
    let path = file_path(id(&file));
    let short = made(&owner, id(&file), json!({"expires_in": 1})).await;
    let revoked = made(&owner, id(&file), json!({})).await;
    let stays = made(&owner, id(&file), json!({})).await;
    let delete = async |of: &str, link: &Value| {
        let place = format!(
            "{}/links/{}",
            file_path(of),
            link["link_id"].as_str().unwrap()
        );
        owner.call(Method::DELETE, &place).send().await.unwrap()
    };
    let other = owner.stored("b.txt", "x").await;
    refused(delete(id(&other), &revoked).await, 404, "FILE_001").await;
    assert_eq!(nobody.bytes(&path_of(&revoked)).await, b"x");
    let gone = delete(id(&file), &revoked).await;
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    refused(get(&nobody, &path_of(&revoked)).await, 401, "AUTH_001").await;
    refused(delete(id(&file), &revoked).await, 404, "FILE_001").await;
    let odd = owner.call(Method::DELETE, &format!("{path}/links/x"));
    refused(odd.send().await.unwrap(), 404, "FILE_001").await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    refused(get(&nobody, &path_of(&short)).await, 401, "AUTH_001").await;
    assert_eq!(nobody.bytes(&path_of(&stays)).await, b"x");
}

#[tokio::test]
async fn what_no_link_can_be_is_422_and_nothing_is_made() {
    let bounds = [
        ("CLOAKROOM_LINK_LIFETIME", "10s"),
        ("CLOAKROOM_LINK_MAX_LIFETIME", "60s"),
    ];
    let stand = Stand::with(&bounds).await;
    let owner = stand.user();
    let file = owner.stored("a.txt", "x").await;
    let links = format!("{}/links", file_path(id(&file)));
    let ask = async |wish: Value| owner.post(&links).json(&wish).send().await.unwrap();
    for bad in [
        json!({"expires_in": 0}),
        json!({"expires_in": -1}),
        json!({"expires_in": 61}),
        json!({"expires_in": 1.5}),
        json!({"expires_in": "60"}),
        json!({"expires_in": u64::MAX}),
        json!({"max_uses": 0}),
        json!({"max_uses": 1_000_001}),
        json!({"disposition": "form-data"}),
        json!({"version": "1"}),
        json!({"uses": 1}),
        json!([]),
    ] {
        refused(ask(bad).await, 422, "VAL_001").await;
    }
    for version in [json!(0), json!(2), json!(u64::MAX)] {
        refused(ask(json!({"version": version})).await, 404, "FILE_001").await;
    }
    let broken = owner.post(&links).body("{").send().await.unwrap();
    refused(broken, 400, "VAL_004").await;
    let none = expect(get(&owner, &links).await, StatusCode::OK).await;
    assert_eq!(none, json!({"items": [], "next_cursor": null}));
    let most = expect(
        ask(json!({"expires_in": 60, "max_uses": 1_000_000})).await,
        StatusCode::CREATED,
    );
    assert_eq!(most.await["max_uses"], 1_000_000);
    let nowhere = owner.post("/files/unknown/links").json(&json!({}));
    refused(nowhere.send().await.unwrap(), 404, "FILE_001").await;
}
