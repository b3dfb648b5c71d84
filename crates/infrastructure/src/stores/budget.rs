//! Memory for bodies on their way, shared by every store of the process.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::sync::Semaphore;

const MIB: u32 = 1024 * 1024;

/// Memory for large chunks of bodies being read, in bytes. Clones share it.
///
/// A reader that gets none of it goes on in small chunks.
#[derive(Debug, Clone)]
pub struct ReadBudget(pub(super) Arc<Semaphore>);

impl ReadBudget {
    /// A budget of that many bytes; 0 leaves every reader at small chunks.
    #[must_use]
    pub fn new(bytes: u32) -> Self {
        Self(Arc::new(Semaphore::new(bytes as usize)))
    }
}

impl Default for ReadBudget {
    /// 64 MiB.
    fn default() -> Self {
        Self::new(64 * MIB)
    }
}

/// Memory for bodies being written, in bytes. Clones share it.
///
/// Writers to a folder take large batches from it and do with small ones when there is none. Writers to S3
/// wait for their part buffers.
#[derive(Debug, Clone)]
pub struct WriteBudget {
    /// For the first stretch of a body.
    pub(super) starts: Pool,
    /// For whole parts and batches.
    pub(super) parts: Pool,
}

/// A semaphore that counts bytes.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    pub(super) free: Arc<Semaphore>,
    pub(super) size: u32,
    pub(super) waiters: Arc<Waiters>,
}

/// Writers that wait for memory, and for whom nobody has given way yet.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    next: AtomicU64,
    asking: Mutex<VecDeque<u64>>,
}

impl Waiters {
    /// A new one, who asks.
    pub(super) fn enter(&self) -> u64 {
        let waiter = self.next.fetch_add(1, Relaxed);
        self.asking().push_back(waiter);
        waiter
    }

    /// Somebody gave way, and it was not enough.
    pub(super) fn ask_again(&self, waiter: u64) {
        let mut asking = self.asking();
        if !asking.contains(&waiter) {
            asking.push_back(waiter);
        }
    }

    pub(super) fn leave(&self, waiter: u64) {
        self.asking().retain(|other| *other != waiter);
    }

    /// Gives way to whoever has asked longest. `false`: nobody asks.
    pub(super) fn give_way(&self) -> bool {
        self.asking().pop_front().is_some()
    }

    fn asking(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    fn new(size: u32) -> Self {
        Self {
            free: Arc::new(Semaphore::new(size as usize)),
            size,
            waiters: Arc::default(),
        }
    }
}

impl WriteBudget {
    /// The least that S3 can work with, in bytes.
    pub const MIN: u32 = 24 * MIB;

    /// A budget of that many bytes, or of [`WriteBudget::MIN`] if that is more.
    #[must_use]
    pub fn new(bytes: u32) -> Self {
        let bytes = bytes.max(Self::MIN);
        let starts = bytes / 4;
        Self {
            starts: Pool::new(starts),
            parts: Pool::new(bytes - starts),
        }
    }
}

impl Default for WriteBudget {
    /// 48 MiB.
    fn default() -> Self {
        Self::new(48 * MIB)
    }
}
