//! What is kept in process of files and tokens, and dropped before anyone could be told an old answer.
//!
//! A look-up marks its place before it asks, and its answer is kept only if nothing at that place was dropped
//! meanwhile. What other processes change is dropped by whoever hears of it, and lives [`TTL`] at most otherwise.

mod kept;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use cloakroom_domain::{File, FileId, TokenHash, TokenId, Version};

pub use self::kept::{Kept, Mark};

use crate::ports::{
    Commit, CommitError, CommitTarget, FileChanges, FileFilter, FileRepository, NewToken, Purged,
    RepositoryError, ServiceToken, TokenRepository, VersionError,
};

/// How long an answer lives at most.
pub const TTL: Duration = Duration::from_secs(5);
/// How many files are kept unless told otherwise.
pub const FILES: u64 = 10_000;

/// How long it is remembered that a token is unknown.
const UNKNOWN_TTL: Duration = Duration::from_secs(1);
const TOKENS: u64 = 10_000;
const UNKNOWN_TOKENS: u64 = 1_000;

/// A repository of files that remembers what it found.
pub struct CachedFiles {
    inner: Arc<dyn FileRepository>,
    kept: Kept<FileId, Arc<File>>,
}

impl CachedFiles {
    /// Remembers up to `capacity` files for [`TTL`] at most. Files that do not exist are not remembered.
    #[must_use]
    pub fn new(inner: Arc<dyn FileRepository>, capacity: u64) -> Self {
        Self {
            inner,
            kept: Kept::new(capacity, TTL),
        }
    }

    /// Forgets the file when it goes out of scope: before the answer is given, and also if the caller left.
    const fn changing<'a>(&'a self, id: &'a FileId) -> Changing<'a> {
        Changing {
            files: self,
            what: What::One(id),
        }
    }
}

struct Changing<'a> {
    files: &'a CachedFiles,
    what: What<'a>,
}

