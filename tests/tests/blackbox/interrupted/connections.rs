//! Connections that close, are reset, or go silent in the middle of a PATCH.

use std::time::{Duration, Instant};

use cloakroom_tests::{
    client::{Raw, Tus, offset_in, sample},
    service::Setup,
    stand::Stand,
};
use reqwest::StatusCode;

use super::{TURN, assert_ended, begun, complete, offset};

const LENGTH: usize = 10_000_000;

/// Bytes that came with no pause, and with a part that is not full.
const ARRIVED: usize = 6_300_000;

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_before_a_connection_was_closed_counts() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let body = sample(LENGTH, 1);
        let path = Tus::new(&stand.user()).created(LENGTH, &[]).await;
        let mut raw = begun(&stand, &path, 0, LENGTH).await;
        raw.send(&body[..ARRIVED]).await.unwrap();
        stand.settle().await;
        drop(raw);
        stand.settle().await;
        let found = offset(&stand, &path).await;
        assert_eq!(found, ARRIVED as u64, "{setup:?}");
        complete(&stand, &path, found, &body).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_before_a_reset_may_count_and_is_right() {
    let stand = Stand::simple().await;
    let body = sample(LENGTH, 2);
    let path = Tus::new(&stand.user()).created(LENGTH, &[]).await;
    let mut reached = 0;
    for n in 1..=5 {
        let sent = usize::try_from(reached).unwrap();
        let mut raw = begun(&stand, &path, reached, LENGTH - sent).await;
        raw.send(&body[sent..sent + 300_000 * n]).await.unwrap();
        stand.settle().await;
        raw.reset();
        let found = offset(&stand, &path).await;
        let last = (sent + 300_000 * n) as u64;
        assert!(
            (reached..=last).contains(&found),
            "{reached} {found} {last}"
        );
        reached = found;
    }
    assert!(reached > 0);
    complete(&stand, &path, reached, &body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_at_any_byte_the_offset_is_what_arrived() {
    let stand = Stand::simple().await;
    let body = sample(40, 3);
    let tus = Tus::new(&stand.user());
    for cut in [0, 1, 2, 39] {
        let path = tus.created(40, &[]).await;
        let mut raw = begun(&stand, &path, 0, 40).await;
        raw.send(&body[..cut]).await.unwrap();
        stand.settle().await;
        drop(raw);
        let found = offset(&stand, &path).await;
        assert_eq!(found, cut as u64);
        complete(&stand, &path, found, &body).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_with_a_checksum_counts_as_a_whole_or_not_at_all() {
    let stand = Stand::simple().await;
    let body = sample(100_000, 4);
    let path = Tus::new(&stand.user()).created(100_000, &[]).await;
    let more = "Tus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\n\
                Upload-Checksum: sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=\r\n";
    let mut raw = cloakroom_tests::client::Raw::connect(&stand.base()).await;
    let head = stand.head("PATCH", &path, more, 100_000);
    raw.send(head).await.unwrap();
    raw.send(&body[..60_000]).await.unwrap();
    stand.settle().await;
    drop(raw);
    stand.settle().await;
    assert_eq!(offset(&stand, &path).await, 0);
    complete(&stand, &path, 0, &body).await;
}

/// What a client does about a request of its own that hangs.
#[derive(Debug, Clone, Copy)]
enum Next {
    Head,
    Patch,
    Delete,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_patch_does_not_hold_up_the_next_request_on_any_replica() {
    for setup in [Setup::PostgresFs, Setup::PostgresGarage] {
        let replicas = Stand::replicas(setup, 2).await;
        let body = sample(LENGTH, 5);
        for (at, next) in [
            (0, Next::Head),
            (1, Next::Head),
            (0, Next::Patch),
            (1, Next::Patch),
            (0, Next::Delete),
            (1, Next::Delete),
        ] {
            let what = format!("{setup:?}, replica {at}, {next:?}");
            let path = Tus::new(&replicas[0].user()).created(LENGTH, &[]).await;
            let mut stuck = begun(&replicas[0], &path, 0, LENGTH).await;
            stuck.send(&body[..ARRIVED]).await.unwrap();
            replicas[0].settle().await;

            let tus = Tus::new(&replicas[at].user());
            let begun = Instant::now();
            let answer = match next {
                Next::Head => tus.head(&path).await,
                // It knows no offset, and learns it.
                Next::Patch => tus.patch(&path, 0, "x").send().await.unwrap(),
                Next::Delete => tus.delete(&path).await,
            };
            assert!(begun.elapsed() < TURN, "{what}: {:?}", begun.elapsed());
            assert_ended(stuck).await;
            match next {
                Next::Head => assert_eq!(answer.status(), StatusCode::OK, "{what}"),
                Next::Patch => assert_eq!(answer.status(), StatusCode::CONFLICT, "{what}"),
                Next::Delete => {
                    assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{what}");
                    assert_eq!(tus.head(&path).await.status(), StatusCode::GONE, "{what}");
                    continue;
                }
            }
            let found = offset_in(&answer);
            assert_eq!(found, ARRIVED as u64, "{what}");
            complete(&replicas[1 - at], &path, found, &body).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_a_silent_client_are_durable_though_nobody_asks() {
    let stand = Stand::simple().await;
    let body = sample(LENGTH, 6);
    let path = Tus::new(&stand.user()).created(LENGTH, &[]).await;
    let mut raw = begun(&stand, &path, 0, LENGTH).await;
    raw.send(&body[..1_000_000]).await.unwrap();
    let row = "SELECT coalesce(sum(received), 0) FROM uploads";
    let kept = async || cloakroom_tests::inspect::count(stand.database_url(), row).await > 0;
    stand.until("what a silent client sent is kept", kept).await;
    // It wakes up and goes on where it was.
    tokio::time::sleep(Duration::from_millis(200)).await;
    raw.send(&body[1_000_000..]).await.unwrap();
    let answer = raw.answer(super::PATIENCE).await.unwrap();
    assert_eq!(answer.status, 204, "{}", answer.text());
    let found = stand.user().bytes(&path.replace("/uploads", "")).await;
    assert!(found == body);
}

#[tokio::test]
async fn who_waits_for_100_continue_is_refused_before_it_sends_a_byte() {
    let stand = Stand::simple().await;
    let path = Tus::new(&stand.user()).created(LENGTH, &[]).await;
    let signed = format!("Authorization: Bearer {}\r\n", stand.user_token());
    let cases = [
        (path.as_str(), "", "application/offset+octet-stream", 0, 401),
        (&path, &signed, "application/offset+octet-stream", 7, 409),
        (&path, &signed, "text/plain", 0, 415),
        (
            "/files/uploads/none",
            &signed,
            "application/offset+octet-stream",
            0,
            404,
        ),
    ];
    for (path, signed, kind, offset, status) in cases {
        let mut raw = Raw::connect(&stand.base()).await;
        let head = format!(
            "PATCH {path} HTTP/1.1\r\nHost: x\r\n{signed}Tus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\n\
             Content-Type: {kind}\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n"
        );
        raw.send(head).await.unwrap();
        let answer = raw.answer(Duration::from_secs(5)).await.unwrap();
        assert_eq!(answer.status, status, "{kind} {offset}");
    }
    // Only those that bring bytes are looked at so.
    let mut raw = Raw::connect(&stand.base()).await;
    let head = format!(
        "DELETE {path} HTTP/1.1\r\nHost: x\r\n{signed}Tus-Resumable: 1.0.0\r\nContent-Length: 0\r\n\
         Expect: 100-continue\r\n\r\n"
    );
    raw.send(head).await.unwrap();
    let mut answer = raw.answer(Duration::from_secs(5)).await.unwrap();
    if answer.status == 100 {
        answer = raw.answer(Duration::from_secs(5)).await.unwrap();
    }
    assert_eq!(answer.status, 204);
}

#[tokio::test]
async fn who_guesses_while_waiting_for_100_continue_is_counted() {
    let stand = Stand::with(&[
        ("CLOAKROOM_RATE_LIMIT", "on"),
        ("CLOAKROOM_RATE_LIMIT_AUTH_FAILURE", "5/60s"),
    ])
    .await;
    let mut seen = Vec::new();
    for guess in 0..8 {
        let mut raw = Raw::connect(&stand.base()).await;
        let head = format!(
            "PATCH /files/uploads/x HTTP/1.1\r\nHost: x\r\nCookie: token=guess{guess}\r\nTus-Resumable: 1.0.0\r\n\
             Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: 9\r\n\
             Expect: 100-continue\r\n\r\n"
        );
        raw.send(head).await.unwrap();
        seen.push(raw.answer(Duration::from_secs(5)).await.unwrap().status);
    }
    assert_eq!(
        seen.iter().filter(|status| **status == 401).count(),
        5,
        "{seen:?}"
    );
    assert_eq!(seen.last(), Some(&429), "{seen:?}");
}
