//! A database or a store that fails in the middle of a PATCH.

use std::time::Duration;

use cloakroom_tests::{
    client::{Tus, sample},
    stand::Stand,
};
use reqwest::StatusCode;

use super::{begun, complete, offset};

const LENGTH: usize = 30_000_000;

/// PATCHes until `fault` has struck; then the offset is at least what was told, and the rest makes the file right.
async fn resumes_after(stand: &mut Stand, seed: u64, fault: impl AsyncFnOnce(&mut Stand)) {
    let body = sample(LENGTH, seed);
    let tus = Tus::new(&stand.user());
    let path = tus.created(LENGTH, &[]).await;
    let told = tus.patched(&path, 0, &body[..2_000_000]).await;
    let mut raw = begun(stand, &path, told, LENGTH - 2_000_000).await;
    raw.send(&body[2_000_000..12_000_000]).await.unwrap();
    stand.settle().await;
    fault(stand).await;
    // It may have been refused by now.
    let _ = raw.send(&body[12_000_000..]).await;
    let status = raw
        .answer(super::PATIENCE)
        .await
        .map(|answer| answer.status);
    if let Ok(status) = status {
        assert!([204, 423, 500, 503].contains(&status), "{status}");
    }
    drop(raw);
    let found = offset(stand, &path).await;
    assert!(found >= told, "{told} {found}");
    if found < LENGTH as u64 {
        complete(stand, &path, found, &body).await;
    } else {
        let there = async || {
            let get = stand.user().get(&path.replace("/uploads", ""));
            get.send()
                .await
                .is_ok_and(|it| it.status() == StatusCode::OK)
        };
        stand.until("it is a file", there).await;
        let found = stand.user().bytes(&path.replace("/uploads", "")).await;
        assert!(found == body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_frozen_or_restarted_in_the_middle_of_a_patch_loses_no_offset_that_was_told() {
    let mut stand = Stand::with_own_servers(&[]).await;
    resumes_after(&mut stand, 1, async |stand| {
        stand.postgres().pause();
        tokio::time::sleep(Duration::from_secs(7)).await;
        stand.postgres().resume();
    })
    .await;
    resumes_after(&mut stand, 2, async |stand| {
        stand.postgres_mut().kill();
        tokio::time::sleep(Duration::from_secs(1)).await;
        stand.postgres_mut().restart().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_frozen_or_restarted_in_the_middle_of_a_patch_loses_no_offset_that_was_told() {
    let mut stand = Stand::with_own_servers(&[]).await;
    resumes_after(&mut stand, 3, async |stand| {
        stand.store().pause();
        tokio::time::sleep(Duration::from_secs(7)).await;
        stand.store().resume();
    })
    .await;
    resumes_after(&mut stand, 4, async |stand| {
        stand.store_mut().kill();
        tokio::time::sleep(Duration::from_secs(1)).await;
        stand.store_mut().restart().await;
    })
    .await;
}
