//! PostgreSQL and SQLite behind the metadata ports.
//!
//! [`Database`] is the one adapter: the same statements run on both, and what differs is a named piece of SQL.
//! Every operation ends within four seconds, whatever the server does, and a caller that leaves in the middle
//! leaves nothing open behind it. While a server answers, but slowly, callers queue for up to half a minute more.

mod buckets;
mod changes;
mod claims;
mod commit;
mod error;
mod files;
mod import;
mod ledger;
mod links;
mod list;
mod migrations;
mod objects;
#[cfg(test)]
mod plans;
mod pneumatic;
mod pool;
mod reconcile;
mod registry;
mod revocations;
mod rows;
mod schema;
mod scrub;
mod seals;
mod session;
mod sql;
mod tokens;
mod unclaimed;
mod uploads;

use std::{
    fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use cloakroom_application::ports::RepositoryError;
use rustix::fs::{FlockOperation, flock};
use sqlx::{
    ConnectOptions, Postgres, Sqlite,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

pub use changes::follow_changes;
pub use pneumatic::PneumaticFiles;
pub use schema::SchemaState;

use error::Stake;
use pool::Pool;
use session::{Link, OPERATION_TIMEOUT, Session};

/// How many connections read a SQLite file at once.
const SQLITE_READERS: u32 = 4;
/// One in so many connections to PostgreSQL is kept for reads, which must not wait for changes that wait for a disk.
const READERS: u32 = 4;
/// How long SQLite waits for a lock that another process holds.
const SQLITE_BUSY: Duration = Duration::from_secs(3);
/// How long a migration waits for another process that migrates.
const SQLITE_MIGRATION_BUSY: Duration = Duration::from_secs(60);

/// How to use a database.
#[derive(Debug, Clone)]
pub struct DatabaseOptions {
    /// At most so many connections to PostgreSQL, 2 at least, a quarter of them for reads alone; one more listens for
    /// changes. SQLite has its own few.
    pub pool_size: u32,
    /// Be the only one that serves a SQLite file. Commands that run beside the service do without.
    /// PostgreSQL is shared by replicas, so it has no meaning there.
    pub exclusive: bool,
    /// The schema of PostgreSQL that the tables are in: a plain lower-case name. `None` leaves it to the search path.
    /// It has no meaning for SQLite.
    pub schema: Option<String>,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self {
            pool_size: 16,
            exclusive: false,
            schema: None,
        }
    }
}

/// Why a database was not opened. No text holds the address, which may have a password in it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is not one of a database that is known here.
    #[error("not an address of PostgreSQL (postgres://…) or of a SQLite file (sqlite://…)")]
    Address,
    /// Another process serves the SQLite file.
    #[error("another service uses this database: {0} is locked")]
    InUse(PathBuf),
    /// The lock beside the SQLite file cannot be taken.
    #[error("the lock {0} cannot be taken")]
    Lock(PathBuf, #[source] std::io::Error),
}

/// The metadata ports over PostgreSQL or SQLite.
pub struct Database {
    backend: Backend,
    /// Held for as long as the database is open; the system gives it up with the process.
    _exclusive: Option<fs::File>,
}

enum Backend {
    Postgres {
        readers: Pool<Postgres>,
        writers: Pool<Postgres>,
        /// Without limits of time on statements.
        migration: Box<PgConnectOptions>,
        /// Made before the first migration, where it is not the search path's.
        schema: Option<String>,
    },
    Sqlite {
        readers: Pool<Sqlite>,
        writer: Pool<Sqlite>,
        migration: Box<SqliteConnectOptions>,
    },
}

impl Database {
    /// Opens the database at a `postgres://` or `sqlite://` address. A SQLite file that does not exist is made
    /// when first used; connections are opened as they are needed.
    ///
    /// # Errors
    /// The address cannot be read, or another process serves the SQLite file.
    pub fn connect(url: &str, options: &DatabaseOptions) -> Result<Self, OpenError> {
        let scheme = url.split(':').next().unwrap_or_default();
        match scheme {
            "postgres" | "postgresql" => Self::postgres(url, options),
            "sqlite" => Self::sqlite(url, options),
            _ => Err(OpenError::Address),
        }
    }

    fn postgres(url: &str, options: &DatabaseOptions) -> Result<Self, OpenError> {
        let mut base = PgConnectOptions::from_str(url)
            .map_err(|_| OpenError::Address)?
            .application_name("cloakroom")
            .disable_statement_logging();
        if let Some(schema) = &options.schema {
            base = base.options([("search_path", schema)]);
        }
        // Shorter than an operation, so that the server gives up first and the connection stays of use.
        let bounded = base.clone().options([
            ("statement_timeout", "3500"),
            ("lock_timeout", "3000"),
            ("idle_in_transaction_session_timeout", "8000"),
            ("tcp_keepalives_idle", "15"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "3"),
        ]);
        let readers = options.pool_size.div_ceil(READERS).max(1);
        let writers = options.pool_size.saturating_sub(readers).max(1);
        Ok(Self {
            backend: Backend::Postgres {
                readers: Pool::new(bounded.clone(), readers),
                writers: Pool::new(bounded, writers),
                migration: Box::new(base),
                schema: options.schema.clone(),
            },
            _exclusive: None,
        })
    }

    fn sqlite(url: &str, options: &DatabaseOptions) -> Result<Self, OpenError> {
        let base = SqliteConnectOptions::from_str(url).map_err(|_| OpenError::Address)?;
        let path = base.get_filename().to_path_buf();
        if url.contains(":memory:") || url.contains("mode=memory") || path.as_os_str().is_empty() {
            return Err(OpenError::Address);
        }
        let exclusive = options.exclusive.then(|| lock(&path)).transpose()?;
        make_private(&path);
        let base = base
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(SQLITE_BUSY)
            .disable_statement_logging();
        Ok(Self {
            backend: Backend::Sqlite {
                readers: Pool::new(base.clone(), SQLITE_READERS),
                writer: Pool::new(base.clone(), 1),
                migration: Box::new(base.busy_timeout(SQLITE_MIGRATION_BUSY)),
            },
            _exclusive: exclusive,
        })
    }

    /// Lets operations under way end, for a few seconds at most, and closes every connection.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Postgres {
                readers, writers, ..
            } => {
                readers.close(OPERATION_TIMEOUT).await;
                writers.close(OPERATION_TIMEOUT).await;
            }
            Backend::Sqlite {
                readers, writer, ..
            } => {
                readers.close(OPERATION_TIMEOUT).await;
                writer.close(OPERATION_TIMEOUT).await;
            }
        }
    }

    /// A connection to read with.
    async fn reader(&self) -> Result<Session, RepositoryError> {
        self.session(false, OPERATION_TIMEOUT, Stake::Nothing).await
    }

    /// A connection for a change that is one statement.
    async fn writer(&self) -> Result<Session, RepositoryError> {
        self.session(true, OPERATION_TIMEOUT, Stake::Change).await
    }

    /// A transaction for a change of several statements.
    async fn transaction(&self) -> Result<Session, RepositoryError> {
        let mut session = self
            .session(true, OPERATION_TIMEOUT, Stake::Nothing)
            .await?;
        session.begin().await?;
        Ok(session)
    }

    async fn session(
        &self,
        write: bool,
        limit: Duration,
        stake: Stake,
    ) -> Result<Session, RepositoryError> {
        let link = match &self.backend {
            Backend::Postgres {
                readers, writers, ..
            } => {
                let pool = if write { writers } else { readers };
                let lease = pool.acquire(limit).await;
                lease.map(|(lease, deadline)| (Link::Postgres(lease), deadline))
            }
            Backend::Sqlite {
                readers, writer, ..
            } => {
                let pool = if write { writer } else { readers };
                let lease = pool.acquire(limit).await;
                lease.map(|(lease, deadline)| (Link::Sqlite(lease), deadline))
            }
        };
        let (link, deadline) = link.map_err(|cut| cut.into_repository(Stake::Nothing))?;
        Ok(Session::new(link, deadline, stake))
    }
}

/// Makes a new file before SQLite does, so that nobody else on the machine reads it. Those beside it take its mode.
fn make_private(path: &Path) {
    // What cannot be made is told by whoever opens it.
    let _ = fs::File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path);
}

fn lock(database: &Path) -> Result<fs::File, OpenError> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let file = fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| OpenError::Lock(path.clone(), error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse(path)),
        Err(error) => Err(OpenError::Lock(path, error.into())),
    }
}
