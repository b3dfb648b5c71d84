//! Writing: one request for what fits a part, a multipart upload for what does not.

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom_application::ports::{ObjectWriter, StoreError, WriteHints};

use super::{
    buffer::{Buffer, Part},
    client::write_limits,
    progress::Progress,
    upload::{Target, Upload},
};

const MIB: u64 = 1024 * 1024;

/// The size of a part, unless the object needs larger ones, in bytes.
const PART: u64 = 8 * MIB;

/// Bodies up to this many bytes are sent without a look whether the bucket is there: they are under way
/// before a store could hang up.
const UNASKED: u64 = 64 * 1024;

/// The most parts that S3 takes.
pub(super) const MAX_PARTS: i32 = 10_000;

/// An object whose size is not known gets parts of twice the size after so many.
const PARTS_OF_A_SIZE: u32 = 2_000;

/// A writer to an object.
pub(super) struct S3Writer {
    target: Target,
    announced: Option<u64>,
    buffer: Buffer,
    upload: Option<Upload>,
    /// Bytes in parts that are sent or being sent.
    sent: u64,
    failed: bool,
}

impl S3Writer {
    pub(super) fn new(target: Target, hints: WriteHints) -> Self {
        Self {
            target,
            announced: hints.size,
            buffer: Buffer::default(),
            upload: None,
            sent: 0,
            failed: false,
        }
    }

    async fn take(&mut self, mut data: Bytes) -> Result<(), StoreError> {
        while !data.is_empty() {
            let begun = self.upload.as_ref().map_or(0, Upload::parts);
            if begun >= MAX_PARTS {
                return Err(StoreError::Refused(
                    "the object has more parts than a store takes".into(),
                ));
            }
            let most = self.part_size(begun);
            if self.buffer.len() >= most {
                self.send_part().await?;
                continue;
            }
            let expected = self.announced.and_then(|size| size.checked_sub(self.sent));
            let expected = expected.map(|left| usize::try_from(left).unwrap_or(usize::MAX));
            let budget = &self.target.core.budget;
            self.buffer.reserve(budget, expected, most).await?;
            self.buffer.fill(&mut data);
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<(), StoreError> {
        let part = std::mem::take(&mut self.buffer).seal();
        self.sent += part.len();
        let target = &self.target;
        let upload = self
            .upload
            .get_or_insert_with(|| Upload::open(target.clone()));
        upload.send(part).await
    }

    /// The size of the part after the first `begun` ones. Two parts always fit the budget.
    fn part_size(&self, begun: i32) -> usize {
        let largest = u64::from(self.target.core.budget.parts.size) / 2;
        part_size(self.announced, begun.unsigned_abs(), largest)
    }
}

/// The size of the part after the first `begun` ones, in bytes.
pub(super) fn part_size(announced: Option<u64>, begun: u32, largest: u64) -> usize {
    let announced = announced.unwrap_or_default();
    let needed = announced.div_ceil(u64::from(MAX_PARTS.unsigned_abs()));
    let grown = PART << (begun / PARTS_OF_A_SIZE).min(10);
    let size = needed.next_multiple_of(MIB).max(grown).min(largest);
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[async_trait]
impl ObjectWriter for S3Writer {
    async fn write(&mut self, data: Bytes) -> Result<(), StoreError> {
        if self.failed {
            return Err(failed_before());
        }
        // Until the bytes are taken the object has a hole, also if this future is dropped half way.
        self.failed = true;
        self.take(data).await?;
        self.failed = false;
        Ok(())
    }

    fn holds_up_others(&self) -> bool {
        self.buffer.holds_up_others()
    }

    async fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        if self.failed {
            return Err(failed_before());
        }
        if self.upload.is_some() {
            self.send_part().await?;
        }
        match self.upload.take() {
            Some(upload) => upload.finish().await,
            None => {
                let part = std::mem::take(&mut self.buffer).seal();
                self.target.put(&part).await
            }
        }
    }

    async fn abort(mut self: Box<Self>) -> Result<(), StoreError> {
        // Others may wait for its memory.
        drop(std::mem::take(&mut self.buffer));
        match self.upload.take() {
            Some(upload) => upload.abort().await,
            None => Ok(()),
        }
    }
}

impl Target {
    /// Writes the object in one request.
    pub(super) async fn put(&self, part: &Part) -> Result<(), StoreError> {
        let length = i64::try_from(part.len()).unwrap_or(i64::MAX);
        let put = || async move {
            let progress = Progress::begin();
            let put = self.core.client.put_object();
            let put = put
                .bucket(self.bucket.as_str())
                .key(self.key.as_str())
                .content_length(length)
                .body(part.body(&progress))
                .customize()
                .config_override(write_limits(part.len()))
                .disable_payload_signing();
            progress.watch(put.send()).await
        };
        if part.len() > UNASKED {
            self.core.look_for_bucket(&self.bucket).await?;
        }
        self.core.with_bucket(&self.bucket, put).await.map(|_| ())
    }
}

pub(super) fn failed_before() -> StoreError {
    StoreError::Refused("this write has failed before".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * MIB;
    const LARGEST: u64 = 36 * MIB;

    fn capacity(announced: Option<u64>) -> u64 {
        (0..MAX_PARTS.unsigned_abs())
            .map(|begun| part_size(announced, begun, LARGEST) as u64)
            .sum()
    }

    #[test]
    fn ten_thousand_parts_hold_what_was_announced() {
        assert_eq!(part_size(Some(GIB), 0, LARGEST) as u64, PART);
        for announced in [79 * GIB, 100 * GIB, 300 * GIB] {
            assert!(capacity(Some(announced)) >= announced);
        }
    }

    #[test]
    fn parts_grow_when_nothing_was_announced() {
        assert_eq!(part_size(None, 0, LARGEST) as u64, PART);
        assert!(capacity(None) >= 200 * GIB);
        assert_eq!(part_size(None, 9_999, LARGEST) as u64, LARGEST);
        assert_eq!(part_size(Some(u64::MAX), 0, LARGEST) as u64, LARGEST);
    }
}
