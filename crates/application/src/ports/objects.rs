//! The object store port: buckets of immutable objects.

use std::{collections::BTreeSet, fmt, ops::Range, path::PathBuf, pin::Pin, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom_domain::{Bucket, ByteRange, ObjectKey, Timestamp};
use futures_util::{Stream, stream};

use super::{Resumable, Source, StoredPart, Unfinished};

/// Why a store operation failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such object or bucket.
    #[error("the object does not exist")]
    NotFound,
    /// The store understood and said no: credentials, a full disk, a key it does not serve. Asking again will not help.
    #[error("the store refused")]
    Refused(#[source] Source),
    /// The store did not answer, or not in time, or asked to be left alone. Asking again may help,
    /// and whether a write took effect is unknown.
    #[error("the store is unavailable")]
    Unavailable(#[source] Source),
    /// The store answered nonsense, or bytes ended early.
    #[error("the store is broken")]
    Broken(#[source] Source),
}

/// Bytes on their way from a store. An error ends it; ending early without one does not happen.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

/// A body, in the cheapest form that the store has it.
pub enum Payload {
    /// In memory already: a small read that needed no waiting.
    Ready(Bytes),
    /// Arriving.
    Stream(ByteStream),
    /// A file of this machine: its path for a proxy that can send it, and its bytes.
    File(LocalFile),
}

impl Payload {
    /// Its bytes as they come; nothing at all if there are none.
    #[must_use]
    pub fn into_stream(self) -> ByteStream {
        match self {
            Self::Ready(bytes) => {
                let some = (!bytes.is_empty()).then_some(Ok(bytes));
                Box::pin(stream::iter(some))
            }
            Self::Stream(bytes) => bytes,
            Self::File(file) => file.bytes,
        }
    }
}

/// A body that is a stretch of a local file.
pub struct LocalFile {
    /// The path below the store's root.
    pub path: PathBuf,
    /// The bytes asked for.
    pub bytes: ByteStream,
}

/// What is known about a body before it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteHints {
    /// The announced length in bytes, where the client announced one. It may lie.
    pub size: Option<u64>,
}

/// What a store knows about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Bytes as stored.
    pub size: u64,
    /// When it was written, by the store's clock.
    pub modified_at: Timestamp,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// The bucket it is in.
    pub bucket: Bucket,
    /// Its key.
    pub key: ObjectKey,
    /// Bytes as stored.
    pub size: u64,
    /// When it was written, by the store's clock.
    pub modified_at: Timestamp,
}

/// A page of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The objects, bytewise by key within the bucket.
    pub objects: Vec<ListedObject>,
    /// Where to go on, `None` at the end.
    pub next: Option<String>,
}

/// Immutable objects by bucket and key.
///
/// Buckets are made when first written to. A write becomes visible as a whole when `finish` returns,
/// and is durable by then. Every method is bounded in time by the adapter.
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// Starts writing an object. Nothing is visible at the key before [`ObjectWriter::finish`].
    async fn begin(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        hints: WriteHints,
    ) -> Result<Box<dyn ObjectWriter>, StoreError>;

    /// Writes a small object of bytes that are in memory already, such as the rest of an unfinished one
    /// ([`Suspended::rest`](super::Suspended)). An adapter need not reserve memory for them.
    async fn put(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        body: Vec<Bytes>,
    ) -> Result<(), StoreError> {
        let size = body.iter().map(|bytes| bytes.len() as u64).sum();
        let hints = WriteHints { size: Some(size) };
        let mut writer = self.begin(bucket, key, hints).await?;
        for bytes in body {
            writer.write(bytes).await?;
        }
        writer.finish().await
    }

    /// Reads the object or a stretch of it. A stretch beyond the end is [`StoreError::Broken`].
    async fn read(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        range: Option<ByteRange>,
    ) -> Result<Payload, StoreError>;

    /// Size and age of an object.
    async fn head(&self, bucket: &Bucket, key: &ObjectKey) -> Result<ObjectMeta, StoreError>;

    /// Removes objects and whatever unfinished writes lie under their keys. One that is not there counts as removed.
    /// The answers are in the order of the keys.
    async fn delete(&self, bucket: &Bucket, keys: &[ObjectKey]) -> Vec<Result<(), StoreError>>;

    /// Lists a bucket bytewise by key, from `cursor` on, at most `limit` (1–1000) objects. A bucket that does not exist is empty.
    async fn list(
        &self,
        bucket: &Bucket,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ListPage, StoreError>;

    /// Removes unfinished writes of `bucket` that began before the instant, and says how many. Those under the keys
    /// in `spare` stay: an upload may take days between two of its requests.
    ///
    /// A crash can leave one under a key that no row names any more.
    async fn reap(
        &self,
        bucket: &Bucket,
        before: Timestamp,
        spare: &BTreeSet<ObjectKey>,
    ) -> Result<u64, StoreError>;

    /// Whether the store answers at all, cheaply and within 2 s.
    async fn probe(&self) -> Result<(), StoreError>;

    /// The driver's name, such as `fs` or `webdav`.
    fn driver(&self) -> &'static str;

    /// The ability to sign addresses that anybody may use for a while; `None` where the store cannot, or where the
    /// bytes that it keeps are not those that readers get.
    fn presign(&self) -> Option<&dyn Presign> {
        None
    }

    /// The ability to write an object over several requests; `None` where the store has none.
    fn resumable(&self) -> Option<&dyn Resumable> {
        None
    }
}

