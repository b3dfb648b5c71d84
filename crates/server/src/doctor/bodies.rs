//! Bodies that are made as they are sent: plain text that no proxy has seen before, and that nothing shrinks much.

use std::{
    io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use sha2::{Digest, Sha256};

/// In bytes. Bodies are made, and sent, in such pieces.
const BLOCK: u64 = 64 * 1024;
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A body of that many bytes; another one for another seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    seed: u64,
    size: u64,
}

/// How a body is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// As fast as it is taken.
    Steady,
    /// Nothing for so long, and then it is cut.
    Withheld(Duration),
    /// With a pause after each piece; cut after so many bytes and a rest.
    Cut {
        after: u64,
        pause: Duration,
        rest: Duration,
    },
}

impl Content {
    pub(crate) const fn new(seed: u64, size: u64) -> Self {
        Self { seed, size }
    }

    pub(crate) const fn size(self) -> u64 {
        self.size
    }

    /// A stretch of it. The range is within the body.
    pub(crate) fn bytes(self, range: Range<u64>) -> Bytes {
        let mut bytes = BytesMut::new();
        let mut at = range.start;
        while at < range.end {
            let piece = self.piece(at..range.end);
            at += piece.len() as u64;
            bytes.extend_from_slice(&piece);
        }
        bytes.freeze()
    }

    /// The SHA-256 of the whole.
    pub(crate) fn sha256(self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut at = 0;
        while at < self.size {
            let piece = self.piece(at..self.size);
            at += piece.len() as u64;
            hash.update(&piece);
        }
        hash.finalize().into()
    }

    /// A stretch of it as the body of a request, at that pace. It ends badly once `stopped` is set.
    pub(crate) fn body(
        self,
        range: Range<u64>,
        pace: Pace,
        stopped: &Arc<AtomicBool>,
    ) -> reqwest::Body {
        reqwest::Body::wrap_stream(self.stream(range, pace, Arc::clone(stopped)))
    }

    fn stream(
        self,
        range: Range<u64>,
        pace: Pace,
        stopped: Arc<AtomicBool>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let start = range.start;
        stream::try_unfold(start, move |at| {
            let (range, stopped) = (range.clone(), Arc::clone(&stopped));
            async move {
                match pace {
                    Pace::Steady => {}
                    Pace::Withheld(time) => {
                        tokio::time::sleep(time).await;
                        return Err(cut());
                    }
                    Pace::Cut { after, rest, .. } if at - start >= after => {
                        tokio::time::sleep(rest).await;
                        return Err(cut());
                    }
                    Pace::Cut { pause, .. } => tokio::time::sleep(pause).await,
                }
                if stopped.load(Ordering::Relaxed) {
                    return Err(cut());
                }
                if at >= range.end {
                    return Ok(None);
                }
                let end = match pace {
                    Pace::Cut { after, .. } => range.end.min(start + after),
                    _ => range.end,
                };
                let piece = self.piece(at..end);
                let next = at + piece.len() as u64;
                Ok(Some((piece, next)))
            }
        })
    }

    /// The start of a stretch, up to the end of a block.
    fn piece(self, range: Range<u64>) -> Bytes {
        let block = range.start / BLOCK;
        let first = block * BLOCK;
        let end = range.end.min(first + BLOCK);
        let within = |at: u64| usize::try_from(at - first).unwrap_or(usize::MAX);
        self.block(block).slice(within(range.start)..within(end))
    }

    fn block(self, number: u64) -> Bytes {
        let mut state = (self.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15)) | 1;
        let mut letters = Vec::new();
        for _ in 0..BLOCK / 8 {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            letters.extend(
                state
                    .to_le_bytes()
                    .map(|byte| LETTERS[usize::from(byte % 64)]),
            );
        }
        letters.into()
    }
}

fn cut() -> io::Error {
    io::Error::other("cut on purpose")
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    const CONTENT: Content = Content::new(7, 200_000);

    #[tokio::test]
    async fn a_body_is_the_same_in_pieces_and_whole() {
        let whole = CONTENT.bytes(0..200_000);
        assert_eq!(whole.len(), 200_000);
        let hash: [u8; 32] = Sha256::digest(&whole).into();
        assert_eq!(CONTENT.sha256(), hash);
        assert_eq!(CONTENT.bytes(65_000..140_000), whole.slice(65_000..140_000));
        assert!(Content::new(8, 200_000).bytes(0..100) != whole.slice(0..100));
        let sent = CONTENT.stream(70_000..200_000, Pace::Steady, Arc::default());
        let pieces: Vec<Bytes> = sent.map(Result::unwrap).collect().await;
        assert_eq!(pieces.concat(), whole.slice(70_000..));
    }

    #[tokio::test]
    async fn a_cut_body_ends_badly_after_as_much_as_it_was_to() {
        let pace = Pace::Cut {
            after: 100_000,
            pause: Duration::ZERO,
            rest: Duration::ZERO,
        };
        let mut sent = Box::pin(CONTENT.stream(0..200_000, pace, Arc::default()));
        let mut size = 0;
        while let Some(Ok(piece)) = sent.next().await {
            size += piece.len();
        }
        assert_eq!(size, 100_000);
        let stopped = Arc::new(AtomicBool::new(true));
        let mut sent = Box::pin(CONTENT.stream(0..200_000, Pace::Steady, stopped));
        assert!(sent.next().await.unwrap().is_err());
    }
}
