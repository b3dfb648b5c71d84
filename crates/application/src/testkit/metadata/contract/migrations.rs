//! Moving every body to another store.

use std::{sync::Arc, time::Duration};

use cloakroom_domain::{Bucket, BucketRule, FileId, Location, MigrationId, StoreId, VersionId};
use futures_util::future::join_all;

use super::{Desk, Fixture, Must, Upload, store};
use crate::ports::{
    MIGRATION_LEASE, Migration, MigrationRepository, MigrationState, RowState, StoreRecord,
    StoreRegistry, Switch, Switched, VALIDATION_LEASE,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A house with two stores, and the migration from the one to the other.
struct House {
    desk: Desk,
    migrations: Arc<dyn MigrationRepository>,
    stores: Arc<dyn StoreRegistry>,
    old: StoreId,
    new: StoreRecord,
    cleanup: bool,
}

impl House {
    async fn open(fixture: &dyn Fixture) -> Self {
        let desk = Desk::open(fixture).await;
        let stores = fixture.stores();
        let old = stores.all().await.must()[0].id;
        let rule = BucketRule::PerAccount("new".to_owned());
        Self {
            desk,
            migrations: fixture.migrations(),
            old,
            new: StoreRecord {
                is_current: false,
                config: Some(vec![1, 2, 3]),
                ..store(rule)
            },
            stores,
            cleanup: true,
        }
    }

    async fn begin(&self) -> Option<Migration> {
        let id = MigrationId::random();
        let begun = self.migrations.begin(id, self.new.id, self.cleanup, "one");
        begun.await.must()
    }

    /// Begun, and carried on by a mover.
    async fn moving(&self) -> Migration {
        let begun = self.begin().await.must();
        let (id, generation) = (begun.id, begun.generation);
        let started = self.migrations.start(id, generation, &self.new).await;
        assert!(started.must());
        self.migrations.take("mover").await.must().must()
    }

    /// A copy's pending row, in the current store.
    async fn copy(&self, of: &str) -> (VersionId, Location) {
        self.desk.pending(&Upload::new(of)).await
    }

    async fn switch(&self, migration: &Migration, switch: &Switch) -> Switched {
        self.switch_all(migration, std::slice::from_ref(switch))
            .await
    }

    async fn switch_all(&self, migration: &Migration, switches: &[Switch]) -> Switched {
        let (id, generation) = (migration.id, migration.generation);
        let switched = self.migrations.switch(id, generation, switches);
        switched.await.must()
    }

    async fn states(&self) -> Vec<(VersionId, RowState)> {
        let rows = self.desk.ledger.scan(None, 99).await.must();
        rows.into_iter()
            .map(|row| (row.version, row.state))
            .collect()
    }
}

/// Of many that begin one does, and the new store takes new bodies from the start on, not before.
pub async fn one_migration_at_a_time_and_the_new_store_is_current(fixture: &dyn Fixture) {
    let house = House::open(fixture).await;
    assert_eq!(house.migrations.last().await.must(), None);
    let begun: Vec<_> = join_all((0..5).map(|_| house.begin())).await;
    let mut begun = begun.into_iter().flatten();
    let only = begun.next().must();
    assert!(begun.next().is_none());
    assert_eq!(only.state, MigrationState::Validating);
    let (_, before) = house.copy("a").await;
    assert_eq!(before.store, house.old);
    let wrong = only.generation + 1;
    assert!(
        !house
            .migrations
            .start(only.id, wrong, &house.new)
            .await
            .must()
    );
    let (id, generation) = (only.id, only.generation);
    let started = house.migrations.start(id, generation, &house.new);
    assert!(started.await.must());
    let (_, after) = house.copy("b").await;
    assert_eq!(after.store, house.new.id);
    assert_eq!(after.bucket.as_str(), "new-1");
    let all = house.stores.all().await.must();
    let current: Vec<_> = all.iter().filter(|store| store.is_current).collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0].id, house.new.id);
    assert_eq!(current[0].config.as_deref(), Some([1, 2, 3].as_slice()));
    let last = house.migrations.last().await.must().must();
    assert_eq!((last.id, last.state), (id, MigrationState::Copying));
    assert!(house.begin().await.is_none());
}

