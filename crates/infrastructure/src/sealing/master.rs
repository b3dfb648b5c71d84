//! One master key: its id, and what is sealed under it.

use std::fmt;

use cloakroom_application::ports::SealError;
use cloakroom_domain::{KeyId, SEALED_FORM};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    rand::{SecureRandom, SystemRandom},
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of a key.
pub(super) const KEY: usize = 32;
const SALT: usize = 32;
const TAG: usize = 16;
/// Form and id, which every key of the same master key begins with.
const HEAD: usize = 1 + 8;

/// A master key. It does not print, and is wiped when it goes.
#[derive(Clone)]
pub(super) struct MasterKey {
    id: KeyId,
    bytes: Zeroizing<[u8; KEY]>,
}

impl MasterKey {
    pub(super) fn new(bytes: Zeroizing<[u8; KEY]>) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"cloakroom master key id\0");
        hash.update(bytes.as_slice());
        let hash: [u8; 32] = hash.finalize().into();
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        Self {
            id: KeyId::new(id),
            bytes,
        }
    }

    pub(super) const fn id(&self) -> KeyId {
        self.id
    }

    /// Seals a secret in a context.
    ///
    /// # Errors
    /// [`SealError::NoRandomness`].
    pub(super) fn seal(&self, secret: &[u8], context: &str) -> Result<Vec<u8>, SealError> {
        let mut salt = [0; SALT];
        fill(&mut salt)?;
        let mut sealed = Vec::with_capacity(HEAD + SALT + secret.len() + TAG);
        sealed.push(SEALED_FORM);
        sealed.extend_from_slice(self.id.bytes());
        sealed.extend_from_slice(&salt);
        let mut body = Zeroizing::new(secret.to_vec());
        let tag = self
            .derived(&salt, context)?
            .seal_in_place_separate_tag(nonce(), Aad::from(&sealed[..HEAD]), &mut body)
            .map_err(|_| SealError::Unreadable)?;
        sealed.extend_from_slice(&body);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what was sealed under this key.
    ///
    /// # Errors
    /// [`SealError::Forged`], [`SealError::Unreadable`].
    pub(super) fn open(
        &self,
        sealed: &[u8],
        context: &str,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (head, rest) = sealed.split_at_checked(HEAD).ok_or(SealError::Unreadable)?;
        let (salt, body) = rest.split_at_checked(SALT).ok_or(SealError::Unreadable)?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self
            .derived(salt, context)?
            .open_in_place(nonce(), Aad::from(head), &mut body)
            .map_err(|_| SealError::Forged(self.id))?
            .len();
        body.truncate(length);
        Ok(body)
    }

    /// The key for the one secret that has this salt and context.
    fn derived(&self, salt: &[u8], context: &str) -> Result<LessSafeKey, SealError> {
        let extracted = Salt::new(HKDF_SHA256, salt).extract(self.bytes.as_slice());
        let info = [b"cloakroom sealed\0".as_slice(), context.as_bytes()];
        let expanded = extracted.expand(&info, &AES_256_GCM);
        let key = expanded.map_err(|_| SealError::Unreadable)?;
        Ok(LessSafeKey::new(UnboundKey::from(key)))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

/// A derived key encrypts once.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// Fills a buffer from the system's source of random bytes.
///
/// # Errors
/// [`SealError::NoRandomness`].
pub(super) fn fill(buffer: &mut [u8]) -> Result<(), SealError> {
    let filled = SystemRandom::new().fill(buffer);
    filled.map_err(|_| SealError::NoRandomness)
}
