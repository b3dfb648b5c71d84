//! A server that freezes, goes away, or loses an answer; callers that leave.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cloakroom_application::ports::{
    Begun, Commit, CommitError, CommitTarget, FileRepository, IdempotencyClaim, NewVersion,
    RepositoryError, RowState, StoreRecord, StoreRegistry, VersionLedger,
};
use cloakroom_domain::{
    AccountId, Bucket, BucketRule, ContentType, FileId, FileName, Metadata, ObjectKey, Owner,
    Sha256Digest, StoreId, VersionId, Visibility,
};
use cloakroom_infrastructure::metadata::{Database, DatabaseOptions};
use sqlx::{Connection, PgConnection};
use tokio::time::{sleep, timeout};

use super::{
    proxy::{Mode, Proxy},
    support::{OwnDatabase, postgres, sqlite},
};

/// How long anything may take while the database fails, and how soon it works again.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

fn new_version(id: &str) -> NewVersion {
    let account = AccountId::parse("1").unwrap();
    let file = FileId::parse(id).unwrap();
    NewVersion {
        seal: None,
        id: VersionId::random(),
        key: ObjectKey::mint(&account, &file, &FileName::clean(id)),
        file,
        account,
        claim: None,
    }
}

fn commit_of(version: VersionId) -> Commit {
    Commit {
        version,
        size: 0,
        sha256: Sha256Digest::of(b""),
        crc64: 0,
        content_type: ContentType::octet_stream(),
        target: CommitTarget::NewFile {
            claim_within: None,
            owner: Owner {
                account: AccountId::parse("1").unwrap(),
                user: None,
                token: None,
            },
            name: FileName::clean("f"),
            visibility: Visibility::Private,
            metadata: Metadata::default(),
        },
        claim: None,
        upload: None,
        partials: Vec::new(),
    }
}

pub(crate) async fn seed(database: &Database) {
    let store = StoreRecord {
        id: StoreId::random(),
        driver: "fs".to_owned(),
        buckets: BucketRule::Fixed(Bucket::parse("b").unwrap()),
        config: None,
        revision: 0,
        is_current: true,
    };
    database.seed(store).await.unwrap();
}

/// A database reached through a proxy, beside the direct way to it.
pub(crate) async fn behind_proxy() -> (OwnDatabase, Proxy, Arc<Database>) {
    let own = postgres().await;
    seed(&own.database).await;
    let (server, name) = own.url.rsplit_once('/').unwrap();
    let (credentials, host) = server.rsplit_once('@').unwrap();
    let proxy = Proxy::to(host.to_owned()).await;
    let url = format!("{credentials}@{}/{name}", proxy.address);
    let options = DatabaseOptions {
        pool_size: 4,
        ..DatabaseOptions::default()
    };
    let database = Arc::new(Database::connect(&url, &options).unwrap());
    (own, proxy, database)
}

