//! Taking files over from a service that this one replaces.

use async_trait::async_trait;
use cloakroom_domain::{
    AccountId, ContentType, FileId, FileName, Location, Owner, Timestamp, VersionId,
};

use super::RepositoryError;

/// A file of another service, whose bytes stay where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedFile {
    /// Its id, as it was.
    pub id: FileId,
    /// Whose it is.
    pub owner: Owner,
    /// Its name.
    pub name: FileName,
    /// What the bytes are.
    pub content_type: ContentType,
    /// Bytes.
    pub size: u64,
    /// The id of its only version.
    pub version: VersionId,
    /// Where the bytes are.
    pub location: Location,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The side of the database that takes files over.
#[async_trait]
pub trait FileImport: Send + Sync {
    /// Those of the ids that are files here, in the trash or not, each with its account.
    async fn accounts_of(
        &self,
        ids: &[FileId],
    ) -> Result<Vec<(FileId, AccountId)>, RepositoryError>;

    /// Enters private files with one stored version each, whose hash is not known, in one transaction. One whose id
    /// or address is taken is left out, and what has it stays as it is. Answers the ids that were entered.
    async fn take_over(&self, files: &[ImportedFile]) -> Result<Vec<FileId>, RepositoryError>;
}

/// A row of another service's table. Nothing of it has been checked; texts are cut to a few kilobytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForeignRow {
    /// The file's id.
    pub id: String,
    /// Bytes.
    pub size: Option<i64>,
    /// The content type.
    pub content_type: Option<String>,
    /// The file's name.
    pub name: Option<String>,
    /// The user who uploaded it.
    pub user: Option<String>,
    /// The account it belongs to.
    pub account: Option<String>,
    /// When it was made, in microseconds since 1970.
    pub created_at: Option<i64>,
}

/// Another service's table of files. It is only read.
#[async_trait]
pub trait ForeignFiles: Send {
    /// How many rows there are, more or less: the service may be running.
    async fn count(&mut self) -> Result<u64, RepositoryError>;

    /// At most `limit` rows behind the id `after`, in an order of the table's own that does not change.
    async fn page(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ForeignRow>, RepositoryError>;
}
