//! Bodies of any size that look random and are known by their seed.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{Stream, stream};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use sha2::{Digest, Sha256};

const BLOCK: u64 = 1024 * 1024;
const STAMP_EVERY: u64 = 4096;
const CHUNK: u64 = 64 * 1024;

/// A body: one random MiB again and again, with the place stamped in every 4 KiB, so that no two pages are alike
/// and a mistake in order or offset shows. Making it costs little more than copying it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeded {
    /// What it is made from.
    pub seed: u64,
    /// Its length in bytes.
    pub size: u64,
}

impl Seeded {
    /// A body of `size` bytes from a seed.
    #[must_use]
    pub const fn new(seed: u64, size: u64) -> Self {
        Self { seed, size }
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.slice(0..self.size)
    }

    /// A part of it.
    ///
    /// # Panics
    /// When the range reaches past the end.
    #[must_use]
    pub fn slice(&self, range: Range<u64>) -> Bytes {
        assert!(range.end <= self.size, "{range:?} of {}", self.size);
        self.filled(&self.block(), range)
    }

    /// Its SHA-256 in hexadecimal, made in pieces.
    #[must_use]
    pub fn sha256(&self) -> String {
        let (block, mut hash) = (self.block(), Sha256::new());
        for start in (0..self.size).step_by(CHUNK as usize) {
            hash.update(self.filled(&block, start..self.size.min(start + CHUNK)));
        }
        hex::encode(hash.finalize())
    }

    /// All of it in pieces of 64 KiB, made as they are asked for.
    pub fn stream(&self) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static + use<> {
        let (body, block) = (*self, self.block());
        stream::iter(
            (0..self.size)
                .step_by(CHUNK as usize)
                .map(move |start| Ok(body.filled(&block, start..body.size.min(start + CHUNK)))),
        )
    }

    fn block(&self) -> Vec<u8> {
        let mut block = vec![0; usize::try_from(self.size.min(BLOCK)).unwrap()];
        SmallRng::seed_from_u64(self.seed).fill_bytes(&mut block);
        block
    }

    fn filled(&self, block: &[u8], range: Range<u64>) -> Bytes {
        let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
        let mut at = range.start;
        while at < range.end {
            let start = (at % BLOCK) as usize;
            let len = (block.len() - start).min((range.end - at) as usize);
            bytes.extend_from_slice(&block[start..start + len]);
            at += len as u64;
        }
        let first = range.start / STAMP_EVERY;
        for page in first..=range.end / STAMP_EVERY {
            for (offset, byte) in (page * STAMP_EVERY..).zip(page.to_le_bytes()) {
                if range.contains(&offset) {
                    bytes[(offset - range.start) as usize] ^= byte;
                }
            }
        }
        bytes.into()
    }
}

impl From<(u64, u64)> for Seeded {
    /// A seed and a size.
    fn from((seed, size): (u64, u64)) -> Self {
        Self::new(seed, size)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn slices_streams_and_hashes_are_of_the_same_body() {
        for size in [0, 1, 7, 4096, 4100, BLOCK - 1, 3 * BLOCK + 5] {
            let body = Seeded::new(9, size);
            let whole = body.bytes();
            assert_eq!(whole.len() as u64, size);
            assert_eq!(body.sha256(), hex::encode(Sha256::digest(&whole)));
            let streamed: Vec<_> = body.stream().collect().await;
            let streamed: Vec<u8> = streamed.into_iter().flat_map(Result::unwrap).collect();
            assert!(streamed == whole, "{size}");
            for start in [0, size / 3, size.saturating_sub(2)] {
                let range = start as usize..size as usize;
                assert!(
                    body.slice(start..size) == whole[range],
                    "{size} from {start}"
                );
            }
        }
    }

    #[test]
    fn no_two_pages_and_no_two_seeds_are_alike() {
        let body = Seeded::new(1, 3 * BLOCK).bytes();
        let mut pages: Vec<&[u8]> = body.chunks(4096).collect();
        pages.sort_unstable();
        pages.dedup();
        assert_eq!(pages.len(), 768);
        assert_ne!(Seeded::new(2, 3 * BLOCK).bytes(), body);
    }
}
