//! How long the S3 store waits, and for what.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use cloakroom_application::{
    ports::{ObjectStore, StoreError, WriteHints},
    testkit::objects::sample,
};
use cloakroom_domain::Timestamp;
use cloakroom_infrastructure::stores::{WriteBudget, s3::S3Store};
use futures_util::future::join_all;
use tokio::net::TcpListener;

use crate::{
    fake::{Fake, Reply},
    help::*,
};

#[tokio::test]
async fn a_frozen_server_is_unavailable_within_ten_seconds() {
    let fake = Fake::start(|_| Reply::Freeze).await;
    let (store, bucket, key) = (store(&fake.settings()), bucket(), key());
    let begun = Instant::now();
    let (keys, none) = ([key.clone()], BTreeSet::new());
    let probe = async {
        let probed = store.probe().await;
        assert!(begun.elapsed() <= Duration::from_secs(2));
        probed
    };
    let (head, read, delete, list, reap, put, probe) = tokio::join!(
        store.head(&bucket, &key),
        async { store.read(&bucket, &key, None).await.map(|_| ()) },
        store.delete(&bucket, &keys),
        store.list(&bucket, "", None, 10),
        store.reap(&bucket, Timestamp::from_micros(0), &none),
        put(&store, &bucket, sample(10_000, 1)),
        probe,
    );
    assert!(begun.elapsed() <= Duration::from_secs(10));
    let answers = [
        head.err(),
        read.err(),
        delete.into_iter().next().and_then(Result::err),
        list.err(),
        reap.err(),
        put.err(),
        probe.err(),
    ];
    for answer in answers {
        assert!(
            matches!(answer, Some(StoreError::Unavailable(_))),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_freezes_during_a_large_write_is_unavailable_within_ten_seconds() {
    let freezing = ["files/1688/", "uploads", "partNumber=2", "uploadId=u1"].map(|at| async move {
        let fake = Fake::start(move |asked| match asked.target.contains(at) {
            true => Reply::Freeze,
            false => usual(asked),
        })
        .await;
        let size = if at == "files/1688/" {
            7 * MIB
        } else {
            30 * MIB
        };
        let body = sample(size, 1);
        let begun = Instant::now();
        let frozen = put(&store(&fake.settings()), &bucket(), body).await;
        assert!(
            matches!(frozen, Err(StoreError::Unavailable(_))),
            "{at}: {frozen:?}"
        );
        let took = begun.elapsed();
        assert!(took <= Duration::from_secs(10), "{at}: {took:?}");
    });
    join_all(freezing).await;
}

#[tokio::test]
async fn many_writers_share_a_small_budget_and_all_finish() {
    let fake = Fake::start(usual).await;
    let store = S3Store::new(&fake.settings(), WriteBudget::new(0)).unwrap();
    let chunk = sample(300_000, 1);
    let writers = (0..40_u64).map(|n| {
        let (store, chunk) = (store.clone(), chunk.clone());
        tokio::spawn(async move {
            // Announced right, not at all, and far too small.
            let size = [Some(10_500_000), None, Some(2_000_000)][n as usize % 3];
            let hints = WriteHints { size };
            let mut writer = store.begin(&bucket(), &key(), hints).await.unwrap();
            for _ in 0..35 {
                writer.write(chunk.clone()).await?;
                tokio::task::yield_now().await;
            }
            writer.finish().await
        })
    });
    let outcomes = tokio::time::timeout(Duration::from_secs(60), join_all(writers)).await;
    for (n, outcome) in outcomes.unwrap().into_iter().enumerate() {
        match outcome.unwrap() {
            Ok(()) => {}
            // What was announced too small may find no memory for the rest, but never waits for it.
            Err(StoreError::Unavailable(_)) if n % 3 == 2 => {}
            Err(other) => panic!("{n}: {other:?}"),
        }
    }
    put(&store, &bucket(), sample(20 * MIB, 1)).await.unwrap();
}

#[tokio::test]
async fn clients_that_have_sent_little_hold_nobody_up() {
    let fake = Fake::start(usual).await;
    let store = S3Store::new(&fake.settings(), WriteBudget::new(0)).unwrap();
    let size = Some(100_000_000);
    let mut slow = Vec::new();
    for _ in 0..500 {
        let hints = WriteHints { size };
        let mut writer = store.begin(&bucket(), &key(), hints).await.unwrap();
        writer.write(sample(1000, 1)).await.unwrap();
        slow.push(writer);
    }
    put(&store, &bucket(), sample(20 * MIB, 1)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_soon() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let fake = Fake::start(|_| Reply::Freeze).await;
    let mut settings = fake.settings();
    settings.endpoint = format!("http://127.0.0.1:{port}");
    let begun = Instant::now();
    let head = store(&settings).head(&bucket(), &key()).await;
    assert!(matches!(head, Err(StoreError::Unavailable(_))), "{head:?}");
    assert!(begun.elapsed() <= Duration::from_secs(5));
}

#[tokio::test]
async fn who_fills_a_part_slowly_holds_up_others_only_while_there_are_any() {
    let fake = Fake::start(usual).await;
    // Room for two parts.
    let store = S3Store::new(&fake.settings(), WriteBudget::new(0)).unwrap();
    let begin = async || {
        let hints = WriteHints::default();
        store.begin(&bucket(), &key(), hints).await.unwrap()
    };
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut writer = begin().await;
        writer.write(sample(2 * MIB, 1)).await.unwrap();
        slow.push(writer);
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    assert!(!slow[0].holds_up_others(), "nobody waits");
    let mut late = begin().await;
    let bytes = sample(2 * MIB, 2);
    let write = late.write(bytes);
    tokio::pin!(write);
    let waited = tokio::time::timeout(Duration::from_millis(1), &mut write).await;
    assert!(waited.is_err(), "there was memory for a third");
    assert!(slow[0].holds_up_others());
    assert!(!slow[1].holds_up_others(), "one is enough");
    drop(slow.remove(0));
    tokio::time::resume();
    write.await.unwrap();
    assert!(!slow[0].holds_up_others(), "nobody waits any more");
}
