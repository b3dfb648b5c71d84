//! The contract of the object store port, and an in-memory store.

pub mod contract;
mod faults;
mod memory;

use bytes::Bytes;
use cloakroom_domain::{Bucket, ObjectKey};
use futures_util::StreamExt;

pub use faults::{Fault, Step};
pub use memory::MemoryStore;

use crate::ports::{Payload, StoreError};

/// Reads a body to its end.
///
/// # Errors
/// What ended the body, if it was not its end.
pub async fn collect(payload: Payload) -> Result<Vec<u8>, StoreError> {
    let mut stream = payload.into_stream();
    let mut body = Vec::new();
    while let Some(chunk) = stream.next().await {
        body.extend_from_slice(&chunk?);
    }
    Ok(body)
}

/// The bucket of tests that need one only.
///
/// # Panics
/// Never: its name is one.
#[must_use]
pub fn bucket() -> Bucket {
    contract::must(Bucket::parse("files"), "a bucket")
}

/// A new key as the service makes them.
#[must_use]
pub fn key() -> ObjectKey {
    contract::key()
}

/// `len` bytes that no shift of theirs equals, so that a chunk out of place shows.
#[must_use]
pub fn sample(len: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut body = Vec::with_capacity(len + 8);
    while body.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.extend_from_slice(&state.to_le_bytes());
    }
    body.truncate(len);
    Bytes::from(body)
}
