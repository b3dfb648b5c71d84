//! Real servers that die, and writers that die.

use std::time::Duration;

use cloakroom_application::{
    ports::{ObjectStore, Payload},
    testkit::objects::{collect, sample},
};
use cloakroom_domain::ObjectKey;
use cloakroom_tests::servers::{WebdavAccess, WebdavServer};
use futures_util::StreamExt;

use crate::{
    help::*,
    servers::{settings, store},
};

/// Writes, and ends with all its connections as a killed process does.
fn die_writing(settings: &cloakroom_infrastructure::stores::webdav::WebdavSettings) -> ObjectKey {
    let (settings, dead) = (settings.clone(), key());
    let key = dead.clone();
    let dying = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let store = store(&settings);
            let mut writer = begin(&store, &key).await;
            writer.write(sample(20 * MIB, 1)).await.unwrap();
            std::mem::forget(writer);
        });
        runtime.shutdown_background();
    });
    dying.join().unwrap();
    dead
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_writer_left_goes_with_its_key_or_by_reaping() {
    let settings = settings(&WebdavAccess::rclone());
    let store = store(&settings);
    let all = [settings.clone(), settings.clone(), settings.clone()];
    let keys = tokio::task::spawn_blocking(move || all.each_ref().map(die_writing));
    let keys = keys.await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let page = store.list(&bucket(), "", None, 10).await.unwrap();
    assert_eq!(page.objects, []);
    let deleted = store.delete(&bucket(), &keys[..1]).await.remove(0);
    deleted.unwrap();
    // rclone removes what broke off by itself; then there is nothing left to spare or to reap.
    let left = reap(&store, Some(&keys[1])).await;
    assert!(left <= 1, "{left} were left");
    let left = reap(&store, None).await;
    assert!(left <= 1, "{left} were left");
    assert_eq!(reap(&store, None).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_while_it_is_written_to_fails_the_write() {
    for mut server in [WebdavServer::rclone().await, WebdavServer::nginx().await] {
        let store = store(&settings(server.access()));
        put(&store, &key(), sample(2 * MIB, 1)).await.unwrap();
        let mut writer = begin(&store, &key()).await;
        writer.write(sample(5 * MIB, 1)).await.unwrap();
        server.kill();
        let mut outcome = Ok(());
        for _ in 0..100 {
            outcome = writer.write(sample(MIB, 1)).await;
            if outcome.is_err() {
                break;
            }
        }
        if outcome.is_ok() {
            outcome = writer.finish().await;
        }
        assert!(is_unavailable(&outcome), "{outcome:?}");
        assert!(is_unavailable(&store.probe().await));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_while_it_is_read_breaks_the_body() {
    for mut server in [WebdavServer::rclone().await, WebdavServer::nginx().await] {
        let store = store(&settings(server.access()));
        let key = key();
        put(&store, &key, sample(60 * MIB, 1)).await.unwrap();
        let payload = store.read(&bucket(), &key, None).await.unwrap();
        let Payload::Stream(mut bytes) = payload else {
            panic!("no stream");
        };
        bytes.next().await.unwrap().unwrap();
        server.kill();
        let rest = collect(Payload::Stream(bytes)).await.map(|rest| rest.len());
        assert!(is_broken(&rest), "{rest:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_fails_the_write_and_serves_again_when_it_thaws() {
    let server = WebdavServer::rclone().await;
    let (store, key) = (store(&settings(server.access())), key());
    put(&store, &key, sample(2 * MIB, 1)).await.unwrap();
    server.pause();
    let failed = put(&store, &crate::help::key(), sample(100 * MIB, 1)).await;
    assert!(is_unavailable(&failed), "{failed:?}");
    server.resume();
    assert!(read(&store, &key, None).await.unwrap() == sample(2 * MIB, 1));
}
