//! Moving everything to a store that has its troubles, and stores that cannot be opened for a while.

#[path = "moving/leaving.rs"]
mod leaving;
#[path = "moving/marks.rs"]
mod marks;
#[path = "moving/together.rs"]
mod together;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use cloakroom_application::{
    Error, MigrationRequest, MigrationStatus, Pace, Stores, migrate, migration_status, move_bodies,
    ports::{
        Admitted, ConfigFault, FileRepository, LedgerRow, Mark, MigrationState, ObjectStore,
        RowState, SealError, Sealing, StoreConfig, StoreError, StoreOpener, StoreRecord,
    },
    testkit::objects::{Fault, MemoryStore, Step},
};
use cloakroom_domain::{AccountId, BucketRule, File, KeyId, Seal, StoreId, VersionId};
use zeroize::Zeroizing;

use crate::{read, support::World, uploaded};

const FILES: usize = 40;

/// Stores in memory, by the names of their drivers.
#[derive(Default)]
struct Shelf {
    stores: Mutex<BTreeMap<String, MemoryStore>>,
    locked: Mutex<BTreeSet<String>>,
    /// Whose mark a place bears.
    marks: Mutex<BTreeMap<String, StoreId>>,
}

#[async_trait]
impl StoreOpener for Shelf {
    async fn open(&self, record: &StoreRecord) -> Result<Arc<dyn ObjectStore>, StoreError> {
        if self.locked.lock().unwrap().contains(&record.driver) {
            return Err(StoreError::Unavailable("locked".into()));
        }
        let stores = self.stores.lock().unwrap();
        Ok(Arc::new(stores[&record.driver].clone()))
    }

    async fn prepare(&self, record: &StoreRecord) -> Result<Mark, StoreError> {
        let mut marks = self.marks.lock().unwrap();
        let is_new = !marks.contains_key(&record.driver);
        let store = *marks.entry(record.driver.clone()).or_insert(record.id);
        Ok(Mark { store, is_new })
    }

    async fn is_own_place(
        &self,
        known: &StoreRecord,
        marked: &StoreRecord,
    ) -> Result<bool, StoreError> {
        Ok(known.driver == marked.driver)
    }

    async fn withdraw(&self, record: &StoreRecord) -> Result<(), StoreError> {
        self.marks.lock().unwrap().remove(&record.driver);
        Ok(())
    }

    fn place(&self, record: &StoreRecord) -> Result<String, StoreError> {
        Ok(record.driver.clone())
    }

    fn admit(&self, driver: &str, _config: &StoreConfig) -> Result<Admitted, ConfigFault> {
        Ok(Admitted {
            driver: driver.to_owned(),
            place: driver.to_owned(),
            buckets: BucketRule::PerAccount("new".to_owned()),
            config: b"sealed".to_vec(),
        })
    }

    fn shown(&self, _record: &StoreRecord) -> Result<StoreConfig, StoreError> {
        Ok(StoreConfig::new())
    }

    fn changed(
        &self,
        record: &StoreRecord,
        changes: &StoreConfig,
    ) -> Result<Admitted, ConfigFault> {
        self.admit(&record.driver, changes)
    }
}

struct Unsealed;

impl Sealing for Unsealed {
    fn current(&self) -> Option<KeyId> {
        None
    }

    fn knows(&self, _key: KeyId) -> bool {
        false
    }

    fn seal(&self, _secret: &[u8], _context: &str) -> Result<Vec<u8>, SealError> {
        Err(SealError::NoKey)
    }

    fn open(&self, _sealed: &[u8], _context: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        Err(SealError::Unreadable)
    }

    fn new_seal(&self, _version: VersionId) -> Result<Option<Seal>, SealError> {
        Ok(None)
    }

    fn over(&self, store: Arc<dyn ObjectStore>, _seal: &Seal) -> Arc<dyn ObjectStore> {
        store
    }
}

/// A world whose bytes are in one store, and another to move to.
struct House {
    world: World,
    shelf: Arc<Shelf>,
    target: MemoryStore,
}

impl House {
    async fn open() -> Self {
        let mut world = World::new().await;
        let target = MemoryStore::new();
        let third = MemoryStore::new();
        let stores = [
            ("memory", &world.store),
            ("other", &target),
            ("third", &third),
        ];
        let stores = stores.map(|(name, store)| (name.to_owned(), store.clone()));
        let shelf = Arc::new(Shelf {
            stores: Mutex::new(stores.into_iter().collect()),
            ..Shelf::default()
        });
        let stores = Stores::of(world.database.clone(), shelf.clone(), Arc::new(Unsealed));
        assert!(stores.refresh().await.unwrap().is_empty());
        Arc::get_mut(&mut world.app).unwrap().stores = stores;
        Self {
            world,
            shelf,
            target,
        }
    }

