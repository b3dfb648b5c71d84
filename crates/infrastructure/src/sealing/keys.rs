//! The configured master keys, and everything that is sealed and opened with them.

use std::sync::Arc;

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use cloakroom_application::ports::{ObjectStore, SealError, Sealing, body_context};
use cloakroom_domain::{KeyId, Seal, VersionId};
use zeroize::Zeroizing;

use super::{
    master::{KEY, MasterKey, fill},
    store::SealedStore,
};

/// The most keys that one service has.
const MAX_KEYS: usize = 64;

/// Why a text does not name master keys. It says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// There is no key in it.
    #[error("there is no key")]
    None,
    /// More than anybody needs.
    #[error("there are more than {MAX_KEYS} keys")]
    TooMany,
    /// This one, counted from 1, is not 32 bytes in Base64 or hexadecimal digits.
    #[error("key {0} is not 32 bytes in Base64 or hexadecimal digits")]
    NotAKey(usize),
    /// This one, counted from 1, is there twice.
    #[error("key {0} is there twice")]
    Twice(usize),
    /// This one, counted from 1, is all the same byte.
    #[error("key {0} is not random")]
    NotRandom(usize),
}

/// Master keys: the first seals, all of them open. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct MasterKeys(Arc<[MasterKey]>);

impl MasterKeys {
    /// No key at all: nothing is sealed, and nothing that is can be opened.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads keys of 32 bytes each, in Base64 (either alphabet, padded or not) or hexadecimal digits, with white space
    /// between them. What follows a `#` in a line is a comment.
    ///
    /// # Errors
    /// One of them is no key, or there twice; there is none.
    pub fn parse(text: &str) -> Result<Self, BadKeys> {
        let mut keys: Vec<MasterKey> = Vec::new();
        let uncommented = text.lines().map(|line| line.split('#').next());
        let words = uncommented.flatten().flat_map(str::split_whitespace);
        for (at, word) in (1..).zip(words) {
            if at > MAX_KEYS {
                return Err(BadKeys::TooMany);
            }
            let bytes = read(word).ok_or(BadKeys::NotAKey(at))?;
            if bytes.iter().all(|byte| *byte == bytes[0]) {
                return Err(BadKeys::NotRandom(at));
            }
            let key = MasterKey::new(bytes);
            if keys.iter().any(|known| known.id() == key.id()) {
                return Err(BadKeys::Twice(at));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(BadKeys::None);
        }
        Ok(Self(keys.into()))
    }

    /// The ids of all keys, the current one first.
    #[must_use]
    pub fn ids(&self) -> Vec<KeyId> {
        self.0.iter().map(MasterKey::id).collect()
    }

    /// The body's own key.
    ///
    /// # Errors
    /// As [`Sealing::open`].
    pub(super) fn body_key(&self, seal: &Seal) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if seal.encoding != Seal::ENCODING {
            return Err(SealError::Unreadable);
        }
        let key = self.open(&seal.wrapped_key, &body_context(seal.version))?;
        if key.len() == KEY {
            Ok(key)
        } else {
            Err(SealError::Unreadable)
        }
    }
}

impl Sealing for MasterKeys {
    fn current(&self) -> Option<KeyId> {
        self.0.first().map(MasterKey::id)
    }

    fn knows(&self, key: KeyId) -> bool {
        self.0.iter().any(|known| known.id() == key)
    }

    fn seal(&self, secret: &[u8], context: &str) -> Result<Vec<u8>, SealError> {
        let current = self.0.first().ok_or(SealError::NoKey)?;
        current.seal(secret, context)
    }

    fn open(&self, sealed: &[u8], context: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let id = KeyId::of_sealed(sealed).ok_or(SealError::Unreadable)?;
        let key = self.0.iter().find(|known| known.id() == id);
        key.ok_or(SealError::KeyMissing(id))?.open(sealed, context)
    }

    fn new_seal(&self, version: VersionId) -> Result<Option<Seal>, SealError> {
        let Some(current) = self.0.first() else {
            return Ok(None);
        };
        let mut key = Zeroizing::new([0; KEY]);
        fill(key.as_mut_slice())?;
        Ok(Some(Seal {
            version,
            encoding: Seal::ENCODING.to_owned(),
            wrapped_key: current.seal(key.as_slice(), &body_context(version))?,
            size: None,
        }))
    }

    fn over(&self, store: Arc<dyn ObjectStore>, seal: &Seal) -> Arc<dyn ObjectStore> {
        Arc::new(SealedStore::new(store, self.clone(), seal.clone()))
    }
}

fn read(word: &str) -> Option<Zeroizing<[u8; KEY]>> {
    let mut bytes = Zeroizing::new([0; KEY]);
    if word.len() == 2 * KEY {
        hex::decode_to_slice(word, bytes.as_mut_slice()).ok()?;
        return Some(bytes);
    }
    let either =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    for alphabet in [&STANDARD, &URL_SAFE] {
        let decoded = GeneralPurpose::new(alphabet, either).decode(word);
        if let Ok(decoded) = decoded.map(Zeroizing::new)
            && decoded.len() == KEY
        {
            bytes.copy_from_slice(&decoded);
            return Some(bytes);
        }
    }
    None
}

/// A new master key, as [`MasterKeys::parse`] reads it, and its id.
///
/// # Errors
/// [`SealError::NoRandomness`].
pub fn new_key() -> Result<(Zeroizing<String>, KeyId), SealError> {
    let mut bytes = Zeroizing::new([0; KEY]);
    fill(bytes.as_mut_slice())?;
    let padded = GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new());
    let text = Zeroizing::new(padded.encode(bytes.as_slice()));
    Ok((text, MasterKey::new(bytes).id()))
}
