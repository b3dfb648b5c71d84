//! How much of the store is read for how much of a file.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom_application::{
    ports::{
        ListPage, ObjectMeta, ObjectStore, ObjectWriter, Payload, Sealing, StoreError, WriteHints,
    },
    testkit::objects::collect,
};
use cloakroom_domain::{
    Bucket, ByteRange, ObjectKey, STORED_SEGMENT, Seal, Timestamp, VersionId, sealed_size, segments,
};
use futures_util::{StreamExt, stream};

use super::{
    super::segments::{BodyKey, FULL, Place, room},
    keys,
};

const SIZE: u64 = 10_000_000_000;

/// A sealed body of 10 GB, made up where it is read; how much of it was.
struct MadeUp {
    key: Arc<BodyKey>,
    read: AtomicU64,
    asked: AtomicU64,
}

/// The byte of the file at a place.
fn byte(at: u64) -> u8 {
    (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

impl MadeUp {
    fn segment(key: &BodyKey, number: u64) -> Bytes {
        let start = number * FULL as u64;
        let mut segment = room();
        segment.extend((start..SIZE.min(start + FULL as u64)).map(byte));
        let is_last = number + 1 == segments(SIZE);
        key.seal(Place { number, is_last }, segment).unwrap()
    }
}

#[async_trait]
impl ObjectStore for MadeUp {
    async fn begin(
        &self,
        _: &Bucket,
        _: &ObjectKey,
        _: WriteHints,
    ) -> Result<Box<dyn ObjectWriter>, StoreError> {
        Err(StoreError::Refused("read only".into()))
    }

    async fn read(
        &self,
        _: &Bucket,
        _: &ObjectKey,
        range: Option<ByteRange>,
    ) -> Result<Payload, StoreError> {
        let whole = ByteRange {
            start: 0,
            end: sealed_size(SIZE),
        };
        let range = range.unwrap_or(whole);
        assert!(range.end <= whole.end);
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.read.fetch_add(range.len(), Ordering::Relaxed);
        let key = Arc::clone(&self.key);
        let numbers = range.start / STORED_SEGMENT..range.end.div_ceil(STORED_SEGMENT);
        let chunks = stream::iter(numbers).map(move |number| {
            let mut segment = Self::segment(&key, number);
            let start = number * STORED_SEGMENT;
            segment.truncate((range.end - start).min(STORED_SEGMENT) as usize);
            Ok(segment.split_off(range.start.saturating_sub(start) as usize))
        });
        Ok(Payload::Stream(chunks.boxed()))
    }

    async fn head(&self, _: &Bucket, _: &ObjectKey) -> Result<ObjectMeta, StoreError> {
        Ok(ObjectMeta {
            size: sealed_size(SIZE),
            modified_at: Timestamp::from_micros(0),
        })
    }

    async fn delete(&self, _: &Bucket, _: &[ObjectKey]) -> Vec<Result<(), StoreError>> {
        Vec::new()
    }

    async fn list(
        &self,
        _: &Bucket,
        _: &str,
        _: Option<&str>,
        _: usize,
    ) -> Result<ListPage, StoreError> {
        Ok(ListPage::default())
    }

    async fn reap(
        &self,
        _: &Bucket,
        _: Timestamp,
        _: &BTreeSet<ObjectKey>,
    ) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn driver(&self) -> &'static str {
        "made up"
    }
}

#[tokio::test]
async fn a_stretch_of_10_gb_reads_only_the_segments_that_it_lies_in() {
    let keys = keys();
    let seal = keys.new_seal(VersionId::random()).unwrap().unwrap();
    let key = BodyKey::new(&keys.body_key(&seal).unwrap()).unwrap();
    let store = Arc::new(MadeUp {
        key: Arc::new(key),
        read: AtomicU64::new(0),
        asked: AtomicU64::new(0),
    });
    let seal = Seal {
        size: Some(SIZE),
        ..seal
    };
    let view = keys.over(store.clone(), &seal);
    let (bucket, key) = (Bucket::parse("b").unwrap(), super::key());
    let long = 64 * 1024;
    let starts = [
        0,
        1,
        long - 1,
        long,
        7_654_321_987,
        SIZE - long,
        SIZE - 2 * long + 1,
    ];
    for start in starts {
        let range = ByteRange {
            start,
            end: start + long,
        };
        let payload = view.read(&bucket, &key, Some(range)).await.unwrap();
        let read = collect(payload).await.unwrap();
        assert!(read.iter().copied().eq((start..start + long).map(byte)));
        let bytes = store.read.swap(0, Ordering::Relaxed);
        assert!(
            bytes <= 192 * 1024,
            "{bytes} bytes were read from {start} on"
        );
        assert_eq!(store.asked.swap(0, Ordering::Relaxed), 1);
    }
}
