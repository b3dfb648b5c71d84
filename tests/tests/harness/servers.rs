//! Servers of a test's own.

use std::{fs, time::Duration};

use aws_sdk_s3::primitives::ByteStream;
use cloakroom_tests::{
    inspect,
    process::{Launch, eventually, free_port, temporary_folder, tree},
    servers::{Postgres, S3Access, garage, rclone},
};
use tokio::time::timeout;

const SECOND: Duration = Duration::from_secs(1);
const ONE: &str = "SELECT count(*)";

#[tokio::test]
async fn a_frozen_postgres_is_silent_and_a_killed_one_comes_back_with_its_data() {
    let mut postgres = Postgres::start().await;
    let url = postgres.database().await;
    assert_eq!(inspect::count(&url, ONE).await, 1);

    postgres.pause();
    let silent = timeout(SECOND, inspect::count(&url, ONE)).await;
    assert!(silent.is_err(), "a frozen server answered");
    postgres.resume();
    assert_eq!(timeout(SECOND, inspect::count(&url, ONE)).await, Ok(1));

    postgres.kill();
    let refused = tokio::net::TcpStream::connect(("127.0.0.1", postgres.port())).await;
    assert!(refused.is_err(), "a killed server accepts connections");
    postgres.restart().await;
    assert_eq!(inspect::count(&url, ONE).await, 1);
    postgres.stop().await;
    postgres.restart().await;
    assert_eq!(inspect::count(&url, ONE).await, 1);
}

#[tokio::test]
async fn a_frozen_garage_is_silent_and_a_killed_one_comes_back_with_its_data() {
    let mut garage = garage::start().await;
    let (access, bucket) = (garage.access().clone(), garage.access().bucket_name());
    stores(&access, &bucket).await;

    garage.pause();
    let silent = timeout(SECOND, holds(&access, &bucket)).await;
    assert!(silent.is_err(), "a frozen server answered");
    garage.resume();
    assert_eq!(timeout(5 * SECOND, holds(&access, &bucket)).await, Ok(true));

    garage.kill();
    garage.restart().await;
    assert!(holds(&access, &bucket).await);
}

#[tokio::test]
async fn rclone_stores_and_comes_back_with_its_data() {
    let mut rclone = rclone::start().await;
    let (access, bucket) = (rclone.access().clone(), rclone.access().bucket_name());
    stores(&access, &bucket).await;
    rclone.restart().await;
    assert!(holds(&access, &bucket).await);
}

#[tokio::test]
async fn the_servers_of_the_run_are_there() {
    let url = Postgres::shared().database().await;
    assert_eq!(inspect::count(&url, ONE).await, 1);
    for access in [garage::shared(), rclone::shared()] {
        stores(&access, &access.bucket_name()).await;
    }
}

#[tokio::test]
async fn a_dropped_process_takes_its_children_along() {
    let folder = temporary_folder();
    let process = Launch::new("sh")
        .args(["-c", "sleep 1000 & setsid sleep 1000 & wait"])
        .spawn(&folder.path().join("log"));
    let shell = process.id();
    eventually("two children", 5 * SECOND, async || tree(shell).len() == 3).await;
    let all = tree(shell);
    drop(process);
    let gone = async || {
        let runs = |pid: &u32| std::path::Path::new(&format!("/proc/{pid}/exe")).exists();
        !all.iter().any(runs)
    };
    eventually("all are gone", 5 * SECOND, gone).await;
}

#[tokio::test]
async fn whoever_is_frozen_does_nothing_more_from_then_on() {
    let folder = temporary_folder();
    let process = Launch::new("sh")
        .args([
            "-c",
            "count() { while :; do echo >> $1; done; }; count a & count b",
        ])
        .folder(folder.path())
        .spawn(&folder.path().join("log"));
    let sizes =
        || ["a", "b"].map(|file| fs::metadata(folder.path().join(file)).map_or(0, |m| m.len()));
    eventually("both count", 5 * SECOND, async || {
        sizes().iter().all(|s| *s > 0)
    })
    .await;
    for _ in 0..10 {
        process.pause();
        let then = sizes();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(sizes(), then);
        process.resume();
        eventually("both count on", 5 * SECOND, async || sizes() != then).await;
    }
}

#[test]
fn a_free_port_is_none_of_those_that_outgoing_connections_get() {
    for _ in 0..100 {
        assert!(free_port() < 32_000);
    }
}

async fn stores(access: &S3Access, bucket: &str) {
    let client = access.client();
    client.create_bucket().bucket(bucket).send().await.unwrap();
    let put = client.put_object().bucket(bucket).key("a/b");
    let put = put.body(ByteStream::from_static(b"bytes"));
    put.send().await.unwrap();
    assert!(holds(access, bucket).await);
}

async fn holds(access: &S3Access, bucket: &str) -> bool {
    let client = access.client();
    let got = client.get_object().bucket(bucket).key("a/b").send().await;
    let body = got.unwrap().body.collect().await.unwrap().into_bytes();
    body == b"bytes"[..]
}
