//! Buckets of objects, and the names in them. What a name leads to is a file like any other, owned by its bucket.

use std::time::Duration;

use async_trait::async_trait;
use cloakroom_domain::{
    AccountId, BucketKey, BucketName, BucketPolicy, ContentType, EntityTag, File, FileId, FileName,
    Metadata, ObjectBucket, Owner, Timestamp, VersionId,
};

use super::RepositoryError;

/// What becomes of the name in a commit, in the same transaction.
#[derive(Debug, Clone)]
pub struct ObjectTarget {
    /// The bucket.
    pub bucket: BucketName,
    /// The name in it.
    pub key: BucketKey,
    /// Whose the file will be, if there is none yet: the bucket.
    pub owner: Owner,
    /// What a download is called.
    pub name: FileName,
    /// The whole new metadata.
    pub metadata: Metadata,
    /// What the name has to lead to; anything else by now is a [`CommitError::Changed`].
    ///
    /// [`CommitError::Changed`]: super::CommitError::Changed
    pub expected: Expected,
    /// The id of the file, if the name leads to none by then.
    pub fresh: FileId,
}

/// What a name has to lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Whatever it is.
    Anything,
    /// Nothing.
    Nothing,
    /// A file with that current version.
    Version(VersionId),
}

/// A bucket to be made or changed.
#[derive(Debug, Clone)]
pub struct NewBucket {
    /// What it is called.
    pub name: BucketName,
    /// The account that its objects are stored for; `None` keeps that of a bucket that exists.
    pub account: Option<AccountId>,
    /// The whole policy.
    pub policy: BucketPolicy,
}

/// What became of a bucket that was to be made or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BucketSet {
    /// It is new.
    Made(ObjectBucket),
    /// It has this policy now.
    Changed(ObjectBucket),
    /// It exists for another account, and stays as it is.
    OtherAccount,
    /// It does not exist, and no account was named.
    NoAccount,
}

/// What became of a bucket that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketRemoved {
    /// It is gone.
    Gone,
    /// There are objects in it.
    NotEmpty,
    /// There was none.
    Missing,
}

/// An object as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEntry {
    /// Its key.
    pub key: BucketKey,
    /// In bytes.
    pub size: u64,
    /// The validator of its bytes.
    pub etag: EntityTag,
    /// What the bytes are.
    pub content_type: ContentType,
    /// When these bytes became current.
    pub modified_at: Timestamp,
}

/// Which objects to list.
#[derive(Debug, Clone)]
pub struct ObjectFilter {
    /// Of this bucket.
    pub bucket: BucketName,
    /// Only keys that begin so, bytewise; empty: all.
    pub prefix: String,
    /// Only keys behind this text, bytewise.
    pub after: Option<String>,
    /// At most so many, 1–1001.
    pub limit: u32,
}

/// Buckets and names. Each method is one atomic change or one read, and none is answered from a cache.
///
/// A name that leads to a file in the trash is none: it is not found, and free to be given anew.
#[async_trait]
pub trait BucketRepository: Send + Sync {
    /// Makes the bucket, or gives it the policy.
    async fn set_bucket(&self, bucket: NewBucket) -> Result<BucketSet, RepositoryError>;

    /// The bucket of that name.
    async fn bucket(&self, name: &BucketName) -> Result<Option<ObjectBucket>, RepositoryError>;

    /// Buckets by name, behind `after`, at most `limit`.
    async fn buckets(
        &self,
        after: Option<&BucketName>,
        limit: u32,
    ) -> Result<Vec<ObjectBucket>, RepositoryError>;

    /// Removes an empty bucket. No object can appear in it from then on.
    async fn remove_bucket(&self, name: &BucketName) -> Result<BucketRemoved, RepositoryError>;

    /// The file that a name leads to.
    async fn object(
        &self,
        bucket: &BucketName,
        key: &BucketKey,
    ) -> Result<Option<File>, RepositoryError>;

    /// A page of objects by key, bytewise.
    async fn objects(&self, filter: &ObjectFilter) -> Result<Vec<ObjectEntry>, RepositoryError>;

    /// Removes a name that leads to a file with that current version, and the file; its bodies are `deleting`, due
    /// after `delay`. Answers the file's id; `None`: the name leads to nothing, or to something else by now.
    async fn remove_object(
        &self,
        bucket: &BucketName,
        key: &BucketKey,
        expected: VersionId,
        delay: Duration,
    ) -> Result<Option<FileId>, RepositoryError>;
}
