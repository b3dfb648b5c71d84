//! Reading files: small ones in place where the page cache can answer, large ones in growing chunks.

use std::{
    future::Future,
    io::{self, IoSliceMut},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use cloakroom_application::ports::{LocalFile, Payload, StoreError};
use cloakroom_domain::ByteRange;
use futures_util::Stream;
use rustix::{
    buffer::spare_capacity,
    fd::OwnedFd,
    fs::{FileType, Mode, OFlags, ResolveFlags},
    io::{Errno, ReadWriteFlags},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::Timeout,
};

use super::root::{Root, blocking, trouble};

/// Bodies and chunks up to this many bytes are read in place if that needs no waiting.
const SMALL: u64 = 64 * 1024;

/// The first large chunk and the largest, in bytes.
const MEDIUM: u64 = 256 * 1024;
const LARGE: u64 = 1024 * 1024;

/// How long a disk may take to open a file and read its first bytes.
pub(super) const FIRST_BYTE: Duration = Duration::from_secs(9);

/// How long it may take over a further chunk.
const IDLE: Duration = Duration::from_secs(30);

/// Reads the file at `path`, or a stretch of it.
pub(super) async fn read(
    root: Arc<Root>,
    path: String,
    range: Option<ByteRange>,
    budget: Arc<Semaphore>,
) -> Result<Payload, StoreError> {
    // Opening what is cached needs no waiting. Whatever goes wrong with that is decided by opening it for good.
    let (file, size) = match open(&root, &path, ResolveFlags::CACHED) {
        Ok(opened) => opened,
        Err(_) => {
            let (root, path) = (Arc::clone(&root), path.clone());
            blocking(FIRST_BYTE, move || open_waiting(&root, &path)).await?
        }
    };
    let stretch = range.unwrap_or(ByteRange {
        start: 0,
        end: size,
    });
    if stretch.end > size {
        return Err(short());
    }
    if stretch.start >= stretch.end {
        return Ok(Payload::Ready(Bytes::new()));
    }
    if stretch.len() > SMALL {
        let bytes = Box::pin(Chunks::new(file, stretch, budget));
        let path = path.into();
        return Ok(Payload::File(LocalFile { path, bytes }));
    }
    let len = small_len(stretch.len());
    if let Some(bytes) = read_in_place(&file, stretch.start, len) {
        return Ok(Payload::Ready(bytes));
    }
    let read = blocking(FIRST_BYTE, move || {
        read_exactly(&file, stretch.start, len).map(Bytes::from)
    });
    read.await.map(Payload::Ready)
}

/// Opens a regular file below the root, following no link, and tells its size.
fn open(root: &Root, path: &str, how: ResolveFlags) -> io::Result<(OwnedFd, u64)> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | how;
    sized(rustix::fs::openat2(
        &root.fd,
        path,
        read_flags(),
        Mode::empty(),
        resolve,
    )?)
}

fn open_waiting(root: &Root, path: &str) -> Result<(OwnedFd, u64), StoreError> {
    let opened = match open(root, path, ResolveFlags::empty()) {
        // Old kernels do not have the call, and some sandboxes forbid what they do not know.
        Err(error)
            if matches!(
                Errno::from_io_error(&error),
                Some(Errno::NOSYS | Errno::PERM)
            ) =>
        {
            let flags = read_flags() | OFlags::NOFOLLOW;
            rustix::fs::openat(&root.fd, path, flags, Mode::empty())
                .map_err(io::Error::from)
                .and_then(sized)
        }
        other => other,
    };
    opened.map_err(trouble)
}

/// `NONBLOCK`, so that what is no file cannot make opening it wait.
fn read_flags() -> OFlags {
    OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK
}

fn sized(file: OwnedFd) -> io::Result<(OwnedFd, u64)> {
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("not a regular file"));
    }
    let size = u64::try_from(stat.st_size).map_err(io::Error::other)?;
    Ok((file, size))
}

/// The bytes, if the page cache has all of them.
fn read_in_place(file: &OwnedFd, at: u64, len: usize) -> Option<Bytes> {
    let mut buffer = vec![0; len];
    let mut into = [IoSliceMut::new(&mut buffer)];
    let read = rustix::io::preadv2(file, &mut into, at, ReadWriteFlags::NOWAIT);
    (read == Ok(len)).then(|| Bytes::from(buffer))
}

