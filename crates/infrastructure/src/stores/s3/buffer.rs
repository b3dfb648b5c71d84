//! The memory of a part: reserved before it is filled, each byte copied once, given back when the last reader is done.
//!
//! Why waiting for memory cannot lock up: a buffer climbs at most three steps, each for its whole content at once.
//! Up to [`BASE`] it asks nobody; up to [`START`] it waits for the pool of starts; beyond, for the pool of parts, in
//! which it then has room for the whole part and waits for nothing any more until it is sent. Whoever holds a share of
//! the pool of parts thus gives it back after a client's and a store's time, both limited, and never waits for a share
//! that another holds; whoever waits for that pool holds a share of starts at most, and who waits for starts holds nothing.
//! Both pools serve in order of arrival. Parts of the same object that are being sent do not depend on their writer.
//! A writer that is suspended hands its buffer out with its share, and who has it writes it from where it is.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use cloakroom_application::ports::StoreError;
use http_body::{Body, Frame, SizeHint};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};

use super::progress::Progress;
use crate::stores::budget::{Pool, WriteBudget};

/// What a buffer may hold without asking, in bytes.
const BASE: usize = 16 * 1024;

/// The most that the pool of starts gives to one buffer, in bytes.
const START: usize = 1024 * 1024;

/// The largest piece of memory in a buffer, in bytes.
const MAX_PIECE: usize = 1024 * 1024;

/// How long a writer waits for memory.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a share may be held, by a writer that gets fewer bytes a second than these, while others wait for one.
const FAIR: Duration = Duration::from_secs(30);
const SLOW: u64 = 64 * 1024;

/// Who waits asks for it again after so long.
const AGAIN: Duration = Duration::from_secs(10);

/// How far up a buffer has climbed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    #[default]
    Nothing,
    Base,
    Start,
    Whole,
}

impl Step {
    fn for_size(bytes: usize) -> Self {
        if bytes <= BASE {
            Self::Base
        } else if bytes <= START {
            Self::Start
        } else {
            Self::Whole
        }
    }
}

/// A part being filled.
#[derive(Default)]
pub(in crate::stores) struct Buffer {
    pieces: Vec<Vec<u8>>,
    len: usize,
    /// Bytes that may be held as things stand.
    reserved: usize,
    step: Step,
    share: Option<Share>,
}

/// Memory of a pool, and since when it is held.
struct Share {
    permit: OwnedSemaphorePermit,
    pool: Pool,
    since: Instant,
    /// Bytes that were in the buffer by then.
    from: usize,
}

impl Buffer {
    /// Whether to give up for another who waits for memory, since the bytes for this one come slowly. `true` once for
    /// each who waits.
    pub(in crate::stores) fn holds_up_others(&self) -> bool {
        self.share.as_ref().is_some_and(|share| {
            let held = share.since.elapsed();
            let rate = (self.len - share.from) as u64 / held.as_secs().max(1);
            held > FAIR && rate < SLOW && share.pool.waiters.give_way()
        })
    }

    pub(in crate::stores) fn len(&self) -> usize {
        self.len
    }

    /// Makes room for at least one more byte of a part that is expected to measure `expected` and never measures
    /// more than `most` bytes.
    pub(in crate::stores) async fn reserve(
        &mut self,
        budget: &WriteBudget,
        expected: Option<usize>,
        most: usize,
    ) -> Result<(), StoreError> {
        if self.len < self.reserved {
            return Ok(());
        }
        // One step at a time, whatever was announced: a client that sends little holds little.
        let step = match self.step {
            Step::Nothing => BASE,
            Step::Base => START,
            Step::Start | Step::Whole => most,
        };
        // What was expected wrongly is not expected any more.
        let expected = expected.filter(|bytes| *bytes > self.len);
        let target = step.min(most).min(expected.unwrap_or(most));
        // Never a second time the same step: waiting for a pool with a share of it in hand is how things lock up.
        let next = Step::for_size(target);
        let (next, target) = if next > self.step {
            (next, target)
        } else {
            (Step::Whole, most)
        };
        match next {
            Step::Nothing | Step::Base => {}
            Step::Start => self.share = Some(self.take(&budget.starts, target).await?),
            Step::Whole if self.step == Step::Whole => {
                self.share = Some(self.take_free(&budget.parts, target)?);
            }
            Step::Whole => self.share = Some(self.take(&budget.parts, target).await?),
        }
        self.step = next;
        self.reserved = target;
        Ok(())
    }

