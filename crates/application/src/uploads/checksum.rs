//! The digest that one request states of its own bytes.

use cloakroom_domain::Sha256Digest;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A digest that a request's bytes must have, or none of them counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// 20 bytes.
    Sha1([u8; 20]),
    /// 32 bytes.
    Sha256(Sha256Digest),
    /// 16 bytes.
    Md5([u8; 16]),
}

/// A checksum being held against what arrives.
pub(super) struct Check {
    hasher: Hasher,
    expected: Checksum,
}

enum Hasher {
    Sha1(Box<Sha1>),
    Sha256(Box<Sha256>),
    Md5(Box<Md5>),
}

impl Check {
    pub(super) fn new(expected: Checksum) -> Self {
        let hasher = match &expected {
            Checksum::Sha1(_) => Hasher::Sha1(Box::default()),
            Checksum::Sha256(_) => Hasher::Sha256(Box::default()),
            Checksum::Md5(_) => Hasher::Md5(Box::default()),
        };
        Self { hasher, expected }
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        match &mut self.hasher {
            Hasher::Sha1(hasher) => hasher.update(data),
            Hasher::Sha256(hasher) => hasher.update(data),
            Hasher::Md5(hasher) => hasher.update(data),
        }
    }

    pub(super) fn holds(self) -> bool {
        let found = match self.hasher {
            Hasher::Sha1(hasher) => Checksum::Sha1(hasher.finalize().into()),
            Hasher::Sha256(hasher) => Checksum::Sha256(Sha256Digest::new(hasher.finalize().into())),
            Hasher::Md5(hasher) => Checksum::Md5(hasher.finalize().into()),
        };
        found == self.expected
    }
}