/// The copy takes the body's place, the old bytes are due later, and it counts once.
pub async fn a_copy_takes_the_place_of_a_body(fixture: &dyn Fixture) {
    let house = House::open(fixture).await;
    let file = house.desk.put(&Upload::new("f")).await;
    let from = file.current.location.clone();
    let migration = house.moving().await;
    let (copy, to) = house.copy("f").await;
    let id = migration.id;
    let note = house
        .migrations
        .note_failure(id, file.current.id, &file.id, "it was full");
    note.await.must();
    let failed = house.migrations.failures(id, 9).await.must();
    assert_eq!((failed.len(), failed[0].attempts), (1, 1));
    assert_eq!(failed[0].reason, "it was full");
    let switch = Switch {
        version: file.current.id,
        from: from.clone(),
        copy,
        size: 3,
        remove_after: Some(HOUR),
    };
    assert_eq!(house.switch(&migration, &switch).await, Switched::Done);
    let moved = house.desk.files.find_fresh(&file.id).await.must().must();
    assert_eq!(moved.current.location, to);
    assert_eq!(moved.current.id, file.current.id);
    assert_eq!(moved.current.sha256, file.current.sha256);
    assert_eq!(moved.revision, file.revision);
    let old = house.desk.ledger.at(&from).await.must().must();
    assert_eq!(old.state, RowState::Deleting);
    assert!(house.desk.ledger.due(9).await.must().is_empty());
    fixture.pass(HOUR + SECOND).await;
    let due = house.desk.ledger.due(9).await.must();
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].location, from);
    let last = house.migrations.last().await.must().must();
    assert_eq!((last.moved.objects, last.moved.bytes), (1, 3));
    assert_eq!(last.failures, 0);
    let again = house.switch(&migration, &switch).await;
    assert_ne!(again, Switched::Done);
    assert_eq!(
        house.migrations.last().await.must().must().moved,
        last.moved
    );
}

/// Once it has ended, of the failures those stay that are of bodies which are still elsewhere.
pub async fn failures_of_what_is_gone_are_forgotten_at_the_end(fixture: &dyn Fixture) {
    let house = House::open(fixture).await;
    let (kept, gone) = (
        house.desk.put(&Upload::new("kept")).await,
        house.desk.put(&Upload::new("gone")).await,
    );
    let Migration { id, generation, .. } = house.moving().await;
    for file in [&kept, &gone] {
        let note = house
            .migrations
            .note_failure(id, file.current.id, &file.id, "why");
        note.await.must();
    }
    house.desk.files.purge(&gone.id, None).await.must();
    let failures = async || house.migrations.failures(id, 9).await.must();
    for (state, left) in [
        (MigrationState::Draining, 2),
        (MigrationState::DoneWithFailures, 1),
    ] {
        let advance = house.migrations.advance(id, generation, state, None);
        assert!(advance.await.must());
        assert_eq!(failures().await.len(), left);
    }
    assert_eq!(failures().await[0].version, kept.current.id);
}

/// Without cleaning up, nothing names the old bytes any more.
pub async fn a_move_without_cleaning_up_leaves_the_old_bytes(fixture: &dyn Fixture) {
    let mut house = House::open(fixture).await;
    house.cleanup = false;
    let file = house.desk.put(&Upload::new("f")).await;
    let from = file.current.location.clone();
    let leaves = async |store| house.migrations.leaves_bytes_in(store).await.must();
    let migration = house.moving().await;
    let (copy, to) = house.copy("f").await;
    assert!(!leaves(from.store).await, "nothing was moved");
    let switch = Switch {
        version: file.current.id,
        from: from.clone(),
        copy,
        size: 3,
        remove_after: None,
    };
    assert_eq!(house.switch(&migration, &switch).await, Switched::Done);
    assert!(leaves(from.store).await && !leaves(to.store).await);
    assert_eq!(house.states().await, [(file.current.id, RowState::Stored)]);
}

