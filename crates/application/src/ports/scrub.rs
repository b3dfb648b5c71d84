//! Where the scrub is, what it found, and what it learned of bytes that nobody had hashed.

use std::time::Duration;

use async_trait::async_trait;
use cloakroom_domain::{FileId, Location, Sha256Digest, StoreId, Timestamp, Version, VersionId};

use super::RepositoryError;

/// Whoever scrubs and is not heard of for so long is overtaken.
pub const SCRUB_LEASE: Duration = Duration::from_secs(8);

/// What is wrong with stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Damage {
    /// There is no object.
    Missing,
    /// The object has another length than its row.
    WrongSize,
    /// Its bytes have another hash than its row.
    WrongHash,
    /// The store has it, and does not give all of it.
    Unreadable,
}

impl Damage {
    /// Every kind.
    pub const ALL: [Self; 4] = [
        Self::Missing,
        Self::WrongSize,
        Self::WrongHash,
        Self::Unreadable,
    ];

    /// The name in the database, in reports and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing_object",
            Self::WrongSize => "wrong_size",
            Self::WrongHash => "wrong_hash",
            Self::Unreadable => "unreadable",
        }
    }

    /// Reads the name; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A stored version as the scrub looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubbedVersion {
    /// The file it is of.
    pub file: FileId,
    /// The version.
    pub version: Version,
    /// What was found to be wrong with it when it was last read.
    pub found: Option<Damage>,
}

/// Something that is wrong with a version that is still stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubFinding {
    /// The file.
    pub file: FileId,
    /// The version's id.
    pub version: VersionId,
    /// Its number within the file.
    pub number: u64,
    /// The store that its row names.
    pub store: StoreId,
    /// What is wrong.
    pub damage: Damage,
    /// When that was found first.
    pub since: Timestamp,
    /// When it was found last.
    pub seen_at: Timestamp,
}

/// The right to scrub, until another takes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubLease {
    /// Changes under an older one have no effect.
    pub generation: u64,
    /// The round, counted from 1.
    pub round: u64,
    /// Every version up to this one was looked at in this round.
    pub after: Option<VersionId>,
}

/// What became of asking for the right to scrub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScrubTurn {
    /// It is ours.
    Ours(ScrubLease),
    /// Somebody scrubs and shows signs of life.
    Held,
    /// The next round begins in so long.
    NotDue(Duration),
}

/// What was achieved since that was told last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubProgress {
    /// Every version up to this one was looked at; `None`: no further than before.
    pub after: Option<VersionId>,
    /// Objects looked at.
    pub objects: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// How far the scrub is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubState {
    /// The round that goes on, or the last one; 0 before the first.
    pub round: u64,
    /// Whether it goes on.
    pub is_under_way: bool,
    /// Whether somebody is at it and shows signs of life.
    pub is_held: bool,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When a round was last completed.
    pub completed_at: Option<Timestamp>,
    /// Every version up to this one was looked at in this round.
    pub after: Option<VersionId>,
    /// Objects that were looked at in this round.
    pub objects: u64,
    /// Bytes that were read for it.
    pub bytes: u64,
    /// The database's clock.
    pub now: Timestamp,
}

/// The rows of the scrub. One replica scrubs at a time, by the database's clock.
#[async_trait]
pub trait ScrubRepository: Send + Sync {
    /// Asks for the right to scrub. Gives it if nobody who shows signs of life has it, and a round goes on, or the last
    /// one began `interval` ago; a new round begins then.
    async fn take(&self, interval: Duration) -> Result<ScrubTurn, RepositoryError>;

    /// Keeps what was achieved, and is a sign of life. `false`: another has taken over.
    async fn keep(&self, generation: u64, done: ScrubProgress) -> Result<bool, RepositoryError>;

    /// Ends the round: everything was looked at. Findings about what is not stored any more go. `false`: another has
    /// taken over.
    async fn complete(&self, generation: u64, done: ScrubProgress)
    -> Result<bool, RepositoryError>;

    /// How far it is.
    async fn state(&self) -> Result<ScrubState, RepositoryError>;

    /// Stored versions by id, behind `after`, at most `limit`.
    async fn page(
        &self,
        after: Option<VersionId>,
        limit: u32,
    ) -> Result<Vec<ScrubbedVersion>, RepositoryError>;

    /// The version, never from a cache; `None` if it is not stored any more.
    async fn stored(&self, version: VersionId) -> Result<Option<ScrubbedVersion>, RepositoryError>;

    /// Enters what is wrong with a version whose row is `stored` and names that very place. `false`: it does not.
    async fn find(
        &self,
        version: VersionId,
        at: &Location,
        damage: Damage,
    ) -> Result<bool, RepositoryError>;

    /// Forgets what was wrong with a version.
    async fn mend(&self, version: VersionId) -> Result<(), RepositoryError>;

    /// Enters the hashes that a version's row does not have; those that it has stay, and so does its validator. `false`:
    /// it is not `stored` at that very place, or has both.
    async fn learn(
        &self,
        version: VersionId,
        at: &Location,
        sha256: Sha256Digest,
        crc64: u64,
    ) -> Result<bool, RepositoryError>;

    /// Findings about stored versions by the version's id, behind `after`, at most `limit`.
    async fn findings(
        &self,
        after: Option<VersionId>,
        limit: u32,
    ) -> Result<Vec<ScrubFinding>, RepositoryError>;

    /// How many findings about stored versions there are of each kind; kinds without any are left out.
    async fn counts(&self) -> Result<Vec<(Damage, u64)>, RepositoryError>;
}
