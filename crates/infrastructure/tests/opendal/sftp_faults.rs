//! SFTP servers that keep bytes until a file is closed, lose connections, or have been tampered with.

use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cloakroom_application::{
    ports::{ObjectStore, Payload, StoreError, WriteHints},
    testkit::objects::{collect, sample},
};
use cloakroom_domain::{ByteRange, ObjectKey};
use cloakroom_tests::{
    process::send,
    servers::{SftpAccess, SftpServer},
};
use futures_util::future::join_all;
use rustix::process::Signal;

use crate::help::{MIB, bucket, half_read, key};

async fn read(store: &dyn ObjectStore, key: &ObjectKey) -> Result<Vec<u8>, StoreError> {
    collect(store.read(&bucket(), key, None).await?).await
}

/// The one folder below the server's that the store was given.
fn root(server: &SftpServer) -> PathBuf {
    let mut entries = std::fs::read_dir(&server.access().root).unwrap();
    entries.next().unwrap().unwrap().path()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files
}

async fn put_and_read_at_once(access: &SftpAccess) {
    let store = crate::servers::sftp(access).await;
    for round in 0..3_usize {
        let each = (0..200).map(|number| {
            let store = Arc::clone(&store);
            async move {
                let (key, body) = (key(), sample(number * 37 + round, number as u64));
                let put = store.put(&bucket(), &key, vec![body.clone()]).await;
                put.unwrap_or_else(|error| panic!("{number}: {error:?}"));
                let there = read(&*store, &key).await;
                let there = there.unwrap_or_else(|error| panic!("{number}: {error:?}"));
                assert_eq!(there, body, "{number}");
            }
        });
        join_all(each.map(tokio::spawn))
            .await
            .into_iter()
            .for_each(Result::unwrap);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_to_rclone_is_there_at_once() {
    put_and_read_at_once(&SftpAccess::rclone()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_to_openssh_is_there_at_once() {
    put_and_read_at_once(&SftpAccess::openssh()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_share_a_few_connections_that_end_with_the_store() {
    let server = SftpServer::openssh().await;
    let store = crate::servers::sftp(server.access()).await;
    let each = (0..100).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.put(&bucket(), &key(), vec![sample(MIB, 1)]).await })
    });
    for put in join_all(each).await {
        put.unwrap().unwrap();
    }
    // The process with the rights of root, that of the user, and what serves files, for each of four.
    let sessions = server.sessions();
    assert!((1..=12).contains(&sessions.len()), "{sessions:?}");
    drop(store);
    let begun = Instant::now();
    while !server.sessions().is_empty() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{:?}",
            server.sessions()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_breaks_what_is_under_way_and_is_made_anew() {
    let server = SftpServer::openssh().await;
    let store = crate::servers::sftp(server.access()).await;
    let (there, written) = (key(), key());
    let body = sample(20 * MIB, 3);
    store
        .put(&bucket(), &there, vec![body.clone()])
        .await
        .unwrap();
    let bytes = half_read(&*store, &there).await;
    let (bucket, hints) = (bucket(), WriteHints::default());
    let mut writer = store.begin(&bucket, &written, hints).await.unwrap();
    writer.write(sample(5 * MIB, 1)).await.unwrap();
    for id in server.sessions() {
        send(id, Signal::KILL);
    }
    let begun = Instant::now();
    let rest = collect(Payload::Stream(bytes)).await.map(|rest| rest.len());
    assert!(matches!(rest, Err(StoreError::Unavailable(_))), "{rest:?}");
    let broken = match writer.write(sample(5 * MIB, 1)).await {
        Ok(()) => writer.finish().await,
        failed => failed,
    };
    assert!(
        matches!(broken, Err(StoreError::Unavailable(_))),
        "{broken:?}"
    );
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(read(&*store, &there).await.unwrap() == body);
    let never = store.head(&bucket, &written).await;
    assert!(matches!(never, Err(StoreError::NotFound)), "{never:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_frozen_under_way_is_given_up_and_found_again() {
    let server = SftpServer::openssh().await;
    let store = crate::servers::sftp(server.access()).await;
    let there = key();
    let body = sample(20 * MIB, 5);
    store
        .put(&bucket(), &there, vec![body.clone()])
        .await
        .unwrap();
    let bytes = half_read(&*store, &there).await;
    let written = key();
    let (bucket, hints) = (bucket(), WriteHints::default());
    let mut writer = store.begin(&bucket, &written, hints).await.unwrap();
    writer.write(sample(2 * MIB, 1)).await.unwrap();
    server.pause();
    let begun = Instant::now();
    let writing = async {
        match writer.write(sample(5 * MIB, 1)).await {
            Ok(()) => writer.finish().await,
            failed => failed,
        }
    };
    let other = key();
    let (rest, broken, put) = tokio::join!(
        collect(Payload::Stream(bytes)),
        writing,
        store.put(&bucket, &other, vec![Bytes::from_static(b"abc")]),
    );
    let rest = rest.map(|rest| rest.len());
    assert!(matches!(rest, Err(StoreError::Unavailable(_))), "{rest:?}");
    assert!(
        matches!(broken, Err(StoreError::Unavailable(_))),
        "{broken:?}"
    );
    assert!(matches!(put, Err(StoreError::Unavailable(_))), "{put:?}");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(35), "{took:?}");
    server.resume();
    let begun = Instant::now();
    while let Err(error) = read(&*store, &there).await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_no_text_are_passed_over() {
    let server = SftpServer::openssh().await;
    let store = crate::servers::sftp(server.access()).await;
    let (there, bucket) = (key(), bucket());
    store
        .put(&bucket, &there, vec![sample(100, 1)])
        .await
        .unwrap();
    let root = root(&server);
    let object = files(&root).remove(0);
    for folder in [
        object.parent().unwrap(),
        &root.join("files"),
        &root.join("files/tmp"),
    ] {
        for name in [
            &b"caf\xe9"[..],
            b"\xff\xfe\xfd",
            "käse".as_bytes(),
            b"a b\nc",
        ] {
            std::fs::write(folder.join(std::ffi::OsStr::from_bytes(name)), b"x").unwrap();
        }
    }
    let listed = store.list(&bucket, "", None, 100).await.unwrap();
    let keys: Vec<_> = listed.objects.iter().map(|object| &object.key).collect();
    assert_eq!(keys, [&there]);
    let late = cloakroom_domain::Timestamp::from_micros(i64::MAX / 2);
    let reaped = store
        .reap(&bucket, late, &std::collections::BTreeSet::new())
        .await;
    assert_eq!(reaped.unwrap(), 0);
    assert_eq!(read(&*store, &there).await.unwrap(), sample(100, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_removed_behind_our_back_are_made_again() {
    let server = SftpServer::openssh().await;
    let store = crate::servers::sftp(server.access()).await;
    let bucket = bucket();
    store
        .put(&bucket, &key(), vec![sample(100, 1)])
        .await
        .unwrap();
    std::fs::remove_dir_all(root(&server)).unwrap();
    let there = key();
    store
        .put(&bucket, &there, vec![sample(100, 2)])
        .await
        .unwrap();
    assert_eq!(read(&*store, &there).await.unwrap(), sample(100, 2));
    // In the middle of a write there is nothing to be saved, and nothing is made up.
    let lost = key();
    let hints = WriteHints::default();
    let mut writer = store.begin(&bucket, &lost, hints).await.unwrap();
    writer.write(sample(3 * MIB, 1)).await.unwrap();
    std::fs::remove_dir_all(root(&server)).unwrap();
    assert!(writer.finish().await.is_err());
    let never = store.head(&bucket, &lost).await;
    assert!(matches!(never, Err(StoreError::NotFound)), "{never:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_not_replaced() {
    for access in [SftpAccess::openssh(), SftpAccess::rclone()] {
        let store = crate::servers::sftp(&access).await;
        let (there, bucket) = (key(), bucket());
        store
            .put(&bucket, &there, vec![sample(100, 1)])
            .await
            .unwrap();
        let again = store.put(&bucket, &there, vec![sample(100, 2)]).await;
        assert!(matches!(again, Err(StoreError::Refused(_))), "{again:?}");
        assert_eq!(read(&*store, &there).await.unwrap(), sample(100, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_attempt_left_is_written_anew() {
    let server = SftpServer::openssh().await;
    let store = crate::servers::sftp(server.access()).await;
    let (there, bucket) = (key(), bucket());
    let hints = WriteHints::default();
    let mut writer = store.begin(&bucket, &there, hints).await.unwrap();
    writer.write(sample(3 * MIB, 1)).await.unwrap();
    store
        .put(&bucket, &there, vec![sample(100, 2)])
        .await
        .unwrap();
    assert_eq!(read(&*store, &there).await.unwrap(), sample(100, 2));
    drop(writer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_became_shorter_breaks_its_readers() {
    let server = SftpServer::openssh().await;
    let store = crate::servers::sftp(server.access()).await;
    let (there, bucket) = (key(), bucket());
    store
        .put(&bucket, &there, vec![sample(8 * MIB, 1)])
        .await
        .unwrap();
    let payload = store.read(&bucket, &there, None).await.unwrap();
    let file = files(&root(&server)).remove(0);
    std::fs::File::options()
        .write(true)
        .open(file)
        .unwrap()
        .set_len(5 * MIB as u64)
        .unwrap();
    let cut = collect(payload).await.map(|bytes| bytes.len());
    assert!(matches!(cut, Err(StoreError::Broken(_))), "{cut:?}");
    let range = ByteRange {
        start: 5 * MIB as u64 - 10,
        end: 5 * MIB as u64,
    };
    let end = store.read(&bucket, &there, Some(range)).await.unwrap();
    assert_eq!(collect(end).await.unwrap().len(), 10);
}