/// Reads `len` bytes, waiting for the disk. Fewer are an error.
fn read_exactly(file: &OwnedFd, at: u64, len: usize) -> Result<Vec<u8>, StoreError> {
    let mut buffer = Vec::with_capacity(len);
    while buffer.len() < len {
        let offset = at + buffer.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut buffer), offset) {
            Ok(0) => return Err(short()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(trouble(error.into())),
        }
    }
    // The allocator may have given more room than was asked for.
    buffer.truncate(len);
    Ok(buffer)
}

fn short() -> StoreError {
    StoreError::Broken("the file is shorter than the stretch asked for".into())
}

fn small_len(len: u64) -> usize {
    usize::try_from(len.min(LARGE)).unwrap_or(LARGE as usize)
}

/// A chunk that gives its share of the budget back when the last reader of it is done.
struct Budgeted {
    bytes: Vec<u8>,
    _share: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Budgeted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

type Reading = Pin<Box<Timeout<JoinHandle<Result<Bytes, StoreError>>>>>;

/// A stretch of a file in chunks that grow, at most one read ahead.
struct Chunks {
    file: Arc<OwnedFd>,
    at: u64,
    end: u64,
    /// What the next chunk may measure, budget permitting.
    next: u64,
    budget: Arc<Semaphore>,
    reading: Option<Reading>,
}

impl Chunks {
    fn new(file: OwnedFd, stretch: ByteRange, budget: Arc<Semaphore>) -> Self {
        Self {
            file: Arc::new(file),
            at: stretch.start,
            end: stretch.end,
            next: SMALL,
            budget,
            reading: None,
        }
    }

    /// The length of the next chunk and its share of the budget, if it may be a large one.
    fn large(&self) -> Option<(u64, OwnedSemaphorePermit)> {
        let len = self.next.min(self.end - self.at);
        if len <= SMALL {
            return None;
        }
        let budget = Arc::clone(&self.budget);
        let share = budget.try_acquire_many_owned(u32::try_from(len).ok()?);
        Some((len, share.ok()?))
    }

    fn launch(&mut self, len: u64, share: Option<OwnedSemaphorePermit>) {
        let (file, at, count) = (Arc::clone(&self.file), self.at, small_len(len));
        let work = tokio::task::spawn_blocking(move || {
            let bytes = read_exactly(&file, at, count)?;
            Ok(match share {
                Some(_share) => Bytes::from_owner(Budgeted { bytes, _share }),
                None => Bytes::from(bytes),
            })
        });
        self.reading = Some(Box::pin(tokio::time::timeout(IDLE, work)));
        self.advance(len);
    }

    fn advance(&mut self, len: u64) {
        self.at += len;
        self.next = if self.next < MEDIUM { MEDIUM } else { LARGE };
    }

    /// Reads the next chunk in place, or has it read.
    fn start(&mut self) -> Option<Bytes> {
        if let Some((len, share)) = self.large() {
            self.launch(len, Some(share));
            return None;
        }
        let len = SMALL.min(self.end - self.at);
        let bytes = read_in_place(&self.file, self.at, small_len(len));
        match &bytes {
            Some(_) => self.advance(len),
            None => self.launch(len, None),
        }
        bytes
    }

    /// Starts on a large chunk while the one before is on its way. A small one is read when it is wanted.
    fn read_ahead(&mut self) {
        if let Some((len, share)) = self.large() {
            self.launch(len, Some(share));
        }
    }
}

impl Stream for Chunks {
    type Item = Result<Bytes, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.reading.is_none() {
            if self.at == self.end {
                return Poll::Ready(None);
            }
            if let Some(bytes) = self.start() {
                self.read_ahead();
                return Poll::Ready(Some(Ok(bytes)));
            }
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(None);
        };
        let outcome = match ready!(reading.as_mut().poll(cx)) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(died)) => Err(StoreError::Broken(died.into())),
            Err(late) => Err(StoreError::Unavailable(late.into())),
        };
        self.reading = None;
        match outcome {
            Ok(_) => self.read_ahead(),
            Err(_) => self.at = self.end,
        }
        Poll::Ready(Some(outcome))
    }
}