/// Of several copies all take their places, or none does.
pub async fn copies_take_their_places_together_or_not_at_all(fixture: &dyn Fixture) {
    let house = House::open(fixture).await;
    let (one, two, gone) = (
        house.desk.put(&Upload::new("one")).await,
        house.desk.put(&Upload::new("two")).await,
        house.desk.put(&Upload::new("gone")).await,
    );
    let migration = house.moving().await;
    let mut switches = Vec::new();
    for file in [&one, &two, &gone] {
        switches.push(Switch {
            version: file.current.id,
            from: file.current.location.clone(),
            copy: house.copy(file.id.as_str()).await.0,
            size: 3,
            remove_after: Some(HOUR),
        });
    }
    house.desk.files.purge(&gone.id, None).await.must();
    let before = house.states().await;
    let switched = house.switch_all(&migration, &switches).await;
    assert_eq!(switched, Switched::Changed);
    assert_eq!(house.states().await, before);
    let there = house.desk.files.find_fresh(&one.id).await.must().must();
    assert_eq!(there.current.location, one.current.location);
    let switched = house.switch_all(&migration, &switches[..2]).await;
    assert_eq!(switched, Switched::Done);
    for file in [&one, &two] {
        let moved = house.desk.files.find_fresh(&file.id).await.must().must();
        assert_ne!(moved.current.location, file.current.location);
        let old = house.desk.ledger.at(&file.current.location).await;
        assert_eq!(old.must().must().state, RowState::Deleting);
    }
    let last = house.migrations.last().await.must().must();
    assert_eq!((last.moved.objects, last.moved.bytes), (2, 6));
}

/// A body that was purged or moved stays so, and a mover that was overtaken or stopped changes nothing.
pub async fn a_copy_of_what_has_changed_or_by_whom_was_stopped_has_no_effect(
    fixture: &dyn Fixture,
) {
    let house = House::open(fixture).await;
    let (kept, gone) = (
        house.desk.put(&Upload::new("kept")).await,
        house.desk.put(&Upload::new("gone")).await,
    );
    let first = house.moving().await;
    house.desk.files.purge(&gone.id, None).await.must();
    let of = async |file: &cloakroom_domain::File| Switch {
        version: file.current.id,
        from: file.current.location.clone(),
        copy: house.copy(file.id.as_str()).await.0,
        size: 3,
        remove_after: None,
    };
    let switch = of(&gone).await;
    assert_eq!(house.switch(&first, &switch).await, Switched::Changed);
    let switch = of(&kept).await;
    fixture.pass(MIGRATION_LEASE + SECOND).await;
    let second = house.migrations.take("other").await.must().must();
    assert_eq!(second.generation, first.generation + 1);
    assert_eq!(house.switch(&first, &switch).await, Switched::Lost);
    let (id, generation) = (first.id, first.generation);
    assert!(!house.migrations.renew(id, generation).await.must());
    let done = MigrationState::Done;
    let advance = house.migrations.advance(id, generation, done, None);
    assert!(!advance.await.must());
    let cancelled = house.migrations.cancel().await.must().must();
    assert_eq!(cancelled.state, MigrationState::Cancelled);
    assert!(cancelled.finished_at.is_some());
    assert_eq!(house.switch(&second, &switch).await, Switched::Lost);
    assert!(house.migrations.cancel().await.must().is_none());
    let there = house.desk.files.find_fresh(&kept.id).await.must().must();
    assert_eq!(there.current.location, kept.current.location);
    assert!(house.begin().await.is_some());
}

