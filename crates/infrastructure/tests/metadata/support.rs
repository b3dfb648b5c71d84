//! Databases of their own for tests, and the contract's fixture over them.

use std::{env, sync::Arc, time::Duration};

use async_trait::async_trait;
use cloakroom_application::{
    ports::{
        BucketRepository, ClaimRepository, FileImport, FileRepository, LinkRepository,
        MigrationRepository, NewPiece, ReconcileRepository, ScrubRepository, SealLedger,
        SecretRepository, StoreRegistry, TokenRepository, UploadRepository, VersionLedger,
    },
    testkit::metadata::contract::{
        Fixture, objects::ObjectsFixture, scrubbing::ScrubFixture, sharing::SharingFixture,
    },
};
use cloakroom_domain::{ObjectKey, VersionId};
use cloakroom_infrastructure::metadata::{Database, DatabaseOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;

/// A migrated database that nobody else uses.
pub(crate) struct OwnDatabase {
    pub(crate) database: Arc<Database>,
    pub(crate) url: String,
    folder: Option<TempDir>,
}

/// The address of PostgreSQL's administrator, from the environment of the test run.
pub(crate) fn postgres_url() -> String {
    env::var("CLOAKROOM_TEST_POSTGRES").unwrap_or_else(|_| {
        panic!("CLOAKROOM_TEST_POSTGRES is not set: run `make test`, which starts PostgreSQL")
    })
}

/// Makes an empty database and answers its address.
pub(crate) async fn empty_postgres() -> String {
    let admin = postgres_url();
    let name = format!("cloakroom_{}", uuid::Uuid::new_v4().simple());
    let mut connection = PgConnection::connect(&admin).await.unwrap();
    let create = format!("CREATE DATABASE {name}");
    connection.execute(AssertSqlSafe(create)).await.unwrap();
    connection.close().await.unwrap();
    let (server, _) = admin.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

pub(crate) async fn postgres() -> OwnDatabase {
    let url = empty_postgres().await;
    let options = DatabaseOptions {
        pool_size: 8,
        ..DatabaseOptions::default()
    };
    let database = Database::connect(&url, &options).unwrap();
    database.migrate().await.unwrap();
    OwnDatabase {
        database: Arc::new(database),
        url,
        folder: None,
    }
}

pub(crate) async fn sqlite() -> OwnDatabase {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/db.sqlite?mode=rwc", folder.path().display());
    let database = Database::connect(&url, &DatabaseOptions::default()).unwrap();
    database.migrate().await.unwrap();
    OwnDatabase {
        database: Arc::new(database),
        url,
        folder: Some(folder),
    }
}

impl OwnDatabase {
    /// In PostgreSQL, without its tables.
    pub(crate) fn at(url: &str, options: &DatabaseOptions) -> Self {
        Self {
            database: Arc::new(Database::connect(url, options).unwrap()),
            url: url.to_owned(),
            folder: None,
        }
    }

    /// Runs statements beside the adapter.
    pub(crate) async fn script(&self, sql: String) {
        if self.folder.is_some() {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            connection.execute(AssertSqlSafe(sql)).await.unwrap();
            connection.close().await.unwrap();
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            connection.execute(AssertSqlSafe(sql)).await.unwrap();
            connection.close().await.unwrap();
        }
    }
}

#[async_trait]
impl Fixture for OwnDatabase {
    fn files(&self) -> Arc<dyn FileRepository> {
        self.database.clone()
    }

    fn ledger(&self) -> Arc<dyn VersionLedger> {
        self.database.clone()
    }

    fn uploads(&self) -> Arc<dyn UploadRepository> {
        self.database.clone()
    }

    fn tokens(&self) -> Arc<dyn TokenRepository> {
        self.database.clone()
    }

    fn imports(&self) -> Arc<dyn FileImport> {
        self.database.clone()
    }

    fn stores(&self) -> Arc<dyn StoreRegistry> {
        self.database.clone()
    }

    fn migrations(&self) -> Arc<dyn MigrationRepository> {
        self.database.clone()
    }

    fn seals(&self) -> Arc<dyn SealLedger> {
        self.database.clone()
    }

    async fn pass(&self, time: Duration) {
        let age = time.as_micros();
        self.script(format!(
            "UPDATE file_versions SET touched_at = touched_at - {age}, delete_after = delete_after - {age}; \
             UPDATE idempotency_keys SET locked_until = locked_until - {age}, expires_at = expires_at - {age}; \
             UPDATE uploads SET created_at = created_at - {age}, touched_at = touched_at - {age}, expires_at = \
             expires_at - {age}; UPDATE migrations SET held_until = held_until - {age};"
        ))
        .await;
    }
}

#[async_trait]
impl SharingFixture for OwnDatabase {
    fn links(&self) -> Arc<dyn LinkRepository> {
        self.database.clone()
    }

    fn secrets(&self) -> Arc<dyn SecretRepository> {
        self.database.clone()
    }

    fn claims(&self) -> Arc<dyn ClaimRepository> {
        self.database.clone()
    }

    fn runs(&self) -> Arc<dyn ReconcileRepository> {
        self.database.clone()
    }

    async fn elapse(&self, time: Duration) {
        let age = time.as_micros();
        self.script(format!(
            "UPDATE files SET created_at = created_at - {age}, claim_by = claim_by - {age}; \
             UPDATE links SET last_used_at = last_used_at - {age}, created_at = created_at - {age}, expires_at = \
             expires_at - {age}; UPDATE reconciliations SET made_before = made_before - {age}, expires_at = \
             expires_at - {age};"
        ))
        .await;
    }
}

#[async_trait]
impl ScrubFixture for OwnDatabase {
    fn scrub(&self) -> Arc<dyn ScrubRepository> {
        self.database.clone()
    }

    async fn idle(&self, time: Duration) {
        let age = time.as_micros();
        self.script(format!(
            "UPDATE scrub SET started_at = started_at - {age}, completed_at = completed_at - {age}, held_until = \
             held_until - {age};"
        ))
        .await;
    }
}

#[async_trait]
impl ObjectsFixture for OwnDatabase {
    fn buckets(&self) -> Arc<dyn BucketRepository> {
        self.database.clone()
    }
}

/// A piece of an upload that is stored as it is.
pub(crate) fn plain_piece(key: ObjectKey) -> NewPiece {
    NewPiece {
        version: VersionId::random(),
        key,
        seal: None,
    }
}
