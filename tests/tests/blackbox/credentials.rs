//! Which of several credentials counts, and what becomes of refused ones.

use cloakroom_tests::{
    client::{Client, expect, id, refused},
    jwt::{LATER, guest_claims, hs256},
    stand::Stand,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// The backend's secret key, which guests' tokens are signed with.
const BACKEND: &str = "a5f0c2e4-of-the-backend";
/// The key of users' JWTs.
const PROVIDER: &str = "0f8e2d6a-4b1c-49d3-of-the-provider";

type Header = (&'static str, String);

async fn stand() -> Stand {
    Stand::with(&[
        ("CLOAKROOM_AUTH_SECRET_KEY", BACKEND),
        ("CLOAKROOM_JWT_KEY", PROVIDER),
    ])
    .await
}

fn guest(account: u64) -> String {
    hs256(BACKEND, &guest_claims(account, None))
}

fn expired_guest() -> String {
    let mut claims = guest_claims(9, None);
    claims["exp"] = json!(1);
    hs256(BACKEND, &claims)
}

fn user(account: u64) -> String {
    let claims = json!({"exp": LATER, "sub": "20", "account_id": account});
    hs256(PROVIDER, &claims)
}

fn bearer(token: &str) -> Header {
    ("Authorization", format!("Bearer {token}"))
}

fn guest_header(token: &str) -> Header {
    ("X-Guest-Authorization", token.to_owned())
}

fn cookie(text: &str) -> Header {
    ("Cookie", text.to_owned())
}

/// The account that an upload with these headers belongs to, or the status of its refusal.
async fn account(nobody: &Client, headers: &[Header]) -> Result<u64, u16> {
    let mut request = nobody.post("/files?filename=a.txt").body("x");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let answer = request.send().await.unwrap();
    if answer.status() == StatusCode::CREATED {
        let file: Value = answer.json().await.unwrap();
        return Ok(file["account_id"].as_u64().unwrap());
    }
    Err(answer.status().as_u16())
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn the_first_credential_that_is_accepted_wins_and_a_refused_header_is_final() {
    let stand = stand().await;
    let nobody = stand.anonymous();
    let issued = stand.user_token();
    let (user, other, late) = (user(2), guest(3), expired_guest());
    let cookie_of = |account| format!("guest-token={}", guest(account));
    let many = vec!["token=nobodys"; 500].join("; ");
    let long = format!("token={}; {}", "x".repeat(8000), cookie_of(4));
    let table: Vec<(&str, Vec<Header>, Result<u64, u16>)> = vec![
        ("nothing", vec![], Err(401)),
        ("issued token", vec![bearer(issued)], Ok(1)),
        ("user's JWT", vec![bearer(&user)], Ok(2)),
        ("guest's header", vec![guest_header(&other)], Ok(3)),
        (
            "guest's header with a scheme",
            vec![guest_header(&format!("bearer {other}"))],
            Ok(3),
        ),
        ("guest's cookie", vec![cookie(&cookie_of(4))], Ok(4)),
        (
            "guest's cookie with a scheme",
            vec![cookie(&format!("guest-token=\"Token {}\"", guest(4)))],
            Ok(4),
        ),
        (
            "guest's cookie, encoded",
            vec![cookie(&format!("guest-token=Token%20{}", guest(4)))],
            Ok(4),
        ),
        (
            "bearer before guest",
            vec![guest_header(&other), bearer(&user)],
            Ok(2),
        ),
        (
            "bearer before refused guest",
            vec![guest_header("a.b.c"), bearer(&user)],
            Ok(2),
        ),
        (
            "guest before cookie",
            vec![cookie(&cookie_of(4)), guest_header(&other)],
            Ok(3),
        ),
        (
            "refused bearer, good guest",
            vec![bearer("x"), guest_header(&other)],
            Err(401),
        ),
        (
            "refused bearer, good cookie",
            vec![bearer("a.b.c"), cookie(&cookie_of(4))],
            Err(401),
        ),
        (
            "refused guest, good cookie",
            vec![guest_header(&late), cookie(&cookie_of(4))],
            Err(401),
        ),
        (
            "unreadable header, good cookie",
            vec![
                ("Authorization", "Basic eA==".to_owned()),
                cookie(&cookie_of(4)),
            ],
            Err(401),
        ),
        (
            "refused public, good cookie",
            vec![
                ("X-Public-Authorization", "Token x".to_owned()),
                cookie(&cookie_of(4)),
            ],
            Err(401),
        ),
        ("two bearers", vec![bearer(&user), bearer(issued)], Err(401)),
        ("guest as bearer", vec![bearer(&other)], Err(401)),
        ("user as guest", vec![guest_header(&user)], Err(401)),
        (
            "user's JWT as a cookie",
            vec![cookie(&format!("token={user}"))],
            Err(401),
        ),
        (
            "issued token as a cookie",
            vec![cookie(&format!("token={issued}"))],
            Err(401),
        ),
        (
            "refused cookies alone",
            vec![cookie(&format!(
                "token=x; guest-token={late}; public-token=x"
            ))],
            Err(401),
        ),
        (
            "refused cookies, then a good one",
            vec![cookie(&format!(
                "file_service_auth=x; token=y; {}",
                cookie_of(4)
            ))],
            Ok(4),
        ),
        (
            "refused and good of a name",
            vec![cookie(&format!("guest-token={late}; {}", cookie_of(4)))],
            Ok(4),
        ),
        (
            "the first good of a name",
            vec![cookie(&format!("{}; {}", cookie_of(5), cookie_of(4)))],
            Ok(5),
        ),
        (
            "500 cookies, then a good one",
            vec![cookie(&format!("{many}; {}", cookie_of(4)))],
            Ok(4),
        ),
        ("a cookie of 8 KB", vec![cookie(&long)], Ok(4)),
    ];
    for (name, headers, expected) in table {
        assert_eq!(account(&nobody, &headers).await, expected, "{name}");
    }
}

#[tokio::test]
async fn bytes_that_no_token_has_are_refused_in_headers_and_passed_over_in_cookies() {
    let stand = stand().await;
    let good = format!("guest-token={}", guest(4));
    let long = "x".repeat(9000);
    for (header, expected) in [
        (b"Authorization: Bearer caf\xe9".as_slice(), 401),
        (b"X-Guest-Authorization: \xff\xfe", 401),
        (b"Authorization: Bearer a b", 401),
        (format!("Authorization: Bearer {long}").as_bytes(), 401),
        (
            format!("Cookie: theme=caf\u{e9}; token={long}; {good}").as_bytes(),
            200,
        ),
        (format!("Cookie: token=%00; {good}").as_bytes(), 200),
        (b"Authorization: Bearer a\0b", 400),
    ] {
        let mut request = b"GET /files HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".to_vec();
        request.extend_from_slice(header);
        request.extend_from_slice(b"\r\n\r\n");
        let answer = crate::raw::send_and_half_close(stand.address(), &request).await;
        let shown = String::from_utf8_lossy(&header[..header.len().min(40)]).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected} ")),
            "{shown}: {answer:.100}"
        );
    }
}

#[tokio::test]
async fn no_credential_and_refused_cookies_are_told_401_also_for_ids_that_do_not_exist() {
    let stand = stand().await;
    let file = stand.user().stored("a.txt", "x").await;
    let nobody = stand.anonymous();
    let with_cookie = nobody.with_header("Cookie", "guest-token=a.b.c; token=x");
    for caller in [&nobody, &with_cookie] {
        for path in [
            format!("/files/{}", id(&file)),
            "/files/no-such-file".to_owned(),
        ] {
            for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
                let answer = caller.call(method.clone(), &path).send().await.unwrap();
                assert_eq!(answer.status(), 401, "{method} {path}");
            }
        }
        refused(
            caller.get("/files/no-such-file").send().await.unwrap(),
            401,
            "AUTH_001",
        )
        .await;
    }
    let guest = nobody.with_header("X-Guest-Authorization", &guest(1));
    refused(
        guest.get("/files/no-such-file").send().await.unwrap(),
        404,
        "FILE_001",
    )
    .await;
}

