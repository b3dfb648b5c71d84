//! Segments of a sealed body: AES-256-GCM under the body's own key.
//!
//! ```text
//! nonce (12 bytes, random) | up to 64 KiB of the file, encrypted | tag (16)
//! ```
//!
//! The number of the segment and whether it is the last are bound to it, and the key is no other body's: what was
//! changed, cut off, put elsewhere, repeated or taken from another body does not open. Nonces are random, so that even a
//! key that was used for two writes by mistake would give nothing away.

use bytes::Bytes;
use cloakroom_application::ports::SealError;
use cloakroom_domain::{SEGMENT, SEGMENT_EXTRA, STORED_SEGMENT};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::master::fill;

/// [`SEGMENT`], for lengths in memory.
pub(super) const FULL: usize = SEGMENT as usize;
/// [`STORED_SEGMENT`], likewise.
pub(super) const STORED: usize = STORED_SEGMENT as usize;
/// [`SEGMENT_EXTRA`], likewise.
pub(super) const EXTRA: usize = SEGMENT_EXTRA as usize;

/// Where a segment is in its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Its number, from 0 on.
    pub(super) number: u64,
    /// Whether no other follows.
    pub(super) is_last: bool,
}

impl Place {
    fn bound(self) -> [u8; 9] {
        let mut bound = [0; 9];
        bound[..8].copy_from_slice(&self.number.to_be_bytes());
        bound[8] = u8::from(self.is_last);
        bound
    }
}

/// The key of one body. It does not print.
pub(super) struct BodyKey(LessSafeKey);

impl BodyKey {
    /// Takes 32 bytes.
    ///
    /// # Errors
    /// [`SealError::Unreadable`] if they are not as many.
    pub(super) fn new(bytes: &[u8]) -> Result<Self, SealError> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| SealError::Unreadable)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals the plain bytes of a segment, which stand behind room for the nonce.
    ///
    /// # Errors
    /// [`SealError::NoRandomness`].
    pub(super) fn seal(&self, place: Place, mut segment: Vec<u8>) -> Result<Bytes, SealError> {
        let mut nonce = [0; NONCE_LEN];
        fill(&mut nonce)?;
        segment[..NONCE_LEN].copy_from_slice(&nonce);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = &mut segment[NONCE_LEN..];
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(place.bound()), plain)
            .map_err(|_| SealError::Unreadable)?;
        segment.extend_from_slice(tag.as_ref());
        Ok(Bytes::from(segment))
    }

    /// Opens a segment; `None` if it is not the one that was sealed there. Its plain bytes, as many as is answered, are
    /// at its beginning then. What is behind them, or of a segment that does not open, is to be given to nobody.
    pub(super) fn open(&self, place: Place, segment: &mut [u8]) -> Option<usize> {
        let nonce = Nonce::assume_unique_for_key(*segment.first_chunk()?);
        let bound = Aad::from(place.bound());
        let opened = self.0.open_within(nonce, bound, segment, NONCE_LEN..);
        Some(opened.ok()?.len())
    }
}

/// An empty segment to be filled: room for the nonce.
pub(super) fn room() -> Vec<u8> {
    vec![0; NONCE_LEN]
}

/// Plain bytes in a segment that is being filled.
pub(super) fn filled(segment: &[u8]) -> usize {
    segment.len().saturating_sub(NONCE_LEN)
}
