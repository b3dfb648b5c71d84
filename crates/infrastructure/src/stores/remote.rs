//! Objects at a place that knows folders and files and little more: the port's promises on top of it.
//!
//! Objects lie as in a folder of this machine (see `fs`): `{bucket}/{shard}/{leaf}`, unfinished writes at
//! `{bucket}/tmp/{leaf}`, from where they are moved once they are whole. A listing walks the 256 shards.

mod listing;
mod reader;
mod writer;

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom_application::ports::{
    ByteStream, ListPage, ListedObject, ObjectMeta, ObjectStore, ObjectWriter, Payload, StoreError,
    WriteHints,
};
use cloakroom_domain::{Bucket, ByteRange, ObjectKey, Timestamp};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};

pub(super) use self::reader::counted;
use self::writer::{RemoteWriter, store_whole};
use super::{
    budget::WriteBudget,
    fs::layout::{Address, UNFINISHED, key_of, plain},
    hauls::Hauls,
};

/// How long walking a bucket, or removing a thousand of its objects, may take.
const LARGE_WORK: Duration = Duration::from_secs(60);

/// Keys removed within that time.
const BATCH: usize = 1000;

/// Requests at once where one call needs many.
const AT_ONCE: usize = 8;

/// How long a store may take to show that it is there.
const PROBE: Duration = Duration::from_millis(1900);

/// Attempts at a call that may be asked for twice.
const ATTEMPTS: u32 = 3;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// How long requests may take.
pub(super) mod limits {
    use std::time::Duration;

    /// A small call over all its attempts, and one attempt of it.
    pub(in crate::stores) const CALL: Duration = Duration::from_secs(9);
    pub(in crate::stores) const ATTEMPT: Duration = Duration::from_secs(4);

    /// A write may take this long and the time for its bytes at the slowest rate that is served.
    const WRITE: Duration = Duration::from_secs(8);
    const SLOWEST: u64 = 512 * 1024;

    /// A server may copy a file when it is told to move or to keep it: at this rate.
    const COPY_RATE: u64 = 64 * 1024 * 1024;

    /// The limit for writing so many bytes in one request.
    pub(in crate::stores) fn write(bytes: u64) -> Duration {
        WRITE + Duration::from_secs(bytes / SLOWEST)
    }

    /// The limit for moving a file of so many bytes.
    pub(in crate::stores) fn rename(bytes: u64) -> Duration {
        CALL + Duration::from_secs(bytes / COPY_RATE)
    }
}

/// What went wrong, for the log: no bodies, no addresses, no credentials.
#[derive(Debug)]
pub(super) struct Trouble(pub(super) String);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}

/// What lies in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its name within the folder. Whatever the other side says: nothing is known about it.
    pub(super) name: String,
    /// Whether it is a folder itself.
    pub(super) is_folder: bool,
    /// Its length in bytes; 0 for a folder.
    pub(super) size: u64,
    /// When it was last written to, `None` if that is not told.
    pub(super) modified_at: Option<Timestamp>,
}

/// Folders and files elsewhere. Paths are relative, of `[A-Za-z0-9._~-]` and slashes. Every method is bounded in time.
#[async_trait]
pub(super) trait Remote: Send + Sync + 'static {
    /// The driver's name.
    fn driver(&self) -> &'static str;

    /// Whether a half-written file shows, so that it must be written elsewhere and moved.
    fn shows_halves(&self) -> bool {
        true
    }

    /// What a sink likes to be given at once, in bytes.
    fn piece(&self) -> usize {
        1024 * 1024
    }

    /// Writes a file of bytes in memory, in a folder that is made if it is not there. Asking twice does no harm.
    async fn put(&self, path: &str, body: &[Bytes]) -> Result<(), StoreError>;

    /// Opens a file to be written bit by bit, in a folder that is made if it is not there.
    async fn open(&self, path: &str) -> Result<Box<dyn Sink>, StoreError>;

    /// The bytes of a file or of a stretch of it, and how many there are. The stream need not be checked for its length.
    async fn read(
        &self,
        path: &str,
        range: Option<ByteRange>,
    ) -> Result<(u64, ByteStream), StoreError>;

    /// Size and age of a file; a folder is not found.
    async fn stat(&self, path: &str) -> Result<ObjectMeta, StoreError>;

    /// What lies in a folder, in any order; nothing if it is not there.
    async fn folder(&self, path: &str) -> Result<Vec<Entry>, StoreError>;

    /// Moves a file of so many bytes into a folder that is made if it is not there. Asking twice does no harm. Only where
    /// halves show.
    async fn rename(&self, _from: &str, _to: &str, _size: u64) -> Result<(), StoreError> {
        Err(StoreError::Refused("nothing is moved here".into()))
    }

    /// Removes a file, and says whether it was there.
    async fn remove(&self, path: &str) -> Result<bool, StoreError>;

    /// Whether the other side answers and knows us.
    async fn probe(&self) -> Result<(), StoreError>;
}

/// A file being written.
#[async_trait]
pub(super) trait Sink: Send {
    /// Takes the next bytes, waiting for the other side.
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError>;

    /// Makes sure that the file is there with all its bytes.
    async fn finish(self: Box<Self>) -> Result<(), StoreError>;

    /// Stops, so that nothing more arrives. What arrived may stay.
    async fn abort(self: Box<Self>);
}