/// Whoever shows signs of life keeps it; who lets go or falls silent is followed.
pub async fn a_migration_is_carried_on_by_one_mover(fixture: &dyn Fixture) {
    let house = House::open(fixture).await;
    let begun = house.begin().await.must();
    // Trying the store may take a while.
    fixture.pass(MIGRATION_LEASE + SECOND).await;
    assert!(house.migrations.take("x").await.must().is_none());
    let (id, generation) = (begun.id, begun.generation);
    assert!(
        house
            .migrations
            .start(id, generation, &house.new)
            .await
            .must()
    );
    let takes = join_all((0..5).map(|_| house.migrations.take("x"))).await;
    let mut taken = takes.into_iter().filter_map(Must::must);
    let first = taken.next().must();
    assert!(taken.next().is_none());
    for _ in 0..3 {
        fixture.pass(MIGRATION_LEASE - SECOND).await;
        assert!(house.migrations.renew(id, first.generation).await.must());
    }
    assert!(house.migrations.take("y").await.must().is_none());
    house.migrations.release(id, first.generation).await.must();
    let second = house.migrations.take("y").await.must().must();
    let draining = MigrationState::Draining;
    let advance = house
        .migrations
        .advance(id, second.generation, draining, None);
    assert!(advance.await.must());
    let failed = MigrationState::Failed;
    let advance = house
        .migrations
        .advance(id, second.generation, failed, Some("why"));
    assert!(advance.await.must());
    let last = house.migrations.last().await.must().must();
    assert_eq!(last.failure.as_deref(), Some("why"));
    assert!(last.finished_at.is_some() && !last.state.is_live());
    assert!(house.migrations.take("z").await.must().is_none());
}

/// One that died while it tried the store is taken up, to be ended.
pub async fn a_trial_that_died_is_taken_up(fixture: &dyn Fixture) {
    let house = House::open(fixture).await;
    house.begin().await.must();
    fixture.pass(VALIDATION_LEASE + SECOND).await;
    let taken = house.migrations.take("x").await.must().must();
    assert_eq!(taken.state, MigrationState::Validating);
}

/// In order, in pages that join; what is pending or being removed is not among them.
pub async fn what_is_to_be_moved_is_paged_and_counted(fixture: &dyn Fixture) {
    let house = House::open(fixture).await;
    let mut all: Vec<VersionId> = Vec::new();
    for number in 0..7 {
        let file = house.desk.put(&Upload::new(&format!("f{number}"))).await;
        all.push(file.current.id);
    }
    house.copy("pending").await;
    house.desk.put(&Upload::new("gone")).await;
    let gone = FileId::parse("gone").must();
    house.desk.files.purge(&gone, None).await.must();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = house
            .migrations
            .movable(house.old, after.as_ref(), 3)
            .await
            .must();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 3);
        after = Some(last.location.clone());
        found.extend(page);
    }
    let keys: Vec<String> = found.iter().map(|it| it.location.key.to_string()).collect();
    assert!(keys.is_sorted());
    let mut ids: Vec<VersionId> = found.iter().map(|it| it.version).collect();
    ids.sort_unstable();
    all.sort_unstable();
    assert_eq!(ids, all);
    assert!(found.iter().all(|it| it.size == 3 && it.sha256.is_some()));
    assert!(found.iter().all(|it| it.account.as_str() == "1"));
    let stored = house.migrations.stored_in(house.old).await.must();
    assert_eq!((stored.objects, stored.bytes), (7, 21));
    assert_eq!(house.migrations.pending_in(house.old).await.must(), 1);
    assert_eq!(house.migrations.pending_in(house.new.id).await.must(), 0);
}

/// For the revision that it was made for, and the next one is another.
pub async fn a_store_is_given_another_configuration(fixture: &dyn Fixture) {
    let house = House::open(fixture).await;
    let old = house.old;
    assert!(!house.stores.reconfigure(old, 7, b"new").await.must());
    assert!(house.stores.reconfigure(old, 0, b"new").await.must());
    assert!(!house.stores.reconfigure(old, 0, b"newer").await.must());
    let all = house.stores.all().await.must();
    assert_eq!(all[0].config.as_deref(), Some(b"new".as_slice()));
    assert_eq!(all[0].revision, 1);
    let fixed = Bucket::parse("bodies").must();
    assert_eq!(all[0].buckets, BucketRule::Fixed(fixed));
}
