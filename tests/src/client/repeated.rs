//! Bodies that a page can make as well, without holding them.

use sha2::{Digest, Sha256};

const CELL: usize = 1024 * 1024;

/// A body of cells of 1 MiB: each its number, in 4 bytes, and then what is the same in every one. As `bodyOf` of
/// `browser/page.js` makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated {
    /// What it is made from.
    pub seed: u32,
    /// Its length in bytes.
    pub size: u64,
}

impl Repeated {
    /// A body of `size` bytes from a seed.
    #[must_use]
    pub const fn new(seed: u32, size: u64) -> Self {
        Self { seed, size }
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.each_cell(|cell| bytes.extend_from_slice(cell));
        bytes
    }

    /// Its SHA-256 in hexadecimal, made in pieces.
    #[must_use]
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        self.each_cell(|cell| hash.update(cell));
        hex::encode(hash.finalize())
    }

    fn each_cell(&self, mut with: impl FnMut(&[u8])) {
        let mut cell = vec![0; CELL];
        let mut state = self.seed;
        for byte in &mut cell[4..] {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        for (number, start) in (0_u32..).zip((0..self.size).step_by(CELL)) {
            cell[..4].copy_from_slice(&number.to_le_bytes());
            let length = (self.size - start).min(CELL as u64);
            with(&cell[..length as usize]);
        }
    }
}