#[tokio::test]
async fn a_guest_owns_what_came_under_its_very_token_and_a_named_one_what_the_user_owns() {
    let stand = stand().await;
    let with = |token: &str| {
        stand
            .anonymous()
            .with_header("X-Guest-Authorization", token)
    };
    let visitor = with(&guest(1));
    let file = visitor.stored("a.txt", "mine").await;
    assert_eq!(
        (&file["account_id"], &file["user_id"]),
        (&json!(1), &Value::Null)
    );
    let path = format!("/files/{}", id(&file));
    assert_eq!(visitor.bytes(&path).await, b"mine");
    let by_cookie = stand
        .anonymous()
        .with_header("Cookie", &format!("guest-token={}", guest(1)));
    assert_eq!(by_cookie.bytes(&path).await, b"mine");

    let mut another = guest_claims(1, None);
    another["jti"] = json!("another");
    for other in [
        with(&hs256(BACKEND, &another)),
        with(&guest(2)),
        stand.user(),
    ] {
        refused(other.get(&path).send().await.unwrap(), 403, "FILE_002").await;
    }
    let named = with(&hs256(BACKEND, &guest_claims(1, Some(7))));
    let own = stand.user().stored("b.txt", "of user 7").await;
    assert_eq!(
        named.bytes(&format!("/files/{}", id(&own))).await,
        b"of user 7"
    );
    let gone = visitor.call(Method::DELETE, &path).send().await.unwrap();
    expect(gone, StatusCode::NO_CONTENT).await;
}

