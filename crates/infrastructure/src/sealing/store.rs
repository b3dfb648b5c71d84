//! A store as it is for one sealed body.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom_application::ports::{
    ListPage, ListedObject, ObjectMeta, ObjectStore, ObjectWriter, Payload, Presign, Resumable,
    SealError, StoreError, WriteHints,
};
use cloakroom_domain::{
    Bucket, ByteRange, ObjectKey, Seal, SealedRange, Timestamp, opened_size, sealed_size,
};

use super::{
    keys::MasterKeys,
    reading::{Opening, Wanted},
    segments::BodyKey,
    writing::{SealedWriter, Sealer},
};

/// A store in which the bytes of one body lie sealed.
pub(super) struct SealedStore {
    inner: Arc<dyn ObjectStore>,
    keys: MasterKeys,
    seal: Seal,
}

impl SealedStore {
    pub(super) const fn new(inner: Arc<dyn ObjectStore>, keys: MasterKeys, seal: Seal) -> Self {
        Self { inner, keys, seal }
    }

    fn key(&self) -> Result<BodyKey, StoreError> {
        let key = self.keys.body_key(&self.seal).map_err(refusal)?;
        BodyKey::new(&key).map_err(refusal)
    }

    fn opening(&self, key: BodyKey, wanted: Wanted) -> Opening {
        Opening::new(key, self.seal.version, wanted)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for SealedStore {
    async fn begin(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        hints: WriteHints,
    ) -> Result<Box<dyn ObjectWriter>, StoreError> {
        let body_key = self.key()?;
        let hints = WriteHints {
            size: hints.size.map(sealed_size),
        };
        let inner = self.inner.begin(bucket, key, hints).await?;
        Ok(Box::new(SealedWriter::new(inner, body_key)))
    }

    async fn put(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        body: Vec<Bytes>,
    ) -> Result<(), StoreError> {
        let mut sealer = Sealer::new(self.key()?);
        let mut sealed = Vec::new();
        for mut bytes in body {
            while let Some(segment) = sealer.take(&mut bytes).map_err(refusal)? {
                sealed.push(segment);
            }
        }
        sealed.push(sealer.end().map_err(refusal)?);
        self.inner.put(bucket, key, sealed).await
    }

    async fn read(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        range: Option<ByteRange>,
    ) -> Result<Payload, StoreError> {
        let body_key = self.key()?;
        let Some(range) = range else {
            let sealed = self.inner.read(bucket, key, None).await?;
            let wanted = Wanted::whole(self.seal.size);
            return self.opening(body_key, wanted).over(sealed);
        };
        let size = match self.seal.size {
            Some(size) => size,
            None => self.head(bucket, key).await?.size,
        };
        let stretch = SealedRange::of(range, size)
            .ok_or_else(|| StoreError::Broken("a stretch beyond the end".into()))?;
        let sealed = self.inner.read(bucket, key, Some(stretch.stored)).await?;
        let wanted = Wanted::stretch(range, &stretch, size);
        self.opening(body_key, wanted).over(sealed)
    }

    async fn head(&self, bucket: &Bucket, key: &ObjectKey) -> Result<ObjectMeta, StoreError> {
        let meta = self.inner.head(bucket, key).await?;
        let size = opened_size(meta.size);
        let size = size.ok_or_else(|| StoreError::Broken("no sealed body has this size".into()))?;
        Ok(ObjectMeta { size, ..meta })
    }

    async fn delete(&self, bucket: &Bucket, keys: &[ObjectKey]) -> Vec<Result<(), StoreError>> {
        self.inner.delete(bucket, keys).await
    }

    async fn list(
        &self,
        bucket: &Bucket,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        let page = self.inner.list(bucket, prefix, cursor, limit).await?;
        let opened = |object: ListedObject| ListedObject {
            size: opened_size(object.size).unwrap_or(object.size),
            ..object
        };
        Ok(ListPage {
            objects: page.objects.into_iter().map(opened).collect(),
            next: page.next,
        })
    }

    async fn reap(
        &self,
        bucket: &Bucket,
        before: Timestamp,
        spare: &BTreeSet<ObjectKey>,
    ) -> Result<u64, StoreError> {
        self.inner.reap(bucket, before, spare).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.inner.probe().await
    }

    fn driver(&self) -> &'static str {
        self.inner.driver()
    }

    /// Whoever fetched it would get sealed bytes, and whoever sent it would send plain ones.
    fn presign(&self) -> Option<&dyn Presign> {
        None
    }

    /// Parts would have to end where segments do. Uploads of several requests lie in pieces until they are whole.
    fn resumable(&self) -> Option<&dyn Resumable> {
        None
    }
}

/// What cannot be sealed or opened, as a store tells it.
pub(super) fn refusal(error: SealError) -> StoreError {
    match error {
        SealError::NoKey | SealError::KeyMissing(_) => StoreError::Refused(error.into()),
        SealError::Forged(_) | SealError::Unreadable => StoreError::Broken(error.into()),
        SealError::NoRandomness => StoreError::Unavailable(error.into()),
    }
}