    async fn take(&self, pool: &Pool, bytes: usize) -> Result<Share, StoreError> {
        if let Ok(share) = self.take_free(pool, bytes) {
            return Ok(share);
        }
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX).min(pool.size);
        let permit = Arc::clone(&pool.free).acquire_many_owned(permits);
        let waiter = Waiter::of(pool);
        match timeout(PATIENCE, waiter.until(permit)).await {
            Ok(Ok(permit)) => Ok(self.share(pool, permit)),
            Ok(Err(closed)) => Err(StoreError::Unavailable(closed.into())),
            Err(_) => Err(StoreError::Unavailable(
                "no memory for a part became free in time".into(),
            )),
        }
    }

    fn take_free(&self, pool: &Pool, bytes: usize) -> Result<Share, StoreError> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX).min(pool.size);
        let permit = Arc::clone(&pool.free).try_acquire_many_owned(permits);
        let permit = permit.map_err(|none| StoreError::Unavailable(none.into()))?;
        Ok(self.share(pool, permit))
    }

    fn share(&self, pool: &Pool, permit: OwnedSemaphorePermit) -> Share {
        Share {
            permit,
            pool: pool.clone(),
            since: Instant::now(),
            from: self.len,
        }
    }

    /// Copies as much of `data` as there is room for, and takes it off.
    pub(in crate::stores) fn fill(&mut self, data: &mut Bytes) {
        while !data.is_empty() && self.len < self.reserved {
            let room = match self.pieces.last() {
                Some(piece) if piece.len() < piece.capacity() => piece.capacity() - piece.len(),
                _ => {
                    // As much again as there is, so that what is reserved is held only as it is used.
                    let size = self.len.clamp(BASE, MAX_PIECE);
                    let size = size.min(self.reserved - self.len);
                    self.pieces.push(Vec::with_capacity(size));
                    size
                }
            };
            let count = room.min(data.len()).min(self.reserved - self.len);
            if let Some(piece) = self.pieces.last_mut() {
                piece.extend_from_slice(&data.split_to(count));
            }
            self.len += count;
        }
    }

    /// The part as it will be sent.
    pub(in crate::stores) fn seal(self) -> Part {
        let share = Arc::new(self.share.map(|share| share.permit));
        let pieces = self.pieces.into_iter().map(|bytes| {
            let _share = Arc::clone(&share);
            Bytes::from_owner(Piece { bytes, _share })
        });
        Part {
            pieces: pieces.collect(),
            len: self.len as u64,
        }
    }
}

/// One who waits for a pool.
struct Waiter<'a> {
    pool: &'a Pool,
    number: u64,
}

impl<'a> Waiter<'a> {
    fn of(pool: &'a Pool) -> Self {
        let number = pool.waiters.enter();
        Self { pool, number }
    }

    /// Waits, and asks those who hold some for it from time to time.
    async fn until<T>(&self, done: impl Future<Output = T>) -> T {
        let mut done = std::pin::pin!(done);
        loop {
            match timeout(AGAIN, &mut done).await {
                Ok(done) => return done,
                Err(_) => self.pool.waiters.ask_again(self.number),
            }
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.pool.waiters.leave(self.number);
    }
}

struct Piece {
    bytes: Vec<u8>,
    _share: Arc<Option<OwnedSemaphorePermit>>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A full part. Clones share its memory.
#[derive(Clone)]
pub(in crate::stores) struct Part {
    pieces: Arc<[Bytes]>,
    len: u64,
}

impl Part {
    /// A part of bytes that somebody else holds the memory of.
    pub(super) fn of(pieces: Vec<Bytes>) -> Self {
        let len = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self {
            pieces: pieces.into(),
            len,
        }
    }

    /// Its bytes, which hold their share of the budget until the last of them is dropped.
    pub(in crate::stores) fn into_pieces(self) -> Vec<Bytes> {
        self.pieces.to_vec()
    }

    pub(in crate::stores) fn len(&self) -> u64 {
        self.len
    }

    /// The part as a body that can be sent again, and tells of its progress.
    pub(super) fn body(&self, progress: &Progress) -> ByteStream {
        let (part, progress) = (self.clone(), progress.clone());
        ByteStream::new(SdkBody::retryable(move || {
            SdkBody::from_body_1_x(PartBody {
                pieces: Arc::clone(&part.pieces),
                next: 0,
                left: part.len,
                progress: progress.clone(),
            })
        }))
    }
}

struct PartBody {
    pieces: Arc<[Bytes]>,
    next: usize,
    left: u64,
    progress: Progress,
}

impl Body for PartBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.progress.step();
        let Some(piece) = self.pieces.get(self.next).cloned() else {
            return Poll::Ready(None);
        };
        self.next += 1;
        self.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
