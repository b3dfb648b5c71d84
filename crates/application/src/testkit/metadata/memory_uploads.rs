//! Uploads that take several requests, in memory.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use cloakroom_domain::{
    FileId, Location, Sha256Digest, Timestamp, UploadKind, UploadProgress, UploadState,
};

use super::{
    memory::{MemoryDatabase, micros},
    memory_ledger::ABANDONED,
    memory_upload_rows::UploadRow,
};
use crate::ports::{
    Ask, Asked, NUMBERS_AT_A_TIME, NewPiece, NewUploadRow, RepositoryError, Saved, Stretch,
    UploadRecord, UploadRepository,
};

#[async_trait]
impl UploadRepository for MemoryDatabase {
    async fn create(&self, new: NewUploadRow) -> Result<UploadRecord, RepositoryError> {
        let mut state = self.state();
        let location = state.address(&new.account, new.key, new.seal)?;
        state.check_free(&location)?;
        if state.uploads.contains_key(&new.id) {
            return Err(RepositoryError::Conflict("the upload exists".into()));
        }
        let progress = UploadProgress::restore(0, new.length);
        let progress = progress.ok_or_else(|| RepositoryError::Failed("no length".into()))?;
        let now = state.now();
        let record = UploadRecord {
            id: new.id.clone(),
            creator: new.creator,
            kind: new.kind,
            state: UploadState::Open,
            progress,
            target: new.target,
            version: new.version,
            location: location.clone(),
            write_id: None,
            next_number: 1,
            hashes: None,
            is_held: false,
            generation: 0,
            expires_at: Timestamp::from_micros(now + micros(new.lifetime)),
            failure: None,
            used_by: None,
        };
        let row = UploadRow {
            record: record.clone(),
            stretches: BTreeMap::new(),
            turn: 0,
            free_number: 1,
            loose_below: 1,
            touched_at: now,
            promised: None,
        };
        state.enter(new.version, new.id.clone(), Some(new.id.clone()), location);
        state.uploads.insert(new.id, row);
        Ok(record)
    }

