//! Sealing: master keys, the keys of bodies under them, and the store through which a sealed body is plain.
//!
//! A master key seals nothing itself. What is sealed under it gets a key derived for it alone (HKDF-SHA256, with 32
//! random bytes as the salt and the context as the info), so that no pair of key and nonce is ever used twice:
//!
//! ```text
//! form (1 byte) | id of the master key (8) | salt (32) | secret, encrypted | tag (16)
//! ```
//!
//! The key of a body is such a secret, in the context of its version. See [`segments`] for the bodies.

mod keys;
mod master;
mod reading;
mod segments;
mod store;
#[cfg(test)]
mod tests;
mod writing;

pub use keys::{BadKeys, MasterKeys, new_key};
