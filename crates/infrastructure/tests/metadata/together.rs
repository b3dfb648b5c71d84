//! Several processes on one database: who migrates, who serves, who hears of changes.

use std::{sync::Arc, time::Duration};

use cloakroom_application::{
    Permissions, Stores, Turns,
    cache::{CachedFiles, CachedTokens, FILES},
    ports::{FileChanges, FileRepository, NewToken, TokenRepository},
    testkit::metadata::contract::Fixture,
};
use cloakroom_domain::{FileId, FileName, PrincipalKind, TokenHash, TokenId};
use cloakroom_infrastructure::metadata::{
    Database, DatabaseOptions, OpenError, SchemaState, follow_changes,
};
use futures_util::future::join_all;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

use super::support::{OwnDatabase, empty_postgres, postgres, sqlite};

async fn starts_together(url: &str) {
    let open = || Database::connect(url, &DatabaseOptions::default()).unwrap();
    let replicas = [open(), open(), open()];
    let before = replicas[0].schema_state().await.unwrap();
    assert!(matches!(before, SchemaState::Pending(1..)), "{before:?}");
    for migrated in join_all(replicas.iter().map(Database::migrate)).await {
        migrated.unwrap();
    }
    for replica in &replicas {
        replica.migrate().await.unwrap();
        assert_eq!(replica.schema_state().await.unwrap(), SchemaState::Current);
        replica.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_start_on_an_empty_postgres() {
    starts_together(&empty_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_start_on_an_empty_sqlite_file() {
    let folder = tempfile::tempdir().unwrap();
    starts_together(&format!("sqlite://{}/new.db", folder.path().display())).await;
}

#[tokio::test]
async fn one_service_at_a_time_has_a_sqlite_file_and_commands_run_beside_it() {
    let own = sqlite().await;
    let alone = DatabaseOptions {
        exclusive: true,
        ..DatabaseOptions::default()
    };
    let service = Database::connect(&own.url, &alone).unwrap();
    let second = Database::connect(&own.url, &alone);
    assert!(matches!(second, Err(OpenError::InUse(_))));
    let command = Database::connect(&own.url, &DatabaseOptions::default()).unwrap();
    TokenRepository::list(&command).await.unwrap();
    drop(service);
    Database::connect(&own.url, &alone).unwrap();
}

#[tokio::test]
async fn an_address_that_is_not_one_is_refused_without_repeating_it() {
    for url in [
        "mysql://root:hunter2@host/db",
        "postgres://u:hunter2@host:port/db",
        "sqlite::memory:",
        "hunter2",
        "",
    ] {
        let Err(refused) = Database::connect(url, &DatabaseOptions::default()) else {
            panic!("{url}");
        };
        assert!(!format!("{refused} {refused:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_closed_database_answers_no_more() {
    for own in [sqlite().await, postgres().await] {
        own.database.close().await;
        assert!(own.database.schema_state().await.is_err());
    }
}

/// A replica with caches that follow changes.
struct Replica {
    files: Arc<CachedFiles>,
    tokens: Arc<CachedTokens>,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

fn replica(url: &str) -> Replica {
    let database = Database::connect(url, &DatabaseOptions::default()).unwrap();
    let database = Arc::new(database);
    let files = Arc::new(CachedFiles::new(database.clone(), FILES));
    let tokens = Arc::new(CachedTokens::new(database.clone()));
    let permissions = Arc::new(Permissions::without_backend());
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(follow_changes(
        database,
        files.clone(),
        tokens.clone(),
        permissions,
        Turns::default(),
        Stores::fixed(Vec::new(), None),
        async move {
            let _ = stopped.await;
        },
    ));
    Replica {
        files,
        tokens,
        stop,
        task,
    }
}

pub(crate) async fn seed_file(own: &OwnDatabase) -> FileId {
    own.script(
        "INSERT INTO file_versions (version_id, file_id, account_id, number, store_id, bucket, key, size, \
         stored_size, content_type, state, created_at, touched_at) VALUES \
         ('5f9a5f0e-1e4b-4a57-9d3a-111111111111', 'f', '1', 1, '5f9a5f0e-1e4b-4a57-9d3a-222222222222', 'b', 'k', \
         0, 0, 'text/plain', 'stored', 1, 1); \
         INSERT INTO files (file_id, account_id, filename, visibility, metadata, media_type, media_family, \
         current_version_id, last_number, current_since, revision, created_at, updated_at) VALUES \
         ('f', '1', 'old', 'private', '{}', 'text/plain', 'text/', '5f9a5f0e-1e4b-4a57-9d3a-111111111111', \
         1, 1, 1, 1, 1);"
            .to_owned(),
    )
    .await;
    FileId::parse("f").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_hears_of_changes_and_revocations_at_once_and_stops_when_told() {
    let own = postgres().await;
    let id = seed_file(&own).await;
    let hash = TokenHash::of("t");
    let token = NewToken {
        id: TokenId::random(),
        name: "t".to_owned(),
        kind: PrincipalKind::Admin,
        account: None,
        user: None,
        hash,
    };
    let token_id = token.id;
    own.tokens().create(token).await.unwrap();
    let replica = replica(&own.url);
    // Whatever it says when it begins to listen is over by then.
    sleep(Duration::from_millis(500)).await;
    let name = async || {
        let file = replica.files.find(&id).await.unwrap().unwrap();
        file.name.as_str().to_owned()
    };
    assert_eq!(name().await, "old");
    assert!(replica.tokens.by_hash(&hash).await.unwrap().is_some());

    let changes = FileChanges {
        name: Some(FileName::clean("new")),
        ..FileChanges::default()
    };
    own.files().update(&id, 1, changes).await.unwrap().unwrap();
    assert!(own.tokens().revoke(token_id).await.unwrap());
    let since = Instant::now();
    while name().await != "new" || replica.tokens.by_hash(&hash).await.unwrap().is_some() {
        assert!(since.elapsed() < Duration::from_secs(1), "not heard of it");
        sleep(Duration::from_millis(5)).await;
    }

    replica.stop.send(()).unwrap();
    timeout(Duration::from_secs(1), replica.task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lost_its_listener_forgets_everything_and_listens_again() {
    let own = postgres().await;
    let id = seed_file(&own).await;
    let replica = replica(&own.url);
    sleep(Duration::from_millis(500)).await;
    replica.files.find(&id).await.unwrap().unwrap();
    // Changed behind everyone's back, and the listener's connection is cut.
    own.script(
        "UPDATE files SET filename = 'silent'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            .to_owned(),
    )
    .await;
    let since = Instant::now();
    while replica
        .files
        .find(&id)
        .await
        .unwrap()
        .unwrap()
        .name
        .as_str()
        != "silent"
    {
        assert!(since.elapsed() < Duration::from_secs(2), "kept what is old");
        sleep(Duration::from_millis(5)).await;
    }
    sleep(Duration::from_secs(1)).await;
    let changes = FileChanges {
        name: Some(FileName::clean("loud")),
        ..FileChanges::default()
    };
    own.files().update(&id, 1, changes).await.unwrap().unwrap();
    let since = Instant::now();
    while replica
        .files
        .find(&id)
        .await
        .unwrap()
        .unwrap()
        .name
        .as_str()
        != "loud"
    {
        assert!(since.elapsed() < Duration::from_secs(1), "does not listen");
        sleep(Duration::from_millis(5)).await;
    }
}
