//! Small bodies that are read often, kept in memory. Stored bytes never change, so what is kept is never wrong.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use cloakroom_domain::VersionId;
use futures_util::{StreamExt, stream};
use moka::sync::Cache;

use crate::ports::{ByteStream, LocalFile, Payload, StoreError};

/// A larger body is not kept, however much room there is.
const LARGEST: u64 = 1024 * 1024;
/// No body takes more than this part of the whole.
const SHARE: u64 = 16;
/// Bodies that are being gathered take at most this part of the whole, on top of it.
const GATHERING: u64 = 4;
/// What nobody asks for is not kept for longer, full or not.
const IDLE: Duration = Duration::from_secs(600);

/// The bodies kept, by their version. Which ones stay is decided by how often they are asked for.
#[derive(Clone)]
pub struct HotBodies {
    cache: Cache<VersionId, Bytes>,
    largest: u64,
    gathering: Arc<AtomicU64>,
    room_to_gather: u64,
}

impl HotBodies {
    /// Keeps up to `capacity` bytes of bodies; 0 keeps none.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        let weight = |_: &VersionId, body: &Bytes| u32::try_from(body.len()).unwrap_or(u32::MAX);
        Self {
            cache: Cache::builder()
                .max_capacity(capacity)
                .weigher(weight)
                .time_to_idle(IDLE)
                .build(),
            largest: LARGEST.min(capacity / SHARE),
            gathering: Arc::default(),
            room_to_gather: capacity / GATHERING,
        }
    }

    /// The body, if it is kept.
    #[must_use]
    pub fn get(&self, version: &VersionId, size: u64) -> Option<Bytes> {
        if size > self.largest {
            return None;
        }
        self.cache.get(version)
    }

    /// Whether a body of that size could be kept.
    pub(crate) const fn takes(&self, size: u64) -> bool {
        size <= self.largest
    }

    /// Keeps a whole body, of which every check went well, now or once its last byte went by.
    pub(crate) fn keep(&self, version: VersionId, size: u64, payload: Payload) -> Payload {
        if size > self.largest || size == 0 {
            return payload;
        }
        match payload {
            Payload::Ready(body) => {
                self.cache.insert(version, body.clone());
                Payload::Ready(body)
            }
            Payload::Stream(body) => Payload::Stream(self.gather(version, size, body)),
            Payload::File(LocalFile { path, bytes }) => Payload::File(LocalFile {
                path,
                bytes: self.gather(version, size, bytes),
            }),
        }
    }

    /// Passes a body on and collects it, if there is room to.
    fn gather(&self, version: VersionId, size: u64, body: ByteStream) -> ByteStream {
        let Some(room) = Room::taken(&self.gathering, size, self.room_to_gather) else {
            return body;
        };
        let cache = self.cache.clone();
        let gathered = BytesMut::with_capacity(usize::try_from(size).unwrap_or_default());
        let state = (body, gathered, room);
        let passed_on = stream::unfold(Some(state), move |state| {
            let cache = cache.clone();
            async move {
                let (mut body, mut gathered, room) = state?;
                match body.next().await {
                    Some(Ok(chunk)) => {
                        gathered.extend_from_slice(&chunk);
                        Some((Ok(chunk), Some((body, gathered, room))))
                    }
                    Some(Err(error)) => Some((Err::<Bytes, StoreError>(error), None)),
                    None => {
                        cache.insert(version, gathered.freeze());
                        None
                    }
                }
            }
        });
        Box::pin(passed_on)
    }
}

/// Memory of a body that is being gathered.
struct Room {
    all: Arc<AtomicU64>,
    size: u64,
}

impl Room {
    fn taken(all: &Arc<AtomicU64>, size: u64, limit: u64) -> Option<Self> {
        let room = Self {
            all: Arc::clone(all),
            size,
        };
        (all.fetch_add(size, Ordering::Relaxed) + size <= limit).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.all.fetch_sub(self.size, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    fn streamed(chunks: &'static [&'static [u8]]) -> Payload {
        let chunks = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk)));
        Payload::Stream(Box::pin(stream::iter(chunks)))
    }

    fn stream_of(payload: Payload) -> ByteStream {
        match payload {
            Payload::Stream(bytes) | Payload::File(LocalFile { bytes, .. }) => bytes,
            Payload::Ready(_) => panic!("a stream is expected"),
        }
    }

    #[tokio::test]
    async fn a_body_that_went_by_whole_is_kept_and_one_that_broke_is_not() {
        let (hot, whole, cut) = (
            HotBodies::new(1 << 20),
            VersionId::random(),
            VersionId::random(),
        );
        let passed: Vec<Bytes> = stream_of(hot.keep(whole, 4, streamed(&[b"ab", b"cd"])))
            .try_collect()
            .await
            .unwrap();
        assert_eq!(passed.concat(), b"abcd");
        assert_eq!(hot.get(&whole, 4).as_deref(), Some(&b"abcd"[..]));

        let broken = stream::iter([Ok(Bytes::from_static(b"ab")), Err(StoreError::NotFound)]);
        let broken = hot.keep(cut, 4, Payload::Stream(Box::pin(broken)));
        assert!(stream_of(broken).try_collect::<Vec<_>>().await.is_err());
        assert_eq!(hot.get(&cut, 4), None);
        let mut left = stream_of(hot.keep(cut, 4, streamed(&[b"ab", b"cd"])));
        left.next().await;
        drop(left);
        assert_eq!(hot.get(&cut, 4), None);
    }

    #[tokio::test]
    async fn what_is_large_is_not_kept_and_gathering_has_a_bound() {
        let hot = HotBodies::new(64);
        let id = VersionId::random();
        hot.keep(id, 5, Payload::Ready(Bytes::from_static(b"12345")));
        assert_eq!(hot.get(&id, 5), None, "more than its share");
        let ids: Vec<VersionId> = (0..5).map(|_| VersionId::random()).collect();
        let bodies: Vec<_> = ids
            .iter()
            .map(|id| stream_of(hot.keep(*id, 4, streamed(&[b"abcd"]))))
            .collect();
        for body in bodies {
            body.try_collect::<Vec<_>>().await.unwrap();
        }
        let kept = ids.iter().filter(|id| hot.get(id, 4).is_some()).count();
        assert_eq!(kept, 4);
        assert_eq!(hot.gathering.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn nothing_is_kept_without_room() {
        let hot = HotBodies::new(0);
        let id = VersionId::random();
        hot.keep(id, 1, Payload::Ready(Bytes::from_static(b"1")));
        assert_eq!(hot.get(&id, 1), None);
    }
}
