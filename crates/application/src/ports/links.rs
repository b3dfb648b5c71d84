//! Signed links as they are kept, and secrets that every replica shares.

use std::time::Duration;

use async_trait::async_trait;
use cloakroom_domain::{Disposition, FileId, Link, LinkId, LinkUses, Timestamp};

use super::RepositoryError;

/// A link about to be kept.
#[derive(Debug, Clone)]
pub struct NewLink {
    /// Its handle.
    pub id: LinkId,
    /// The file that it opens.
    pub file: FileId,
    /// The version that it opens; `None` is the current one at each use.
    pub version: Option<u64>,
    /// How browsers are to take the file.
    pub disposition: Disposition,
    /// How often it may be used.
    pub max_uses: Option<LinkUses>,
    /// How long it is good for.
    pub lifetime: Duration,
}

/// What a link is good for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// It may be used.
    Good,
    /// Every use was made, the last one less than [`LINK_GRACE`] ago: what was begun may be ended.
    UsedUp,
    /// Nothing.
    Over,
}

/// The last link of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkMark {
    /// When it was made.
    pub created_at: Timestamp,
    /// Its handle.
    pub id: LinkId,
}

/// For how long after its last use a link that is used up still serves the rest of what was begun with it.
pub const LINK_GRACE: Duration = Duration::from_secs(60 * 60);

/// So many links of a file may be good at a time.
pub const MAX_LINKS: u32 = 1000;

/// The links. All times are those of the database's clock.
#[async_trait]
pub trait LinkRepository: Send + Sync {
    /// Keeps a link. `None`: [`MAX_LINKS`] of the file have not expired.
    async fn create(&self, new: NewLink) -> Result<Option<Link>, RepositoryError>;

    /// The link and what it is good for.
    async fn find(&self, id: LinkId) -> Result<Option<(Link, LinkState)>, RepositoryError>;

    /// Counts a use, if one is left. Of several at once with one left, one gets it.
    async fn count_use(&self, id: LinkId) -> Result<bool, RepositoryError>;

    /// Links of a file, newest first, behind `after`, at most `limit`; those that have expired too, for a while.
    async fn of_file(
        &self,
        file: &FileId,
        after: Option<LinkMark>,
        limit: u32,
    ) -> Result<Vec<Link>, RepositoryError>;

    /// How many links of the file may be used now.
    async fn good_of_file(&self, file: &FileId) -> Result<u64, RepositoryError>;

    /// Takes the link back. `false`: the file has no such link.
    async fn revoke(&self, file: &FileId, id: LinkId) -> Result<bool, RepositoryError>;

    /// Removes up to `limit` links that expired longer ago than `age`.
    async fn forget(&self, age: Duration, limit: u32) -> Result<u64, RepositoryError>;
}

/// Secrets that the service made up for itself.
#[async_trait]
pub trait SecretRepository: Send + Sync {
    /// The secret of that name. Where there is none yet, `candidate` becomes it; of several callers at once, one sets it.
    async fn secret(&self, name: &str, candidate: &[u8]) -> Result<Vec<u8>, RepositoryError>;
}