/// What a change may have touched.
enum What<'a> {
    Nothing,
    One(&'a FileId),
    /// A file, and it is not known which.
    Any,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        match self.what {
            What::Nothing => {}
            What::One(id) => self.files.kept.drop_one(id),
            What::Any => self.files.kept.drop_all(),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl FileRepository for CachedFiles {
    async fn find(&self, id: &FileId) -> Result<Option<File>, RepositoryError> {
        if let Some(file) = self.kept.get(id) {
            return Ok(Some(File::clone(&file)));
        }
        let mark = self.kept.mark(id);
        let found = self.inner.find(id).await?;
        if let Some(file) = &found {
            self.kept.keep(id.clone(), Arc::new(file.clone()), mark);
        }
        Ok(found)
    }

    async fn find_fresh(&self, id: &FileId) -> Result<Option<File>, RepositoryError> {
        let mark = self.kept.mark(id);
        let found = self.inner.find_fresh(id).await?;
        match &found {
            Some(file) => self.kept.keep(id.clone(), Arc::new(file.clone()), mark),
            None => self.kept.drop_one(id),
        }
        Ok(found)
    }

    async fn version(&self, id: &FileId, number: u64) -> Result<Option<Version>, RepositoryError> {
        self.inner.version(id, number).await
    }

    async fn versions(
        &self,
        id: &FileId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Version>, RepositoryError> {
        self.inner.versions(id, before, limit).await
    }

    async fn list(&self, filter: &FileFilter) -> Result<Vec<File>, RepositoryError> {
        self.inner.list(filter).await
    }

    async fn commit(&self, commit: Commit) -> Result<File, CommitError> {
        if matches!(commit.target, CommitTarget::NewFile { .. }) {
            // Nothing is remembered of a file that does not exist.
            return self.inner.commit(commit).await;
        }
        let mut changing = Changing {
            files: self,
            what: What::Any,
        };
        let outcome = self.inner.commit(commit).await;
        changing.what = match &outcome {
            Ok(file) => What::One(&file.id),
            Err(CommitError::Repository(RepositoryError::OutcomeUnknown(_))) => What::Any,
            // So that a database that is down does not empty the cache.
            Err(_) => What::Nothing,
        };
        drop(changing);
        outcome
    }

    async fn update(
        &self,
        id: &FileId,
        expected: u64,
        changes: FileChanges,
    ) -> Result<Option<File>, RepositoryError> {
        let _changing = self.changing(id);
        self.inner.update(id, expected, changes).await
    }

    async fn trash(&self, id: &FileId, expected: u64) -> Result<Option<File>, RepositoryError> {
        let _changing = self.changing(id);
        self.inner.trash(id, expected).await
    }

    async fn untrash(
        &self,
        id: &FileId,
        claim_within: Option<Duration>,
    ) -> Result<Option<File>, RepositoryError> {
        let _changing = self.changing(id);
        self.inner.untrash(id, claim_within).await
    }

    async fn purge(
        &self,
        id: &FileId,
        expected: Option<u64>,
    ) -> Result<Option<Purged>, RepositoryError> {
        let _changing = self.changing(id);
        self.inner.purge(id, expected).await
    }

    async fn restore_version(&self, id: &FileId, number: u64) -> Result<File, VersionError> {
        let _changing = self.changing(id);
        self.inner.restore_version(id, number).await
    }

    async fn delete_version(
        &self,
        id: &FileId,
        number: u64,
        delay_micros: i64,
    ) -> Result<File, VersionError> {
        let _changing = self.changing(id);
        self.inner.delete_version(id, number, delay_micros).await
    }

    fn forget(&self, ids: Option<&[FileId]>) {
        match ids {
            Some(ids) => ids.iter().for_each(|id| self.kept.drop_one(id)),
            None => self.kept.drop_all(),
        }
        self.inner.forget(ids);
    }
}

/// A repository of tokens that remembers which it found, for [`TTL`] at most, and for a second which it did not.
pub struct CachedTokens {
    inner: Arc<dyn TokenRepository>,
    known: Kept<TokenHash, ServiceToken>,
    unknown: Kept<TokenHash, ()>,
}

impl CachedTokens {
    /// Remembers the tokens of `inner`, a bounded number of them.
    #[must_use]
    pub fn new(inner: Arc<dyn TokenRepository>) -> Self {
        Self {
            inner,
            known: Kept::new(TOKENS, TTL),
            unknown: Kept::new(UNKNOWN_TOKENS, UNKNOWN_TTL),
        }
    }

    /// Forgets every token. They are few, and changes are rare.
    pub fn forget_all(&self) {
        self.known.drop_all();
        self.unknown.drop_all();
    }
}

struct ChangingTokens<'a>(&'a CachedTokens);

impl Drop for ChangingTokens<'_> {
    fn drop(&mut self) {
        self.0.forget_all();
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl TokenRepository for CachedTokens {
    async fn create(&self, token: NewToken) -> Result<ServiceToken, RepositoryError> {
        let _changing = ChangingTokens(self);
        self.inner.create(token).await
    }

    async fn by_hash(&self, hash: &TokenHash) -> Result<Option<ServiceToken>, RepositoryError> {
        if let Some(token) = self.known.get(hash) {
            return Ok(Some(token));
        }
        if self.unknown.get(hash).is_some() {
            return Ok(None);
        }
        let (known, unknown) = (self.known.mark(hash), self.unknown.mark(hash));
        let found = self.inner.by_hash(hash).await?;
        match &found {
            Some(token) => self.known.keep(*hash, token.clone(), known),
            None => self.unknown.keep(*hash, (), unknown),
        }
        Ok(found)
    }

    async fn list(&self) -> Result<Vec<ServiceToken>, RepositoryError> {
        self.inner.list().await
    }

    async fn revoke(&self, id: TokenId) -> Result<bool, RepositoryError> {
        let _changing = ChangingTokens(self);
        self.inner.revoke(id).await
    }
}

#[cfg(test)]
mod tests;