    async fn find(&self, id: &FileId) -> Result<Option<UploadRecord>, RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        Ok(state.uploads.get(id).map(|row| row.shown(now)))
    }

    async fn stretches(&self, id: &FileId) -> Result<Vec<Stretch>, RepositoryError> {
        let state = self.state();
        let row = state.uploads.get(id);
        Ok(row.map_or_else(Vec::new, |row| row.stretches.values().cloned().collect()))
    }

    async fn ask(&self, id: &FileId, ask: Ask) -> Result<Asked, RepositoryError> {
        Ok(self.state().ask(id, ask))
    }

    async fn begin_piece(
        &self,
        id: &FileId,
        generation: u64,
        piece: NewPiece,
    ) -> Result<Option<Location>, RepositoryError> {
        let mut state = self.state();
        let Some((row, _)) = state.held(id, generation) else {
            return Ok(None);
        };
        let location = Location {
            key: piece.key,
            seal: piece.seal,
            ..row.record.location.clone()
        };
        state.check_free(&location)?;
        state.enter(
            piece.version,
            id.clone(),
            Some(id.clone()),
            location.clone(),
        );
        Ok(Some(location))
    }

    async fn save(
        &self,
        id: &FileId,
        generation: u64,
        saved: Saved,
    ) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let Some((row, now)) = state.held(id, generation) else {
            return Ok(false);
        };
        let reserved = saved.next_number.saturating_add(NUMBERS_AT_A_TIME);
        row.record.next_number = row.record.next_number.max(reserved);
        row.free_number = row.record.next_number;
        for piece in row.keep(saved, now) {
            state.doom(piece, 0);
        }
        Ok(true)
    }

    async fn release(
        &self,
        id: &FileId,
        generation: u64,
        saved: Option<Saved>,
    ) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let Some((row, now)) = state.held(id, generation) else {
            return Ok(false);
        };
        row.record.is_held = false;
        row.record.state = UploadState::Open;
        row.touched_at = now;
        row.free_number = saved.as_ref().map_or(row.free_number, |s| s.next_number);
        row.record.next_number = row.free_number;
        let pieces = saved.map_or_else(Vec::new, |saved| row.keep(saved, now));
        for piece in pieces {
            state.doom(piece, 0);
        }
        Ok(true)
    }

    async fn completing(&self, id: &FileId, generation: u64) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let Some((row, now)) = state.held(id, generation) else {
            return Ok(false);
        };
        row.record.state = UploadState::Completing;
        row.touched_at = now;
        Ok(true)
    }

    async fn expect_digest(
        &self,
        id: &FileId,
        generation: u64,
        digest: Sha256Digest,
    ) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let Some((row, _)) = state.held(id, generation) else {
            return Ok(false);
        };
        row.record.target.digest.get_or_insert(digest);
        Ok(true)
    }

    async fn loosen(&self, id: &FileId, generation: u64) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let Some((row, _)) = state.held(id, generation) else {
            return Ok(false);
        };
        row.loose_below = row.record.next_number;
        Ok(true)
    }

    async fn prolong(
        &self,
        partials: &[FileId],
        lifetime: Duration,
    ) -> Result<(), RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        let until = Timestamp::from_micros(now + micros(lifetime));
        for id in partials {
            if state.is_waiting_partial(id)
                && let Some(row) = state.uploads.get_mut(id)
                && !row.is_over(now)
            {
                row.record.expires_at = row.record.expires_at.max(until);
            }
        }
        Ok(())
    }

    async fn finish_partial(
        &self,
        id: &FileId,
        generation: u64,
        lifetime: Duration,
    ) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let body = match state.held(id, generation) {
            Some((row, _)) if row.record.kind == UploadKind::Partial => row.record.version,
            _ => return Ok(false),
        };
        state.clear(id, body);
        let now = state.now();
        if let Some(row) = state.uploads.get_mut(id) {
            row.end(UploadState::Finished, now);
            row.record.expires_at = Timestamp::from_micros(now + micros(lifetime));
        }
        Ok(true)
    }

    async fn end(
        &self,
        id: &FileId,
        generation: u64,
        ending: UploadState,
        failure: Option<&str>,
        delay: Duration,
    ) -> Result<bool, RepositoryError> {
        if !matches!(ending, UploadState::Failed | UploadState::Terminated) {
            return Err(RepositoryError::Failed("an upload does not end so".into()));
        }
        let mut state = self.state();
        let row = state.uploads.get(id);
        let is_last = row.is_some_and(|row| row.record.generation == generation);
        let waits = is_last && state.is_waiting_partial(id);
        if !waits && state.held(id, generation).is_none() {
            return Ok(false);
        }
        state.end_upload(id, ending, micros(delay));
        if let Some(row) = state.uploads.get_mut(id) {
            row.record.failure = failure.map(str::to_owned);
        }
        Ok(true)
    }

    async fn promise(&self, id: &FileId, partials: &[FileId]) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        let Some(row) = state.uploads.get_mut(id) else {
            return Ok(false);
        };
        if !row.shown(now).state.is_live() {
            return Ok(false);
        }
        row.promised = Some(partials.to_vec());
        Ok(true)
    }

    async fn forsaken(&self, limit: u32) -> Result<Vec<(FileId, Vec<FileId>)>, RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        let forsaken = state.uploads.iter().filter(|(_, row)| row.is_forsaken(now));
        let mut forsaken: Vec<_> = forsaken
            .map(|(id, row)| (row.touched_at, id.clone(), row.promised.clone()))
            .collect();
        forsaken.sort_unstable();
        forsaken.truncate(limit as usize);
        let promised = |(_, id, of): (i64, FileId, Option<Vec<FileId>>)| Some((id, of?));
        Ok(forsaken.into_iter().filter_map(promised).collect())
    }

    async fn expire(&self, limit: u32) -> Result<u64, RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        let mut over: Vec<(Timestamp, FileId, bool)> = state
            .uploads
            .iter()
            .filter(|(_, row)| row.is_over(now))
            .map(|(id, row)| (row.record.expires_at, id.clone(), row.record.is_held))
            .collect();
        over.sort_unstable();
        over.truncate(limit as usize);
        for (_, id, is_held) in &over {
            let delay = if *is_held { ABANDONED } else { 0 };
            state.end_upload(id, UploadState::Expired, delay);
        }
        Ok(over.len() as u64)
    }

    async fn forget(&self, age: Duration, limit: u32) -> Result<u64, RepositoryError> {
        let mut state = self.state();
        let oldest = state.now() - micros(age);
        let mut ended: Vec<(i64, FileId)> = state
            .uploads
            .iter()
            .filter(|(_, row)| !row.is_expiring() && row.touched_at <= oldest)
            .map(|(id, row)| (row.touched_at, id.clone()))
            .collect();
        ended.sort_unstable();
        ended.truncate(limit as usize);
        for (_, id) in &ended {
            state.uploads.remove(id);
        }
        Ok(ended.len() as u64)
    }
}
