//! Sealed bodies: how many bytes lie in the store for so many of the file, and which of them a stretch needs.
//!
//! A sealed body is a sequence of segments. Each is a nonce, up to 64 KiB of the file encrypted, and a tag. Every
//! segment but the last is full; an empty body has one empty segment.

use std::fmt;

use crate::{ByteRange, VersionId};

/// Bytes of the file in a full segment.
pub const SEGMENT: u64 = 64 * 1024;

/// Bytes of a segment besides the file's: the nonce before them and the tag behind them.
pub const SEGMENT_EXTRA: u64 = 12 + 16;

/// Bytes of a full segment in the store.
pub const STORED_SEGMENT: u64 = SEGMENT + SEGMENT_EXTRA;

/// Names a master key without giving it away: the start of a hash of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// Wraps the bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// The key that something is sealed under, whose first byte says how; `None` if it was not sealed here.
    #[must_use]
    pub fn of_sealed(sealed: &[u8]) -> Option<Self> {
        let id = sealed.strip_prefix(&[SEALED_FORM])?;
        id.first_chunk().copied().map(Self)
    }

    /// Reads sixteen hexadecimal digits; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 8];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The first byte of everything that is sealed under a master key.
pub const SEALED_FORM: u8 = 1;

/// What one needs, besides the master key, to read a sealed body.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Seal {
    /// The version whose body it is: the key opens for no other.
    pub version: VersionId,
    /// How the bytes are sealed.
    pub encoding: String,
    /// The body's own key, sealed under a master key.
    pub wrapped_key: Vec<u8>,
    /// Bytes of the file, once that is known: without it a stretch cannot be read before the store was asked for a size.
    pub size: Option<u64>,
}

impl Seal {
    /// The only encoding there is: AES-256-GCM in the segments of this module.
    pub const ENCODING: &'static str = "sealed-1";

    /// The master key that it is sealed under; `None` if the wrapped key is not one of ours.
    #[must_use]
    pub fn key_id(&self) -> Option<KeyId> {
        KeyId::of_sealed(&self.wrapped_key)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal")
            .field("version", &self.version)
            .field("encoding", &self.encoding)
            .field("key_id", &self.key_id())
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// How many bytes a sealed body of `size` bytes has in the store. Sizes that no store could hold give `u64::MAX`.
#[must_use]
pub const fn sealed_size(size: u64) -> u64 {
    let segments = segments(size);
    size.saturating_add(segments.saturating_mul(SEGMENT_EXTRA))
}

/// How many bytes of the file a sealed body of `stored` bytes has; `None` if no body has that many.
#[must_use]
pub const fn opened_size(stored: u64) -> Option<u64> {
    let segments = stored.div_ceil(STORED_SEGMENT);
    let Some(size) = stored.checked_sub(segments * SEGMENT_EXTRA) else {
        return None;
    };
    if stored > 0 && sealed_size(size) == stored {
        Some(size)
    } else {
        None
    }
}

/// How many segments a body of `size` bytes has: at least one.
#[must_use]
pub const fn segments(size: u64) -> u64 {
    let segments = size.div_ceil(SEGMENT);
    if segments == 0 { 1 } else { segments }
}

/// The segments that a stretch lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedRange {
    /// The bytes of the store that hold them.
    pub stored: ByteRange,
    /// The number of the first segment, from 0 on.
    pub first: u64,
    /// Bytes of the file before the stretch in that segment.
    pub skip: u64,
}

impl SealedRange {
    /// What has to be read for the stretch of a body of `size` bytes; `None` if the stretch goes beyond its end or is empty.
    #[must_use]
    pub fn of(range: ByteRange, size: u64) -> Option<Self> {
        if range.start >= range.end || range.end > size {
            return None;
        }
        let first = range.start / SEGMENT;
        let behind = range.end.div_ceil(SEGMENT);
        let end = behind.checked_mul(STORED_SEGMENT)?.min(sealed_size(size));
        Some(Self {
            stored: ByteRange {
                start: first.checked_mul(STORED_SEGMENT)?,
                end,
            },
            first,
            skip: range.start % SEGMENT,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_body_is_a_segment_and_full_ones_need_no_more() {
        assert_eq!(sealed_size(0), 28);
        assert_eq!(sealed_size(SEGMENT), STORED_SEGMENT);
        assert_eq!(sealed_size(SEGMENT + 1), STORED_SEGMENT + 29);
        for none in [0, 1, 27, STORED_SEGMENT + 1, STORED_SEGMENT + 28] {
            assert_eq!(opened_size(none), None, "{none}");
        }
        assert_eq!(opened_size(28), Some(0));
    }

    #[test]
    fn a_stretch_of_64_kib_of_10_gib_needs_less_than_192_kib() {
        let size = 10 << 30;
        for start in [0, 1, SEGMENT - 1, SEGMENT, 5_000_000_001, size - SEGMENT] {
            let range = ByteRange {
                start,
                end: start + SEGMENT,
            };
            let sealed = SealedRange::of(range, size).unwrap();
            assert!(sealed.stored.len() <= 2 * STORED_SEGMENT);
        }
    }

    #[test]
    fn a_seal_prints_no_key() {
        let seal = Seal {
            version: VersionId::random(),
            encoding: Seal::ENCODING.to_owned(),
            wrapped_key: vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 0xAB, 0xCD],
            size: None,
        };
        let id = seal.key_id().unwrap();
        assert_eq!(id.to_string(), "0203040506070809");
        assert_eq!(KeyId::parse(&id.to_string()), Some(id));
        assert!(!format!("{seal:?}").contains("171"));
    }

    proptest! {
        #[test]
        fn sizes_go_there_and_back(size in 0_u64..1 << 50) {
            prop_assert_eq!(opened_size(sealed_size(size)), Some(size));
        }

        #[test]
        fn what_is_no_size_of_a_body_is_none(stored: u64) {
            if let Some(size) = opened_size(stored) {
                prop_assert_eq!(sealed_size(size), stored);
            }
        }

        #[test]
        fn a_stretch_lies_in_its_segments(size in 1_u64..1 << 40, a: u64, b: u64) {
            let (a, b) = (a % size, b % size);
            let range = ByteRange { start: a.min(b), end: a.max(b) + 1 };
            let sealed = SealedRange::of(range, size).unwrap();
            prop_assert_eq!(sealed.first * SEGMENT + sealed.skip, range.start);
            prop_assert_eq!(sealed.stored.start, sealed.first * STORED_SEGMENT);
            prop_assert!(sealed.stored.end <= sealed_size(size));
            let behind = sealed.stored.end.div_ceil(STORED_SEGMENT);
            prop_assert!((behind * SEGMENT).min(size) >= range.end);
            prop_assert!((behind - 1) * SEGMENT < range.end);
        }
    }
}
