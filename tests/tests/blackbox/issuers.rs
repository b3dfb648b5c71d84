//! Users of an identity provider that publishes its keys.

use std::time::{Duration, Instant};

use cloakroom_tests::{
    client::refused,
    jwt::{Issuer, LATER, guest_claims, hs256},
    stand::Stand,
};
use serde_json::json;

const BACKEND: &str = "a5f0c2e4-of-the-backend";

async fn over(issuer: &Issuer) -> Stand {
    Stand::with(&[
        ("CLOAKROOM_AUTH_SECRET_KEY", BACKEND),
        ("CLOAKROOM_JWT_JWKS_URL", issuer.url()),
        ("CLOAKROOM_JWT_ISSUER", "https://id.example.com/"),
        ("CLOAKROOM_JWT_AUDIENCE", "files"),
    ])
    .await
}

fn token(number: u8) -> String {
    let claims = json!({
        "iss": "https://id.example.com/", "aud": ["files", "mail"], "exp": LATER,
        "sub": "7", "account_id": 1,
    });
    Issuer::token(number, &claims)
}

async fn status(stand: &Stand, token: &str) -> u16 {
    let caller = stand.anonymous().with(Some(token));
    let answer = caller.get("/files").send().await.unwrap();
    answer.status().as_u16()
}

#[tokio::test]
async fn a_user_of_the_issuer_is_the_user_that_its_token_names_and_made_up_keys_do_not_reach_it() {
    let issuer = Issuer::start(&[1]).await;
    let stand = over(&issuer).await;
    let file = stand.user().stored("a.txt", "of user 7").await;
    let path = format!("/files/{}", file["file_id"].as_str().unwrap());
    let caller = stand.anonymous().with(Some(&token(1)));
    assert_eq!(caller.bytes(&path).await, b"of user 7");
    let begun = Instant::now();
    for number in 2..200 {
        assert_eq!(status(&stand, &token(number)).await, 401);
    }
    let other = json!({"iss": "https://id.example.com/", "aud": "mail", "exp": LATER, "sub": "7", "account_id": 1});
    assert_eq!(status(&stand, &Issuer::token(1, &other)).await, 401);
    // Once at the start, and at most once in 5 s from then on.
    let most = 2 + begun.elapsed().as_secs() / 5;
    assert!(issuer.asked() as u64 <= most, "{}", issuer.asked());
}

#[tokio::test]
async fn a_new_key_is_found_within_seconds_and_the_known_ones_outlive_the_issuer() {
    let issuer = Issuer::start(&[1]).await;
    let stand = over(&issuer).await;
    assert_eq!(status(&stand, &token(1)).await, 200);
    issuer.publish(&[1, 2]);
    let new = async || status(&stand, &token(2)).await == 200;
    stand.until("the new key is known", new).await;

    issuer.fall_silent();
    let begun = Instant::now();
    let unknown = async || status(&stand, &token(3)).await == 503;
    stand.until("nobody knows of a third key", unknown).await;
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(status(&stand, &token(1)).await, 200);
    assert_eq!(status(&stand, &token(2)).await, 200);
}

#[tokio::test]
async fn an_issuer_that_never_answered_is_503_and_stops_nobody_else() {
    let issuer = Issuer::start(&[1]).await;
    issuer.fall_silent();
    let stand = over(&issuer).await;
    let caller = stand.anonymous().with(Some(&token(1)));
    let guest = format!("guest-token={}", hs256(BACKEND, &guest_claims(1, None)));
    let begun = Instant::now();
    refused(caller.get("/files").send().await.unwrap(), 503, "EXT_001").await;
    let with_cookie = caller.with_header("Cookie", &guest);
    refused(
        with_cookie.get("/files").send().await.unwrap(),
        503,
        "EXT_001",
    )
    .await;
    assert!(begun.elapsed() < Duration::from_secs(20));

    assert_eq!(status(&stand, stand.user_token()).await, 200);
    assert_eq!(status(&stand, "no-such-token").await, 401);
    let by_cookie = stand.anonymous().with_header("Cookie", &guest);
    assert_eq!(by_cookie.get("/files").send().await.unwrap().status(), 200);

    issuer.publish(&[1]);
    let back = async || status(&stand, &token(1)).await == 200;
    stand.until("the issuer is back", back).await;
}

#[tokio::test]
async fn settings_that_do_not_fit_together_stop_the_start() {
    let secret = "0f8e2d6a-4b1c-49d3-of-the-provider";
    let url = "https://id.example.com/jwks.json";
    for (settings, said) in [
        (
            vec![
                ("CLOAKROOM_JWT_KEY", secret),
                ("CLOAKROOM_JWT_JWKS_URL", url),
            ],
            "are both set",
        ),
        (
            vec![("CLOAKROOM_JWT_AUDIENCE", "files")],
            "CLOAKROOM_JWT_AUDIENCE is set",
        ),
        (
            vec![
                ("CLOAKROOM_JWT_KEY", secret),
                ("CLOAKROOM_JWT_ALGORITHMS", "RS256"),
            ],
            "HS256, HS384, HS512",
        ),
        (
            vec![
                ("CLOAKROOM_JWT_JWKS_URL", url),
                ("CLOAKROOM_JWT_ALGORITHMS", "RS256,HS256"),
            ],
            "need a shared secret",
        ),
        (
            vec![("CLOAKROOM_JWT_JWKS_URL", "http://id.example.com/jwks.json")],
            "expected an https:// address",
        ),
        (
            vec![("CLOAKROOM_JWT_KEY", "too-short-a-secret")],
            "32 printable characters or more",
        ),
        (
            vec![
                ("CLOAKROOM_JWT_KEY", secret),
                ("CLOAKROOM_JWT_ALGORITHMS", "none"),
            ],
            "expected some of HS256",
        ),
    ] {
        let ran = Stand::serve_fails(&settings).await;
        assert_eq!(ran.code, 2, "{settings:?}");
        assert!(ran.stderr.contains(said), "{settings:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains(secret) && !ran.stderr.contains("too-short-a-secret"));
    }
}
