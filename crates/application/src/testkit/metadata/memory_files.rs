//! Files, in memory.

use std::{cmp::Ordering, time::Duration};

use async_trait::async_trait;
use cloakroom_domain::{
    File, FileId, FileName, Metadata, Owner, Timestamp, UploadState, Version, VersionId,
    Visibility, sealed_size,
};

use super::memory::{FileRow, MemoryDatabase, State, micros};
use crate::ports::{
    Commit, CommitError, CommitTarget, FileChanges, FileFilter, FileRepository, FileScope,
    KEY_LIFETIME, ListOrder, PageMark, Purged, RepositoryError, RowState, TypeFilter, VersionError,
};

#[async_trait]
impl FileRepository for MemoryDatabase {
    async fn find(&self, id: &FileId) -> Result<Option<File>, RepositoryError> {
        self.state().file(id)
    }

    async fn find_fresh(&self, id: &FileId) -> Result<Option<File>, RepositoryError> {
        self.state().file(id)
    }

    async fn version(&self, id: &FileId, number: u64) -> Result<Option<Version>, RepositoryError> {
        Ok(self.state().stored(id, number).cloned())
    }

    async fn versions(
        &self,
        id: &FileId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Version>, RepositoryError> {
        let state = self.state();
        let mut found: Vec<Version> = state
            .versions
            .values()
            .filter(|row| row.file == *id && row.state == RowState::Stored)
            .filter_map(|row| row.version.clone())
            .filter(|version| before.is_none_or(|before| version.number < before))
            .collect();
        found.sort_by_key(|version| std::cmp::Reverse(version.number));
        found.truncate(limit as usize);
        Ok(found)
    }

    async fn list(&self, filter: &FileFilter) -> Result<Vec<File>, RepositoryError> {
        let state = self.state();
        let files: Result<Vec<Option<File>>, _> =
            state.files.keys().map(|id| state.file(id)).collect();
        let mut page: Vec<File> = files?
            .into_iter()
            .flatten()
            .filter(|file| shows(filter, file) && is_behind(filter, file))
            .collect();
        page.sort_by(|a, b| in_order(filter.order(), a, b));
        page.truncate(filter.limit as usize);
        Ok(page)
    }

    async fn commit(&self, commit: Commit) -> Result<File, CommitError> {
        self.state().commit(&commit)
    }

    async fn update(
        &self,
        id: &FileId,
        expected: u64,
        changes: FileChanges,
    ) -> Result<Option<File>, RepositoryError> {
        let mut state = self.state();
        let now = state.instant();
        let Some(row) = state.live(id).filter(|row| row.revision == expected) else {
            return Ok(None);
        };
        row.name = changes.name.unwrap_or_else(|| row.name.clone());
        row.visibility = changes.visibility.unwrap_or(row.visibility);
        row.metadata = changes.metadata.unwrap_or_else(|| row.metadata.clone());
        row.revision += 1;
        row.updated_at = now;
        state.file(id)
    }

    async fn trash(&self, id: &FileId, expected: u64) -> Result<Option<File>, RepositoryError> {
        let mut state = self.state();
        let now = state.instant();
        let Some(row) = state.live(id).filter(|row| row.revision == expected) else {
            return Ok(None);
        };
        row.deleted_at = Some(now);
        row.revision += 1;
        row.updated_at = now;
        state.file(id)
    }

    async fn untrash(
        &self,
        id: &FileId,
        claim_within: Option<Duration>,
    ) -> Result<Option<File>, RepositoryError> {
        let mut state = self.state();
        let now = state.instant();
        let row = state.files.get_mut(id);
        let Some(row) = row.filter(|row| row.deleted_at.is_some()) else {
            return Ok(None);
        };
        row.deleted_at = None;
        row.is_unclaimed = false;
        row.claim_by = row.claim_by.and(claim_within).map(|time| {
            let by = now.micros() + micros(time);
            Timestamp::from_micros(by)
        });
        row.revision += 1;
        row.updated_at = now;
        state.file(id)
    }

    async fn purge(
        &self,
        id: &FileId,
        expected: Option<u64>,
    ) -> Result<Option<Purged>, RepositoryError> {
        let mut state = self.state();
        let matches = |row: &FileRow| expected.is_none_or(|expected| row.revision == expected);
        if !state.files.get(id).is_some_and(matches) {
            return Ok(None);
        }
        state.files.remove(id);
        let versions: Vec<_> = state
            .versions
            .iter()
            .filter(|(_, row)| row.file == *id && row.version.is_some())
            .map(|(version, _)| *version)
            .collect();
        for version in &versions {
            state.doom(*version, 0);
        }
        Ok(Some(Purged { versions }))
    }

    async fn restore_version(&self, id: &FileId, number: u64) -> Result<File, VersionError> {
        let mut state = self.state();
        let now = state.instant();
        let version = state.stored(id, number).map(|version| version.id);
        let (Some(version), Some(row)) = (version, state.live(id)) else {
            return Err(VersionError::NotFound);
        };
        if row.current != version {
            row.current = version;
            row.current_since = now;
            row.revision += 1;
            row.updated_at = now;
        }
        state.file(id)?.ok_or(VersionError::NotFound)
    }

    async fn delete_version(
        &self,
        id: &FileId,
        number: u64,
        delay_micros: i64,
    ) -> Result<File, VersionError> {
        let mut state = self.state();
        let version = state.stored(id, number).map(|version| version.id);
        let (Some(version), Some(row)) = (version, state.live(id)) else {
            return Err(VersionError::NotFound);
        };
        if row.current == version {
            return Err(VersionError::Current);
        }
        state.doom(version, delay_micros);
        state.file(id)?.ok_or(VersionError::NotFound)
    }

    fn forget(&self, _ids: Option<&[FileId]>) {}
}

impl State {
    fn commit(&mut self, commit: &Commit) -> Result<File, CommitError> {
        let key = commit
            .claim
            .as_ref()
            .map(|claim| (claim.principal.clone(), claim.key.clone()));
        let holds_key = key.as_ref().is_none_or(|key| {
            let row = self.keys.get(key);
            row.is_some_and(|row| row.version == commit.version && row.answer.is_none())
        });
        let holds_upload = commit
            .upload
            .is_none_or(|generation| self.is_body_of_held(commit.version, generation));
        let has_partials = commit.partials.iter().all(|id| self.is_waiting_partial(id));
        if !holds_key || !holds_upload || !has_partials || !self.is_pending(&commit.version) {
            return Err(CommitError::Lost);
        }
        let id = match &commit.target {
            CommitTarget::Object(target) => self.bind(commit, target)?,
            _ => self.versions[&commit.version].file.clone(),
        };
        for partial in &commit.partials {
            self.end_upload(partial, UploadState::Terminated, 0);
            if let Some(row) = self.uploads.get_mut(partial) {
                row.record.used_by = Some(id.clone());
            }
        }
        let now = self.instant();
        let number = self.point(&id, commit, now)?;
        if let Some(row) = self.versions.get_mut(&commit.version) {
            row.state = RowState::Stored;
            if let Some(seal) = &mut row.location.seal {
                seal.size = Some(commit.size);
            }
            let is_sealed = row.location.seal.is_some();
            row.version = Some(Version {
                id: commit.version,
                number,
                location: row.location.clone(),
                size: commit.size,
                stored_size: if is_sealed {
                    sealed_size(commit.size)
                } else {
                    commit.size
                },
                sha256: Some(commit.sha256),
                crc64: Some(commit.crc64),
                tagged_by_id: false,
                content_type: commit.content_type.clone(),
                created_at: now,
            });
        }
        if commit.upload.is_some() {
            self.finish_upload(&id, commit.version, commit.size);
        }
        let file = self.file(&id)?.ok_or(CommitError::FileGone)?;
        if let Some(row) = key.and_then(|key| self.keys.get_mut(&key)) {
            row.answer = Some(file.clone());
            row.expires_at = now.micros() + micros(KEY_LIFETIME);
        }
        Ok(file)
    }

