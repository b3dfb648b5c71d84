//! SFTP servers that die or freeze, and hosts that are not there.

use std::time::{Duration, Instant};

use cloakroom_application::{
    ports::{ObjectStore, Payload, StoreError, WriteHints},
    testkit::objects::{collect, sample},
};
use cloakroom_domain::ObjectKey;
use cloakroom_infrastructure::stores::{
    drivers::{Budgets, Driver, DriverSettings},
    guard::Guard,
};
use cloakroom_tests::servers::{SftpAccess, SftpServer};

use crate::help::{MIB, bucket, half_read, key};

async fn put(store: &dyn ObjectStore, key: &ObjectKey, size: usize) -> Result<(), StoreError> {
    let mut writer = store.begin(&bucket(), key, WriteHints::default()).await?;
    for _ in 0..size / MIB {
        writer.write(sample(MIB, 1)).await?;
    }
    writer.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_breaks_what_is_under_way() {
    let mut server = SftpServer::rclone().await;
    let store = crate::servers::sftp(server.access()).await;
    let (there, written) = (key(), key());
    put(&*store, &there, 30 * MIB).await.unwrap();
    let bytes = half_read(&*store, &there).await;
    let (bucket, hints) = (bucket(), WriteHints::default());
    let mut writer = store.begin(&bucket, &written, hints).await.unwrap();
    writer.write(sample(5 * MIB, 1)).await.unwrap();
    server.kill();
    let begun = Instant::now();
    let rest = collect(Payload::Stream(bytes)).await.map(|rest| rest.len());
    assert!(rest.is_err(), "{rest:?}");
    let mut outcome = Ok(());
    for _ in 0..100 {
        outcome = writer.write(sample(MIB, 1)).await;
        if outcome.is_err() {
            break;
        }
    }
    assert!(outcome.is_err());
    let probed = store.probe().await;
    assert!(probed.is_err(), "{probed:?}");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(45), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_given_up_in_time() {
    let server = SftpServer::rclone().await;
    let store = crate::servers::sftp(server.access()).await;
    put(&*store, &key(), MIB).await.unwrap();
    server.pause();
    let begun = Instant::now();
    let (bucket, key) = (bucket(), key());
    let (head, probed) = tokio::join!(store.head(&bucket, &key), store.probe());
    assert!(matches!(head, Err(StoreError::Unavailable(_))), "{head:?}");
    assert!(
        matches!(probed, Err(StoreError::Unavailable(_))),
        "{probed:?}"
    );
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_found_by_name_and_by_every_address() {
    let mut access = SftpAccess::openssh();
    let port = access.endpoint.split_once(':').unwrap().1.to_owned();
    let has_ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        if host == "[::1]" && !has_ipv6 {
            continue;
        }
        access.endpoint = format!("ssh://{host}:{port}");
        let store = crate::servers::sftp(&access).await;
        put(&*store, &key(), MIB).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_nobody_knows_is_not_logged_in_to() {
    let server = SftpServer::openssh().await;
    let access = server.access();
    let config = serde_json::json!({
        "endpoint": access.endpoint, "user": access.user, "key_file": access.key_file,
        "root": access.root,
    });
    let settings = DriverSettings::read(Driver::Sftp, config.as_object().unwrap()).unwrap();
    let store = settings.open(&Budgets::default(), Guard::Strict).await;
    let failed = put(&*store.unwrap(), &key(), MIB).await;
    assert!(failed.is_err(), "a stranger was trusted");
}
