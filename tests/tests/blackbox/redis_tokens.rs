//! Callers that a Django backend knows, by the tokens that it keeps in Redis.

use std::time::{Duration, Instant};

use cloakroom_tests::{
    backend::{Backend, Member, pickled, session},
    client::{Client, expect, id, refused},
    stand::Stand,
};
use redis::cmd;
use reqwest::{RequestBuilder, StatusCode};

/// A request with a header.
fn with(api: &Client, path: &str, name: &str, value: &str) -> RequestBuilder {
    api.get(path).header(name, value)
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

/// The status that the bearer of a token is told at `/files`.
async fn told(stand: &Stand, token: &str) -> u16 {
    status(stand.anonymous().with(Some(token)).get("/files")).await
}

#[tokio::test]
async fn a_user_of_the_backend_is_recognised_by_header_and_by_cookie() {
    let backend = Backend::start().await;
    let stand = Stand::beside(&backend, &[]).await;
    let alice = backend.sign_in(3685, 1688).await;
    let bob = backend.sign_in(7, 1688).await;
    let file = stand.anonymous().with(Some(&alice));
    let file = file.stored("a.txt", "hers").await;
    let (path, nobody) = (format!("/files/{}", id(&file)), stand.anonymous());
    for scheme in ["Bearer", "Token", "bearer"] {
        let value = format!("{scheme} {alice}");
        assert_eq!(
            status(with(&nobody, &path, "authorization", &value)).await,
            200
        );
    }
    for cookie in ["file_service_auth", "token"] {
        for value in [&alice, &format!("Token {alice}")] {
            let value = format!("{cookie}={value}");
            assert_eq!(status(with(&nobody, &path, "cookie", &value)).await, 200);
        }
    }
    let passed_over = format!("file_service_auth=unknown; token={alice}");
    assert_eq!(
        status(with(&nobody, &path, "cookie", &passed_over)).await,
        200
    );
    let refused_first = with(&nobody, &path, "authorization", "Bearer unknown");
    let refused_first = refused_first.header("cookie", format!("token={alice}"));
    refused(refused_first.send().await.unwrap(), 401, "AUTH_001").await;
    let colleague = nobody.with(Some(&bob)).get(&path).send().await.unwrap();
    refused(colleague, 403, "FILE_002").await;
    let info = nobody.with(Some(&alice)).get(&format!("{path}/info"));
    let info = expect(info.send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(
        (&info["user_id"], &info["account_id"]),
        (&3685.into(), &1688.into()),
        "{info}"
    );
}

#[tokio::test]
async fn a_visitor_has_what_came_with_the_very_same_public_token() {
    let backend = Backend::start().await;
    let stand = Stand::beside(&backend, &[]).await;
    let nobody = stand.anonymous();
    for length in [8, 32] {
        let (own, other) = (
            backend.visitor(length, 5).await,
            backend.visitor(length, 5).await,
        );
        let upload = nobody.post("/files?filename=a.txt").body("mine");
        let upload = upload.header("x-public-authorization", format!("Token {own}"));
        let file = expect(upload.send().await.unwrap(), StatusCode::CREATED).await;
        let path = format!("/files/{}", id(&file));
        let header =
            async |value: &str| status(with(&nobody, &path, "x-public-authorization", value)).await;
        assert_eq!(header(&own).await, 200);
        assert_eq!(header(&format!("Token {own}")).await, 200);
        assert_eq!(header(&other).await, 403);
        for value in [own.clone(), format!("Token {own}")] {
            let cookie = format!("public-token={value}");
            assert_eq!(status(with(&nobody, &path, "cookie", &cookie)).await, 200);
        }
        // A token is what the place says that it came in.
        assert_eq!(told(&stand, &own).await, 401);
        let as_user = format!("token={own}");
        assert_eq!(status(with(&nobody, &path, "cookie", &as_user)).await, 401);
    }
    let user = backend.sign_in(1, 5).await;
    let key = backend.key_of(&user);
    for (name, value) in [
        ("x-public-authorization", user.as_str()),
        ("x-public-authorization", key.trim_start_matches(":1:")),
        ("cookie", &format!("public-token={user}")),
    ] {
        assert_eq!(status(with(&nobody, "/files", name, value)).await, 401);
    }
    // A session under a visitor's key makes a visitor.
    let token = "abcdefgh";
    backend
        .put(&backend.public_key_of(token), &session(1, 5))
        .await;
    let file = nobody.with(Some(&user)).stored("b.txt", "the user's").await;
    let path = format!("/files/{}", id(&file));
    assert_eq!(
        status(with(&nobody, &path, "x-public-authorization", token)).await,
        403
    );
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of values")]
async fn what_is_no_session_is_a_refused_token_and_no_token_is_logged() {
    let backend = Backend::start().await;
    let stand = Stand::beside(&backend, &[("CLOAKROOM_LOG", "trace")]).await;
    let (number, text) = (Member::Number, Member::Text);
    let values: Vec<Vec<u8>> = vec![
        b"5".to_vec(),
        b"".to_vec(),
        b"\x80\x05]\x94(\x8c\x04abcd\x94\x8c\x04efgh\x94e.".to_vec(),
        b"]q\x00h\x00a.".to_vec(),
        b"}q\x00U\x07user_idh\x00U\x0aaccount_idh\x00uu.".to_vec(),
        b"cos\nsystem\n(S'touch /tmp/pwned'\ntR.".to_vec(),
        vec![b'('; 60_000],
        vec![b'x'; 100_000],
        pickled(&[("user_id", number(1))]),
        pickled(&[("account_id", number(1))]),
        pickled(&[("user_id", number(-1)), ("account_id", number(1))]),
        pickled(&[("user_id", Member::Switch(true)), ("account_id", number(1))]),
        pickled(&[("user_id", Member::Nothing), ("account_id", text("1"))]),
        b"{\"user_id\": 1.0, \"account_id\": 1}".to_vec(),
        b"{\"user_id\": 1".to_vec(),
    ];
    for (index, value) in values.iter().enumerate() {
        let token = format!("canary-{index}-0123456789");
        backend.put(&backend.key_of(&token), value).await;
        assert_eq!(told(&stand, &token).await, 401, "{index}");
    }
    let hash = cmd("HSET")
        .arg(backend.key_of("canary-of-a-hash"))
        .arg("user_id")
        .arg(1)
        .to_owned();
    backend.call::<()>(&hash).await;
    assert_eq!(told(&stand, "canary-of-a-hash").await, 401);
    // The list of a user's tokens, under the user's number.
    backend
        .put(&backend.public_key_of("12345678"), b"]\x94(\x8c\x04abcde.")
        .await;
    let listed = with(
        &stand.anonymous(),
        "/files",
        "x-public-authorization",
        "12345678",
    );
    assert_eq!(status(listed).await, 401);
    let json = b"{\"user_id\": 3, \"account_id\": \"acme\", \"is_superuser\": true}";
    backend.put(&backend.key_of("canary-in-json"), json).await;
    assert_eq!(told(&stand, "canary-in-json").await, 200);
    let visitor = backend.visitor(8, 5).await;
    let seen = with(
        &stand.anonymous(),
        "/files",
        "x-public-authorization",
        &visitor,
    );
    status(seen).await;
    let log = stand.log_with("is refused as a token's").await;
    for secret in [
        "canary",
        &visitor,
        backend.secret_key(),
        &backend.key_of("canary-in-json"),
    ] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn tokens_that_no_backend_makes_are_refused_without_asking_redis() {
    let backend = Backend::start().await;
    let stand = Stand::beside(&backend, &[]).await;
    let nobody = stand.anonymous();
    let before = backend.redis().calls("getrange").await;
    let long = "a".repeat(7_000);
    for token in ["a\tb", "a b", "ckr_nobodys", "a.b.c", &long] {
        assert_eq!(told(&stand, token).await, 401, "{token}");
    }
    let long = "a".repeat(64);
    for token in ["abcdefg", "abcdefghi", "abc:efgh", "../../ab", &long] {
        let asked = with(&nobody, "/files", "x-public-authorization", token);
        assert_eq!(status(asked).await, 401, "{token}");
    }
    let bytes = reqwest::header::HeaderValue::from_bytes(b"Bearer caf\xe9").unwrap();
    assert_eq!(
        status(nobody.get("/files").header("authorization", bytes)).await,
        401
    );
    assert_eq!(
        status(with(
            &nobody,
            "/files",
            "cookie",
            &format!("token={}", "b".repeat(8_000))
        ))
        .await,
        401
    );
    assert_eq!(backend.redis().calls("getrange").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_request_asks_redis_nothing_and_signing_out_takes_effect_at_once() {
    let backend = Backend::start().await;
    let stand = Stand::beside(&backend, &[]).await;
    let token = backend.sign_in(1, 1).await;
    let api = stand.anonymous().with(Some(&token));
    let path = format!("/files/{}", id(&api.stored("a.txt", "hot").await));
    assert_eq!(status(api.get(&path)).await, 200);
    let asked = backend.redis().calls("getrange").await;
    for _ in 0..300 {
        assert_eq!(status(api.get(&path)).await, 200);
    }
    let more = backend.redis().calls("getrange").await - asked;
    println!("{more} questions for 300 requests");
    assert_eq!(more, 0);

    let hammering: Vec<_> = (0..4)
        .map(|_| {
            let (api, path) = (api.clone(), path.clone());
            tokio::spawn(async move {
                let (mut last, begun) = (None, Instant::now());
                while begun.elapsed() < Duration::from_secs(2) {
                    match status(api.get(&path)).await {
                        200 => last = Some(Instant::now()),
                        other => assert_eq!(other, 401),
                    }
                }
                last
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    backend.sign_out(&token).await;
    let signed_out = Instant::now();
    for hammering in hammering {
        let last = hammering.await.unwrap().unwrap();
        let late = last.saturating_duration_since(signed_out);
        println!("the last success came {late:?} after signing out");
        assert!(late < Duration::from_millis(500), "{late:?}");
    }
}

#[tokio::test]
async fn what_changes_in_redis_shows_at_once_and_no_token_outlives_its_key() {
    let backend = Backend::start().await;
    let stand = Stand::beside(&backend, &[]).await;
    let becomes = async |what: &str, token: &str, wanted: u16| {
        stand
            .until(what, async || told(&stand, token).await == wanted)
            .await;
    };
    // Unknown a moment ago.
    let late = "0123456789abcdef0123456789abcdef";
    assert_eq!(told(&stand, late).await, 401);
    backend.put(&backend.key_of(late), &session(1, 1)).await;
    let begun = Instant::now();
    becomes("signing in is noticed", late, 200).await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );

    let expire = cmd("PEXPIRE").arg(backend.key_of(late)).arg(800).to_owned();
    backend.call::<()>(&expire).await;
    assert_eq!(told(&stand, late).await, 200);
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(told(&stand, late).await, 401);

    let (one, other) = (backend.sign_in(1, 1).await, backend.sign_in(1, 1).await);
    assert_eq!(
        (told(&stand, &one).await, told(&stand, &other).await),
        (200, 200)
    );
    backend.call::<()>(&cmd("FLUSHALL")).await;
    becomes("everything is flushed", &one, 401).await;
    assert_eq!(told(&stand, &other).await, 401);
}

#[tokio::test]
async fn where_redis_does_not_tell_of_changes_a_token_is_kept_for_a_second() {
    let backend = Backend::start().await;
    let mut user = cmd("ACL");
    user.arg("SETUSER")
        .arg("limited")
        .arg("on")
        .arg(">canary-password")
        .arg("~*");
    user.arg("+@all").arg("-client|tracking");
    backend.call::<()>(&user).await;
    let url = backend
        .redis()
        .url()
        .replace("//", "//limited:canary-password@");
    let stand = Stand::beside(&backend, &[("CLOAKROOM_REDIS_URL", &url)]).await;
    let token = backend.sign_in(1, 1).await;
    assert_eq!(told(&stand, &token).await, 200);
    assert_eq!(told(&stand, &token).await, 200);
    backend.sign_out(&token).await;
    let begun = Instant::now();
    stand
        .until("signed out", async || told(&stand, &token).await == 401)
        .await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert!(!stand.log().contains("canary-password"));
    // A password that is wrong is said, and not repeated.
    let wrong = url.replace("canary-password", "canary-of-a-password");
    let stand = Stand::beside(&backend, &[("CLOAKROOM_REDIS_URL", &wrong)]).await;
    let asked = stand.anonymous().with(Some("a-token")).get("/files");
    refused(asked.send().await.unwrap(), 503, "EXT_001").await;
    let log = stand.log_with("no connection to Redis").await;
    assert!(!log.contains("canary"), "{log}");
}

#[tokio::test]
async fn with_redis_nothing_is_made_up_and_its_health_is_told() {
    let backend = Backend::start().await;
    let stand = Stand::beside(&backend, &[]).await;
    let healthy = async || {
        let ready = stand.anonymous().get("/health/ready").send().await.unwrap();
        expect(ready, StatusCode::OK).await
    };
    let ready = healthy().await;
    assert_eq!(ready["checks"]["redis"]["status"], "ok", "{ready}");
    assert!(
        ready["checks"]["redis"]["latency_ms"].is_number(),
        "{ready}"
    );

    let url = backend.redis().url();
    let without_admin = Stand::beside(&backend, &[("CLOAKROOM_ADMIN_TOKEN", "")]).await;
    let folder = without_admin.data_dir();
    assert!(!folder.join("development-tokens.json").exists());
    assert_eq!(
        told(&without_admin, &backend.sign_in(1, 1).await).await,
        200
    );

    let many = [
        ("CLOAKROOM_AUTH_TOKEN_ITERATIONS", "2000"),
        ("CLOAKROOM_AUTH_CACHE_TTL", "0s"),
    ];
    let stand = Stand::beside(&backend, &many).await;
    assert_eq!(told(&stand, &backend.sign_in(1, 1).await).await, 401);

    let placeholder = "django-insecure-0123456789abcdefghij";
    for (settings, expected) in [
        (
            vec![("CLOAKROOM_REDIS_URL", url.as_str())],
            "CLOAKROOM_AUTH_SECRET_KEY",
        ),
        (
            vec![("CLOAKROOM_AUTH_SECRET_KEY", placeholder)],
            "nobody's default",
        ),
        (
            vec![("CLOAKROOM_REDIS_URL", "http://redis")],
            "expected redis://",
        ),
    ] {
        let ran = Stand::serve_fails(&settings).await;
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
        assert!(
            !ran.stderr.contains("0123456789abcdefghij"),
            "{}",
            ran.stderr
        );
    }
}