    /// Points the file at the version and answers the version's number.
    fn point(&mut self, id: &FileId, commit: &Commit, now: Timestamp) -> Result<u64, CommitError> {
        match &commit.target {
            CommitTarget::NewFile {
                owner,
                name,
                visibility,
                metadata,
                claim_within,
            } => {
                if self.files.contains_key(id) {
                    let why = RepositoryError::Conflict("the file exists".into());
                    return Err(why.into());
                }
                let mut row = FileRow::new(owner, name, metadata, commit.version, now);
                row.visibility = *visibility;
                row.claim_by =
                    claim_within.map(|time| Timestamp::from_micros(now.micros() + micros(time)));
                self.files.insert(id.clone(), row);
                Ok(1)
            }
            CommitTarget::Object(target) => {
                let (name, metadata) = (&target.name, &target.metadata);
                let Some(row) = self.live(id) else {
                    let row = FileRow::new(&target.owner, name, metadata, commit.version, now);
                    self.files.insert(id.clone(), row);
                    return Ok(1);
                };
                row.point_at(commit.version, now);
                row.metadata = metadata.clone();
                Ok(row.last_number)
            }
            CommitTarget::NewVersion { expected, name } => {
                let row = self.live(id).ok_or(CommitError::FileGone)?;
                if expected.is_some_and(|expected| expected != row.current) {
                    return Err(CommitError::Changed);
                }
                row.point_at(commit.version, now);
                row.name = name.clone().unwrap_or_else(|| row.name.clone());
                Ok(row.last_number)
            }
        }
    }
}

impl FileRow {
    /// A private file that nobody has to claim.
    fn new(
        owner: &Owner,
        name: &FileName,
        metadata: &Metadata,
        current: VersionId,
        now: Timestamp,
    ) -> Self {
        Self {
            owner: owner.clone(),
            name: name.clone(),
            visibility: Visibility::Private,
            metadata: metadata.clone(),
            revision: 1,
            created_at: now,
            updated_at: now,
            deleted_at: None,
            current,
            current_since: now,
            last_number: 1,
            claim_by: None,
            is_unclaimed: false,
        }
    }

