//! What of an upload is kept in its rows, and what is durable and waits to be.

use std::{collections::VecDeque, time::Duration};

use cloakroom_domain::UploadProgress;
use tokio::time::Instant;

use crate::{
    hashes::Hashes,
    ports::{NUMBERS_AT_A_TIME, Saved, Stretch, UploadRecord, WritePosition},
};

/// The rows of an upload as its holder knows them.
pub(super) struct Kept {
    /// The offset in the rows.
    pub(super) offset: u64,
    /// The state of the hashes at that offset.
    state: Option<Vec<u8>>,
    /// When that was last changed.
    pub(super) at: Instant,
    /// Where the writer of parts is.
    pub(super) position: WritePosition,
    /// The numbers of parts that were given end here.
    numbers_end: u32,
    /// The last part and the pieces behind it, as in the rows.
    tail: Vec<Stretch>,
    /// Stretches that are durable and in no row yet.
    fresh: Vec<Stretch>,
    /// The state of the hashes at the ends of parts that are not durable yet.
    snapshots: VecDeque<(u64, Vec<u8>)>,
}

impl Kept {
    pub(super) fn new(record: &UploadRecord, tail: Vec<Stretch>) -> Self {
        Self {
            offset: record.progress.offset(),
            state: record.hashes.clone(),
            at: Instant::now(),
            position: WritePosition {
                write_id: record.write_id.clone(),
                next_number: record.next_number,
            },
            numbers_end: record.next_number + NUMBERS_AT_A_TIME,
            tail,
            fresh: Vec::new(),
            snapshots: VecDeque::new(),
        }
    }

    /// The pieces that are in no part yet.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &Stretch> {
        self.tail.iter().filter(|it| it.piece().is_some())
    }

    /// The offset from which on the upload lies in pieces.
    pub(super) fn pieces_from(&self) -> u64 {
        self.pieces().next().map_or(self.offset, |it| it.start)
    }

    /// The last part, if there is one.
    pub(super) fn last_part(&self) -> Option<&Stretch> {
        self.tail.iter().rev().find(|it| it.piece().is_none())
    }

    /// Whether a writer there may begin another part, and a last one, with the numbers that were given.
    pub(super) const fn has_numbers(&self, position: &WritePosition) -> bool {
        position.next_number + 2 <= self.numbers_end
    }

    /// Enters stretches that became durable. A part that has grown takes its own place.
    pub(super) fn note(&mut self, stretches: Vec<Stretch>) {
        for stretch in stretches {
            self.fresh.retain(|known| known.start != stretch.start);
            self.fresh.push(stretch);
        }
    }

    /// Remembers the hashes at the end of a part that is on its way.
    pub(super) fn snapshot(&mut self, offset: u64, hashes: &Hashes) {
        self.snapshots.push_back((offset, hashes.save()));
    }

    /// The offset up to which everything is durable, in the rows or not.
    pub(super) fn reached(&self) -> u64 {
        let end = self.fresh.last().map_or(0, Stretch::end);
        end.max(self.offset)
    }

    /// What there is to keep, with bytes written up to `progress`. Fresh stretches that do not reach as far as the
    /// pieces that they replace wait.
    pub(super) fn saved(
        &mut self,
        progress: UploadProgress,
        hashes: Option<&Hashes>,
        lifetime: Duration,
    ) -> Saved {
        let offset = self.reached();
        let usable = self.fresh.last().filter(|last| last.end() >= self.offset);
        let stretches = if usable.is_some() {
            self.fresh.clone()
        } else {
            Vec::new()
        };
        let state = if offset == progress.offset() {
            hashes.map(Hashes::save)
        } else if offset == self.offset {
            self.state.clone()
        } else {
            self.hashes_at(offset)
        };
        Saved {
            progress: UploadProgress::restore(offset, progress.length()).unwrap_or(progress),
            hashes: state,
            write_id: self.position.write_id.clone(),
            next_number: self.position.next_number,
            changed_from: stretches.first().map_or(offset, |first| first.start),
            stretches,
            lifetime: Some(lifetime),
        }
    }

    /// What was to be kept is in the rows.
    pub(super) fn mark_kept(&mut self, saved: Saved) {
        self.offset = saved.progress.offset();
        self.state = saved.hashes;
        self.at = Instant::now();
        self.numbers_end = saved.next_number + NUMBERS_AT_A_TIME;
        if saved.stretches.is_empty() {
            return;
        }
        self.fresh.clear();
        self.tail
            .retain(|stretch| stretch.start < saved.changed_from);
        self.tail.extend(saved.stretches);
        let parts = self.tail.iter().rposition(|it| it.piece().is_none());
        self.tail.drain(..parts.unwrap_or(0));
    }

    fn hashes_at(&mut self, offset: u64) -> Option<Vec<u8>> {
        while self.snapshots.front().is_some_and(|(at, _)| *at < offset) {
            self.snapshots.pop_front();
        }
        let (at, state) = self.snapshots.front()?;
        (*at == offset).then(|| state.clone())
    }
}
