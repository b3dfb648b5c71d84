//! Objects in an S3 store, of whatever make.

mod buckets;
pub(super) mod buffer;
mod client;
mod cors;
mod failure;
mod http;
mod lenient;
mod listing;
mod parts;
mod presign;
mod progress;
mod reader;
mod removal;
mod settings;
mod upload;
mod writer;

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom_application::ports::{
    ListPage, ObjectMeta, ObjectStore, ObjectWriter, Payload, Presign, Resumable, StoreError,
    WriteHints,
};
use cloakroom_domain::{Bucket, ByteRange, ObjectKey, Timestamp};

pub use self::settings::{S3Secret, S3Settings};
use self::{
    buckets::checked,
    buffer::Part,
    client::{Core, limits},
    failure::{answer, classify},
    upload::Target,
    writer::S3Writer,
};
use super::budget::WriteBudget;

/// How long giving up the unfinished uploads of a bucket may take; what is left is for the next time.
const REAP: Duration = Duration::from_secs(60);

/// How long a store may take to show that it is there.
const PROBE: Duration = Duration::from_millis(1900);

/// An S3 store.
///
/// Buckets have names of 3–63 of `[a-z0-9-]` and are made when first written to. Objects above 8 MiB are
/// uploaded in parts; the memory for them comes from one [`WriteBudget`].
#[derive(Clone)]
pub struct S3Store(Arc<Core>);

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("S3Store")
    }
}

impl S3Store {
    /// A client of the store; asks it nothing yet.
    ///
    /// # Errors
    /// The endpoint is not an HTTP address.
    pub fn new(settings: &S3Settings, budget: WriteBudget) -> Result<Self, StoreError> {
        Core::new(settings, budget).map(|core| Self(Arc::new(core)))
    }

    fn target(&self, bucket: &Bucket, key: &ObjectKey) -> Result<Target, StoreError> {
        checked(bucket)?;
        Ok(Target {
            core: Arc::clone(&self.0),
            bucket: bucket.clone(),
            key: key.clone(),
        })
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn begin(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        hints: WriteHints,
    ) -> Result<Box<dyn ObjectWriter>, StoreError> {
        Ok(Box::new(S3Writer::new(self.target(bucket, key)?, hints)))
    }

    async fn put(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        body: Vec<Bytes>,
    ) -> Result<(), StoreError> {
        self.target(bucket, key)?.put(&Part::of(body)).await
    }

    async fn read(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        range: Option<ByteRange>,
    ) -> Result<Payload, StoreError> {
        checked(bucket)?;
        reader::read(&self.0, bucket, key, range).await
    }

    async fn head(&self, bucket: &Bucket, key: &ObjectKey) -> Result<ObjectMeta, StoreError> {
        checked(bucket)?;
        listing::head(&self.0, bucket, key).await
    }

    async fn delete(&self, bucket: &Bucket, keys: &[ObjectKey]) -> Vec<Result<(), StoreError>> {
        if checked(bucket).is_err() {
            let refused = |_| checked(bucket).map(|_| ());
            return keys.iter().map(refused).collect();
        }
        removal::delete(&self.0, bucket, keys).await
    }

    async fn list(
        &self,
        bucket: &Bucket,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        checked(bucket)?;
        listing::page(&self.0, bucket, prefix, cursor, limit).await
    }

    async fn reap(
        &self,
        bucket: &Bucket,
        before: Timestamp,
        spare: &BTreeSet<ObjectKey>,
    ) -> Result<u64, StoreError> {
        checked(bucket)?;
        let reaping = listing::reap(&self.0, bucket, before, spare);
        match tokio::time::timeout(REAP, reaping).await {
            Ok(outcome) => outcome,
            Err(late) => Err(StoreError::Unavailable(late.into())),
        }
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let list = self.0.client.list_buckets().max_buckets(1).customize();
        match list.config_override(limits(PROBE, PROBE)).send().await {
            Ok(_) => Ok(()),
            // A key may be good for its buckets and nothing else.
            Err(error) if answer(&error).1 == Some("AccessDenied") => Ok(()),
            Err(error) => Err(classify(&error)),
        }
    }

    fn driver(&self) -> &'static str {
        "s3"
    }

    fn presign(&self) -> Option<&dyn Presign> {
        Some(self)
    }

    fn resumable(&self) -> Option<&dyn Resumable> {
        Some(self)
    }
}
