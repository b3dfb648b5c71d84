//! Migrations to another store, in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use cloakroom_domain::{FileId, Location, MigrationId, StoreId, VersionId, sealed_size};

use super::memory::{MemoryDatabase, State, VersionRow, micros};
use crate::ports::{
    Amount, MIGRATION_LEASE, Migration, MigrationRepository, MigrationState, Movable, MoveFailure,
    RepositoryError, RowState, StoreRecord, Switch, Switched, VALIDATION_LEASE,
};

pub(super) struct MigrationRow {
    migration: Migration,
    /// Until when somebody holds it.
    held_until: Option<i64>,
    failures: BTreeMap<VersionId, MoveFailure>,
}

impl MigrationRow {
    fn shown(&self) -> Migration {
        Migration {
            failures: self.failures.len() as u64,
            ..self.migration.clone()
        }
    }
}

impl State {
    /// The migration, if it is under way and that generation holds it.
    fn carried(&mut self, id: MigrationId, generation: u64) -> Option<&mut MigrationRow> {
        let last = self.migrations.last_mut()?;
        let is_carried = last.migration.id == id
            && last.migration.generation == generation
            && last.migration.state.is_live();
        is_carried.then_some(last)
    }

    fn make_current(&mut self, target: &StoreRecord) {
        for store in &mut self.stores {
            let is_target = store.id == target.id;
            if is_target || store.is_current {
                store.revision += 1;
            }
            if is_target && target.config.is_some() {
                store.config.clone_from(&target.config);
            }
            store.is_current = is_target;
        }
        if !self.stores.iter().any(|store| store.id == target.id) {
            self.stores.push(StoreRecord {
                is_current: true,
                ..target.clone()
            });
        }
    }

    /// Lets the body's row name the copy, and answers its size.
    fn put_in_place(&mut self, switch: &Switch) -> u64 {
        let now = self.now();
        let Some(mut copy) = self.versions.remove(&switch.copy) else {
            return 0;
        };
        let mut size = 0;
        if let Some(row) = self.versions.get_mut(&switch.version) {
            std::mem::swap(&mut row.location, &mut copy.location);
            if let Some(version) = &mut row.version {
                version.location = row.location.clone();
                size = version.size;
                version.stored_size = match &row.location.seal {
                    Some(_) => sealed_size(size),
                    None => size,
                };
            }
        }
        if let Some(delay) = switch.remove_after {
            copy.state = RowState::Deleting;
            copy.delete_after = now + micros(delay);
            self.versions.insert(switch.copy, copy);
        }
        size
    }

    fn in_store(
        &self,
        store: StoreId,
        state: RowState,
    ) -> impl Iterator<Item = (&VersionId, &VersionRow)> {
        let rows = self.versions.iter();
        rows.filter(move |(_, row)| row.location.store == store && row.state == state)
    }
}

#[async_trait]
impl MigrationRepository for MemoryDatabase {
    async fn begin(
        &self,
        id: MigrationId,
        target: StoreId,
        cleanup: bool,
        _owner: &str,
    ) -> Result<Option<Migration>, RepositoryError> {
        let mut state = self.state();
        let last = state.migrations.last();
        if last.is_some_and(|row| row.migration.state.is_live()) {
            return Ok(None);
        }
        let migration = Migration {
            id,
            target,
            cleanup,
            state: MigrationState::Validating,
            moved: Amount::default(),
            failures: 0,
            started_at: state.instant(),
            finished_at: None,
            failure: None,
            generation: 1,
        };
        let held_until = Some(state.now() + micros(VALIDATION_LEASE));
        state.migrations.push(MigrationRow {
            migration: migration.clone(),
            held_until,
            failures: BTreeMap::new(),
        });
        Ok(Some(migration))
    }

