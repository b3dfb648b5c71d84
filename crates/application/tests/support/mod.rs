//! An application over in-memory adapters.
#![expect(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test that cannot go on ends, and has no users"
)]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cloakroom_application::{
    App, Background, Caller, Claims, Destination, Limits, LinkKey, Links, NewUpload, Permissions,
    Rates, Scrubbing, Stores, Turns,
    hot::HotBodies,
    ports::{ObjectStore, StoreRecord, StoreRegistry, Unmetered, VersionLedger, WriteHints},
    testkit::{metadata::MemoryDatabase, objects::MemoryStore},
};
use cloakroom_domain::{
    AccountId, Bucket, BucketRule, FileId, FileName, Metadata, ObjectKey, Principal, PrincipalKind,
    StoreId, UserId, Visibility,
};

/// An application, its adapters, and a user.
pub struct World {
    pub app: Arc<App>,
    pub database: Arc<MemoryDatabase>,
    pub store: MemoryStore,
    pub alice: Caller,
}

const BUCKET: &str = "files";

/// The entry of the one store.
fn store_record() -> StoreRecord {
    StoreRecord {
        id: StoreId::random(),
        driver: "memory".to_owned(),
        buckets: BucketRule::Fixed(Bucket::parse(BUCKET).unwrap()),
        config: None,
        revision: 0,
        is_current: true,
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(Permissions::without_backend()).await
    }

    pub async fn with(permissions: Permissions) -> Self {
        Self::made_of(permissions, MemoryStore::new()).await
    }

    /// Over that store.
    pub async fn over(store: MemoryStore) -> Self {
        Self::made_of(Permissions::without_backend(), store).await
    }

    async fn made_of(permissions: Permissions, store: MemoryStore) -> Self {
        let database = Arc::new(MemoryDatabase::new());
        let record = store_record();
        database.seed(record.clone()).await.unwrap();
        let opened: Arc<dyn ObjectStore> = Arc::new(store.clone());
        let limits = Limits {
            max_file_size: 1024,
            pending_ttl: Duration::from_secs(3600),
            upload_expiry: Duration::from_secs(24 * 3600),
            delete_delay: Duration::from_secs(24 * 3600),
            uncertain_delay: Duration::from_secs(600),
            sweep_interval: Duration::ZERO,
        };
        let app = Arc::new(App {
            files: database.clone(),
            ledger: database.clone(),
            buckets: database.clone(),
            uploads: database.clone(),
            turns: Turns::default(),
            tokens: database.clone(),
            registry: database.clone(),
            stores: Stores::fixed(vec![(record, opened)], None),
            migrations: database.clone(),
            authenticators: Vec::new(),
            permissions: Arc::new(permissions),
            revocations: database.clone(),
            links: links(&database),
            claims: claims(&database),
            scrubbing: scrubbing(&database),
            meter: Arc::new(Unmetered),
            hot: HotBodies::new(0),
            rates: Rates::off(),
            dependencies: Vec::new(),
            background: Background::here(),
            limits,
        });
        let alice = Caller {
            principal: Principal {
                kind: PrincipalKind::User,
                account: AccountId::parse("1").ok(),
                user: UserId::parse("7").ok(),
                token: None,
            },
            credential: None,
        };
        Self {
            app,
            database,
            store,
            alice,
        }
    }

    /// The same world with files that have to be claimed in that time.
    pub async fn claiming_within(time: Duration) -> Self {
        let mut world = Self::new().await;
        if let Some(app) = Arc::get_mut(&mut world.app) {
            app.claims.time = Some(time);
        }
        world
    }

    /// Rows of bodies, in whatever state.
    pub async fn rows(&self) -> usize {
        self.database.scan(None, 1000).await.unwrap().len()
    }

    pub async fn assert_nothing_left(&self, when: &str) {
        self.app.background.idle().await;
        assert_eq!(self.rows().await, 0, "{when}: rows");
        assert!(self.store.objects().is_empty(), "{when}: objects");
        assert_eq!(self.store.unfinished(), 0, "{when}: unfinished writes");
    }

    /// Puts an object into the store that no row leads to.
    pub async fn plant_orphan(&self) {
        let account = AccountId::parse("1").unwrap();
        let key = ObjectKey::mint(&account, &FileId::random(), &FileName::clean("x"));
        let bucket = Bucket::parse(BUCKET).unwrap();
        let mut writer = self
            .store
            .begin(&bucket, &key, WriteHints::default())
            .await
            .unwrap();
        writer.write(Bytes::from_static(b"nobody's")).await.unwrap();
        writer.finish().await.unwrap();
    }
}

fn links(database: &Arc<MemoryDatabase>) -> Links {
    let key = LinkKey::new(&[7; 32]).unwrap();
    let hour = Duration::from_secs(3600);
    Links::new(database.clone(), key, hour, 24 * hour)
}

fn scrubbing(database: &Arc<MemoryDatabase>) -> Scrubbing {
    Scrubbing {
        rows: database.clone(),
        interval: None,
        rate: u64::MAX,
    }
}

fn claims(database: &Arc<MemoryDatabase>) -> Claims {
    Claims {
        files: database.clone(),
        runs: database.clone(),
        time: None,
        reconcile_age: Duration::ZERO,
    }
}

pub fn private_file() -> NewUpload {
    NewUpload {
        destination: Destination::NewFile {
            account: None,
            visibility: Visibility::Private,
            metadata: Metadata::default(),
        },
        name: None,
        declared_type: None,
        size: None,
        digest: None,
        idempotency: None,
    }
}
