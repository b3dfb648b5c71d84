//! Sealing a body on its way into a store.

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use cloakroom_application::ports::{ObjectWriter, SealError, StoreError};

use super::{
    segments::{BodyKey, EXTRA, FULL, Place, filled, room},
    store::refusal,
};

/// Cuts plain bytes into segments and seals them.
pub(super) struct Sealer {
    key: BodyKey,
    number: u64,
    /// The segment being filled. A full one waits for more bytes: it may be the last.
    segment: Vec<u8>,
}

impl Sealer {
    pub(super) fn new(key: BodyKey) -> Self {
        Self {
            key,
            number: 0,
            segment: room(),
        }
    }

    /// Takes what fits, and answers a segment behind which there are more bytes; `None` once all are taken.
    ///
    /// # Errors
    /// [`SealError::NoRandomness`].
    pub(super) fn take(&mut self, data: &mut Bytes) -> Result<Option<Bytes>, SealError> {
        let fits = (FULL - filled(&self.segment)).min(data.len());
        if self.segment.len() + fits > self.segment.capacity() {
            // A body that has filled so much will as a rule fill a segment.
            let more = if self.number > 0 || fits + filled(&self.segment) > FULL / 4 {
                FULL + EXTRA - self.segment.len()
            } else {
                fits + EXTRA
            };
            self.segment.reserve_exact(more);
        }
        self.segment.extend_from_slice(&data[..fits]);
        data.advance(fits);
        if data.is_empty() {
            return Ok(None);
        }
        let full = std::mem::replace(&mut self.segment, room());
        self.seal(full, false).map(Some)
    }

    /// The last segment.
    ///
    /// # Errors
    /// As [`Sealer::take`].
    pub(super) fn end(&mut self) -> Result<Bytes, SealError> {
        let last = std::mem::take(&mut self.segment);
        self.seal(last, true)
    }

    fn seal(&mut self, segment: Vec<u8>, is_last: bool) -> Result<Bytes, SealError> {
        let number = self.number;
        self.number += 1;
        self.key.seal(Place { number, is_last }, segment)
    }
}

/// A writer of a sealed body.
pub(super) struct SealedWriter {
    inner: Box<dyn ObjectWriter>,
    sealer: Sealer,
    failed: bool,
}

impl SealedWriter {
    pub(super) fn new(inner: Box<dyn ObjectWriter>, key: BodyKey) -> Self {
        Self {
            inner,
            sealer: Sealer::new(key),
            failed: false,
        }
    }
}

#[async_trait]
impl ObjectWriter for SealedWriter {
    async fn write(&mut self, mut data: Bytes) -> Result<(), StoreError> {
        if self.failed {
            return Err(failed_before());
        }
        // A segment that did not reach the store is a hole, also if this future is dropped half way.
        self.failed = true;
        while let Some(segment) = self.sealer.take(&mut data).map_err(refusal)? {
            self.inner.write(segment).await?;
        }
        self.failed = false;
        Ok(())
    }

    fn holds_up_others(&self) -> bool {
        self.inner.holds_up_others()
    }

    async fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        if self.failed {
            return Err(failed_before());
        }
        let last = self.sealer.end().map_err(refusal)?;
        self.inner.write(last).await?;
        self.inner.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        self.inner.abort().await
    }
}

fn failed_before() -> StoreError {
    StoreError::Refused("this write has failed before".into())
}
