//! Uploads that take several requests, in memory.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use cloakroom_domain::{
    FileId, Location, ObjectKey, Timestamp, UploadKind, UploadProgress, UploadState, VersionId,
};

use super::{
    memory::{MemoryDatabase, State, micros},
    memory_ledger::ABANDONED,
};
use crate::ports::{
    Ask, Asked, COMPLETING_LEASE, Lease, NUMBERS_AT_A_TIME, NewUploadRow, RepositoryError,
    RowState, Saved, Stretch, StretchAt, UploadRecord, UploadRepository,
};

pub(super) struct UploadRow {
    /// As it was last changed; whether its time is over is for the clock to say.
    record: UploadRecord,
    stretches: BTreeMap<u64, Stretch>,
    turn: u64,
    /// What the next number is again if the holder lets go without having written.
    free_number: u32,
    /// Parts with lower numbers may still be written to.
    loose_below: u32,
    touched_at: i64,
}

impl UploadRow {
    fn is_completing(&self, now: i64) -> bool {
        self.record.state == UploadState::Completing
            && self.record.is_held
            && self.touched_at > now - micros(COMPLETING_LEASE)
    }

    /// Whether time can end it: it is live, or waits to be joined.
    fn is_expiring(&self) -> bool {
        let waits =
            self.record.state == UploadState::Finished && self.record.kind == UploadKind::Partial;
        self.record.state.is_live() || waits
    }

    fn is_over(&self, now: i64) -> bool {
        self.is_expiring() && self.record.expires_at.micros() <= now && !self.is_completing(now)
    }

    fn shown(&self, now: i64) -> UploadRecord {
        let mut record = self.record.clone();
        if self.is_over(now) {
            record.state = UploadState::Expired;
        }
        record
    }

    fn tail(&self) -> Vec<Stretch> {
        let is_part = |stretch: &&Stretch| stretch.as_part().is_some();
        let last_part = self.stretches.values().rev().find(is_part);
        let from = last_part.map_or(0, |part| part.start);
        self.stretches
            .range(from..)
            .map(|(_, s)| s.clone())
            .collect()
    }

    fn take(&mut self, turn: u64, now: i64) -> Lease {
        let was_held = self.record.is_held;
        let tail = self.tail();
        let last_part = tail.iter().find_map(Stretch::as_part);
        let is_settled = last_part.is_none_or(|part| part.number >= self.loose_below);
        let first = self.record.next_number;
        if was_held {
            self.loose_below = first;
        }
        self.turn = turn;
        self.free_number = first;
        self.touched_at = now;
        self.record.is_held = true;
        self.record.generation += 1;
        self.record.next_number = first + NUMBERS_AT_A_TIME;
        Lease {
            record: UploadRecord {
                next_number: first,
                ..self.record.clone()
            },
            tail,
            is_alone: !was_held && is_settled,
            turn,
        }
    }

    fn keep(&mut self, saved: Saved, now: i64) -> Vec<VersionId> {
        self.record.progress = saved.progress;
        self.record.hashes = saved.hashes;
        self.record.write_id = saved.write_id;
        self.record.expires_at = Timestamp::from_micros(now + micros(saved.lifetime));
        self.touched_at = now;
        let replaced = self.stretches.split_off(&saved.changed_from);
        for stretch in saved.stretches {
            self.stretches.insert(stretch.start, stretch);
        }
        let named: Vec<VersionId> = self.stretches.values().filter_map(piece).collect();
        replaced
            .values()
            .filter_map(piece)
            .filter(|piece| !named.contains(piece))
            .collect()
    }

    fn end(&mut self, state: UploadState, now: i64) {
        self.record.state = state;
        self.record.is_held = false;
        self.record.hashes = None;
        self.touched_at = now;
        self.stretches.clear();
    }
}

fn piece(stretch: &Stretch) -> Option<VersionId> {
    match &stretch.at {
        StretchAt::Piece { version, .. } => Some(*version),
        StretchAt::Part { .. } => None,
    }
}

impl State {
    /// The upload, if that generation holds it.
    fn held(&mut self, id: &FileId, generation: u64) -> Option<(&mut UploadRow, i64)> {
        let now = self.now();
        let row = self.uploads.get_mut(id)?;
        let is_held = row.record.generation == generation
            && row.record.is_held
            && row.record.state.is_live()
            && !row.is_over(now);
        is_held.then_some((row, now))
    }

