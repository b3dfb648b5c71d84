//! `kill -9` while uploads are in flight: every acknowledged file is there, nothing else is.

use cloakroom_tests::{
    client::{Client, id, sample, sha256},
    service::Setup,
    stand::Stand,
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use reqwest::StatusCode;

const ROUNDS: u64 = 20;
const IN_FLIGHT: u64 = 200;

type Acknowledged = Arc<Mutex<Vec<(String, String)>>>;

async fn upload_forever(api: Client, seed: u64, acknowledged: Acknowledged) {
    for n in 0.. {
        let size = [10, 5_000, 70_000, 400_000][usize::try_from((seed + n) % 4).unwrap()];
        let body = sample(size, seed * 1_000 + n);
        let hash = sha256(&body);
        let Ok(answer) = api
            .post(&format!("/files?filename={seed}-{n}.bin"))
            .body(body)
            .send()
            .await
        else {
            return;
        };
        if answer.status() != StatusCode::CREATED {
            return;
        }
        let Ok(file) = answer.json::<serde_json::Value>().await else {
            return;
        };
        acknowledged
            .lock()
            .unwrap()
            .push((id(&file).to_owned(), hash));
    }
}

async fn killed_while_uploading(setup: Setup) {
    let mut stand = Stand::start_with(
        setup,
        &[
            ("CLOAKROOM_PENDING_TTL", "1s"),
            ("CLOAKROOM_SWEEP_INTERVAL", "300ms"),
            ("CLOAKROOM_UNCERTAIN_DELAY", "1s"),
        ],
    )
    .await;
    let acknowledged = Acknowledged::default();
    for round in 0..ROUNDS {
        let api = stand.user();
        let uploads: Vec<_> = (0..IN_FLIGHT)
            .map(|n| {
                tokio::spawn(upload_forever(
                    api.clone(),
                    round * IN_FLIGHT + n,
                    Arc::clone(&acknowledged),
                ))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(300 + (round * 137) % 900)).await;
        stand.kill9();
        for upload in uploads {
            upload.await.unwrap();
        }
        stand.restart().await;
    }
    stand.swept().await;
    let api = stand.user();
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(
        acknowledged.len() > 50,
        "only {} were acknowledged",
        acknowledged.len()
    );
    for (id, hash) in &acknowledged {
        assert_eq!(
            sha256(&api.bytes(&format!("/files/{id}")).await),
            *hash,
            "{id}"
        );
    }
    stand.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_and_leaks_nothing_over_sqlite_and_a_folder() {
    let _turn = crate::alone().await;
    killed_while_uploading(Setup::SqliteFs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_and_leaks_nothing_over_postgresql_and_s3() {
    let _turn = crate::alone().await;
    killed_while_uploading(Setup::PostgresGarage).await;
}
