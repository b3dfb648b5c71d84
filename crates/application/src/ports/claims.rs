//! Files that have to be claimed, and runs in which an application tells which files it still refers to.

use std::time::Duration;

use async_trait::async_trait;
use cloakroom_domain::{AccountId, File, FileId, ReconcileId, Timestamp};

use super::RepositoryError;

/// Claim or expire. All times are those of the database's clock.
#[async_trait]
pub trait ClaimRepository: Send + Sync {
    /// Claims a file, and takes it out of the trash if it is there because nobody had claimed it. `None`: there was
    /// nothing to claim, or it is in the trash for another reason.
    async fn claim(&self, id: &FileId) -> Result<Option<File>, RepositoryError>;

    /// Puts up to `limit` files in the trash whose time to be claimed is over, and answers which. One that is being
    /// changed at this very moment is passed over.
    async fn expire_unclaimed(&self, limit: u32) -> Result<Vec<FileId>, RepositoryError>;
}

/// A run about to begin.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Its handle.
    pub id: ReconcileId,
    /// Whose files it is about.
    pub account: AccountId,
    /// Files younger than this are left alone.
    pub age: Duration,
}

/// A run that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its handle.
    pub id: ReconcileId,
    /// Whose files it is about.
    pub account: AccountId,
    /// How many different ids were named.
    pub named: u64,
    /// Whether any of them was a file of the account.
    pub knows_any: bool,
    /// Whether every id has been named.
    pub is_done: bool,
    /// Files made at this instant or later are left alone.
    pub made_before: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

/// What became of a page of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// They are kept; so many of them are no files of the account.
    Kept {
        /// How the run stands now.
        run: Run,
        /// How many of this page are no files of the account.
        unknown: u64,
    },
    /// The run has more ids than it may have; nothing of the page was kept.
    TooMany,
    /// Every id had been named, and one of these was not among them.
    Done,
    /// There is no such run, or it has ended.
    Gone,
}

/// Files that nobody referred to, by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The files.
    pub files: Vec<FileId>,
    /// Go on behind this file; `None` at the end.
    pub next: Option<FileId>,
}

/// How long a run lasts at most.
pub const RUN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// So many runs of an account may go on at a time.
pub const MAX_RUNS: u32 = 10;
/// So many ids a run may have.
pub const MAX_NAMED: u64 = 10_000_000;

/// Runs of reconciling. What a page of found files says is settled when it is first asked for, and stays.
#[async_trait]
pub trait ReconcileRepository: Send + Sync {
    /// Begins a run. `None`: [`MAX_RUNS`] of the account go on.
    async fn begin(&self, new: NewRun) -> Result<Option<Run>, RepositoryError>;

    /// The run, unless it has ended.
    async fn run(&self, id: ReconcileId) -> Result<Option<Run>, RepositoryError>;

    /// Keeps ids that the application refers to. The same ones again change nothing.
    async fn name(&self, id: ReconcileId, files: &[FileId]) -> Result<Named, RepositoryError>;

    /// Says that every id has been named. `None`: the run has ended.
    async fn finish(&self, id: ReconcileId) -> Result<Option<Run>, RepositoryError>;

    /// Files that nobody referred to, behind `after`, at most `limit`. Walks over a bounded number of files, so a page
    /// may hold few or none and still have a next one. `None`: the run is not done, or has ended.
    async fn found(
        &self,
        id: ReconcileId,
        after: Option<&FileId>,
        limit: u32,
    ) -> Result<Option<Found>, RepositoryError>;

    /// Puts those of the files in the trash that the run found and has not put there before, and answers which.
    async fn trash(
        &self,
        id: ReconcileId,
        files: &[FileId],
    ) -> Result<Vec<FileId>, RepositoryError>;

    /// Removes up to `limit` rows of runs that have ended.
    async fn forget(&self, limit: u32) -> Result<u64, RepositoryError>;
}