#[tokio::test]
async fn tokens_that_are_refused_or_accepted_stand_in_no_log() {
    let stand = Stand::with(&[
        ("CLOAKROOM_AUTH_SECRET_KEY", BACKEND),
        ("CLOAKROOM_JWT_KEY", PROVIDER),
        ("CLOAKROOM_LOG", "trace"),
    ])
    .await;
    let (user, guest, late) = (user(2), guest(3), expired_guest());
    let nobody = stand.anonymous();
    assert_eq!(account(&nobody, &[bearer(&user)]).await, Ok(2));
    assert_eq!(account(&nobody, &[guest_header(&guest)]).await, Ok(3));
    assert_eq!(account(&nobody, &[guest_header(&late)]).await, Err(401));
    assert_eq!(
        account(&nobody, &[cookie(&format!("guest-token={late}"))]).await,
        Err(401)
    );
    let log = stand.log_with("it has expired").await;
    for secret in [BACKEND, PROVIDER, &user, &guest, &late] {
        // Not its signature either.
        let tail = secret.rsplit('.').next().unwrap();
        assert!(!log.contains(tail), "{log}");
    }
}

#[tokio::test]
async fn a_refused_header_is_401_whatever_cookie_comes_with_it_and_a_refused_cookie_is_passed_over()
{
    let stand = Stand::development().await;
    let token = stand.user_token();
    let nobody = stand.anonymous();
    let list = |headers: Vec<(&'static str, String)>| {
        let mut request = nobody.get("/files");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        async move { request.send().await.unwrap().status().as_u16() }
    };
    let cookie = |value: &str| ("Cookie", value.to_owned());
    assert_eq!(
        list(vec![("Authorization", format!("Token {token}"))]).await,
        200
    );
    assert_eq!(
        list(vec![("Authorization", format!("bearer {token}"))]).await,
        200
    );
    assert_eq!(list(vec![cookie(&format!("token={token}"))]).await, 200);
    assert_eq!(
        list(vec![cookie(&format!(
            "file_service_auth=wrong; token={token}"
        ))])
        .await,
        200
    );
    assert_eq!(
        list(vec![
            ("Authorization", "Bearer wrong".to_owned()),
            cookie(&format!("token={token}"))
        ])
        .await,
        401
    );
    assert_eq!(
        list(vec![
            ("Authorization", "Basic abc".to_owned()),
            cookie(&format!("token={token}"))
        ])
        .await,
        401
    );
    assert_eq!(
        list(vec![
            ("X-Guest-Authorization", "a.b.c".to_owned()),
            cookie(&format!("token={token}"))
        ])
        .await,
        401
    );
    assert_eq!(list(vec![cookie("token=wrong")]).await, 401);
    assert_eq!(
        list(vec![(
            "Authorization",
            format!("Bearer {}", "x".repeat(20_000))
        )])
        .await,
        401
    );
}
