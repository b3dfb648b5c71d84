//! The ledger of bodies: every object in a store has a row here before its first byte is written.

use std::time::Duration;

use async_trait::async_trait;
use cloakroom_domain::{
    AccountId, File, FileId, Location, ObjectKey, Seal, Sha256Digest, Timestamp, VersionId,
};

use super::RepositoryError;

/// A body about to be written.
#[derive(Debug, Clone)]
pub struct NewVersion {
    /// Its id.
    pub id: VersionId,
    /// The file it is for, which need not exist yet.
    pub file: FileId,
    /// The account whose bucket it goes to.
    pub account: AccountId,
    /// Its key.
    pub key: ObjectKey,
    /// The idempotency key that the request runs under.
    pub claim: Option<IdempotencyClaim>,
    /// What the bytes are going to be sealed with, as [`Stores::new_seal`](crate::Stores::new_seal) made it for this id;
    /// it is committed with the row.
    pub seal: Option<Seal>,
}

/// An `Idempotency-Key` as one request presents it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyClaim {
    /// Who: keys of different callers never meet.
    pub principal: String,
    /// The key, 1–255 bytes.
    pub key: String,
    /// What must not change between uses: method, path and length.
    pub fingerprint: String,
}

/// What became of the attempt to begin.
#[derive(Debug, Clone)]
pub enum Begun {
    /// The row is `pending`; the store was chosen in the INSERT. The address has the seal.
    Pending(Location),
    /// The key has been used: this was the file that the first request made, as it was then.
    Replay(Box<File>),
    /// The key is in use by a request that still runs.
    InProgress,
    /// The key was used for another request.
    Mismatch,
}

/// A body that is to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    /// Its row.
    pub version: VersionId,
    /// Where its bytes are.
    pub location: Location,
}

/// The state of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowState {
    /// Bytes may be arriving.
    Pending,
    /// Bytes are there and durable.
    Stored,
    /// Bytes are to go.
    Deleting,
}

impl RowState {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Stored => "stored",
            Self::Deleting => "deleting",
        }
    }

    /// Reads the name; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Stored, Self::Deleting]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

/// A row as `fsck` reads it.
#[derive(Debug, Clone)]
pub struct LedgerRow {
    /// Its id.
    pub version: VersionId,
    /// The file it belongs to.
    pub file: FileId,
    /// Whether that file's row exists.
    pub file_exists: bool,
    /// Whether it is that file's current version.
    pub is_current: bool,
    /// Its state.
    pub state: RowState,
    /// Where its bytes are.
    pub location: Location,
    /// Stored bytes; `None` while pending.
    pub stored_size: Option<u64>,
    /// Their hash, where known.
    pub sha256: Option<Sha256Digest>,
}

/// How long an idempotency claim holds without a renewal: a replica that died frees its keys after this.
pub const CLAIM_LEASE: Duration = Duration::from_secs(90);

/// How long an answered idempotency key is kept.
pub const KEY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The write protocol's side of the database. Every step is a compare-and-set on the state, by the database's clock.
#[async_trait]
pub trait VersionLedger: Send + Sync {
    /// Commits a `pending` row, with the store that is current in the registry, and claims the idempotency key if any.
    async fn begin(&self, new: NewVersion) -> Result<Begun, RepositoryError>;

    /// As [`VersionLedger::begin`] for bodies that no request's key stands for: every row is committed, or none is. The
    /// addresses come in the order of the rows.
    async fn begin_copies(&self, copies: &[NewVersion]) -> Result<Vec<Location>, RepositoryError>;

    /// Says that the upload still moves. `false`: the row is not pending any more, or the claim is lost.
    async fn renew(&self, version: VersionId) -> Result<bool, RepositoryError>;

    /// Turns a pending row into `deleting`, due after `delay`, and frees its idempotency key.
    /// `false`: it was not pending.
    async fn give_up(&self, version: VersionId, delay: Duration) -> Result<bool, RepositoryError>;

    /// Turns up to `limit` rows pending for longer than `age` without a renewal into `deleting`, due after `delay`: what
    /// their writer sent last may still land. Not those of uploads that take several requests: they live as long as
    /// the upload.
    async fn expire_pending(
        &self,
        age: Duration,
        delay: Duration,
        limit: u32,
    ) -> Result<u64, RepositoryError>;

    /// Up to `limit` rows that are `deleting` and due, oldest first. Several replicas may get the same ones.
    async fn due(&self, limit: u32) -> Result<Vec<Doomed>, RepositoryError>;

    /// The rows among these ids that are `deleting`, due or not.
    async fn doomed(&self, versions: &[VersionId]) -> Result<Vec<Doomed>, RepositoryError>;

    /// Removes rows that are `deleting`, once their bytes are gone.
    async fn forget(&self, versions: &[VersionId]) -> Result<(), RepositoryError>;

    /// Puts off rows that are `deleting`: the store would not remove their bytes now.
    async fn postpone(
        &self,
        versions: &[VersionId],
        delay: Duration,
    ) -> Result<(), RepositoryError>;

    /// Removes idempotency keys that have outlived their time, at most `limit`.
    async fn expire_keys(&self, limit: u32) -> Result<u64, RepositoryError>;

    /// A page of all rows by id, behind `after`.
    async fn scan(
        &self,
        after: Option<VersionId>,
        limit: u32,
    ) -> Result<Vec<LedgerRow>, RepositoryError>;

    /// The row at an address, in whatever state.
    async fn at(&self, location: &Location) -> Result<Option<LedgerRow>, RepositoryError>;

    /// Every (store, bucket) that a row names.
    async fn buckets(
        &self,
    ) -> Result<Vec<(cloakroom_domain::StoreId, cloakroom_domain::Bucket)>, RepositoryError>;

    /// The database's clock.
    async fn now(&self) -> Result<Timestamp, RepositoryError>;
}
