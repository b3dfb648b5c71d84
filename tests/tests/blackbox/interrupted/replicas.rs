//! Replicas that are killed, freeze, or are told to stop in the middle of a PATCH.

use std::time::{Duration, Instant};

use cloakroom_tests::{
    client::{Tus, sample},
    service::Setup,
    stand::Stand,
};

use super::{TURN, begun, complete, offset};

const LENGTH: usize = 40_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_the_middle_of_a_patch_never_takes_an_offset_back() {
    for setup in [Setup::PostgresFs, Setup::PostgresGarage] {
        let mut replicas = Stand::replicas(setup, 2).await;
        let body = sample(LENGTH, 1);
        let tus = Tus::new(&replicas[0].user());
        let path = tus.created(LENGTH, &[]).await;
        let mut told = tus.patched(&path, 0, &body[..1_000_000]).await;
        for round in 0..4 {
            let (victim, other) = (round % 2, 1 - round % 2);
            let from = usize::try_from(told).unwrap();
            let mut raw = begun(&replicas[victim], &path, told, LENGTH - from).await;
            let more = 3_000_000 + round * 1_700_000;
            raw.send(&body[from..from + more]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(150 * round as u64)).await;
            replicas[victim].kill9();
            drop(raw);
            let found = offset(&replicas[other], &path).await;
            let last = (from + more) as u64;
            assert!(
                (told..=last).contains(&found),
                "{setup:?}: {told} {found} {last}"
            );
            // A little more, so that the next round begins within a part.
            let end = usize::try_from(found).unwrap() + 500_001;
            let chunk = &body[usize::try_from(found).unwrap()..end];
            let tus = Tus::new(&replicas[other].user());
            told = tus.patched(&path, found, chunk).await;
            replicas[victim].restart().await;
        }
        assert_eq!(offset(&replicas[0], &path).await, told);
        complete(&replicas[0], &path, told, &body).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_replica_is_overtaken_and_does_no_harm_when_it_wakes_up() {
    for setup in [Setup::PostgresFs, Setup::PostgresGarage] {
        let replicas = Stand::replicas(setup, 2).await;
        let (frozen, other) = (&replicas[0], &replicas[1]);
        let body = sample(20_000_000, 2);
        let path = Tus::new(&frozen.user()).created(body.len(), &[]).await;
        let mut raw = begun(frozen, &path, 0, body.len()).await;
        raw.send(&body[..7_000_000]).await.unwrap();
        frozen.settle().await;
        frozen.pause();

        let tus = Tus::new(&other.user());
        let asked = Instant::now();
        let found = tus.offset(&path).await;
        assert!(asked.elapsed() < TURN, "{:?}", asked.elapsed());
        assert!(found <= 7_000_000);
        let from = usize::try_from(found).unwrap();
        let told = tus.patched(&path, found, &body[from..12_000_000]).await;

        // The one who slept goes on with other bytes at the same place.
        let (sent, _) = tokio::join!(raw.send(vec![b'!'; 13_000_000]), async {
            frozen.settle().await;
            frozen.resume();
        });
        drop(sent);
        let answer = raw.answer(super::PATIENCE).await;
        if let Ok(answer) = answer {
            assert_eq!(answer.status, 423, "{}", answer.text());
        }
        assert_eq!(offset(frozen, &path).await, told, "{setup:?}");
        complete(frozen, &path, told, &body).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_the_middle_of_a_patch_leaves_the_upload_resumable() {
    for setup in Setup::extremes() {
        let settings = [("CLOAKROOM_SHUTDOWN_TIMEOUT", "2s")];
        let mut stand = Stand::start_with(setup, &settings).await;
        let body = sample(9_000_000, 3);
        let path = Tus::new(&stand.user()).created(body.len(), &[]).await;
        let mut raw = begun(&stand, &path, 0, body.len()).await;
        raw.send(&body[..6_500_000]).await.unwrap();
        stand.settle().await;
        let status = stand.terminate().await;
        assert!(status.success(), "{status}: {}", stand.log());
        drop(raw);
        stand.restart().await;
        let found = offset(&stand, &path).await;
        assert_eq!(
            found, 6_500_000,
            "{setup:?}: it had the time to keep all of it"
        );
        complete(&stand, &path, found, &body).await;
    }
}
