//! Moving every body to another store: what is kept of it, and who does it.

use std::time::Duration;

use async_trait::async_trait;
use cloakroom_domain::{
    AccountId, FileId, Location, MigrationId, Sha256Digest, StoreId, Timestamp, VersionId,
};

use super::{RepositoryError, StoreRecord};

/// How long a mover may show no sign of life before another takes over.
pub const MIGRATION_LEASE: Duration = Duration::from_secs(8);

/// How long trying a new store may take before it is said to have been given up.
pub const VALIDATION_LEASE: Duration = Duration::from_secs(120);

/// Where a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationState {
    /// The new store is being tried; nothing has changed yet.
    Validating,
    /// New bodies go to the new store, old ones are being moved.
    Copying,
    /// What was there is moved; uploads that began before still end in the old store, and are moved then.
    Draining,
    /// Every body is in the new store.
    Done,
    /// Every body but those that could not be moved.
    DoneWithFailures,
    /// Somebody stopped it. Every body can be read where it is.
    Cancelled,
    /// It could not go on.
    Failed,
}

impl MigrationState {
    const ALL: [Self; 7] = [
        Self::Validating,
        Self::Copying,
        Self::Draining,
        Self::Done,
        Self::DoneWithFailures,
        Self::Cancelled,
        Self::Failed,
    ];

    /// The name, in the database and for callers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Validating => "validating",
            Self::Copying => "copying",
            Self::Draining => "draining",
            Self::Done => "done",
            Self::DoneWithFailures => "done_with_failures",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Reads the name; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether there is work to do under it.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Validating | Self::Copying | Self::Draining)
    }
}

/// Bodies, and the bytes of the files in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Bodies.
    pub objects: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A migration as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its id.
    pub id: MigrationId,
    /// Where everything goes.
    pub target: StoreId,
    /// Whether bytes that were moved are removed from the old store, after the delay.
    pub cleanup: bool,
    /// Where it is.
    pub state: MigrationState,
    /// What was moved so far: exact, also after a mover died.
    pub moved: Amount,
    /// Bodies that could not be moved the last time they were tried.
    pub failures: u64,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it ended as [`MigrationState::Failed`].
    pub failure: Option<String>,
    /// Raised with every mover; a change by an earlier one has no effect.
    pub generation: u64,
}

/// A body that is not in the target store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movable {
    /// Its row.
    pub version: VersionId,
    /// Its file.
    pub file: FileId,
    /// The account whose bucket it goes to.
    pub account: AccountId,
    /// Where it is.
    pub location: Location,
    /// Bytes of the file.
    pub size: u64,
    /// Their digest, where it is known.
    pub sha256: Option<Sha256Digest>,
}

/// A body that could not be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveFailure {
    /// Its row.
    pub version: VersionId,
    /// Its file.
    pub file: FileId,
    /// How often it was tried.
    pub attempts: u32,
    /// What went wrong the last time.
    pub reason: String,
    /// When that was.
    pub at: Timestamp,
}

/// A copy that takes the place of a body, sealed as the copy's row says, with a seal for the body's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// The body's row.
    pub version: VersionId,
    /// Where the copy was made from.
    pub from: Location,
    /// The copy's pending row.
    pub copy: VersionId,
    /// Bytes of the file.
    pub size: u64,
    /// How long the old bytes stay; `None` leaves them for good.
    pub remove_after: Option<Duration>,
}

/// What became of switching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switched {
    /// The body is where the copy was made; the copy's row is gone.
    Done,
    /// The body is not there any more, or was moved already.
    Changed,
    /// Another mover does it now, or nobody does any more; or the copy's row has expired.
    Lost,
}

/// The rows of migrations. Every change by a mover names the generation that it is made under.
#[async_trait]
pub trait MigrationRepository: Send + Sync {
    /// Begins one, validating, held by whoever calls. `None`: there is one under way.
    async fn begin(
        &self,
        id: MigrationId,
        target: StoreId,
        cleanup: bool,
        owner: &str,
    ) -> Result<Option<Migration>, RepositoryError>;

    /// The new store answers: enters it if it is new, makes it current, and lets the copying begin. Held by nobody
    /// then. `false`: it was cancelled or taken over meanwhile.
    async fn start(
        &self,
        id: MigrationId,
        generation: u64,
        target: &StoreRecord,
    ) -> Result<bool, RepositoryError>;

    /// The newest.
    async fn last(&self) -> Result<Option<Migration>, RepositoryError>;

    /// Takes the one under way, if nobody holds it or its holder has shown no sign of life for
    /// [`MIGRATION_LEASE`].
    async fn take(&self, owner: &str) -> Result<Option<Migration>, RepositoryError>;

    /// Shows a sign of life. `false`: it is another's, or not under way any more.
    async fn renew(&self, id: MigrationId, generation: u64) -> Result<bool, RepositoryError>;

    /// Goes to another state; one that is not live ends it, and forgets failures of bodies that are not in another
    /// store any more. `false` as for [`MigrationRepository::renew`].
    async fn advance(
        &self,
        id: MigrationId,
        generation: u64,
        state: MigrationState,
        failure: Option<&str>,
    ) -> Result<bool, RepositoryError>;

    /// Lets go, for another to take at once.
    async fn release(&self, id: MigrationId, generation: u64) -> Result<(), RepositoryError>;

    /// Stops the one under way, and answers it as it is then.
    async fn cancel(&self) -> Result<Option<Migration>, RepositoryError>;

    /// Stored bodies of a store by bucket and key, behind that address.
    async fn movable(
        &self,
        store: StoreId,
        after: Option<&Location>,
        limit: u32,
    ) -> Result<Vec<Movable>, RepositoryError>;

    /// How many stored bodies are in a store.
    async fn stored_in(&self, store: StoreId) -> Result<Amount, RepositoryError>;

    /// How many bodies are on their way to a store.
    async fn pending_in(&self, store: StoreId) -> Result<u64, RepositoryError>;

    /// Whether a migration to another store than this one leaves the old bytes where they are: objects without rows
    /// are nobody's to remove then.
    async fn leaves_bytes_in(&self, store: StoreId) -> Result<bool, RepositoryError>;

    /// Puts copies in the places of their bodies, and counts them: all of them, or, where the answer is not
    /// [`Switched::Done`], none; then it says what became of the first that could not be.
    async fn switch(
        &self,
        id: MigrationId,
        generation: u64,
        switches: &[Switch],
    ) -> Result<Switched, RepositoryError>;

    /// Notes that a body could not be moved.
    async fn note_failure(
        &self,
        id: MigrationId,
        version: VersionId,
        file: &FileId,
        reason: &str,
    ) -> Result<(), RepositoryError>;

    /// The first `limit` of what could not be moved, by the versions' ids.
    async fn failures(
        &self,
        id: MigrationId,
        limit: u32,
    ) -> Result<Vec<MoveFailure>, RepositoryError>;
}
