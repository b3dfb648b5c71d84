//! The repository of files and their versions, as callers see them.

use std::time::Duration;

use async_trait::async_trait;
use cloakroom_domain::{
    ContentType, File, FileId, FileName, Metadata, Owner, Sha256Digest, Timestamp, UserId, Version,
    VersionId, Visibility,
};

use super::{IdempotencyClaim, ObjectTarget, RepositoryError};

/// A stored body about to become a file or a file's next version.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The pending row that becomes `stored`.
    pub version: VersionId,
    /// Bytes received.
    pub size: u64,
    /// Their SHA-256.
    pub sha256: Sha256Digest,
    /// Their CRC-64/NVME.
    pub crc64: u64,
    /// What they are.
    pub content_type: ContentType,
    /// New file or new version.
    pub target: CommitTarget,
    /// The idempotency key that this request runs under.
    pub claim: Option<IdempotencyClaim>,
    /// The generation under which the upload of several requests is held that this commit ends; its id is the file's.
    pub upload: Option<u64>,
    /// Finished partial uploads that the body was made of: they end with the commit, or it is lost.
    pub partials: Vec<FileId>,
}

/// What a commit makes of the body.
#[derive(Debug, Clone)]
pub enum CommitTarget {
    /// A file that does not exist yet; its id is the pending row's.
    NewFile {
        /// Whose it will be.
        owner: Owner,
        /// Its name.
        name: FileName,
        /// Who else may read it.
        visibility: Visibility,
        /// Its metadata.
        metadata: Metadata,
        /// How soon the application has to claim it; `None` if it need not.
        claim_within: Option<Duration>,
    },
    /// The next version of the pending row's file.
    NewVersion {
        /// The current version that the caller's precondition was checked against; another one by now is a
        /// [`CommitError::Changed`]. `None` where the caller made no condition.
        expected: Option<VersionId>,
        /// The new name, where the upload gave one.
        name: Option<FileName>,
    },
    /// The next version of the file that a bucket's key leads to by then, or a file that it leads to from now on. The
    /// pending row becomes that file's, whosever it was.
    Object(Box<ObjectTarget>),
}

/// Why a commit did not happen. The pending row is still there unless said otherwise.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The pending row was taken by the sweeper, or the idempotency key or the upload by another request.
    #[error("the upload took too long and was given up")]
    Lost,
    /// The file was trashed or purged meanwhile, or the bucket removed.
    #[error("the file is gone")]
    FileGone,
    /// Another version became current meanwhile.
    #[error("the file has changed")]
    Changed,
    /// The database failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
}

/// Why a version was not restored or deleted.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// There is no such file or no such version.
    #[error("no such version")]
    NotFound,
    /// It is the current version, which cannot be deleted.
    #[error("the version is the current one")]
    Current,
    /// The database failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
}

/// What to change of a file's row; `None` leaves as it is.
#[derive(Debug, Clone, Default)]
pub struct FileChanges {
    /// A new name.
    pub name: Option<FileName>,
    /// A new visibility.
    pub visibility: Option<Visibility>,
    /// The whole new metadata.
    pub metadata: Option<Metadata>,
}

/// Whose files a listing may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileScope {
    /// Every file: an admin.
    All,
    /// The caller's own files, and those that its account may see (`account` or `public` in the account).
    /// Of the trash, only its own.
    Caller(Owner),
}

/// A filter on the media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeFilter {
    /// `type/subtype`, whatever its parameters.
    Exact(String),
    /// `type/*`: the text before and with the slash.
    Family(String),
}

/// Which files to list.
#[derive(Debug, Clone)]
pub struct FileFilter {
    /// Whose.
    pub scope: FileScope,
    /// Only those of this user.
    pub owner: Option<UserId>,
    /// Only this type.
    pub content_type: Option<TypeFilter>,
    /// Only names that begin so, bytewise. Orders the page by name.
    pub name_prefix: Option<String>,
    /// Only those made after this instant.
    pub created_after: Option<Timestamp>,
    /// The trash instead of what is outside it.
    pub deleted: bool,
    /// Go on behind this mark.
    pub after: Option<PageMark>,
    /// At most so many, 1–1000.
    pub limit: u32,
}

/// The order of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListOrder {
    /// Newest first, then by id downwards.
    Newest,
    /// By name, then by id, both bytewise upwards.
    Name,
}

impl FileFilter {
    /// The order that the filter implies.
    #[must_use]
    pub const fn order(&self) -> ListOrder {
        if self.name_prefix.is_some() {
            ListOrder::Name
        } else {
            ListOrder::Newest
        }
    }
}

/// The last row of a page, in the terms of its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageMark {
    /// Under [`ListOrder::Newest`].
    Newest(Timestamp, FileId),
    /// Under [`ListOrder::Name`].
    Name(String, FileId),
}

/// What a purge took out of the files table; the rows of its bodies are `deleting` and due now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// The versions whose bytes are to go at once.
    pub versions: Vec<VersionId>,
}

/// Files as things. Each method is one atomic change or one read.
#[async_trait]
pub trait FileRepository: Send + Sync {
    /// The file with its current version, also if it is in the trash. May be answered from a cache.
    async fn find(&self, id: &FileId) -> Result<Option<File>, RepositoryError>;

    /// As `find`, never from a cache.
    async fn find_fresh(&self, id: &FileId) -> Result<Option<File>, RepositoryError>;

    /// A stored version by its number.
    async fn version(&self, id: &FileId, number: u64) -> Result<Option<Version>, RepositoryError>;

    /// Stored versions, newest number first, below `before`, at most `limit`.
    async fn versions(
        &self,
        id: &FileId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Version>, RepositoryError>;

    /// A page of files in the filter's order.
    async fn list(&self, filter: &FileFilter) -> Result<Vec<File>, RepositoryError>;

    /// Turns a pending row into a file or a version, with its event's place in the same transaction.
    /// With a claim, the answer is kept under its key in the same transaction. With an upload's generation, that upload
    /// is finished in it, and whatever else was written for it is to be removed.
    async fn commit(&self, commit: Commit) -> Result<File, CommitError>;

    /// Changes a file outside the trash if its revision is still `expected`. `None`: it is gone or has changed.
    async fn update(
        &self,
        id: &FileId,
        expected: u64,
        changes: FileChanges,
    ) -> Result<Option<File>, RepositoryError>;

    /// Puts a file of that revision in the trash. `None`: it is gone, there already, or has changed.
    async fn trash(&self, id: &FileId, expected: u64) -> Result<Option<File>, RepositoryError>;

    /// Takes a file out of the trash. One that nobody has claimed has to be claimed within so long from now; `None`: it
    /// need not. Answers `None` if it is not in the trash.
    async fn untrash(
        &self,
        id: &FileId,
        claim_within: Option<Duration>,
    ) -> Result<Option<File>, RepositoryError>;

    /// Removes the file's row for good and marks all its stored bodies `deleting`, due now. `None`: no such file, or its
    /// revision is not the `expected` one any more.
    async fn purge(
        &self,
        id: &FileId,
        expected: Option<u64>,
    ) -> Result<Option<Purged>, RepositoryError>;

    /// Makes a stored version the current one of a file outside the trash.
    async fn restore_version(&self, id: &FileId, number: u64) -> Result<File, VersionError>;

    /// Marks a version that is not current `deleting`, due after `delay_micros`.
    async fn delete_version(
        &self,
        id: &FileId,
        number: u64,
        delay_micros: i64,
    ) -> Result<File, VersionError>;

    /// Drops whatever is cached of these files and everything if `ids` is `None`.
    fn forget(&self, ids: Option<&[FileId]>);
}