    /// Whether the body is that of an upload which this generation holds, or one of its pieces.
    pub(super) fn is_body_of_held(&mut self, version: VersionId, generation: u64) -> bool {
        let upload = self.versions.get(&version);
        let Some(id) = upload.and_then(|row| row.upload.clone()) else {
            return false;
        };
        self.held(&id, generation).is_some()
    }

    /// The upload has become a file of that size.
    pub(super) fn finish_upload(&mut self, id: &FileId, body: VersionId, size: u64) {
        self.clear(id, body);
        let now = self.now();
        if let Some(row) = self.uploads.get_mut(id) {
            row.end(UploadState::Finished, now);
            let whole = UploadProgress::restore(size, Some(size));
            row.record.progress = whole.unwrap_or(row.record.progress);
        }
    }

    /// What is pending for an upload.
    fn bodies(&self, id: &FileId) -> Vec<VersionId> {
        self.versions
            .iter()
            .filter(|(_, row)| row.state == RowState::Pending && row.upload.as_ref() == Some(id))
            .map(|(version, _)| *version)
            .collect()
    }

    /// Leaves nothing of an upload but its body.
    fn clear(&mut self, id: &FileId, body: VersionId) {
        let named: Vec<VersionId> = self
            .uploads
            .get(id)
            .map(|row| {
                let pieces = row.stretches.values().filter_map(piece);
                pieces.chain([row.record.version]).collect()
            })
            .unwrap_or_default();
        for version in self.bodies(id) {
            if version != body {
                let delay = if named.contains(&version) {
                    0
                } else {
                    ABANDONED
                };
                self.doom(version, delay);
            }
        }
    }

    fn ask(&mut self, id: &FileId, ask: Ask) -> Asked {
        let now = self.now();
        let Some(row) = self.uploads.get_mut(id) else {
            return Asked::Missing;
        };
        let shown = row.shown(now);
        if !shown.state.is_live() {
            return Asked::Ended(Box::new(shown));
        }
        if row.is_completing(now) {
            return Asked::Completing;
        }
        match ask {
            Ask::First if shown.is_held => {
                row.turn += 1;
                Asked::Held(row.turn)
            }
            Ask::First => Asked::Ours(Box::new(row.take(row.turn + 1, now))),
            Ask::Again(turn) | Ask::Insist(turn) if turn != row.turn => Asked::Superseded,
            Ask::Again(turn) if shown.is_held => Asked::Held(turn),
            Ask::Again(turn) | Ask::Insist(turn) => Asked::Ours(Box::new(row.take(turn, now))),
        }
    }
}

#[async_trait]
impl UploadRepository for MemoryDatabase {
    async fn create(&self, new: NewUploadRow) -> Result<UploadRecord, RepositoryError> {
        let mut state = self.state();
        let location = state.address(&new.account, new.key)?;
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
        };
        let row = UploadRow {
            record: record.clone(),
            stretches: BTreeMap::new(),
            turn: 0,
            free_number: 1,
            loose_below: 1,
            touched_at: now,
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
        version: VersionId,
        key: ObjectKey,
    ) -> Result<Option<Location>, RepositoryError> {
        let mut state = self.state();
        let Some((row, _)) = state.held(id, generation) else {
            return Ok(None);
        };
        let location = Location {
            key,
            ..row.record.location.clone()
        };
        state.check_free(&location)?;
        state.enter(version, id.clone(), Some(id.clone()), location.clone());
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
        let now = state.now();
        let waits = state.uploads.get(id).is_some_and(|row| {
            row.record.kind == UploadKind::Partial
                && row.record.state == UploadState::Finished
                && row.record.generation == generation
        });
        if !waits && state.held(id, generation).is_none() {
            return Ok(false);
        }
        let Some(row) = state.uploads.get_mut(id) else {
            return Ok(false);
        };
        row.end(ending, now);
        row.record.failure = failure.map(str::to_owned);
        for version in state.bodies(id) {
            state.doom(version, micros(delay));
        }
        Ok(true)
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
            if let Some(row) = state.uploads.get_mut(id) {
                row.end(UploadState::Expired, now);
            }
            for version in state.bodies(id) {
                state.doom(version, if *is_held { ABANDONED } else { 0 });
            }
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
