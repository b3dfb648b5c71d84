//! Bringing the schema up to date. Several processes may try at once; one does it, under a lock.

use std::time::Duration;

use cloakroom_application::ports::RepositoryError;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, migrate::Migrator};
use tokio::time::timeout;

use super::{
    Backend, Database,
    error::{Cut, Stake, broken},
    session::args,
    sql::sql,
};

/// How long migrating may take, waiting for another process that does it included.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(15 * 60);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// How the schema in the database stands to the one this binary was built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    /// Every migration of this binary has run; a newer binary's may have, too.
    Current,
    /// So many migrations have not run.
    Pending(usize),
    /// No migration has run, and a table `files` of another application is where ours would be.
    Occupied,
}

/// A schema from a newer binary is fine: migrations only add until nothing uses what they replace.
fn migrations(backend: &Backend) -> Migrator {
    let mut migrator = match backend {
        Backend::Postgres { .. } => sqlx::migrate!("../../migrations/postgres"),
        Backend::Sqlite { .. } => sqlx::migrate!("../../migrations/sqlite"),
    };
    migrator.set_ignore_missing(true);
    migrator
}

impl Database {
    /// Runs the migrations that have not run. Doing it twice, or in several processes at once, is the same as once.
    ///
    /// # Errors
    /// The database cannot be reached, or a migration failed; what had run before it stays.
    pub async fn migrate(&self) -> Result<(), RepositoryError> {
        let migrator = migrations(&self.backend);
        let work = async {
            match &self.backend {
                Backend::Postgres {
                    migration, schema, ..
                } => {
                    // sqlx takes an advisory lock of the database; a connection that ends gives it up.
                    let mut connection = timeout(CONNECT_TIMEOUT, migration.connect())
                        .await
                        .map_err(|_| Cut::TimedOut.into_repository(Stake::Nothing))?
                        .map_err(of_driver)?;
                    if let Some(schema) = schema {
                        make_schema(&mut connection, schema).await?;
                    }
                    migrator
                        .run_direct(None, &mut connection, false)
                        .await
                        .map_err(|error| RepositoryError::Failed(error.into()))?;
                    connection.close().await.map_err(of_driver)
                }
                Backend::Sqlite { migration, .. } => {
                    let mut connection = migration.connect().await.map_err(of_driver)?;
                    let mut transaction = connection
                        .begin_with("BEGIN IMMEDIATE")
                        .await
                        .map_err(of_driver)?;
                    migrator
                        .run_direct(None, &mut *transaction, false)
                        .await
                        .map_err(|error| RepositoryError::Failed(error.into()))?;
                    transaction.commit().await.map_err(of_driver)?;
                    connection.close().await.map_err(of_driver)
                }
            }
        };
        timeout(MIGRATION_TIMEOUT, work)
            .await
            .unwrap_or_else(|_| Err(Cut::TimedOut.into_repository(Stake::Change)))
    }

    /// Compares the schema with the migrations of this binary.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn schema_state(&self) -> Result<SchemaState, RepositoryError> {
        let mut session = self.reader().await?;
        // In this order: whoever migrates meanwhile makes the table of migrations first.
        let (files,): (i64,) = session.one(sql!(FILES_TABLE), args![]).await?;
        let (tables,): (i64,) = session.one(sql!(MIGRATIONS_TABLE), args![]).await?;
        let applied: Vec<(i64,)> = if tables == 0 {
            if files > 0 {
                return Ok(SchemaState::Occupied);
            }
            Vec::new()
        } else {
            let applied = sql!("SELECT version FROM _sqlx_migrations WHERE success");
            session.all(applied, args![]).await?
        };
        let pending = migrations(&self.backend)
            .iter()
            .filter(|migration| !applied.contains(&(migration.version,)))
            .count();
        Ok(match pending {
            0 => SchemaState::Current,
            some => SchemaState::Pending(some),
        })
    }
}

/// Makes the schema unless it is there. Whoever may not make one may still use one.
async fn make_schema(connection: &mut PgConnection, schema: &str) -> Result<(), RepositoryError> {
    let is_there = async |connection: &mut PgConnection| {
        let there = sqlx::query_scalar("SELECT to_regnamespace($1) IS NOT NULL").bind(schema);
        there.fetch_one(connection).await.map_err(of_driver)
    };
    if is_there(connection).await? {
        return Ok(());
    }
    let create = format!("CREATE SCHEMA \"{schema}\"");
    let made = connection.execute(AssertSqlSafe(create)).await;
    match made {
        Ok(_) => Ok(()),
        // Another process may have been faster.
        Err(_) if is_there(connection).await? => Ok(()),
        Err(error) => Err(of_driver(error)),
    }
}

fn of_driver(error: sqlx::Error) -> RepositoryError {
    match error {
        sqlx::Error::Migrate(_) => broken("a migration failed"),
        error => Cut::Driver(error).into_repository(Stake::Nothing),
    }
}