    /// With files of one version each.
    async fn with_files() -> (Self, Vec<File>) {
        let house = Self::open().await;
        let mut files = Vec::new();
        for _ in 0..FILES {
            files.push(uploaded(&house.world, b"body").await);
        }
        (house, files)
    }

    async fn begin(&self) -> Result<MigrationStatus, Error> {
        self.begin_to("other").await
    }

    async fn begin_to(&self, driver: &str) -> Result<MigrationStatus, Error> {
        migrate(&self.world.app, "test", &Self::request_to(driver)).await
    }

    fn request_to(driver: &str) -> MigrationRequest {
        MigrationRequest {
            driver: driver.to_owned(),
            config: StoreConfig::new(),
            cleanup: true,
        }
    }

    /// Moves until the time is up, or for as long as there is something to move.
    async fn moved_for(&self, time: Duration) -> MigrationStatus {
        let (app, stop) = (self.world.app.clone(), tokio::time::sleep(time));
        move_bodies(app, "mover".to_owned(), 4, Pace::of(None), stop).await;
        let status = migration_status(&self.world.app).await.unwrap();
        status.unwrap()
    }

    /// Whoever opens the target from now on gets this one.
    fn lead_to(&self, store: MemoryStore) {
        let mut stores = self.shelf.stores.lock().unwrap();
        stores.insert("other".to_owned(), store);
    }

    /// Only these stores cannot be opened.
    fn lock(&self, drivers: &[&str]) {
        let drivers = drivers.iter().map(|driver| (*driver).to_owned());
        *self.shelf.locked.lock().unwrap() = drivers.collect();
    }