/// A store at a place of files and folders.
///
/// It serves only keys that [`ObjectKey::mint`] made, in buckets named with `[a-z0-9-]`. Buckets are made when first
/// written to.
#[derive(Clone)]
pub struct RemoteStore {
    remote: Arc<dyn Remote>,
    hauls: Arc<Hauls<ListedObject>>,
    budget: WriteBudget,
}

impl fmt::Debug for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteStore")
            .field(&self.remote.driver())
            .finish()
    }
}

impl RemoteStore {
    pub(super) fn new(remote: impl Remote, budget: WriteBudget) -> Self {
        Self {
            remote: Arc::new(remote),
            hauls: Arc::default(),
            budget,
        }
    }

    async fn clear(&self, bucket: &Bucket, key: &ObjectKey) -> Result<(), StoreError> {
        let address = Address::of(bucket, key)?;
        if self.remote.shows_halves() {
            // The unfinished one first: a writer that finishes meanwhile leaves an object, which goes next.
            self.remote.remove(&address.unfinished).await?;
        }
        self.remote.remove(&address.path).await.map(drop)
    }

    async fn reap_all(
        &self,
        bucket: &str,
        before: Timestamp,
        spare: &BTreeSet<ObjectKey>,
    ) -> Result<u64, StoreError> {
        let folder = format!("{bucket}/{UNFINISHED}");
        let spare: BTreeSet<&str> = spare.iter().map(ObjectKey::as_str).collect();
        let mut old = self.remote.folder(&folder).await?;
        old.retain(|entry| {
            let spared = key_of(&entry.name).is_some_and(|key| spare.contains(key.as_str()));
            // What has no age may be in use.
            let is_old = entry.modified_at.is_some_and(|at| at < before);
            !entry.is_folder && is_old && !spared && is_plain(&entry.name)
        });
        let remove = |entry: Entry| {
            let path = format!("{folder}/{}", entry.name);
            async move { self.remote.remove(&path).await }
        };
        let each: Vec<_> = old.into_iter().map(remove).collect();
        let mut removing = stream::iter(each).buffer_unordered(AT_ONCE);
        let mut reaped = 0;
        while let Some(removed) = removing.next().await {
            reaped += u64::from(removed?);
        }
        Ok(reaped)
    }
}

/// Whether a name that the other side told can stand in a path.
fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-');
    (1..=255).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain)
}

#[async_trait]
impl ObjectStore for RemoteStore {
    async fn begin(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        hints: WriteHints,
    ) -> Result<Box<dyn ObjectWriter>, StoreError> {
        let address = Address::of(bucket, key)?;
        let (remote, budget) = (Arc::clone(&self.remote), self.budget.clone());
        Ok(Box::new(RemoteWriter::new(remote, address, budget, hints)))
    }

    async fn put(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        body: Vec<Bytes>,
    ) -> Result<(), StoreError> {
        store_whole(&self.remote, &Address::of(bucket, key)?, &body).await
    }

    async fn read(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        range: Option<ByteRange>,
    ) -> Result<Payload, StoreError> {
        let address = Address::of(bucket, key)?;
        let (length, bytes) = self.remote.read(&address.path, range).await?;
        Ok(Payload::Stream(counted(bytes, length)))
    }

    async fn head(&self, bucket: &Bucket, key: &ObjectKey) -> Result<ObjectMeta, StoreError> {
        self.remote.stat(&Address::of(bucket, key)?.path).await
    }

    async fn delete(&self, bucket: &Bucket, keys: &[ObjectKey]) -> Vec<Result<(), StoreError>> {
        let mut answers = Vec::with_capacity(keys.len());
        for batch in keys.chunks(BATCH) {
            let deadline = Instant::now() + LARGE_WORK;
            let one = |key: ObjectKey| async move {
                match timeout_at(deadline, self.clear(bucket, &key)).await {
                    Ok(outcome) => outcome,
                    Err(late) => Err(StoreError::Unavailable(late.into())),
                }
            };
            let each: Vec<_> = batch.iter().cloned().map(one).collect();
            let outcomes: Vec<_> = stream::iter(each).buffered(AT_ONCE).collect().await;
            answers.extend(outcomes);
        }
        answers
    }

    async fn list(
        &self,
        bucket: &Bucket,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        plain(bucket)?;
        let limit = limit.clamp(1, 1000);
        let page = listing::page(&*self.remote, &self.hauls, bucket, prefix, cursor, limit);
        within(LARGE_WORK, page).await
    }

    async fn reap(
        &self,
        bucket: &Bucket,
        before: Timestamp,
        spare: &BTreeSet<ObjectKey>,
    ) -> Result<u64, StoreError> {
        let bucket = plain(bucket)?;
        if !self.remote.shows_halves() {
            return Ok(0);
        }
        within(LARGE_WORK, self.reap_all(bucket, before, spare)).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        within(PROBE, self.remote.probe()).await
    }

    fn driver(&self) -> &'static str {
        self.remote.driver()
    }
}

/// Gives up after the time.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(late) => Err(StoreError::Unavailable(late.into())),
    }
}

/// Does something harmless again while the server is unavailable, up to the limit for all attempts.
pub(super) async fn with_retries<T, F>(
    limit: Duration,
    mut work: impl FnMut() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let trying = async {
        let mut backoff = FIRST_BACKOFF;
        for _ in 1..ATTEMPTS {
            match work().await {
                Err(StoreError::Unavailable(_)) => {}
                outcome => return outcome,
            }
            tokio::time::sleep(backoff.mul_f64(rand::random_range(0.5..1.5))).await;
            backoff *= 2;
        }
        work().await
    };
    within(limit, trying).await
}
