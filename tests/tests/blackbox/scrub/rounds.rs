//! Rounds of the scrub that are cut short, and how fast they are.

use std::time::{Duration, Instant};

use cloakroom_tests::{client::sample, service::Setup, stand::Stand};

use super::{found, metric, read_objects, report};

/// Rounds that take long: 64 KiB a second.
const SLOWLY: [(&str, &str); 2] = [
    ("CLOAKROOM_SCRUB_INTERVAL", "4s"),
    ("CLOAKROOM_SCRUB_RATE", "64KiB"),
];

const OBJECT: usize = 64 * 1024;

/// Sixteen objects of a second each, in a round of at least that many seconds.
async fn many(stand: &Stand) {
    for n in 0..16 {
        let body = sample(OBJECT, n);
        stand.user().stored(&format!("{n}.bin"), body).await;
    }
}

/// Waits until a round is so far that it can only be the one over all sixteen, and answers its number and how far.
async fn in_the_middle(stand: &Stand) -> (u64, u64) {
    let begun = Instant::now();
    loop {
        let told = report(&stand.admin()).await;
        let done = told["objects_done"].as_u64().unwrap();
        if told["state"] == "running" && (4..12).contains(&done) {
            let left = told["objects_left"].as_u64().unwrap();
            assert!(
                left > 0 && told["progress"].as_f64().unwrap() < 1.0,
                "{told}"
            );
            return (told["round"].as_u64().unwrap(), done);
        }
        assert!(begun.elapsed() < Duration::from_secs(45), "{told}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_a_round_it_goes_on_where_it_was_and_keeps_its_rate() {
    let mut stand = Stand::with(&SLOWLY).await;
    many(&stand).await;
    let (round, done) = in_the_middle(&stand).await;
    stand.kill9();
    stand.restart().await;
    let begun = Instant::now();
    let over = async || report(&stand.admin()).await["round"].as_u64() > Some(round);
    stand.until("the round is over", over).await;
    // Some of the next round may be counted, too.
    let read = read_objects(&stand).await;
    assert!(
        (16 - done - 3..=16 - done + 4).contains(&read),
        "{read} after {done}"
    );
    let bytes = metric(&stand.admin(), "cloakroom_scrub_read_bytes_total").await;
    let allowed = (begun.elapsed().as_secs() + 2) * OBJECT as u64;
    assert!(bytes <= Some(allowed), "{bytes:?} of {allowed}");
    assert!(found(&stand.admin()).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_replicas_one_scrubs_and_the_other_takes_over_within_seconds() {
    let mut replicas = Stand::replicas_with(Setup::PostgresFs, 2, &SLOWLY).await;
    many(&replicas[0]).await;
    let (round, _) = in_the_middle(&replicas[0]).await;
    let before = [
        read_objects(&replicas[0]).await,
        read_objects(&replicas[1]).await,
    ];
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = [
        read_objects(&replicas[0]).await,
        read_objects(&replicas[1]).await,
    ];
    let busy = usize::from(after[1] > before[1]);
    assert!(after[busy] > before[busy], "{before:?} {after:?}");
    assert_eq!(after[1 - busy], before[1 - busy], "one at a time");
    replicas[busy].kill9();
    let begun = Instant::now();
    let other = &replicas[1 - busy];
    let taken = async || read_objects(other).await > after[1 - busy];
    other.until("the other goes on", taken).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(16), "{took:?}");
    let told = report(&other.admin()).await;
    assert_eq!(
        told["round"].as_u64(),
        Some(round),
        "the same round: {told}"
    );
    assert_eq!(told["state"], "running");
}
