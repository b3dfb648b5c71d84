//! Opening a sealed body, or a stretch of one, on its way out of a store.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use cloakroom_application::ports::{ByteStream, Payload, StoreError};
use cloakroom_domain::{ByteRange, STORED_SEGMENT, SealedRange, VersionId, sealed_size, segments};
use futures_util::{Stream, StreamExt, stream};

use super::segments::{BodyKey, EXTRA, FULL, Place, STORED};

/// Why a sealed body broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum BrokenSeal {
    /// A segment is not the one that was sealed there.
    #[error(
        "segment {segment} of the sealed body of version {version} was changed, or belongs elsewhere"
    )]
    Segment { version: VersionId, segment: u64 },
    /// The body ends before its last segment does, or goes on behind it.
    #[error("the sealed body of version {version} has another length than it was sealed with")]
    Length { version: VersionId },
}

/// The bytes of the file that are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// The number of the first segment that is read.
    first: u64,
    /// Bytes before the wanted ones in there.
    skip: usize,
    /// Bytes that are wanted; `None`: all, and it is not known how many.
    length: Option<u64>,
    /// Bytes of the whole body; `None` if that is not known. Only a whole one can be read so.
    size: Option<u64>,
}

impl Wanted {
    /// The whole body, of `size` bytes if that is known.
    pub(super) const fn whole(size: Option<u64>) -> Self {
        Self {
            first: 0,
            skip: 0,
            length: size,
            size,
        }
    }

    /// A stretch that lies in these segments.
    pub(super) fn stretch(range: ByteRange, sealed: &SealedRange, size: u64) -> Self {
        Self {
            first: sealed.first,
            skip: usize::try_from(sealed.skip).unwrap_or(usize::MAX),
            length: Some(range.len()),
            size: Some(size),
        }
    }
}

/// So many bytes of the file are opened in a step, which is short enough for the thread that sends them.
const MOST: usize = 8 * FULL;

/// Opens what comes out of a store.
///
/// Chunks of the store are held until they are opened, and give their memory back then. Several segments are opened in a
/// step only while bytes behind them are held: so nobody has more than one segment open without a chunk that counts.
pub(super) struct Opening {
    key: BodyKey,
    version: VersionId,
    wanted: Wanted,
    /// The number of the next segment.
    number: u64,
    /// Bytes of the file still to be given out, where that is known.
    left: Option<u64>,
    chunks: VecDeque<Bytes>,
    held: usize,
    /// Whether the store has given its last chunk.
    ended: bool,
    /// Whether the last wanted segment was opened, or something was wrong.
    done: bool,
    /// What is wrong behind the bytes that were given out last.
    broken: Option<StoreError>,
}

impl Opening {
    pub(super) fn new(key: BodyKey, version: VersionId, wanted: Wanted) -> Self {
        Self {
            key,
            version,
            number: wanted.first,
            left: wanted.length,
            wanted,
            chunks: VecDeque::new(),
            held: 0,
            ended: false,
            done: false,
            broken: None,
        }
    }

    /// Opens what a store gave.
    ///
    /// # Errors
    /// [`StoreError::Broken`] at once for what is in memory already and does not open.
    pub(super) fn over(mut self, payload: Payload) -> Result<Payload, StoreError> {
        let Payload::Ready(bytes) = payload else {
            return Ok(Payload::Stream(Box::pin(OpeningStream {
                inner: payload.into_stream(),
                opening: self,
            })));
        };
        self.push(bytes);
        self.ended = true;
        let mut plain = BytesMut::new();
        let mut only = None;
        while let Some(opened) = self.step()? {
            match only.replace(opened) {
                Some(before) => plain.extend_from_slice(&before),
                None => continue,
            }
        }
        let last = only.unwrap_or_default();
        if plain.is_empty() {
            return Ok(Payload::Ready(last));
        }
        plain.extend_from_slice(&last);
        Ok(Payload::Ready(plain.freeze()))
    }

    fn push(&mut self, chunk: Bytes) {
        self.held += chunk.len();
        if !chunk.is_empty() {
            self.chunks.push_back(chunk);
        }
    }

