//! Appending to a file in batches: few hops to the blocking pool, little memory.

use std::{
    io::{self, IoSlice},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use cloakroom_application::ports::StoreError;
use rustix::{fd::OwnedFd, io::Errno};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use super::{
    failpoint::Step,
    root::{Root, settled},
    unflushed::Unflushed,
};
use crate::stores::budget::Pool;

/// What a writer may hold without asking, in bytes.
const SMALL_BATCH: usize = 32 * 1024;

/// What it holds if the budget allows, in bytes. One batch fills while one is being written.
const LARGE_BATCH: u32 = 1024 * 1024;

/// Chunks below this are copied together, to pieces of this size: a short slice may keep a long buffer alive.
const COPY_BELOW: usize = 16 * 1024;

/// The least patience for a batch or a flush, in seconds; a busy disk may take long over the flushes of many.
const PATIENCE_S: u64 = 60;

/// What a disk is expected to take at the very least, in bytes per second.
const SLOWEST: u64 = 512 * 1024;

/// The most pieces that one `writev` takes (`IOV_MAX`).
const MAX_PIECES: usize = 1024;

/// How long work on so many bytes may take.
pub(super) fn patience(bytes: u64) -> Duration {
    Duration::from_secs(PATIENCE_S + bytes / SLOWEST)
}

/// Appends the pieces to the file. Blocks.
pub(super) fn write_all(
    root: &Root,
    file: &OwnedFd,
    pieces: &[Bytes],
    unflushed: &mut Unflushed,
) -> io::Result<()> {
    root.failpoints.meet(Step::Write)?;
    let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut left = &mut slices[..];
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        let some = &left[..left.len().min(MAX_PIECES)];
        match rustix::io::writev(file, some) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
    unflushed.grow(file, bytes)
}

/// A file that grows at its end.
pub(super) trait Appending: Sized + Send + 'static {
    /// Appends the pieces; after an error the file is lost to its writer. Blocks.
    fn append(self, pieces: &[Bytes]) -> Result<Self, StoreError>;
}

type Opener<F> = Box<dyn FnOnce() -> Result<F, StoreError> + Send>;

/// A file as it stands when nothing is under way.
pub(super) enum Output<F> {
    /// It comes into being with the first batch.
    Unopened(Opener<F>),
    Open(F),
}

impl<F> Output<F> {
    fn open(self) -> Result<F, StoreError> {
        match self {
            Self::Unopened(opener) => opener(),
            Self::Open(file) => Ok(file),
        }
    }
}

enum State<F> {
    Idle(Output<F>),
    /// A batch is being written.
    Busy(JoinHandle<Result<F, StoreError>>),
    /// Something went wrong, or the file was taken; nothing will be written any more.
    Over,
}

#[derive(Default)]
struct Batch {
    pieces: Vec<Bytes>,
    /// Small chunks, copied together.
    tail: BytesMut,
    len: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl Batch {
    fn push(&mut self, mut data: Bytes) {
        self.len += data.len();
        if data.len() >= COPY_BELOW {
            self.seal();
            self.pieces.push(data);
            return;
        }
        while !data.is_empty() {
            if self.tail.capacity() == 0 {
                self.tail = BytesMut::with_capacity(COPY_BELOW);
            }
            let fits = data.len().min(COPY_BELOW - self.tail.len());
            self.tail.extend_from_slice(&data.split_to(fits));
            if self.tail.len() == COPY_BELOW {
                self.seal();
            }
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(std::mem::take(&mut self.tail).freeze());
        }
    }

    /// Whether the batch is as large as it may get. Where many write it is small: the disk is busy anyway.
    fn is_full(&mut self, budget: &Pool, hands: &Semaphore) -> bool {
        if self.len < SMALL_BATCH {
            return false;
        }
        if self.permit.is_none() && hands.available_permits() > 0 {
            let budget = Arc::clone(&budget.free);
            self.permit = budget.try_acquire_many_owned(LARGE_BATCH).ok();
        }
        self.permit.is_none() || self.len >= LARGE_BATCH as usize
    }
}

/// A file and the batch that will be appended to it next.
pub(super) struct Batches<F> {
    root: Arc<Root>,
    budget: Pool,
    batch: Batch,
    state: State<F>,
    /// Bytes in the batches before.
    written: u64,
}

impl<F: Appending> Batches<F> {
    pub(super) fn new(
        root: Arc<Root>,
        budget: Pool,
        opener: impl FnOnce() -> Result<F, StoreError> + Send + 'static,
    ) -> Self {
        Self {
            root,
            budget,
            batch: Batch::default(),
            state: State::Idle(Output::Unopened(Box::new(opener))),
            written: 0,
        }
    }

    /// Bytes taken so far.
    pub(super) fn len(&self) -> u64 {
        self.written + self.batch.len as u64
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Takes the next bytes, and writes the batch if it is full.
    pub(super) async fn push(&mut self, data: Bytes) -> Result<(), StoreError> {
        if self.is_over() {
            return Err(failed_before());
        }
        self.batch.push(data);
        if self.batch.is_full(&self.budget, &self.root.hands) {
            self.flush().await?;
        }
        Ok(())
    }

    /// The file as it stands once nothing is under way. It is the caller's then.
    pub(super) async fn settle(&mut self) -> Result<Output<F>, StoreError> {
        if let State::Busy(work) = &mut self.state {
            // The work stays where it is while it is waited for: this future may be dropped.
            let outcome = settled(patience(0), work).await;
            self.state = State::Over;
            return outcome.map(Output::Open);
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Idle(output) => Ok(output),
            State::Busy(_) | State::Over => Err(failed_before()),
        }
    }

    /// Gives back what [`Batches::drain`] took.
    pub(super) fn restore(&mut self, file: F) {
        self.state = State::Idle(Output::Open(file));
    }

    /// Writes all that was taken, and does something last with the file, which is the caller's then.
    pub(super) async fn drain<T: Send + 'static>(
        &mut self,
        last: impl FnOnce(F) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let hand = self.hand().await?;
        let output = self.settle().await?;
        let patience = patience(self.len());
        let mut batch = self.take_batch();
        let mut work = spawn_blocking(move || {
            let _hand = hand;
            batch.seal();
            let file = output.open()?.append(&batch.pieces)?;
            drop(batch);
            last(file)
        });
        settled(patience, &mut work).await
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        let hand = self.hand().await?;
        let output = self.settle().await?;
        let mut batch = self.take_batch();
        let ahead = batch.permit.is_some();
        self.state = State::Busy(spawn_blocking(move || {
            let _hand = hand;
            batch.seal();
            output.open()?.append(&batch.pieces)
        }));
        if !ahead {
            self.state = State::Idle(self.settle().await?);
        }
        Ok(())
    }

    /// One of those who may be writing. It is asked for before the batch is taken, for this future may be dropped.
    async fn hand(&mut self) -> Result<OwnedSemaphorePermit, StoreError> {
        let hand = timeout(patience(0), Arc::clone(&self.root.hands).acquire_owned()).await;
        let hand = match hand {
            Ok(hand) => hand.map_err(|closed| StoreError::Broken(closed.into())),
            Err(late) => Err(StoreError::Unavailable(late.into())),
        };
        if hand.is_err() {
            self.state = State::Over;
        }
        hand
    }

    fn take_batch(&mut self) -> Batch {
        let batch = std::mem::take(&mut self.batch);
        self.written += batch.len as u64;
        batch
    }
}

pub(super) fn failed_before() -> StoreError {
    StoreError::Refused("this write has failed before".into())
}
