//! Several replicas over one database and one store.

use cloakroom_tests::{
    client::{expect, id, refused},
    service::Setup,
    stand::Stand,
};
use reqwest::{Method, StatusCode};

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_starting_at_once_on_an_empty_database_all_start() {
    for setup in [Setup::PostgresGarage, Setup::PostgresFs] {
        let replicas = Stand::replicas(setup, 3).await;
        let file = replicas[0].user().stored("a.txt", "x").await;
        for replica in &replicas {
            assert_eq!(
                replica.user().bytes(&format!("/files/{}", id(&file))).await,
                b"x"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_seen_on_every_replica_soon() {
    let replicas = Stand::replicas(Setup::PostgresGarage, 2).await;
    let (one, two) = (replicas[0].user(), replicas[1].user());
    for _ in 0..5 {
        let file = one.stored("a.txt", "one").await;
        let path = format!("/files/{}", id(&file));
        assert_eq!(two.bytes(&path).await, b"one");
        expect(
            one.call(Method::PUT, &path)
                .body("two")
                .send()
                .await
                .unwrap(),
            StatusCode::OK,
        )
        .await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert_eq!(two.bytes(&path).await, b"two", "within 100 ms");
        assert_eq!(
            one.call(Method::DELETE, &path)
                .send()
                .await
                .unwrap()
                .status(),
            StatusCode::NO_CONTENT
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        refused(two.get(&path).send().await.unwrap(), 404, "FILE_001").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_holds_across_replicas() {
    let replicas = Stand::replicas(Setup::PostgresGarage, 2).await;
    let send = |n: usize| {
        replicas[n % 2]
            .user()
            .post("/files")
            .header("Idempotency-Key", "k")
            .body("x")
            .send()
    };
    let mut made = Vec::new();
    for answer in futures_util::future::join_all((0..50).map(send)).await {
        let answer = answer.unwrap();
        if answer.status() == StatusCode::CREATED {
            made.push(id(&expect(answer, StatusCode::CREATED).await).to_owned());
        } else {
            refused(answer, 409, "FILE_006").await;
        }
    }
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 1);
    assert_eq!(replicas[0].objects().await, 1);
}

#[tokio::test]
async fn a_replica_with_another_folder_and_a_second_service_on_one_sqlite_file_refuse_to_start() {
    let stand = Stand::start(Setup::PostgresFs).await;
    let output = stand.second_with_a_folder_of_its_own().await;
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("folder"), "{}", output.stderr);
    let stand = Stand::start(Setup::SqliteFs).await;
    let output = stand.second_beside().await;
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("lock"), "{}", output.stderr);
}
