//! A file and its versions.

use std::fmt;

use crate::{
    AccountId, ContentType, EntityTag, FileId, FileName, Location, Owner, Sha256Digest, Timestamp,
    UserId, VersionId,
};

/// Who may read a file besides its owner, before any hook is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Visibility {
    /// Anyone, without credentials.
    Public,
    /// Everyone of the file's account.
    Account,
    /// The owner.
    #[default]
    Private,
}

impl Visibility {
    /// The name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Account => "account",
            Self::Private => "private",
        }
    }

    /// Reads the name; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Public, Self::Account, Self::Private]
            .into_iter()
            .find(|v| v.as_str() == text)
    }
}

/// Why a text cannot be a file's metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("metadata is larger than {} bytes", Metadata::MAX_BYTES)]
pub struct MetadataError;

/// A file's key-value metadata: the text of a JSON object of at most 16 KiB.
///
/// That it is an object is for whoever parsed it to know; the size is checked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata(Box<str>);

impl Metadata {
    /// The longest text, in bytes.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// Wraps the serialised object.
    ///
    /// # Errors
    /// The text is longer than [`Metadata::MAX_BYTES`].
    pub fn from_json(object: String) -> Result<Self, MetadataError> {
        if object.len() > Self::MAX_BYTES {
            return Err(MetadataError);
        }
        Ok(Self(object.into_boxed_str()))
    }

    /// The JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl Default for Metadata {
    fn default() -> Self {
        Self("{}".into())
    }
}

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One stored, immutable body of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Stable for good.
    pub id: VersionId,
    /// Counts from 1 within its file; never used twice.
    pub number: u64,
    /// Where the bytes are.
    pub location: Location,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes in the store; differs from `size` where the body is sealed.
    pub stored_size: u64,
    /// Unknown for imported bytes until a scrub has read them.
    pub sha256: Option<Sha256Digest>,
    /// CRC-64/NVME of the file's bytes, unknown as `sha256` may be.
    pub crc64: Option<u64>,
    /// Whether its hash became known only after it had been served: its validator stays what it was.
    pub tagged_by_id: bool,
    /// What the bytes are.
    pub content_type: ContentType,
    /// When the version was stored.
    pub created_at: Timestamp,
}

impl Version {
    /// The strong validator of this body, for good: its SHA-256, or the version's id where that was not known at first.
    #[must_use]
    pub fn etag(&self) -> EntityTag {
        EntityTag::of_body(self.sha256.filter(|_| !self.tagged_by_id), self.id)
    }
}

/// A file with its current version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The file's identifier.
    pub id: FileId,
    /// Whose it is.
    pub owner: Owner,
    /// What people call it.
    pub name: FileName,
    /// Who else may read it.
    pub visibility: Visibility,
    /// Key-value metadata.
    pub metadata: Metadata,
    /// Raised by every change of the row.
    pub revision: u64,
    /// When the file was made.
    pub created_at: Timestamp,
    /// When the row changed last.
    pub updated_at: Timestamp,
    /// Since when it is in the trash.
    pub deleted_at: Option<Timestamp>,
    /// The current version.
    pub current: Version,
    /// When that version became the current one.
    pub current_since: Timestamp,
    /// When it goes to the trash unless the application claims it. `None`: it is claimed, or need not be.
    pub claim_by: Option<Timestamp>,
}

impl File {
    /// The account the file belongs to.
    #[must_use]
    pub const fn account(&self) -> &AccountId {
        &self.owner.account
    }

    /// The user who uploaded it, if a user did.
    #[must_use]
    pub const fn user(&self) -> Option<&UserId> {
        self.owner.user.as_ref()
    }

    /// The validator of the file's row, as opposed to its bytes.
    #[must_use]
    pub fn row_etag(&self) -> EntityTag {
        EntityTag::strong(format!("r{}", self.revision))
    }
}