    /// The next plain bytes that can be opened by now; `None` while more has to come, or at the end.
    fn step(&mut self) -> Result<Option<Bytes>, StoreError> {
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        let mut plain = Vec::new();
        while !self.done && self.may_add_to(&plain) {
            match self.open_behind(&mut plain) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if plain.is_empty() => return Err(error),
                Err(error) => {
                    self.broken = Some(error);
                    break;
                }
            }
        }
        Ok((!plain.is_empty()).then(|| Bytes::from(plain)))
    }

    fn may_add_to(&self, plain: &[u8]) -> bool {
        plain.is_empty() || (plain.len() + FULL <= MOST && self.held > STORED)
    }

    /// Opens the next segment behind others. Whether all of it has come.
    fn open_behind(&mut self, plain: &mut Vec<u8>) -> Result<bool, StoreError> {
        let Some((length, is_last)) = self.next_length()? else {
            return Ok(false);
        };
        let place = Place {
            number: self.number,
            is_last,
        };
        self.open(place, length, plain)?;
        self.number += 1;
        self.done = is_last || self.left == Some(0);
        Ok(true)
    }

    /// The length of the next segment in the store and whether it is the last of the body; `None` if not all of it has come.
    fn next_length(&self) -> Result<Option<(usize, bool)>, StoreError> {
        let Some(size) = self.wanted.size else {
            return match (self.held > STORED, self.ended) {
                (true, _) => Ok(Some((STORED, false))),
                (false, true) => Ok(Some((self.held, true))),
                (false, false) => Ok(None),
            };
        };
        let is_last = self.number + 1 >= segments(size);
        let length = if is_last {
            let before = self.number.saturating_mul(STORED_SEGMENT);
            usize::try_from(sealed_size(size).saturating_sub(before)).unwrap_or(STORED)
        } else {
            STORED
        };
        // Nothing may follow what is read, and the last segment is not given out before that is known.
        let is_final = is_last || self.is_final(size);
        match (self.held, self.ended) {
            (held, _) if is_final && held > length => Err(self.wrong_length()),
            (held, true) if held < length => Err(self.wrong_length()),
            (held, false) if held < length || is_final => Ok(None),
            _ => Ok(Some((length, is_last))),
        }
    }

    /// Whether no segment behind the next one is wanted.
    fn is_final(&self, size: u64) -> bool {
        let skip = if self.number == self.wanted.first {
            self.wanted.skip as u64
        } else {
            0
        };
        let left = self.left.unwrap_or(size);
        skip + left <= cloakroom_domain::SEGMENT
    }

    fn open(&mut self, place: Place, length: usize, plain: &mut Vec<u8>) -> Result<(), StoreError> {
        let start = plain.len();
        if start == 0 {
            plain.reserve_exact(self.held.min(MOST + EXTRA));
        }
        self.take(length, plain);
        let Some(opened) = self.key.open(place, &mut plain[start..]) else {
            plain.truncate(start);
            let broken = BrokenSeal::Segment {
                version: self.version,
                segment: place.number,
            };
            return Err(told(broken));
        };
        plain.truncate(start + opened);
        if place.number == self.wanted.first {
            plain.drain(..self.wanted.skip.min(opened));
        }
        if let Some(left) = &mut self.left {
            let wanted = usize::try_from(*left).unwrap_or(usize::MAX);
            plain.truncate(start.saturating_add(wanted));
            *left -= (plain.len() - start) as u64;
        }
        Ok(())
    }

    /// Puts the next bytes of what is held, which are as many, behind others.
    fn take(&mut self, length: usize, into: &mut Vec<u8>) {
        let mut missing = length;
        while missing > 0
            && let Some(chunk) = self.chunks.front_mut()
        {
            let some = chunk.split_to(chunk.len().min(missing));
            into.extend_from_slice(&some);
            missing -= some.len();
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
        }
        self.held -= length - missing;
    }

    fn wrong_length(&self) -> StoreError {
        told(BrokenSeal::Length {
            version: self.version,
        })
    }
}

/// An alarm: bytes are not what was written.
fn told(broken: BrokenSeal) -> StoreError {
    tracing::error!("{broken}");
    StoreError::Broken(broken.into())
}

/// Opens what a stream gives.
struct OpeningStream {
    inner: ByteStream,
    opening: Opening,
}

impl Stream for OpeningStream {
    type Item = Result<Bytes, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match this.opening.step() {
                Ok(Some(plain)) => return Poll::Ready(Some(Ok(plain))),
                Ok(None) if this.opening.done => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(this.give_up(error)))),
            }
            match ready!(this.inner.as_mut().poll_next(cx)) {
                Some(Ok(chunk)) => this.opening.push(chunk),
                Some(Err(error)) => return Poll::Ready(Some(Err(this.give_up(error)))),
                None => this.opening.ended = true,
            }
        }
    }
}

impl OpeningStream {
    fn give_up(&mut self, error: StoreError) -> StoreError {
        self.opening.done = true;
        self.opening.chunks.clear();
        self.inner = stream::empty().boxed();
        error
    }
}
