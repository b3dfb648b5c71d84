//! Connections kept open.
//!
//! A connection goes back only from a state that is known to be clean. One whose statement was cut short, by a
//! time-out or by a caller that left, is dropped: closing it ends its transaction, and nothing waits for a server
//! that may never answer. The pool of sqlx would ask such a connection for a sign of life, without a limit.

#[cfg(test)]
mod tests;

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{ConnectOptions, Connection, Database};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

use super::error::Cut;

/// How long an operation waits for a free connection, if none of those in use comes back.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long it waits at most while connections do come back: the server is slow, but it works through the queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections came back so lately that the server is said to work.
const PROGRESS: Duration = Duration::from_secs(2);
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
    shelf: Arc<Mutex<Shelf<DB>>>,
}

/// The connections that nobody uses.
struct Shelf<DB: Database> {
    idle: Vec<Kept<DB>>,
    /// When one last came back.
    returned: Option<Instant>,
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
            shelf: Arc::new(Mutex::new(Shelf {
                idle: Vec::new(),
                returned: None,
            })),
        }
    }

    /// How its connections are opened.
    pub(super) fn options(&self) -> &Options<DB> {
        &self.options
    }

    /// A connection for an operation of at most `limit`, and when that must end. Waiting counts, unless others were
    /// served meanwhile: a queue that moves is no failure.
    pub(super) async fn acquire(&self, limit: Duration) -> Result<(Lease<DB>, Instant), Cut> {
        let asked = Instant::now();
        let permit = self.wait(asked).await?;
        let deadline = if self.moves() {
            Instant::now() + limit
        } else {
            asked + limit
        };
        let (connection, opened) = match self.reuse().await {
            Some(kept) => (kept.connection, kept.opened),
            None => (self.open(deadline).await?, Instant::now()),
        };
        let lease = Lease {
            connection: Some(connection),
            opened,
            clean: true,
            shelf: self.shelf.clone(),
            _permit: permit,
        };
        Ok((lease, deadline))
    }

    /// Waits for a connection to be free, in the order of asking.
    async fn wait(&self, asked: Instant) -> Result<OwnedSemaphorePermit, Cut> {
        let mut permit = pin!(self.permits.clone().acquire_owned());
        let mut until = asked + ACQUIRE_TIMEOUT;
        loop {
            if let Ok(permit) = timeout_at(until, &mut permit).await {
                return permit.map_err(|_| Cut::Closed);
            }
            if !self.moves() || asked.elapsed() > QUEUE_TIMEOUT {
                return Err(Cut::TimedOut);
            }
            until = Instant::now() + PROGRESS / 4;
        }
    }

    fn moves(&self) -> bool {
        let returned = lock(&self.shelf).returned;
        returned.is_some_and(|returned| returned.elapsed() < PROGRESS)
    }

    async fn reuse(&self) -> Option<Kept<DB>> {
        let mut kept = lock(&self.shelf).idle.pop()?;
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
        lock(&self.shelf).idle.clear();
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
        let idle = std::mem::take(&mut lock(&self.shelf).idle);
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
    shelf: Arc<Mutex<Shelf<DB>>>,
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
        lock(&self.shelf).idle.clear();
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
        let mut shelf = lock(&self.shelf);
        shelf.returned = Some(now);
        shelf
            .idle
            .retain(|kept| now.duration_since(kept.since) < MAX_IDLE);
        shelf.idle.push(Kept {
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
