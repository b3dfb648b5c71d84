//! The format, byte by byte, and what a store looks like through it.

mod bodies;
mod bounds;
mod chunks;
mod secrets;

use std::sync::Arc;

use bytes::Bytes;
use cloakroom_application::{
    ports::{ObjectStore, Sealing, StoreError, WriteHints},
    testkit::objects::{MemoryStore, bucket, collect, contract::Harness, key},
};
use cloakroom_domain::{Bucket, ByteRange, ObjectKey, Seal, VersionId};

use super::{MasterKeys, new_key};
use crate::stores::fs::{FsOptions, FsStore};

fn keys() -> MasterKeys {
    MasterKeys::parse(&new_key().unwrap().0).unwrap()
}

fn over(store: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
    let keys = keys();
    let seal = keys.new_seal(VersionId::random()).unwrap().unwrap();
    keys.over(store, &seal)
}

async fn over_memory() -> Harness {
    Harness::new("sealed memory", over(Arc::new(MemoryStore::new())))
}

async fn over_a_folder() -> Harness {
    let folder = tempfile::tempdir().unwrap();
    let store = FsStore::open(folder.path().join("objects"), FsOptions::default()).unwrap();
    Harness::new("sealed fs", over(Arc::new(store))).keeping(folder)
}

mod memory {
    cloakroom_application::object_store_contract!(without parts super::over_memory);
}

mod folder {
    cloakroom_application::object_store_contract!(without parts super::over_a_folder);
}

/// One sealed body in memory, and where it is.
struct Sealed {
    store: MemoryStore,
    keys: MasterKeys,
    seal: Seal,
    bucket: Bucket,
    key: ObjectKey,
}

impl Sealed {
    /// A body of a version, written in odd chunks.
    async fn of(keys: &MasterKeys, body: &Bytes) -> Self {
        let sealed = Self {
            store: MemoryStore::new(),
            keys: keys.clone(),
            seal: keys.new_seal(VersionId::random()).unwrap().unwrap(),
            bucket: bucket(),
            key: key(),
        };
        let mut writer = sealed
            .view(None)
            .begin(&sealed.bucket, &sealed.key, WriteHints::default())
            .await
            .unwrap();
        for start in (0..body.len()).step_by(50_001) {
            let end = body.len().min(start + 50_001);
            writer.write(body.slice(start..end)).await.unwrap();
        }
        writer.finish().await.unwrap();
        sealed
    }

    /// The store through the seal of a body of that size, if it is known.
    fn view(&self, size: Option<u64>) -> Arc<dyn ObjectStore> {
        let seal = Seal {
            size,
            ..self.seal.clone()
        };
        self.keys.over(Arc::new(self.store.clone()), &seal)
    }

    async fn read(
        &self,
        size: Option<u64>,
        range: Option<ByteRange>,
    ) -> Result<Vec<u8>, StoreError> {
        let view = self.view(size);
        collect(view.read(&self.bucket, &self.key, range).await?).await
    }

    /// The bytes as they lie in the store.
    async fn stored(&self) -> Vec<u8> {
        let read = self.store.read(&self.bucket, &self.key, None).await;
        collect(read.unwrap()).await.unwrap()
    }

    /// Puts other bytes in their place.
    async fn put(&self, stored: Vec<u8>) {
        assert!(self.store.lose(&self.bucket, &self.key));
        let body = vec![Bytes::from(stored)];
        self.store.put(&self.bucket, &self.key, body).await.unwrap();
    }

    /// Every byte that is given out before the body ends or breaks off, and whether it ends well.
    async fn given_out(&self, size: Option<u64>, range: Option<ByteRange>) -> (Vec<u8>, bool) {
        use futures_util::StreamExt;
        let view = self.view(size);
        let payload = match view.read(&self.bucket, &self.key, range).await {
            Ok(payload) => payload,
            Err(StoreError::Broken(_)) => return (Vec::new(), false),
            Err(other) => panic!("{other:?}"),
        };
        let mut stream = payload.into_stream();
        let mut given = Vec::new();
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(chunk) => given.extend_from_slice(&chunk),
                Err(StoreError::Broken(_)) => return (given, false),
                Err(other) => panic!("{other:?}"),
            }
        }
        (given, true)
    }
}
