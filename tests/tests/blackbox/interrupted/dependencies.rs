//! A database or a store that fails in the middle of a PATCH.

use std::time::Duration;

use cloakroom_tests::{
    client::{Tus, sample},
    stand::Stand,
};
use reqwest::{Method, StatusCode};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_commit_of_the_last_bytes_is_the_truth_later() {
    let stand = Stand::behind_a_proxy_to_postgresql(&[]).await;
    let body = sample(3_000_000, 5);
    let tus = Tus::new(&stand.user());
    for while_sending in [false, true] {
        let path = tus.created(body.len(), &[]).await;
        tus.patched(&path, 0, &body[..1_000_000]).await;
        let mut raw = begun(&stand, &path, 1_000_000, 2_000_000).await;
        if while_sending {
            raw.send(&body[1_000_000..2_900_000]).await.unwrap();
            stand.settle().await;
        }
        let lost = stand.proxy().swallowed();
        stand.proxy().swallow_answer_after(b"COMMIT");
        let from = if while_sending { 2_900_000 } else { 1_000_000 };
        // It may have been refused by now.
        let _ = raw.send(&body[from..]).await;
        let answer = raw.answer(super::PATIENCE).await;
        stand.proxy().heal();
        assert!(stand.proxy().swallowed() > lost, "an answer was lost");
        if let Ok(answer) = answer {
            let status = answer.status;
            assert!([204, 423, 503].contains(&status), "{}", answer.text());
        }
        let found = offset(&stand, &path).await;
        assert!((1_000_000..=3_000_000).contains(&found), "{found}");
        if found < 3_000_000 {
            complete(&stand, &path, found, &body).await;
        } else {
            let found = stand.user().bytes(&path.replace("/uploads", "")).await;
            assert!(found == body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_by_tus_while_the_database_is_away_is_told_to_ask_again_and_not_that_the_upload_is_over()
 {
    let stand = Stand::with_own_servers(&[]).await;
    let path = Tus::new(&stand.user()).created(5, &[]).await;
    stand.postgres().pause();
    let head = stand.user().call(Method::HEAD, &path);
    let tus = head.try_clone().unwrap().header("Tus-Resumable", "1.0.0");
    let tus = tus.send().await.unwrap();
    let draft = head.send().await.unwrap();
    stand.postgres().resume();
    assert_eq!(tus.status(), StatusCode::LOCKED);
    assert!(tus.headers().contains_key("retry-after"));
    assert_eq!(draft.status(), StatusCode::SERVICE_UNAVAILABLE);
}