    async fn assert_readable(&self, files: &[File]) {
        for file in files {
            let now = self.world.database.find_fresh(&file.id).await;
            assert_eq!(
                read(&self.world, &now.unwrap().unwrap()).await.unwrap(),
                b"body"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_waited_for() {
    let (house, files) = House::with_files().await;
    house.begin().await.unwrap();
    for (store, hours) in [(&house.target, 1.0), (&house.world.store, 0.1)] {
        for step in [Step::Begin, Step::Read, Step::Probe] {
            store.fail_always(step, Fault::Unavailable);
        }
        let time = Duration::from_secs(3600).mul_f64(hours);
        let status = house.moved_for(time).await;
        assert_eq!(status.migration.state, MigrationState::Copying);
        let failures = status.migration.failures;
        // Four at once, and as many whose rows are written meanwhile.
        assert!((1..=8).contains(&failures), "{failures}");
        assert!(!status.failures[0].reason.is_empty());
        store.heal();
    }
    let status = house.moved_for(Duration::from_secs(60)).await;
    assert_eq!(status.migration.state, MigrationState::Done);
    assert_eq!(status.migration.failures, 0);
    assert_eq!(status.migration.moved.objects, FILES as u64);
    assert_eq!(house.target.objects().len(), FILES);
    house.assert_readable(&files).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_nothing_more_ends_it_and_later_it_goes_on() {
    let (house, files) = House::with_files().await;
    house.begin().await.unwrap();
    house.target.fail_always(Step::Write, Fault::Refuse);
    let status = house.moved_for(Duration::from_secs(600)).await;
    let migration = &status.migration;
    assert_eq!(migration.state, MigrationState::Failed);
    assert_eq!(
        migration.failure.as_deref(),
        Some("the new store takes nothing more")
    );
    assert!(migration.failures > 0 && status.left.objects == FILES as u64);
    house.assert_readable(&files).await;
    house.target.heal();
    house.begin().await.unwrap();
    let status = house.moved_for(Duration::from_secs(60)).await;
    assert_eq!(status.migration.state, MigrationState::Done);
    assert_eq!(status.migration.moved.objects, FILES as u64);
    house.assert_readable(&files).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_spoiled_stays_and_is_listed_and_all_else_moves() {
    let (house, files) = House::with_files().await;
    let (spoiled, purged) = (&files[0], &files[1]);
    for file in [spoiled, purged] {
        let at = &file.current.location;
        assert!(house.world.store.flip_bit(&at.bucket, &at.key, 1));
    }
    house.begin().await.unwrap();
    let status = house.moved_for(Duration::from_secs(4)).await;
    assert_eq!(status.migration.state, MigrationState::Copying);
    let purging = house.world.database.purge(&purged.id, None).await;
    purging.unwrap();
    let status = house.moved_for(Duration::from_secs(600)).await;
    assert_eq!(status.migration.state, MigrationState::DoneWithFailures);
    assert_eq!((status.left.objects, status.migration.failures), (1, 1));
    assert_eq!(status.failures[0].version, spoiled.current.id);
    house.assert_readable(&files[2..]).await;
}

#[tokio::test]
async fn a_store_that_could_not_be_opened_is_opened_the_next_time() {
    let house = House::open().await;
    house.begin().await.unwrap();
    let (registry, shelf) = (house.world.database.clone(), house.shelf.clone());
    let stores = Stores::of(registry, shelf, Arc::new(Unsealed));
    house.lock(&["memory", "other"]);
    assert_eq!(stores.refresh().await.unwrap().len(), 2);
    assert!(stores.all().is_empty());
    house.lock(&[]);
    assert!(stores.refresh().await.unwrap().is_empty());
    assert_eq!(stores.all().len(), 2);
    assert_eq!(stores.current().unwrap().driver, "other");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_everything_was_moved_away_from_may_be_gone() {
    let (mut house, files) = House::with_files().await;
    house.begin().await.unwrap();
    let status = house.moved_for(Duration::from_secs(60)).await;
    assert_eq!(status.migration.state, MigrationState::Done);
    house.lock(&["memory"]);
    // As after a start.
    let stores = Stores::of(
        house.world.database.clone(),
        house.shelf.clone(),
        Arc::new(Unsealed),
    );
    assert_eq!(stores.refresh().await.unwrap().len(), 1);
    Arc::get_mut(&mut house.world.app).unwrap().stores = stores;
    house.begin_to("third").await.unwrap();
    let status = house.moved_for(Duration::from_secs(60)).await;
    assert_eq!(status.migration.state, MigrationState::Done);
    assert_eq!(status.migration.moved.objects, FILES as u64);
    house.assert_readable(&files).await;
}

#[tokio::test(start_paused = true)]
async fn of_large_bodies_one_is_moved_at_a_time_and_small_ones_pass_by_those_that_wait() {
    const LARGE: usize = 6;
    let mut house = House::open().await;
    let body: &'static [u8] = Box::leak(vec![0; 65 << 20].into_boxed_slice());
    let world = &mut house.world;
    let limits = &mut Arc::get_mut(&mut world.app).unwrap().limits;
    limits.max_file_size = body.len() as u64;
    for _ in 0..LARGE {
        uploaded(world, body).await;
    }
    // Their keys come after.
    world.alice.principal.account = AccountId::parse("2").ok();
    for _ in 0..FILES {
        uploaded(world, b"body").await;
    }
    house.begin().await.unwrap();
    house.target.fail_nth(Step::Write, 1, Fault::Stall);
    let seen = async {
        tokio::time::sleep(Duration::from_secs(6)).await;
        house.target.unfinished()
    };
    let (status, under_way) = tokio::join!(house.moved_for(Duration::from_secs(8)), seen);
    assert_eq!(under_way, 1);
    assert_eq!(status.migration.moved.objects, FILES as u64);
}

#[tokio::test(start_paused = true)]
async fn what_waited_for_longer_than_its_row_is_kept_is_begun_anew() {
    let mut house = House::open().await;
    let limits = &mut Arc::get_mut(&mut house.world.app).unwrap().limits;
    limits.pending_ttl = Duration::from_secs(8);
    let mut files = [
        uploaded(&house.world, b"body").await,
        uploaded(&house.world, b"body").await,
    ];
    files.sort_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
    house.begin().await.unwrap();
    let app = house.world.app.clone();
    let (slow, stop) = (
        Pace::of(Some(1)),
        tokio::time::sleep(Duration::from_secs(60)),
    );
    let moving = move_bodies(app, "mover".to_owned(), 1, slow, stop);
    let sweeper = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let ledger = &house.world.app.ledger;
        let rows = ledger.scan(None, 9).await.unwrap();
        let waiting = |row: &&LedgerRow| row.state == RowState::Pending && row.file == files[1].id;
        let waiting = rows.iter().find(waiting).unwrap();
        assert_eq!(house.target.unfinished(), 1);
        assert!(
            ledger
                .give_up(waiting.version, Duration::ZERO)
                .await
                .unwrap()
        );
    };
    tokio::join!(moving, sweeper);
    let status = migration_status(&house.world.app).await.unwrap().unwrap();
    assert_eq!(status.migration.state, MigrationState::Done);
    assert_eq!(status.migration.generation, 2, "nobody took over");
    house.assert_readable(&files).await;
}
