//! Writing to a file in batches: few hops to the blocking pool, little memory.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use cloakroom_application::ports::{ObjectWriter, StoreError};
use tokio::{
    sync::OwnedSemaphorePermit,
    task::{JoinHandle, spawn_blocking},
};

use super::{
    layout::Address,
    root::{Root, settled},
    temp::Temp,
};
use crate::stores::budget::Pool;

/// What a writer may hold without asking, in bytes.
const SMALL_BATCH: usize = 64 * 1024;

/// What it holds if the budget allows, in bytes. One batch fills while one is being written.
const LARGE_BATCH: u32 = 1024 * 1024;

/// Chunks below this are copied together: a short slice may keep a long buffer alive.
const COPY_BELOW: usize = 16 * 1024;

/// The least patience for a batch or a flush, in seconds; a busy disk may take long over the flushes of many.
const PATIENCE_S: u64 = 60;

/// What a disk is expected to take at the very least, in bytes per second.
const SLOWEST: u64 = 512 * 1024;

/// A writer to a file that comes into being with the first batch.
pub(super) struct FsWriter {
    root: Arc<Root>,
    address: Arc<Address>,
    budget: Pool,
    batch: Batch,
    state: State,
    written: u64,
}

enum State {
    /// No file yet.
    Fresh,
    Open(Temp),
    /// A batch is being written.
    Busy(JoinHandle<Result<Temp, StoreError>>),
    /// Something went wrong, and nothing will go right again.
    Failed,
}

#[derive(Default)]
struct Batch {
    pieces: Vec<Bytes>,
    tail: BytesMut,
    len: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl Batch {
    fn push(&mut self, data: Bytes) {
        self.len += data.len();
        if data.len() < COPY_BELOW {
            self.tail.extend_from_slice(&data);
        } else {
            self.seal();
            self.pieces.push(data);
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(self.tail.split().freeze());
        }
    }

    /// Whether the batch is as large as it may get.
    fn is_full(&mut self, budget: &Pool) -> bool {
        if self.len < SMALL_BATCH {
            return false;
        }
        if self.permit.is_none() {
            let budget = Arc::clone(&budget.free);
            self.permit = budget.try_acquire_many_owned(LARGE_BATCH).ok();
        }
        self.permit.is_none() || self.len >= LARGE_BATCH as usize
    }
}

impl FsWriter {
    pub(super) fn new(root: Arc<Root>, address: Address, budget: Pool) -> Self {
        Self {
            root,
            address: Arc::new(address),
            budget,
            batch: Batch::default(),
            state: State::Fresh,
            written: 0,
        }
    }

    /// The file as it stands once nothing is under way; `None` if there is none yet.
    async fn settle(&mut self) -> Result<Option<Temp>, StoreError> {
        if let State::Busy(work) = &mut self.state {
            // The work stays where it is while it is waited for: this future may be dropped.
            let outcome = settled(Duration::from_secs(PATIENCE_S), work).await;
            self.state = State::Failed;
            return outcome.map(Some);
        }
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Fresh => Ok(None),
            State::Open(temp) => Ok(Some(temp)),
            State::Busy(_) | State::Failed => {
                Err(StoreError::Refused("this write has failed before".into()))
            }
        }
    }

    async fn flush_batch(&mut self) -> Result<(), StoreError> {
        let temp = self.settle().await?;
        let (root, address) = (Arc::clone(&self.root), Arc::clone(&self.address));
        let mut batch = std::mem::take(&mut self.batch);
        self.written += batch.len as u64;
        let ahead = batch.permit.is_some();
        self.state = State::Busy(spawn_blocking(move || {
            batch.seal();
            open(temp, root, address)?.append(&batch.pieces)
        }));
        if !ahead && let Some(temp) = self.settle().await? {
            self.state = State::Open(temp);
        }
        Ok(())
    }
}

#[async_trait]
impl ObjectWriter for FsWriter {
    async fn write(&mut self, data: Bytes) -> Result<(), StoreError> {
        if matches!(self.state, State::Failed) {
            return Err(StoreError::Refused("this write has failed before".into()));
        }
        self.batch.push(data);
        if self.batch.is_full(&self.budget) {
            self.flush_batch().await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        let temp = self.settle().await?;
        let (root, address) = (Arc::clone(&self.root), Arc::clone(&self.address));
        let mut batch = std::mem::take(&mut self.batch);
        let bytes = self.written + batch.len as u64;
        let patience = Duration::from_secs(PATIENCE_S + bytes / SLOWEST);
        let mut work = spawn_blocking(move || {
            batch.seal();
            let temp = open(temp, root, address)?.append(&batch.pieces)?;
            drop(batch);
            temp.publish()
        });
        settled(patience, &mut work).await
    }

    async fn abort(mut self: Box<Self>) -> Result<(), StoreError> {
        let temp = match self.settle().await {
            Ok(Some(temp)) => temp,
            Err(unknown @ StoreError::Unavailable(_)) => return Err(unknown),
            // There was no file yet, or the failure has removed it.
            Ok(None) | Err(_) => return Ok(()),
        };
        let mut work = spawn_blocking(move || temp.discard());
        settled(Duration::from_secs(PATIENCE_S), &mut work).await
    }
}

fn open(temp: Option<Temp>, root: Arc<Root>, address: Arc<Address>) -> Result<Temp, StoreError> {
    temp.map_or_else(|| Temp::create(root, address), Ok)
}
