//! Redis that freezes, dies and comes back, and what lies in it that is too large.

use std::time::{Duration, Instant};

use cloakroom_tests::{
    backend::{Backend, session},
    client::{Client, expect, id, refused},
    stand::Stand,
};
use redis::cmd;
use reqwest::StatusCode;

use crate::faults::{live_within_50_ms, within};

/// Asks with a kept token until it is told 503, each time within 2 s; how long that took.
async fn until_refused(api: &Client, path: &str) -> Duration {
    let begun = Instant::now();
    loop {
        let answer = within(2, api.get(path)).await;
        if answer.status() != StatusCode::OK {
            refused(answer, 503, "EXT_001").await;
            return begun.elapsed();
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "still answered");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks with a token until it is told that status; it must be within 5 s.
async fn until_told(api: &Client, path: &str, wanted: StatusCode) -> Duration {
    let begun = Instant::now();
    while within(2, api.get(path)).await.status() != wanted {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "not {wanted} again"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begun.elapsed()
}

/// What holds while Redis does not answer.
async fn without_redis(stand: &Stand) {
    let unknown = stand.anonymous().with(Some("a-token-that-nobody-knows"));
    let start = Instant::now();
    refused(within(2, unknown.get("/files")).await, 503, "EXT_001").await;
    println!("503 after {:?}", start.elapsed());
    let cookie = stand
        .anonymous()
        .get("/files")
        .header("cookie", "token=abc");
    refused(within(2, cookie).await, 503, "EXT_001").await;
    live_within_50_ms(&stand.anonymous()).await;
    let ready = within(3, stand.anonymous().get("/health/ready")).await;
    let ready = expect(ready, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(ready["checks"]["redis"]["status"], "unavailable", "{ready}");
    // Callers whom Redis does not know are not kept waiting.
    let own = within(1, stand.user().get("/files")).await;
    expect(own, StatusCode::OK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_frozen_killed_and_restarted_is_503_in_2_s_and_back_in_5_s() {
    let _turn = crate::alone().await;
    let mut backend = Backend::start().await;
    let stand = Stand::beside(&backend, &[]).await;
    let token = backend.sign_in(1, 1).await;
    let api = stand.anonymous().with(Some(&token));
    let path = format!("/files/{}", id(&api.stored("a.txt", "kept").await));

    for _ in 0..2 {
        backend.redis().pause();
        println!(
            "frozen: kept tokens lived for {:?}",
            until_refused(&api, &path).await
        );
        without_redis(&stand).await;
        backend.redis().resume();
        println!(
            "back after {:?}",
            until_told(&api, &path, StatusCode::OK).await
        );
    }
    for _ in 0..3 {
        backend.redis_mut().kill();
        // What is kept lives a second longer.
        let answer = within(1, api.get(&path)).await;
        expect(answer, StatusCode::OK).await;
        println!(
            "killed: kept tokens lived for {:?}",
            until_refused(&api, &path).await
        );
        without_redis(&stand).await;
        backend.redis_mut().restart().await;
        // It came back empty, and what was kept before is not believed.
        println!(
            "back after {:?}",
            until_told(&api, &path, StatusCode::UNAUTHORIZED).await
        );
        backend.put(&backend.key_of(&token), &session(1, 1)).await;
        until_told(&api, &path, StatusCode::OK).await;
    }
    let asked = backend.redis().calls("getrange").await;
    for _ in 0..50 {
        expect(
            api.get(&format!("{path}/info")).send().await.unwrap(),
            StatusCode::OK,
        )
        .await;
    }
    assert_eq!(
        backend.redis().calls("getrange").await,
        asked,
        "tracking is not on again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_callers_of_a_frozen_redis_are_all_told_in_2_s() {
    let _turn = crate::alone().await;
    let backend = Backend::start().await;
    let stand = Stand::beside(&backend, &[]).await;
    backend.redis().pause();
    let asking: Vec<_> = (0..200)
        .map(|n| {
            let api = stand.anonymous().with(Some(&format!("caller-{n}")));
            tokio::spawn(async move {
                refused(within(2, api.get("/files")).await, 503, "EXT_001").await;
            })
        })
        .collect();
    for asking in asking {
        asking.await.unwrap();
    }
    live_within_50_ms(&stand.anonymous()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_512_mb_is_a_refused_token_in_bounded_memory() {
    let _turn = crate::alone().await;
    let backend = Backend::start().await;
    let stand = Stand::beside(&backend, &[]).await;
    let token = "a-token-with-much-behind-it";
    let huge = cmd("SETRANGE")
        .arg(backend.key_of(token))
        .arg(512 * 1024 * 1024 - 1)
        .arg("x")
        .to_owned();
    let length: u64 = backend.call(&huge).await;
    assert_eq!(length, 512 * 1024 * 1024);
    expect(
        stand.user().get("/files").send().await.unwrap(),
        StatusCode::OK,
    )
    .await;
    let before = stand.peak_rss_bytes();
    for _ in 0..3 {
        let asked = stand.anonymous().with(Some(token)).get("/files");
        refused(within(2, asked).await, 401, "AUTH_001").await;
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }
    let grown = stand.peak_rss_bytes() - before;
    println!("{grown} bytes more were resident");
    assert!(grown < 8 * 1024 * 1024, "{grown} bytes more were resident");
}
