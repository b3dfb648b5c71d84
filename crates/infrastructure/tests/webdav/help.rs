//! Short words for what the tests do all the time.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use cloakroom_application::{
    ports::{ObjectStore, ObjectWriter, StoreError, WriteHints},
    testkit::objects::collect,
};
use cloakroom_domain::{ByteRange, ObjectKey, Timestamp};
use cloakroom_infrastructure::stores::RemoteStore;

pub(crate) use cloakroom_application::testkit::objects::{bucket, key};

pub(crate) const MIB: usize = 1024 * 1024;

pub(crate) async fn put(
    store: &RemoteStore,
    key: &ObjectKey,
    body: Bytes,
) -> Result<(), StoreError> {
    let mut writer = store.begin(&bucket(), key, WriteHints::default()).await?;
    writer.write(body).await?;
    writer.finish().await
}

pub(crate) async fn begin(store: &RemoteStore, key: &ObjectKey) -> Box<dyn ObjectWriter> {
    let writer = store.begin(&bucket(), key, WriteHints::default()).await;
    writer.unwrap()
}

pub(crate) async fn read(
    store: &RemoteStore,
    key: &ObjectKey,
    range: Option<ByteRange>,
) -> Result<Vec<u8>, StoreError> {
    collect(store.read(&bucket(), key, range).await?).await
}

/// Removes all unfinished writes bar one to spare, and says how many.
pub(crate) async fn reap(store: &RemoteStore, spare: Option<&ObjectKey>) -> u64 {
    let spare: BTreeSet<ObjectKey> = spare.cloned().into_iter().collect();
    let late = Timestamp::from_micros(i64::MAX);
    store.reap(&bucket(), late, &spare).await.unwrap()
}

/// Waits until `done`, at most 5 s.
pub(crate) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..100 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

pub(crate) fn is_broken<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Broken(_)))
}

pub(crate) fn is_refused<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Refused(_)))
}

pub(crate) fn is_unavailable<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Unavailable(_)))
}
