//! Buckets of objects, in memory.

use std::time::Duration;

use async_trait::async_trait;
use cloakroom_domain::{BucketKey, BucketName, File, FileId, ObjectBucket, VersionId};

use super::memory::{MemoryDatabase, State, micros};
use crate::ports::{
    BucketRemoved, BucketRepository, BucketSet, Commit, CommitError, Expected, NewBucket,
    ObjectEntry, ObjectFilter, ObjectTarget, RepositoryError,
};

impl State {
    fn object(
        &self,
        bucket: &BucketName,
        key: &BucketKey,
    ) -> Result<Option<File>, RepositoryError> {
        let Some(id) = self.objects.get(&(bucket.clone(), key.clone())) else {
            return Ok(None);
        };
        let file = self.file(id)?;
        Ok(file.filter(|file| file.deleted_at.is_none()))
    }

    /// Lets the name lead to the file that the commit's body goes to, and the body to that file.
    pub(super) fn bind(
        &mut self,
        commit: &Commit,
        target: &ObjectTarget,
    ) -> Result<FileId, CommitError> {
        if !self.buckets.contains_key(&target.bucket) {
            return Err(CommitError::FileGone);
        }
        let now = self.object(&target.bucket, &target.key)?;
        let as_expected = match (target.expected, &now) {
            (Expected::Anything, _) | (Expected::Nothing, None) => true,
            (Expected::Version(version), Some(file)) => file.current.id == version,
            (Expected::Nothing, Some(_)) | (Expected::Version(_), None) => false,
        };
        if !as_expected {
            return Err(CommitError::Changed);
        }
        let id = now.map_or_else(|| target.fresh.clone(), |file| file.id);
        let name = (target.bucket.clone(), target.key.clone());
        self.objects.insert(name, id.clone());
        if let Some(row) = self.versions.get_mut(&commit.version) {
            row.file = id.clone();
        }
        Ok(id)
    }
}

#[async_trait]
impl BucketRepository for MemoryDatabase {
    async fn set_bucket(&self, new: NewBucket) -> Result<BucketSet, RepositoryError> {
        let mut state = self.state();
        let now = state.instant();
        if let Some(bucket) = state.buckets.get_mut(&new.name) {
            if new.account.is_some_and(|account| account != bucket.account) {
                return Ok(BucketSet::OtherAccount);
            }
            bucket.policy = new.policy;
            bucket.updated_at = now;
            return Ok(BucketSet::Changed(bucket.clone()));
        }
        let Some(account) = new.account else {
            return Ok(BucketSet::NoAccount);
        };
        let bucket = ObjectBucket {
            name: new.name.clone(),
            account,
            policy: new.policy,
            created_at: now,
            updated_at: now,
        };
        state.buckets.insert(new.name, bucket.clone());
        Ok(BucketSet::Made(bucket))
    }

    async fn bucket(&self, name: &BucketName) -> Result<Option<ObjectBucket>, RepositoryError> {
        Ok(self.state().buckets.get(name).cloned())
    }

    async fn buckets(
        &self,
        after: Option<&BucketName>,
        limit: u32,
    ) -> Result<Vec<ObjectBucket>, RepositoryError> {
        let state = self.state();
        let behind = |bucket: &&ObjectBucket| after.is_none_or(|after| bucket.name > *after);
        let page = state.buckets.values().filter(behind).take(limit as usize);
        Ok(page.cloned().collect())
    }

    async fn remove_bucket(&self, name: &BucketName) -> Result<BucketRemoved, RepositoryError> {
        let mut state = self.state();
        let mut named = state
            .objects
            .iter()
            .filter(|((bucket, _), _)| bucket == name);
        if named.any(|(_, file)| state.files.contains_key(file)) {
            return Ok(BucketRemoved::NotEmpty);
        }
        Ok(match state.buckets.remove(name) {
            Some(_) => BucketRemoved::Gone,
            None => BucketRemoved::Missing,
        })
    }

    async fn object(
        &self,
        bucket: &BucketName,
        key: &BucketKey,
    ) -> Result<Option<File>, RepositoryError> {
        self.state().object(bucket, key)
    }

    async fn objects(&self, filter: &ObjectFilter) -> Result<Vec<ObjectEntry>, RepositoryError> {
        let state = self.state();
        let mut page = Vec::new();
        for (bucket, key) in state.objects.keys() {
            let text = key.as_str();
            let wanted = *bucket == filter.bucket
                && text.starts_with(&filter.prefix)
                && filter
                    .after
                    .as_ref()
                    .is_none_or(|after| text > after.as_str());
            if !wanted || page.len() >= filter.limit as usize {
                continue;
            }
            if let Some(file) = state.object(bucket, key)? {
                page.push(ObjectEntry {
                    key: key.clone(),
                    size: file.current.size,
                    etag: file.current.etag(),
                    content_type: file.current.content_type,
                    modified_at: file.current_since,
                });
            }
        }
        Ok(page)
    }

    async fn remove_object(
        &self,
        bucket: &BucketName,
        key: &BucketKey,
        expected: VersionId,
        delay: Duration,
    ) -> Result<Option<FileId>, RepositoryError> {
        let mut state = self.state();
        let file = state.object(bucket, key)?;
        let Some(file) = file.filter(|file| file.current.id == expected) else {
            return Ok(None);
        };
        state.objects.remove(&(bucket.clone(), key.clone()));
        state.files.remove(&file.id);
        let versions: Vec<VersionId> = state
            .versions
            .iter()
            .filter(|(_, row)| row.file == file.id && row.version.is_some())
            .map(|(version, _)| *version)
            .collect();
        for version in versions {
            state.doom(version, micros(delay));
        }
        Ok(Some(file.id))
    }
}
