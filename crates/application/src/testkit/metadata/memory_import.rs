//! Taking files over, in memory.

use async_trait::async_trait;
use cloakroom_domain::{AccountId, FileId, Metadata, Version, Visibility};

use super::memory::{FileRow, MemoryDatabase, State, VersionRow};
use crate::ports::{FileImport, ImportedFile, RepositoryError, RowState};

impl State {
    fn has_room_for(&self, file: &ImportedFile) -> bool {
        !self.files.contains_key(&file.id)
            && self
                .versions
                .values()
                .all(|row| row.location != file.location)
    }
}

#[async_trait]
impl FileImport for MemoryDatabase {
    async fn accounts_of(
        &self,
        ids: &[FileId],
    ) -> Result<Vec<(FileId, AccountId)>, RepositoryError> {
        let state = self.state();
        let account = |id: &FileId| {
            let row = state.files.get(id)?;
            Some((id.clone(), row.owner.account.clone()))
        };
        Ok(ids.iter().filter_map(account).collect())
    }

    async fn take_over(&self, files: &[ImportedFile]) -> Result<Vec<FileId>, RepositoryError> {
        let mut state = self.state();
        let mut entered = Vec::new();
        for file in files {
            if !state.has_room_for(file) {
                continue;
            }
            let version = Version {
                id: file.version,
                number: 1,
                location: file.location.clone(),
                size: file.size,
                stored_size: file.size,
                sha256: None,
                crc64: None,
                tagged_by_id: false,
                content_type: file.content_type.clone(),
                created_at: file.created_at,
            };
            let row = VersionRow {
                file: file.id.clone(),
                upload: None,
                location: file.location.clone(),
                state: RowState::Stored,
                touched_at: file.created_at.micros(),
                delete_after: 0,
                version: Some(version),
            };
            state.versions.insert(file.version, row);
            let row = FileRow {
                owner: file.owner.clone(),
                name: file.name.clone(),
                visibility: Visibility::Private,
                metadata: Metadata::default(),
                revision: 1,
                created_at: file.created_at,
                updated_at: file.created_at,
                deleted_at: None,
                current: file.version,
                current_since: file.created_at,
                last_number: 1,
                claim_by: None,
                is_unclaimed: false,
            };
            state.files.insert(file.id.clone(), row);
            entered.push(file.id.clone());
        }
        Ok(entered)
    }
}
