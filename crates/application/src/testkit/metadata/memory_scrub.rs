//! The scrub's rows, in memory.

use std::{collections::BTreeMap, ops::Bound, time::Duration};

use async_trait::async_trait;
use cloakroom_domain::{Location, Sha256Digest, Timestamp, VersionId};

use super::memory::{MemoryDatabase, State, VersionRow, micros};
use crate::ports::{
    Damage, RepositoryError, RowState, SCRUB_LEASE, ScrubFinding, ScrubLease, ScrubProgress,
    ScrubRepository, ScrubState, ScrubTurn, ScrubbedVersion,
};

#[derive(Default)]
pub(super) struct ScrubRow {
    round: u64,
    is_under_way: bool,
    started_at: Option<i64>,
    completed_at: Option<i64>,
    after: Option<VersionId>,
    objects: u64,
    bytes: u64,
    generation: u64,
    held_until: i64,
    findings: BTreeMap<VersionId, (Damage, i64, i64)>,
}

impl ScrubRow {
    fn add(&mut self, done: ScrubProgress) {
        self.after = done.after.or(self.after);
        self.objects += done.objects;
        self.bytes += done.bytes;
    }

    const fn is_of(&self, generation: u64) -> bool {
        self.generation == generation && self.is_under_way
    }
}

impl State {
    fn scrubbed(&self, id: VersionId, row: &VersionRow) -> Option<ScrubbedVersion> {
        let version = row
            .version
            .clone()
            .filter(|_| row.state == RowState::Stored)?;
        Some(ScrubbedVersion {
            file: row.file.clone(),
            version,
            found: self.scrub.findings.get(&id).map(|(damage, ..)| *damage),
        })
    }

    fn stored_at(&mut self, version: VersionId, at: &Location) -> Option<&mut VersionRow> {
        let row = self.versions.get_mut(&version)?;
        (row.state == RowState::Stored && row.location == *at).then_some(row)
    }

    fn found(&self, after: Option<VersionId>) -> Vec<ScrubFinding> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let found = self.scrub.findings.range((from, Bound::Unbounded));
        found
            .filter_map(|(id, (damage, since, seen_at))| {
                let scrubbed = self.scrubbed(*id, self.versions.get(id)?)?;
                Some(ScrubFinding {
                    file: scrubbed.file,
                    version: *id,
                    number: scrubbed.version.number,
                    store: scrubbed.version.location.store,
                    damage: *damage,
                    since: Timestamp::from_micros(*since),
                    seen_at: Timestamp::from_micros(*seen_at),
                })
            })
            .collect()
    }
}

#[async_trait]
impl ScrubRepository for MemoryDatabase {
    async fn take(&self, interval: Duration) -> Result<ScrubTurn, RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        let row = &mut state.scrub;
        if row.held_until > now {
            return Ok(ScrubTurn::Held);
        }
        if let (false, Some(began)) = (row.is_under_way, row.started_at) {
            let left = began.saturating_add(micros(interval)) - now;
            if left > 0 {
                let left = Duration::from_micros(left.unsigned_abs());
                return Ok(ScrubTurn::NotDue(left));
            }
        }
        if !row.is_under_way {
            row.round += 1;
            row.is_under_way = true;
            row.started_at = Some(now);
            row.after = None;
            row.objects = 0;
            row.bytes = 0;
        }
        row.generation += 1;
        row.held_until = now + micros(SCRUB_LEASE);
        Ok(ScrubTurn::Ours(ScrubLease {
            generation: row.generation,
            round: row.round,
            after: row.after,
        }))
    }

    async fn keep(&self, generation: u64, done: ScrubProgress) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        let row = &mut state.scrub;
        if !row.is_of(generation) {
            return Ok(false);
        }
        row.add(done);
        row.held_until = now + micros(SCRUB_LEASE);
        Ok(true)
    }

    async fn complete(
        &self,
        generation: u64,
        done: ScrubProgress,
    ) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        if !state.scrub.is_of(generation) {
            return Ok(false);
        }
        let row = &mut state.scrub;
        row.add(done);
        row.is_under_way = false;
        row.after = None;
        row.completed_at = Some(now);
        row.held_until = 0;
        let standing = state.found(None);
        state
            .scrub
            .findings
            .retain(|id, _| standing.iter().any(|finding| finding.version == *id));
        Ok(true)
    }

    async fn state(&self) -> Result<ScrubState, RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        let row = &state.scrub;
        Ok(ScrubState {
            round: row.round,
            is_under_way: row.is_under_way,
            is_held: row.held_until > now,
            started_at: row.started_at.map(Timestamp::from_micros),
            completed_at: row.completed_at.map(Timestamp::from_micros),
            after: row.after,
            objects: row.objects,
            bytes: row.bytes,
            now: Timestamp::from_micros(now),
        })
    }

    async fn page(
        &self,
        after: Option<VersionId>,
        limit: u32,
    ) -> Result<Vec<ScrubbedVersion>, RepositoryError> {
        let state = self.state();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = state.versions.range((from, Bound::Unbounded));
        let stored = rows.filter_map(|(id, row)| state.scrubbed(*id, row));
        Ok(stored.take(limit as usize).collect())
    }

    async fn stored(&self, version: VersionId) -> Result<Option<ScrubbedVersion>, RepositoryError> {
        let state = self.state();
        let row = state.versions.get(&version);
        Ok(row.and_then(|row| state.scrubbed(version, row)))
    }

    async fn find(
        &self,
        version: VersionId,
        at: &Location,
        damage: Damage,
    ) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        if state.stored_at(version, at).is_none() {
            return Ok(false);
        }
        let known = state.scrub.findings.get(&version);
        let since = known.filter(|(was, ..)| *was == damage);
        let since = since.map_or(now, |(_, since, _)| *since);
        state.scrub.findings.insert(version, (damage, since, now));
        Ok(true)
    }

    async fn mend(&self, version: VersionId) -> Result<(), RepositoryError> {
        self.state().scrub.findings.remove(&version);
        Ok(())
    }

    async fn learn(
        &self,
        version: VersionId,
        at: &Location,
        sha256: Sha256Digest,
        crc64: u64,
    ) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let row = state.stored_at(version, at);
        let Some(known) = row.and_then(|row| row.version.as_mut()) else {
            return Ok(false);
        };
        if known.sha256.is_some() && known.crc64.is_some() {
            return Ok(false);
        }
        known.tagged_by_id |= known.sha256.is_none();
        known.sha256.get_or_insert(sha256);
        known.crc64.get_or_insert(crc64);
        Ok(true)
    }

    async fn findings(
        &self,
        after: Option<VersionId>,
        limit: u32,
    ) -> Result<Vec<ScrubFinding>, RepositoryError> {
        let mut found = self.state().found(after);
        found.truncate(limit as usize);
        Ok(found)
    }

    async fn counts(&self) -> Result<Vec<(Damage, u64)>, RepositoryError> {
        let found = self.state().found(None);
        let count = |kind| found.iter().filter(|it| it.damage == kind).count() as u64;
        let mut counts: Vec<_> = Damage::ALL.map(|kind| (kind, count(kind))).into();
        counts.retain(|(_, count)| *count > 0);
        counts.sort_by_key(|(kind, _)| kind.as_str());
        Ok(counts)
    }
}