/// Signs addresses of a store for others to use.
#[async_trait]
pub trait Presign: Send + Sync {
    /// An address that answers a GET with the object, or with the stretch that a `Range` field asks for. Asks the
    /// store nothing: the object may not be there.
    async fn get(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        valid: Duration,
    ) -> Result<PresignedUrl, StoreError>;

    /// Opens an unfinished object whose parts others will send, and gives its [`Unfinished::write_id`]. It is joined,
    /// deleted and reaped like every unfinished object; after that no address of its parts works any more.
    async fn open(&self, bucket: &Bucket, key: &ObjectKey) -> Result<String, StoreError>;

    /// A request that stores a part of exactly `size` bytes, as often as it is sent; the last one counts. Asks the
    /// store nothing.
    async fn put_part(
        &self,
        object: &Unfinished,
        number: u32,
        size: u64,
        valid: Duration,
    ) -> Result<SignedRequest, StoreError>;

    /// The parts that the store has, by their numbers; at most 10,000. [`StoreError::NotFound`] once the object is
    /// joined or deleted.
    async fn parts(&self, object: &Unfinished) -> Result<Vec<StoredPart>, StoreError>;
}

/// A request that anybody may send for as long as its address is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRequest {
    /// The HTTP method.
    pub method: &'static str,
    /// The address, signed for where clients reach the store.
    pub url: PresignedUrl,
    /// Headers that have to be sent as they are, bar `Host` and `Content-Length`, which every client sends by itself.
    pub headers: Vec<(String, String)>,
}

/// An address that is a credential for as long as it is valid, so it does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct PresignedUrl {
    url: String,
    host: Range<usize>,
}

impl PresignedUrl {
    /// Reads `http://host/path?query` or `https://…`; `None` if it is something else.
    #[must_use]
    pub fn parse(url: impl Into<String>) -> Option<Self> {
        let url = url.into();
        let scheme = ["http://", "https://"];
        let start = scheme.iter().find(|it| url.starts_with(**it))?.len();
        let length = url.get(start..)?.find('/').filter(|length| *length > 0)?;
        let host = start..start + length;
        Some(Self { url, host })
    }

    /// The host, with its port if it has one, as the signature covers it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.url[self.host.clone()]
    }

    /// The whole address, for the one who may use it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.url
    }

    /// The path and the query: the secret.
    #[must_use]
    pub fn reveal_target(&self) -> &str {
        &self.url[self.host.end..]
    }
}

impl fmt::Debug for PresignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// An object being written. Dropping it without `finish` removes what it can in the background.
#[async_trait]
pub trait ObjectWriter: Send {
    /// Takes the next bytes; waits while the adapter's buffers are full.
    async fn write(&mut self, data: Bytes) -> Result<(), StoreError>;

    /// Whether it has held memory for long, of a client that sends slowly, while other writers wait for some: `true`
    /// once for each of them, so that whoever is told has to give up.
    fn holds_up_others(&self) -> bool {
        false
    }

    /// Makes the object durable and visible. After an error it is neither, unless the error is
    /// [`StoreError::Unavailable`], when only the store knows.
    async fn finish(self: Box<Self>) -> Result<(), StoreError>;

    /// Gives the write up and removes what was sent.
    async fn abort(self: Box<Self>) -> Result<(), StoreError>;
}
