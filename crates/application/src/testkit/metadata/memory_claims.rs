//! Files to be claimed, and runs of reconciling, in memory.

use async_trait::async_trait;
use cloakroom_domain::{File, FileId, ReconcileId, Timestamp};

use super::memory::{MemoryDatabase, RunRow, State, micros};
use crate::ports::{
    ClaimRepository, Found, MAX_NAMED, MAX_RUNS, Named, NewRun, RUN_LIFETIME, ReconcileRepository,
    RepositoryError, Run,
};

#[async_trait]
impl ClaimRepository for MemoryDatabase {
    async fn claim(&self, id: &FileId) -> Result<Option<File>, RepositoryError> {
        let mut state = self.state();
        let now = state.instant();
        let row = state.files.get_mut(id);
        let can_be = row
            .filter(|row| row.claim_by.is_some() && (row.deleted_at.is_none() || row.is_unclaimed));
        let Some(row) = can_be else {
            return Ok(None);
        };
        row.claim_by = None;
        row.is_unclaimed = false;
        row.deleted_at = None;
        row.revision += 1;
        row.updated_at = now;
        state.file(id)
    }

    async fn expire_unclaimed(&self, limit: u32) -> Result<Vec<FileId>, RepositoryError> {
        let mut state = self.state();
        let now = state.instant();
        let late = state
            .files
            .iter_mut()
            .filter(|(_, row)| row.deleted_at.is_none())
            .filter(|(_, row)| row.claim_by.is_some_and(|by| by <= now));
        let late = late.take(limit as usize).map(|(id, row)| {
            row.deleted_at = Some(now);
            row.is_unclaimed = true;
            row.revision += 1;
            row.updated_at = now;
            id.clone()
        });
        Ok(late.collect())
    }
}

impl State {
    fn running(&mut self, id: ReconcileId) -> Option<&mut RunRow> {
        let now = self.instant();
        let row = self.runs.get_mut(&id);
        row.filter(|row| row.run.expires_at > now)
    }

    fn is_of(&self, file: &FileId, run: &Run) -> bool {
        let row = self.files.get(file);
        row.is_some_and(|row| row.owner.account == run.account)
    }
}

#[async_trait]
impl ReconcileRepository for MemoryDatabase {
    async fn begin(&self, new: NewRun) -> Result<Option<Run>, RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        let going_on = state
            .runs
            .values()
            .filter(|row| row.run.account == new.account && row.run.expires_at.micros() > now);
        if going_on.count() >= MAX_RUNS as usize {
            return Ok(None);
        }
        let run = Run {
            id: new.id,
            account: new.account,
            named: 0,
            knows_any: false,
            is_done: false,
            made_before: Timestamp::from_micros(now - micros(new.age)),
            expires_at: Timestamp::from_micros(now + micros(RUN_LIFETIME)),
        };
        let row = RunRow::of(run.clone());
        state.runs.insert(new.id, row);
        Ok(Some(run))
    }

    async fn run(&self, id: ReconcileId) -> Result<Option<Run>, RepositoryError> {
        let mut state = self.state();
        Ok(state.running(id).map(|row| row.run.clone()))
    }

    async fn name(&self, id: ReconcileId, files: &[FileId]) -> Result<Named, RepositoryError> {
        let mut state = self.state();
        let Some(run) = state.running(id).map(|row| row.run.clone()) else {
            return Ok(Named::Gone);
        };
        let known = files.iter().filter(|file| state.is_of(file, &run)).count();
        let unknown = (files.len() - known) as u64;
        let Some(row) = state.running(id) else {
            return Ok(Named::Gone);
        };
        if run.is_done {
            let all = files.iter().all(|file| row.named.contains(file));
            return Ok(if all {
                Named::Kept { run, unknown }
            } else {
                Named::Done
            });
        }
        let mut named = row.named.clone();
        named.extend(files.iter().cloned());
        if named.len() as u64 > MAX_NAMED {
            return Ok(Named::TooMany);
        }
        row.run.named = named.len() as u64;
        row.run.knows_any |= known > 0;
        row.named = named;
        let run = row.run.clone();
        Ok(Named::Kept { run, unknown })
    }

    async fn finish(&self, id: ReconcileId) -> Result<Option<Run>, RepositoryError> {
        let mut state = self.state();
        let Some(row) = state.running(id) else {
            return Ok(None);
        };
        row.run.is_done = true;
        Ok(Some(row.run.clone()))
    }

    async fn found(
        &self,
        id: ReconcileId,
        after: Option<&FileId>,
        limit: u32,
    ) -> Result<Option<Found>, RepositoryError> {
        let mut state = self.state();
        let Some(row) = state.running(id).filter(|row| row.run.is_done) else {
            return Ok(None);
        };
        if row.found.is_none() {
            let (run, named) = (row.run.clone(), row.named.clone());
            let left: Vec<FileId> = state
                .files
                .iter()
                .filter(|(file, row)| {
                    row.owner.account == run.account
                        && row.created_at < run.made_before
                        && row.deleted_at.is_none()
                        && !row.owner.is_bucket()
                        && !named.contains(*file)
                })
                .map(|(file, _)| file.clone())
                .collect();
            if let Some(row) = state.running(id) {
                row.found = Some(left.into_iter().map(|file| (file, false)).collect());
            }
        }
        let row = state.running(id).and_then(|row| row.found.as_ref());
        let behind = row.into_iter().flat_map(|found| found.keys());
        let mut files: Vec<FileId> = behind
            .filter(|file| after.is_none_or(|after| *file > after))
            .take(limit as usize + 1)
            .cloned()
            .collect();
        let more = files.len() > limit as usize;
        files.truncate(limit as usize);
        let next = files.last().filter(|_| more).cloned();
        Ok(Some(Found { files, next }))
    }

    async fn trash(
        &self,
        id: ReconcileId,
        files: &[FileId],
    ) -> Result<Vec<FileId>, RepositoryError> {
        let mut state = self.state();
        let now = state.instant();
        let mut marked = Vec::new();
        if let Some(found) = state.running(id).and_then(|row| row.found.as_mut()) {
            for file in files {
                if let Some(is_trashed) = found.get_mut(file).filter(|is_trashed| !**is_trashed) {
                    *is_trashed = true;
                    marked.push(file.clone());
                }
            }
        }
        marked.retain(|file| {
            let Some(row) = state.live(file) else {
                return false;
            };
            row.deleted_at = Some(now);
            row.revision += 1;
            row.updated_at = now;
            true
        });
        Ok(marked)
    }

    async fn forget(&self, _limit: u32) -> Result<u64, RepositoryError> {
        let mut state = self.state();
        let now = state.instant();
        let before = state.runs.len();
        state.runs.retain(|_, row| row.run.expires_at > now);
        Ok((before - state.runs.len()) as u64)
    }
}
