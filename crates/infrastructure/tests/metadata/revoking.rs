//! Replicas that hear from each other which answers of the permission backend are taken back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cloakroom_application::{
    App, Background, Caller, Claims, Limits, Links, PermissionOptions, Permissions, Rates,
    Scrubbing, Stores, Turns, authorize,
    cache::CachedTokens,
    hot::HotBodies,
    ports::{
        Check, Credential, Keep, PermissionBackend, PermissionError, Presented, Revocation, Ruling,
        Unmetered,
    },
};
use cloakroom_domain::{AccountId, Action, FileId, Principal, PrincipalKind, UserId};
use cloakroom_infrastructure::metadata::{Database, DatabaseOptions, follow_changes};
use tokio::time::{Instant, sleep};

use super::{
    support::{OwnDatabase, postgres},
    together::seed_file,
};

/// Says yes, for an hour, and counts.
#[derive(Default)]
struct Yes(AtomicUsize);

#[async_trait]
impl PermissionBackend for Yes {
    async fn ask(&self, _: &Credential, _: &[Check]) -> Result<Vec<Ruling>, PermissionError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(vec![Ruling {
            allow: true,
            keep: Keep::For(Duration::from_secs(3600)),
            reason: None,
        }])
    }

    fn most_checks(&self) -> usize {
        1
    }
}

/// A replica that asks, and follows what others take back.
struct Replica {
    app: App,
    backend: Arc<Yes>,
    follower: tokio::task::JoinHandle<()>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

fn scrubbing(database: &Arc<Database>) -> Scrubbing {
    Scrubbing {
        rows: database.clone(),
        interval: None,
        rate: 1,
    }
}

fn replica(url: &str) -> Replica {
    let database = Database::connect(url, &DatabaseOptions::default()).unwrap();
    let database = Arc::new(database);
    let backend = Arc::new(Yes::default());
    let options = PermissionOptions {
        actions: vec![Action::Read],
        concurrency: 4,
        patience: Duration::from_secs(3),
        entries: 1000,
    };
    let permissions = Arc::new(Permissions::of(backend.clone(), options));
    let follower = tokio::spawn(follow_changes(
        database.clone(),
        database.clone(),
        Arc::new(CachedTokens::new(database.clone())),
        permissions.clone(),
        Turns::default(),
        Stores::fixed(Vec::new(), None),
        std::future::pending(),
    ));
    let hour = Duration::from_secs(3600);
    let app = App {
        files: database.clone(),
        ledger: database.clone(),
        buckets: database.clone(),
        uploads: database.clone(),
        turns: Turns::default(),
        tokens: database.clone(),
        registry: database.clone(),
        stores: Stores::fixed(Vec::new(), None),
        migrations: database.clone(),
        hot: HotBodies::new(0),
        authenticators: Vec::new(),
        dependencies: Vec::new(),
        rates: Rates::off(),
        permissions,
        links: Links::without_key(database.clone()),
        claims: Claims {
            files: database.clone(),
            runs: database.clone(),
            time: None,
            reconcile_age: hour,
        },
        scrubbing: scrubbing(&database),
        meter: Arc::new(Unmetered),
        revocations: database,
        background: Background::here(),
        limits: Limits {
            max_file_size: 1,
            pending_ttl: hour,
            upload_expiry: hour,
            delete_delay: hour,
            uncertain_delay: hour,
            sweep_interval: hour,
        },
    };
    Replica {
        app,
        backend,
        follower,
    }
}

impl Replica {
    async fn read(&self, id: &FileId) -> usize {
        let who = Caller {
            principal: Principal {
                kind: PrincipalKind::User,
                account: AccountId::parse("1").ok(),
                user: UserId::parse("8").ok(),
                token: None,
            },
            credential: Some(Credential::Bearer(Presented::new("t".to_owned()))),
        };
        authorize(&self.app, &who, id, Action::Read).await.unwrap();
        self.backend.0.load(Ordering::SeqCst)
    }
}

async fn two_replicas() -> (OwnDatabase, FileId, Replica, Replica) {
    let own = postgres().await;
    let id = seed_file(&own).await;
    let (one, two) = (replica(&own.url), replica(&own.url));
    // Whatever they forget when they begin to listen is forgotten by then.
    sleep(Duration::from_millis(500)).await;
    (own, id, one, two)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_takes_back_every_other_forgets_within_100_ms() {
    let (_own, id, one, two) = two_replicas().await;
    assert_eq!(two.read(&id).await, 1);
    let named = |file, user, account| Revocation {
        file,
        user,
        account,
    };
    for (n, revocation) in [
        named(Some(id.clone()), None, None),
        named(None, UserId::parse("8").ok(), None),
        named(None, None, AccountId::parse("1").ok()),
    ]
    .iter()
    .enumerate()
    {
        one.app.revocations.announce(revocation).await.unwrap();
        let since = Instant::now();
        while two.read(&id).await != n + 2 {
            assert!(
                since.elapsed() < Duration::from_millis(100),
                "{revocation:?}"
            );
            sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(two.read(&id).await, n + 2, "kept again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_cannot_listen_forgets_everything_and_keeps_nothing_longer_than_a_second() {
    let (own, id, _one, two) = two_replicas().await;
    assert_eq!(two.read(&id).await, 1);
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    own.script(cut.to_owned()).await;
    let since = Instant::now();
    while two.read(&id).await != 2 {
        assert!(since.elapsed() < Duration::from_secs(1), "not forgotten");
        sleep(Duration::from_millis(2)).await;
    }
    // Until it listens again answers live a second; then all is forgotten once more, and kept for an hour.
    let since = Instant::now();
    loop {
        let before = two.read(&id).await;
        sleep(Duration::from_millis(1200)).await;
        if two.read(&id).await == before {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(20), "does not listen");
    }
}
