//! Connections kept open.
//!
//! A connection goes back only from a state that is known to be clean. One whose statement was cut short, by a
//! time-out or by a caller that left, is dropped: closing it ends its transaction, and nothing waits for a server
//! that may never answer. The pool of sqlx would ask such a connection for a sign of life, without a limit.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{ConnectOptions, Connection, Database};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

use super::error::Cut;

/// How long an operation waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection idle for longer is asked for a sign of life before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection idle for longer is closed when another comes back.
const MAX_IDLE: Duration = Duration::from_secs(300);
/// A connection older than this is not kept: caches of the server's side do not grow for ever.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);

type Options<DB> = <<DB as Database>::Connection as Connection>::Options;

pub(super) struct Pool<DB: Database> {
    options: Box<Options<DB>>,
    size: u32,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Kept<DB>>>>,
}

struct Kept<DB: Database> {
    connection: DB::Connection,
    opened: Instant,
    since: Instant,
}

impl<DB: Database> Pool<DB> {
    /// A pool of at most `size` connections; none is opened yet.
    pub(super) fn new(options: Options<DB>, size: u32) -> Self {
        Self {
            options: Box::new(options),
            size,
            permits: Arc::new(Semaphore::new(size as usize)),
            idle: Arc::default(),
        }
    }

    /// How its connections are opened.
    pub(super) fn options(&self) -> &Options<DB> {
        &self.options
    }

    pub(super) async fn acquire(&self, deadline: Instant) -> Result<Lease<DB>, Cut> {
        let patience = deadline.min(Instant::now() + ACQUIRE_TIMEOUT);
        let permit = timeout_at(patience, self.permits.clone().acquire_owned())
            .await
            .map_err(|_| Cut::TimedOut)?
            .map_err(|_| Cut::Closed)?;
        let (connection, opened) = match self.reuse().await {
            Some(kept) => (kept.connection, kept.opened),
            None => (self.open(deadline).await?, Instant::now()),
        };
        Ok(Lease {
            connection: Some(connection),
            opened,
            clean: true,
            idle: self.idle.clone(),
            _permit: permit,
        })
    }

    async fn reuse(&self) -> Option<Kept<DB>> {
        let mut kept = lock(&self.idle).pop()?;
        if kept.since.elapsed() < TRUSTED_IDLE {
            return Some(kept);
        }
        if matches!(
            timeout(PING_TIMEOUT, kept.connection.ping()).await,
            Ok(Ok(()))
        ) {
            return Some(kept);
        }
        // The others have been idle for longer, so they are gone as well.
        lock(&self.idle).clear();
        None
    }

    async fn open(&self, deadline: Instant) -> Result<DB::Connection, Cut> {
        let patience = deadline.min(Instant::now() + CONNECT_TIMEOUT);
        timeout_at(patience, self.options.connect())
            .await
            .map_err(|_| Cut::TimedOut)?
            .map_err(Cut::Driver)
    }

    /// Waits up to `patience` for connections in use, then closes what is there. Nothing is acquired afterwards.
    pub(super) async fn close(&self, patience: Duration) {
        // With every permit in hand, every connection is idle.
        let everyone = timeout(patience, self.permits.acquire_many(self.size)).await;
        self.permits.close();
        drop(everyone);
        let idle = std::mem::take(&mut *lock(&self.idle));
        for kept in idle {
            if let Ok(Err(error)) = timeout(PING_TIMEOUT, kept.connection.close()).await {
                tracing::debug!(%error, "a database connection did not close well");
            }
        }
    }
}

/// A connection in use. It goes back when dropped while clean, and is closed otherwise.
pub(super) struct Lease<DB: Database> {
    connection: Option<DB::Connection>,
    opened: Instant,
    clean: bool,
    idle: Arc<Mutex<Vec<Kept<DB>>>>,
    _permit: OwnedSemaphorePermit,
}

impl<DB: Database> Lease<DB> {
    /// The connection, from now on not clean.
    pub(super) fn take(&mut self) -> Result<&mut DB::Connection, Cut> {
        self.clean = false;
        self.connection.as_mut().ok_or(Cut::Closed)
    }

    /// Nothing is under way on the connection and no transaction is open.
    pub(super) const fn settle(&mut self) {
        self.clean = true;
    }

    /// The connection broke, so those that lie idle did too.
    pub(super) fn condemn(&mut self) {
        self.connection = None;
        lock(&self.idle).clear();
    }
}

impl<DB: Database> Drop for Lease<DB> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        if !self.clean || self.opened.elapsed() > MAX_AGE {
            return;
        }
        let now = Instant::now();
        let mut idle = lock(&self.idle);
        idle.retain(|kept| now.duration_since(kept.since) < MAX_IDLE);
        idle.push(Kept {
            connection,
            opened: self.opened,
            since: now,
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing inside can be left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