    async fn start(
        &self,
        id: MigrationId,
        generation: u64,
        target: &StoreRecord,
    ) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let Some(row) = state.carried(id, generation) else {
            return Ok(false);
        };
        row.migration.state = MigrationState::Copying;
        row.held_until = None;
        state.make_current(target);
        Ok(true)
    }

    async fn last(&self) -> Result<Option<Migration>, RepositoryError> {
        Ok(self.state().migrations.last().map(MigrationRow::shown))
    }

    async fn take(&self, _owner: &str) -> Result<Option<Migration>, RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        let last = state.migrations.last_mut();
        let free = last.filter(|row| {
            row.migration.state.is_live() && row.held_until.is_none_or(|until| until <= now)
        });
        Ok(free.map(|row| {
            row.migration.generation += 1;
            row.held_until = Some(now + micros(MIGRATION_LEASE));
            row.shown()
        }))
    }

    async fn renew(&self, id: MigrationId, generation: u64) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let until = state.now() + micros(MIGRATION_LEASE);
        let row = state.carried(id, generation);
        Ok(row.map(|row| row.held_until = Some(until)).is_some())
    }

    async fn advance(
        &self,
        id: MigrationId,
        generation: u64,
        to: MigrationState,
        failure: Option<&str>,
    ) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let now = state.instant();
        let Some(row) = state.carried(id, generation) else {
            return Ok(false);
        };
        row.migration.state = to;
        row.migration.failure = failure.map(str::to_owned);
        row.migration.finished_at = (!to.is_live()).then_some(now);
        if !to.is_live() {
            let target = row.migration.target;
            let mut failures = std::mem::take(&mut row.failures);
            failures.retain(|version, _| {
                let row = state.versions.get(version);
                row.is_some_and(|row| row.state == RowState::Stored && row.location.store != target)
            });
            if let Some(row) = state.migrations.last_mut() {
                row.failures = failures;
            }
        }
        Ok(true)
    }

    async fn release(&self, id: MigrationId, generation: u64) -> Result<(), RepositoryError> {
        if let Some(row) = self.state().carried(id, generation) {
            row.held_until = None;
        }
        Ok(())
    }

    async fn cancel(&self) -> Result<Option<Migration>, RepositoryError> {
        let mut state = self.state();
        let now = state.instant();
        let last = state.migrations.last_mut();
        Ok(last.filter(|row| row.migration.state.is_live()).map(|row| {
            row.migration.state = MigrationState::Cancelled;
            row.migration.finished_at = Some(now);
            row.shown()
        }))
    }

    async fn movable(
        &self,
        store: StoreId,
        after: Option<&Location>,
        limit: u32,
    ) -> Result<Vec<Movable>, RepositoryError> {
        let state = self.state();
        let place = |at: &Location| (at.bucket.as_str().to_owned(), at.key.as_str().to_owned());
        let mut found: Vec<Movable> = state
            .in_store(store, RowState::Stored)
            .filter(|(_, row)| after.is_none_or(|after| place(&row.location) > place(after)))
            .filter_map(|(id, row)| {
                let version = row.version.as_ref()?;
                Some(Movable {
                    version: *id,
                    file: row.file.clone(),
                    account: state.files.get(&row.file)?.owner.account.clone(),
                    location: row.location.clone(),
                    size: version.size,
                    sha256: version.sha256,
                })
            })
            .collect();
        found.sort_by_key(|it| place(&it.location));
        found.truncate(limit as usize);
        Ok(found)
    }

    async fn stored_in(&self, store: StoreId) -> Result<Amount, RepositoryError> {
        let state = self.state();
        let mut amount = Amount::default();
        for (_, row) in state.in_store(store, RowState::Stored) {
            amount.objects += 1;
            amount.bytes += row.version.as_ref().map_or(0, |it| it.size);
        }
        Ok(amount)
    }

    async fn pending_in(&self, store: StoreId) -> Result<u64, RepositoryError> {
        Ok(self.state().in_store(store, RowState::Pending).count() as u64)
    }

    async fn leaves_bytes_in(&self, store: StoreId) -> Result<bool, RepositoryError> {
        let state = self.state();
        let mut begun = state.migrations.iter().map(|row| &row.migration);
        let leaves = |it: &Migration| !it.cleanup && it.target != store;
        Ok(begun.any(|it| leaves(it) && it.moved.objects > 0))
    }

    async fn switch(
        &self,
        id: MigrationId,
        generation: u64,
        switches: &[Switch],
    ) -> Result<Switched, RepositoryError> {
        let mut state = self.state();
        for switch in switches {
            if state.carried(id, generation).is_none() || !state.is_pending(&switch.copy) {
                return Ok(Switched::Lost);
            }
            let is_there = state
                .versions
                .get(&switch.version)
                .is_some_and(|row| row.state == RowState::Stored && row.location == switch.from);
            if !is_there {
                return Ok(Switched::Changed);
            }
        }
        for switch in switches {
            let size = state.put_in_place(switch);
            if let Some(row) = state.carried(id, generation) {
                row.migration.moved.objects += 1;
                row.migration.moved.bytes += size;
                row.failures.remove(&switch.version);
            }
        }
        Ok(Switched::Done)
    }

    async fn note_failure(
        &self,
        id: MigrationId,
        version: VersionId,
        file: &FileId,
        reason: &str,
    ) -> Result<(), RepositoryError> {
        let mut state = self.state();
        let at = state.instant();
        let row = state
            .migrations
            .iter_mut()
            .find(|row| row.migration.id == id);
        if let Some(row) = row {
            let before = row.failures.get(&version).map_or(0, |it| it.attempts);
            let failure = MoveFailure {
                version,
                file: file.clone(),
                attempts: before + 1,
                reason: reason.to_owned(),
                at,
            };
            row.failures.insert(version, failure);
        }
        Ok(())
    }

    async fn failures(
        &self,
        id: MigrationId,
        limit: u32,
    ) -> Result<Vec<MoveFailure>, RepositoryError> {
        let state = self.state();
        let row = state.migrations.iter().find(|row| row.migration.id == id);
        let all = row.into_iter().flat_map(|row| row.failures.values());
        Ok(all.take(limit as usize).cloned().collect())
    }
}