    /// Makes the next version the current one.
    const fn point_at(&mut self, version: VersionId, now: Timestamp) {
        self.current = version;
        self.current_since = now;
        self.last_number += 1;
        self.revision += 1;
        self.updated_at = now;
    }
}

fn shows(filter: &FileFilter, file: &File) -> bool {
    let in_scope = match &filter.scope {
        FileScope::All => true,
        FileScope::Caller(owner) => {
            let visible = !filter.deleted
                && file.visibility != Visibility::Private
                && file.owner.account == owner.account;
            let own = file.owner.account == owner.account
                && match (&owner.user, &file.owner.user) {
                    (Some(mine), Some(theirs)) => mine == theirs,
                    (None, None) => owner.token == file.owner.token,
                    _ => false,
                };
            own || visible
        }
    };
    let essence = file.current.content_type.essence();
    let of_type = match &filter.content_type {
        None => true,
        Some(TypeFilter::Exact(exact)) => essence == exact,
        Some(TypeFilter::Family(family)) => essence.starts_with(family.as_str()),
    };
    in_scope
        && of_type
        && filter.deleted == file.deleted_at.is_some()
        && (filter.owner.is_none() || filter.owner == file.owner.user)
        && filter
            .name_prefix
            .as_ref()
            .is_none_or(|prefix| file.name.as_str().starts_with(prefix.as_str()))
        && filter
            .created_after
            .is_none_or(|instant| file.created_at > instant)
}

fn is_behind(filter: &FileFilter, file: &File) -> bool {
    match &filter.after {
        None => true,
        Some(PageMark::Newest(instant, id)) => (file.created_at, &file.id) < (*instant, id),
        Some(PageMark::Name(name, id)) => (file.name.as_str(), &file.id) > (name.as_str(), id),
    }
}

fn in_order(order: ListOrder, a: &File, b: &File) -> Ordering {
    match order {
        ListOrder::Newest => (b.created_at, &b.id).cmp(&(a.created_at, &a.id)),
        ListOrder::Name => (a.name.as_str(), &a.id).cmp(&(b.name.as_str(), &b.id)),
    }
}
