//! Sealing under master keys: bodies by a key of their own each, and small secrets.

use std::sync::Arc;

use async_trait::async_trait;
use cloakroom_domain::{KeyId, Seal, VersionId};
use zeroize::Zeroizing;

use super::{ObjectStore, RepositoryError};

/// Why something was not sealed, or not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is no master key to seal under.
    #[error("no master key is configured")]
    NoKey,
    /// It is sealed under another master key than the configured ones.
    #[error("it is sealed under the master key {0}, which is not configured")]
    KeyMissing(KeyId),
    /// It was changed, or belongs to something else.
    #[error("what is sealed under the master key {0} was changed, or belongs elsewhere")]
    Forged(KeyId),
    /// It is nothing that this service sealed.
    #[error("this is nothing that was sealed here")]
    Unreadable,
    /// The system has no random bytes to give.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// Seals under the configured master keys. The first one seals; every one opens.
///
/// Nothing that is sealed opens under another context than its own, so that it cannot stand in for anything else.
pub trait Sealing: Send + Sync {
    /// The key that seals; `None` where none is configured, and everything stays as it is.
    fn current(&self) -> Option<KeyId>;

    /// Whether what is sealed under that key can be opened.
    fn knows(&self, key: KeyId) -> bool;

    /// Seals a small secret. The same secret is never sealed to the same bytes; they are 57 bytes more.
    ///
    /// # Errors
    /// [`SealError::NoKey`], [`SealError::NoRandomness`].
    fn seal(&self, secret: &[u8], context: &str) -> Result<Vec<u8>, SealError>;

    /// Opens what was sealed in the same context.
    ///
    /// # Errors
    /// [`SealError::KeyMissing`], [`SealError::Forged`], [`SealError::Unreadable`].
    fn open(&self, sealed: &[u8], context: &str) -> Result<Zeroizing<Vec<u8>>, SealError>;

    /// Makes a key for the body of a version, which is written once; `None` where bodies are not sealed.
    ///
    /// # Errors
    /// [`SealError::NoRandomness`].
    fn new_seal(&self, version: VersionId) -> Result<Option<Seal>, SealError>;

    /// The store as it is for one body: plain bytes go in and come out, sealed ones lie in it. Nothing is opened before
    /// the first byte is needed, so what can be done without the key is done without it: `delete`, `head`.
    ///
    /// A body that cannot be opened for want of its master key is [`StoreError::Refused`](super::StoreError::Refused);
    /// one that was changed is [`StoreError::Broken`](super::StoreError::Broken) before the first byte that was.
    fn over(&self, store: Arc<dyn ObjectStore>, seal: &Seal) -> Arc<dyn ObjectStore>;

    /// Seals under the current key what is sealed under another one. `None`: it is sealed under the current key.
    ///
    /// # Errors
    /// As [`Sealing::seal`] and [`Sealing::open`].
    fn reseal(&self, sealed: &[u8], context: &str) -> Result<Option<Vec<u8>>, SealError> {
        if self.current().is_some() && KeyId::of_sealed(sealed) == self.current() {
            return Ok(None);
        }
        let secret = self.open(sealed, context)?;
        self.seal(&secret, context).map(Some)
    }
}

/// The context that the key of a version's body is sealed in.
#[must_use]
pub fn body_context(version: VersionId) -> String {
    format!("body of version {version}")
}

/// A body's key before and after it was sealed again.
#[derive(Debug, Clone)]
pub struct Resealed {
    /// The seal as it was.
    pub before: Seal,
    /// The same key under another master key.
    pub wrapped_key: Vec<u8>,
}

/// So many bodies under a key are counted at most.
pub const MOST_COUNTED: u32 = 1_000_000;

/// Which bodies are sealed under which master key. Rows in every state count.
#[async_trait]
pub trait SealLedger: Send + Sync {
    /// The master keys that the keys of bodies are sealed under; `None` among them stands for what cannot be read.
    /// Cheap however many bodies there are.
    async fn keys_in_use(&self) -> Result<Vec<Option<KeyId>>, RepositoryError>;

    /// How many bodies' keys are sealed under that key; at most [`MOST_COUNTED`] are counted.
    async fn count_under(&self, key: KeyId) -> Result<u64, RepositoryError>;

    /// A page of bodies whose keys are sealed under that key, by id, behind `after`.
    async fn sealed_under(
        &self,
        key: KeyId,
        after: Option<VersionId>,
        limit: u32,
    ) -> Result<Vec<Seal>, RepositoryError>;

    /// Keeps keys that were sealed again, each where it still is as it was before; answers how many. The bytes of the
    /// bodies are not touched.
    async fn keep_resealed(&self, keys: &[Resealed]) -> Result<u64, RepositoryError>;
}
