//! Dependencies that stop, freeze and lie: statuses, times, and what is left afterwards.

use cloakroom_tests::{
    client::{Client, expect, id, refused, sample},
    inspect,
    stand::Stand,
};
use std::time::{Duration, Instant};

use reqwest::{Response, StatusCode};

const QUICK: &[(&str, &str)] = &[
    ("CLOAKROOM_PENDING_TTL", "2s"),
    ("CLOAKROOM_SWEEP_INTERVAL", "300ms"),
    ("CLOAKROOM_UNCERTAIN_DELAY", "2s"),
];

/// The answer, and that it came in time.
pub(crate) async fn within(limit: u64, request: reqwest::RequestBuilder) -> Response {
    let start = Instant::now();
    let answer = request.send().await.unwrap();
    let took = start.elapsed();
    assert!(
        took < Duration::from_secs(limit),
        "{} after {took:?}",
        answer.status()
    );
    answer
}

pub(crate) async fn live_within_50_ms(api: &Client) {
    let start = Instant::now();
    expect(
        api.get("/health/live").send().await.unwrap(),
        StatusCode::OK,
    )
    .await;
    assert!(
        start.elapsed() < Duration::from_millis(50),
        "{:?}",
        start.elapsed()
    );
}

/// Uploads work again, within 5 s.
async fn back_within_5_s(api: &Client) {
    let start = Instant::now();
    loop {
        let answer = api.post("/files").body("back").send().await.unwrap();
        if answer.status() == StatusCode::CREATED {
            return;
        }
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{}",
            answer.text().await.unwrap()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// 32 uploads in flight while `fault` strikes; each is stored or told 503, in time, and what was told is true.
async fn uploads_through(stand: &Stand, fault: impl AsyncFnOnce()) -> Vec<String> {
    let api = stand.user();
    let uploads: Vec<_> = (0..32)
        .map(|n| {
            let request = api
                .post(&format!("/files?filename={n}"))
                .body(sample(300_000, n));
            tokio::spawn(async move { within(10, request).await })
        })
        .collect();
    fault().await;
    let mut stored = Vec::new();
    for upload in uploads {
        let answer = upload.await.unwrap();
        if answer.status() == StatusCode::CREATED {
            stored.push(id(&expect(answer, StatusCode::CREATED).await).to_owned());
        } else {
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
    }
    stored
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_frozen_stopped_and_restarted_is_503_in_5_s_and_back_in_5_s() {
    let _turn = crate::alone().await;
    let mut stand = Stand::with_own_servers(QUICK).await;
    let api = stand.user();
    let kept = api.stored("kept.txt", "kept").await;
    let mut stored = uploads_through(&stand, async || stand.postgres().pause()).await;
    let read = within(5, api.get(&format!("/files/{}/info", id(&kept)))).await;
    assert!(
        read.status() == StatusCode::SERVICE_UNAVAILABLE || read.status() == StatusCode::OK,
        "{}",
        read.status()
    );
    refused(within(5, api.get("/files")).await, 503, "DB_001").await;
    refused(within(5, api.post("/files").body("x")).await, 503, "DB_001").await;
    let ready = within(5, api.get("/health/ready")).await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    live_within_50_ms(&api).await;
    stand.postgres().resume();
    back_within_5_s(&api).await;

    for _ in 0..3 {
        stand.postgres_mut().kill();
        refused(within(5, api.get("/files")).await, 503, "DB_001").await;
        refused(within(5, api.post("/files").body("x")).await, 503, "DB_001").await;
        stand.postgres_mut().restart().await;
        back_within_5_s(&api).await;
    }
    stored.push(id(&kept).to_owned());
    for id in stored {
        expect(
            api.get(&format!("/files/{id}/info")).send().await.unwrap(),
            StatusCode::OK,
        )
        .await;
    }
    stand.swept().await;
    assert_eq!(inspect::idle_in_transaction(&stand).await, 0);
    stand.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_frozen_stopped_and_restarted_is_503_in_10_s_and_nothing_is_left() {
    let _turn = crate::alone().await;
    let mut stand = Stand::with_own_servers(QUICK).await;
    let api = stand.user();
    let kept = api.stored("kept.txt", "kept").await;
    let path = format!("/files/{}", id(&kept));
    let mut stored = uploads_through(&stand, async || stand.store().pause()).await;
    refused(within(10, api.get(&path)).await, 503, "STORAGE_003").await;
    refused(
        within(10, api.post("/files").body("x")).await,
        503,
        "STORAGE_002",
    )
    .await;
    let large = within(10, api.post("/files").body(sample(20_000_000, 1))).await;
    refused(large, 503, "STORAGE_002").await;
    live_within_50_ms(&api).await;
    expect(
        api.get(&format!("{path}/info")).send().await.unwrap(),
        StatusCode::OK,
    )
    .await;
    stand.store().resume();
    back_within_5_s(&api).await;

    stand.store_mut().kill();
    refused(within(10, api.get(&path)).await, 503, "STORAGE_003").await;
    refused(
        within(10, api.post("/files").body("x")).await,
        503,
        "STORAGE_002",
    )
    .await;
    stand.store_mut().restart().await;
    back_within_5_s(&api).await;
    assert_eq!(api.bytes(&path).await, b"kept");
    stored.push(id(&kept).to_owned());
    for id in stored {
        api.bytes(&format!("/files/{id}")).await;
    }
    stand.swept().await;
    assert_eq!(inspect::unfinished(&stand).await, Vec::<String>::new());
    stand.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stops_in_the_middle_of_a_body_breaks_the_connection() {
    let _turn = crate::alone().await;
    let mut stand = Stand::with_own_servers(QUICK).await;
    let api = stand.user();
    let size = 60_000_000;
    let file = api.stored("large.bin", sample(size, 2)).await;
    let mut answer = api
        .get(&format!("/files/{}", id(&file)))
        .send()
        .await
        .unwrap();
    let mut received = answer.chunk().await.unwrap().unwrap().len();
    stand.store_mut().kill();
    let ended = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => received += chunk.len(),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    assert!(
        ended.is_err() && received < size,
        "{received} bytes, {ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_commit_never_deletes_what_was_committed() {
    let _turn = crate::alone().await;
    let stand = Stand::behind_a_proxy_to_postgresql(QUICK).await;
    let api = stand.user();
    let mut outcomes = Vec::new();
    for n in 0..10 {
        stand.proxy().swallow_answer_after(b"COMMIT");
        let name = format!("lost-{n}.bin");
        let answer = api
            .post(&format!("/files?filename={name}"))
            .body(sample(1_000, n))
            .send()
            .await
            .unwrap();
        assert!(
            answer.status() == StatusCode::CREATED
                || answer.status() == StatusCode::SERVICE_UNAVAILABLE,
            "{}",
            answer.status()
        );
        outcomes.push((name, answer.status()));
        stand.proxy().heal();
    }
    assert!(
        outcomes
            .iter()
            .any(|(_, status)| *status == StatusCode::SERVICE_UNAVAILABLE),
        "no answer was lost"
    );
    stand.swept().await;
    for (name, status) in outcomes {
        let found = expect(
            api.get(&format!("/files?name={name}"))
                .send()
                .await
                .unwrap(),
            StatusCode::OK,
        )
        .await;
        let items = found["items"].as_array().unwrap();
        assert!(
            items.len() <= 1 && (status != StatusCode::CREATED || items.len() == 1),
            "{name}: {status}, {}",
            items.len()
        );
        for file in items {
            assert_eq!(
                api.bytes(&format!("/files/{}", id(file))).await.len(),
                1_000
            );
        }
    }
    stand.assert_consistent().await;
}

#[tokio::test]
async fn one_flipped_bit_of_a_stored_object_breaks_a_whole_read_before_its_last_byte() {
    let _turn = crate::alone().await;
    let stand = Stand::simple().await;
    let api = stand.user();
    for size in [500, 3_000_000] {
        let file = api.stored("a.bin", sample(size, 7)).await;
        stand.flip_a_bit_of(id(&file));
        match api
            .get(&format!("/files/{}", id(&file)))
            .send()
            .await
            .unwrap()
        {
            answer if answer.status() == StatusCode::OK => {
                let received = answer.bytes().await;
                assert!(received.is_err(), "{size} bytes ended well");
            }
            answer => drop(refused(answer, 503, "STORAGE_003").await),
        }
    }
    let found = stand.run(&["fsck", "--verify"]).await;
    assert_eq!(found.code, 1, "{}", found.stdout);
    assert_eq!(
        found.stdout.matches("wrong_hash").count(),
        2,
        "{}",
        found.stdout
    );
}

#[tokio::test]
async fn bytes_that_are_gone_are_storage_005_and_fsck_says_so() {
    let _turn = crate::alone().await;
    let stand = Stand::simple().await;
    let api = stand.user();
    let file = api.stored("a.bin", "gone").await;
    stand.lose_the_object_of(id(&file));
    refused(
        api.get(&format!("/files/{}", id(&file)))
            .send()
            .await
            .unwrap(),
        404,
        "STORAGE_005",
    )
    .await;
    let found = stand.run(&["fsck"]).await;
    assert_eq!(found.code, 1);
    assert!(found.stdout.contains("missing_object"), "{}", found.stdout);
}