pub(crate) async fn works_within(database: &Database, limit: Duration) {
    let since = Instant::now();
    while let Err(error) = database.now().await {
        assert!(since.elapsed() < limit, "{error:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// How many other connections of the database are in a transaction.
pub(crate) async fn in_transaction(own: &OwnDatabase) -> i64 {
    let mut connection = PgConnection::connect(&own.url).await.unwrap();
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND pid <> pg_backend_pid() AND xact_start IS NOT NULL",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_unavailable_within_five_seconds_and_back_within_five() {
    let (own, proxy, database) = behind_proxy().await;
    works_within(&database, LIMIT).await;
    for mode in [Mode::Freeze, Mode::Cut] {
        proxy.set(mode);
        let since = Instant::now();
        let asked = (0..12).map(|n| {
            let (database, id) = (database.clone(), FileId::parse(n.to_string()).unwrap());
            tokio::spawn(async move { database.find(&id).await })
        });
        let asked: Vec<_> = asked.collect();
        let begun = database.begin(new_version("f")).await;
        let is_unavailable = matches!(
            begun,
            Err(RepositoryError::Unavailable(_) | RepositoryError::OutcomeUnknown(_))
        );
        assert!(is_unavailable, "{begun:?}");
        let pinged = database.ping().await;
        assert!(pinged.is_err());
        for answer in asked {
            let answer = answer.await.unwrap();
            let is_unavailable = matches!(answer, Err(RepositoryError::Unavailable(_)));
            assert!(is_unavailable, "{answer:?}");
        }
        assert!(since.elapsed() < LIMIT + Duration::from_secs(2), "{mode:?}");
        proxy.set(Mode::Pass);
        works_within(&database, LIMIT).await;
        // Every connection, not one of them.
        let asked = (0..16).map(|_| database.now()).collect::<Vec<_>>();
        for answer in futures_util::future::join_all(asked).await {
            answer.unwrap();
        }
    }
    assert_eq!(in_transaction(&own).await, 0);
}

fn file_id() -> FileId {
    FileId::parse("f").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_operation_on_a_frozen_server_ends_within_five_seconds() {
    let (_own, proxy, database) = behind_proxy().await;
    works_within(&database, LIMIT).await;
    proxy.set(Mode::Freeze);
    let since = Instant::now();
    let found = database.find(&file_id()).await;
    assert!(matches!(found, Err(RepositoryError::Unavailable(_))));
    assert!(since.elapsed() < LIMIT);
    let since = Instant::now();
    database.ping().await.unwrap_err();
    assert!(since.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_a_commit_is_an_unknown_outcome_that_the_row_knows() {
    let (own, proxy, database) = behind_proxy().await;
    works_within(&database, LIMIT).await;
    let new = new_version("f");
    let version = new.id;
    let begun = database.begin(new).await.unwrap();
    assert!(matches!(begun, Begun::Pending(_)));
    proxy.lose_the_answer_to_a_commit();
    let since = Instant::now();
    let lost = database.commit(commit_of(version)).await;
    let is_unknown = matches!(
        lost,
        Err(CommitError::Repository(RepositoryError::OutcomeUnknown(_)))
    );
    assert!(is_unknown, "{lost:?}");
    assert!(since.elapsed() < LIMIT);
    // The COMMIT did arrive.
    let file = own.database.find(&file_id()).await.unwrap().unwrap();
    assert_eq!(file.current.id, version);
    proxy.set(Mode::Pass);
    works_within(&database, LIMIT).await;
    assert_eq!(in_transaction(&own).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_before_the_commit_changes_nothing_and_says_so() {
    let (own, proxy, database) = behind_proxy().await;
    works_within(&database, LIMIT).await;
    let new = new_version("f");
    let version = new.id;
    database.begin(new).await.unwrap();
    proxy.set(Mode::Cut);
    let refused = database.commit(commit_of(version)).await;
    let is_unavailable = matches!(
        refused,
        Err(CommitError::Repository(RepositoryError::Unavailable(_)))
    );
    assert!(is_unavailable, "{refused:?}");
    let rows = own.database.scan(None, 9).await.unwrap();
    assert!(rows.len() == 1 && rows[0].state == RowState::Pending);
}

/// Uploads whose caller leaves at some moment or other.
async fn leave_in_the_middle(own: &OwnDatabase) {
    seed(&own.database).await;
    for n in 0..120_u64 {
        let claim = Some(IdempotencyClaim {
            principal: "p".to_owned(),
            key: format!("k{n}"),
            fingerprint: String::new(),
        });
        let new = NewVersion {
            claim: claim.clone(),
            ..new_version(&format!("f{n}"))
        };
        let version = new.id;
        let database = own.database.clone();
        let upload = async move {
            database.begin(new).await.unwrap();
            let commit = Commit {
                claim,
                ..commit_of(version)
            };
            database.commit(commit).await.unwrap();
        };
        // An upload takes a few milliseconds, so they are cut at every step.
        let _left = timeout(Duration::from_micros(n * 60), upload).await;
    }
    let database = &own.database;
    let version = new_version("last");
    let last = version.id;
    database.begin(version).await.unwrap();
    database.commit(commit_of(last)).await.unwrap();
    for row in database.scan(None, 999).await.unwrap() {
        // All or nothing: a stored body has its file.
        assert_eq!(row.state == RowState::Stored, row.file_exists);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_leave_at_any_moment_leave_no_transaction_on_postgres() {
    let own = postgres().await;
    leave_in_the_middle(&own).await;
    let since = Instant::now();
    while in_transaction(&own).await != 0 {
        assert!(since.elapsed() < Duration::from_secs(2));
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_leave_at_any_moment_do_not_block_sqlite() {
    let own = sqlite().await;
    leave_in_the_middle(&own).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_closed_are_replaced() {
    let own = postgres().await;
    let at_once = || futures_util::future::join_all((0..8).map(|_| own.database.now()));
    at_once().await;
    own.script(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()"
            .to_owned(),
    )
    .await;
    // The first may hear of it the hard way; the other seven are not even tried.
    let mut failed = 0;
    for _ in 0..8 {
        failed += usize::from(own.database.now().await.is_err());
    }
    assert!(failed <= 1, "{failed}");
    for answer in at_once().await {
        answer.unwrap();
    }
}
