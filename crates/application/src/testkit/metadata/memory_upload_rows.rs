//! The rows of uploads, in memory.

use std::collections::BTreeMap;

use cloakroom_domain::{FileId, Timestamp, UploadKind, UploadProgress, UploadState, VersionId};

use super::{
    memory::{State, micros},
    memory_ledger::ABANDONED,
};
use crate::ports::{
    Ask, Asked, COMPLETING_LEASE, Lease, NUMBERS_AT_A_TIME, RowState, Saved, Stretch, UploadRecord,
};

pub(super) struct UploadRow {
    /// As it was last changed; whether its time is over is for the clock to say.
    pub(super) record: UploadRecord,
    pub(super) stretches: BTreeMap<u64, Stretch>,
    pub(super) turn: u64,
    /// What the next number is again if the holder lets go without having written.
    pub(super) free_number: u32,
    /// Parts with lower numbers may still be written to.
    pub(super) loose_below: u32,
    pub(super) touched_at: i64,
    /// What it is joined of, once that was promised.
    pub(super) promised: Option<Vec<FileId>>,
}

impl UploadRow {
    fn is_completing(&self, now: i64) -> bool {
        self.record.state == UploadState::Completing
            && self.record.is_held
            && self.touched_at > now - micros(COMPLETING_LEASE)
    }

    /// Whether time can end it: it is live, or waits to be joined.
    pub(super) fn is_expiring(&self) -> bool {
        let waits =
            self.record.state == UploadState::Finished && self.record.kind == UploadKind::Partial;
        self.record.state.is_live() || waits
    }

    pub(super) fn is_over(&self, now: i64) -> bool {
        self.is_expiring() && self.record.expires_at.micros() <= now && !self.is_completing(now)
    }

    /// Whether it was promised, and nobody works at it.
    pub(super) fn is_forsaken(&self, now: i64) -> bool {
        let is_silent = self.touched_at <= now - micros(COMPLETING_LEASE);
        self.promised.is_some() && is_silent && self.shown(now).state.is_live()
    }

    pub(super) fn shown(&self, now: i64) -> UploadRecord {
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
        let is_settled = last_part.map_or(self.loose_below <= 1, |part| {
            part.number >= self.loose_below
        });
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

    pub(super) fn keep(&mut self, saved: Saved, now: i64) -> Vec<VersionId> {
        self.record.progress = saved.progress;
        self.record.hashes = saved.hashes;
        self.record.write_id = saved.write_id;
        if let Some(lifetime) = saved.lifetime {
            self.record.expires_at = Timestamp::from_micros(now + micros(lifetime));
        }
        self.touched_at = now;
        let replaced = self.stretches.split_off(&saved.changed_from);
        for stretch in saved.stretches {
            self.stretches.insert(stretch.start, stretch);
        }
        let named: Vec<VersionId> = self.stretches.values().filter_map(Stretch::piece).collect();
        replaced
            .values()
            .filter_map(Stretch::piece)
            .filter(|piece| !named.contains(piece))
            .collect()
    }

    pub(super) fn end(&mut self, state: UploadState, now: i64) {
        self.record.state = state;
        self.record.is_held = false;
        self.record.hashes = None;
        self.touched_at = now;
        self.stretches.clear();
    }
}

impl State {
    /// The upload, if that generation holds it.
    pub(super) fn held(&mut self, id: &FileId, generation: u64) -> Option<(&mut UploadRow, i64)> {
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
    pub(super) fn bodies(&self, id: &FileId) -> Vec<VersionId> {
        self.versions
            .iter()
            .filter(|(_, row)| row.state == RowState::Pending && row.upload.as_ref() == Some(id))
            .map(|(version, _)| *version)
            .collect()
    }

    /// Leaves nothing of an upload but its body.
    pub(super) fn clear(&mut self, id: &FileId, body: VersionId) {
        let named = self.named(id);
        for version in self.bodies(id) {
            if version != body {
                let is_named = named.contains(&version);
                self.doom(version, if is_named { 0 } else { ABANDONED });
            }
        }
    }

    /// Ends an upload and dooms what is pending for it.
    pub(super) fn end_upload(&mut self, id: &FileId, ending: UploadState, delay: i64) {
        let named = self.named(id);
        for version in self.bodies(id) {
            let is_named = named.contains(&version);
            let later = delay.max(ABANDONED);
            self.doom(version, if is_named { delay } else { later });
        }
        let now = self.now();
        if let Some(row) = self.uploads.get_mut(id) {
            row.end(ending, now);
        }
    }

    /// Whether it is a finished partial upload, to be made part of a file.
    pub(super) fn is_waiting_partial(&self, id: &FileId) -> bool {
        self.uploads.get(id).is_some_and(|row| {
            row.record.kind == UploadKind::Partial && row.record.state == UploadState::Finished
        })
    }

    /// The body of an upload, and its pieces that a stretch names.
    fn named(&self, id: &FileId) -> Vec<VersionId> {
        let row = self.uploads.get(id);
        row.map_or_else(Vec::new, |row| {
            let pieces = row.stretches.values().filter_map(Stretch::piece);
            pieces.chain([row.record.version]).collect()
        })
    }

    pub(super) fn ask(&mut self, id: &FileId, ask: Ask) -> Asked {
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
