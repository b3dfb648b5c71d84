//! The root folder: making folders that last, and what goes wrong with files.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use cloakroom_application::ports::StoreError;
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, Mode, OFlags, RenameFlags},
    io::Errno,
};
use tokio::sync::Semaphore;

use super::{
    failpoint::{Failpoints, Step},
    layout::{Address, UNFINISHED},
};

/// Folders are for the service and its group, a proxy that sends files among it.
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o750);

/// And so are files.
pub(super) const FILE_MODE: Mode = Mode::from_raw_mode(0o640);

/// Folders known to be on disk, at most; beyond it they are looked at again.
const MAX_KNOWN: usize = 65_536;

/// How many batches are written, and files flushed, at once. A disk gains nothing by more, and each takes a thread.
const HANDS: usize = 64;

/// The root folder of a store. Every path below is relative to it.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) fd: OwnedFd,
    pub(super) path: PathBuf,
    pub(super) failpoints: Failpoints,
    /// Bytes of all files that were written and are not on disk yet.
    pub(super) unflushed: AtomicU64,
    /// Threads that may be writing.
    pub(super) hands: Arc<Semaphore>,
    known: Mutex<HashSet<String>>,
}

impl Root {
    /// Opens the folder, having made it and its parents if need be.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        make_all(&path)?;
        let fd = open_folder(rustix::fs::CWD, &path)?;
        Ok(Self {
            fd,
            path,
            failpoints: Failpoints::default(),
            unflushed: AtomicU64::new(0),
            hands: Arc::new(Semaphore::new(HANDS)),
            known: Mutex::default(),
        })
    }

    /// Makes the folders that an object needs, and flushes them into their parents.
    ///
    /// A folder that is there may be another replica's work of this instant, not flushed yet: the first use
    /// in this process flushes its parent whoever made it.
    pub(super) fn prepare(&self, address: &Address) -> io::Result<()> {
        if self.known().contains(&address.folder) {
            return Ok(());
        }
        if !self.known().contains(&address.bucket) {
            self.make(&address.bucket)?;
            self.make(&format!("{}/{UNFINISHED}", address.bucket))?;
            self.flush_folder(".")?;
            self.remember(&address.bucket);
        }
        self.make(&address.folder)?;
        self.flush_folder(&address.bucket)?;
        self.remember(&address.folder);
        Ok(())
    }

    /// Flushes a folder's entries to disk.
    pub(super) fn flush_folder(&self, folder: &str) -> io::Result<()> {
        self.failpoints.meet(Step::FlushFolder)?;
        let folder = open_folder(&self.fd, folder)?;
        Ok(rustix::fs::fsync(folder)?)
    }

    /// Flushes a file: data and the size to read it by; times may follow when they like.
    pub(super) fn flush_file(&self, file: &OwnedFd) -> io::Result<()> {
        self.failpoints.meet(Step::Flush)?;
        Ok(rustix::fs::fdatasync(file)?)
    }

    /// Gives a whole file its name, which must not be taken.
    pub(super) fn publish(&self, from: &str, to: &str) -> io::Result<()> {
        self.failpoints.meet(Step::Rename)?;
        match rustix::fs::renameat_with(&self.fd, from, &self.fd, to, RenameFlags::NOREPLACE) {
            // Some file systems cannot rename without replacing; none links over a name that is taken.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::linkat(&self.fd, from, &self.fd, to, AtFlags::empty())?;
                Ok(rustix::fs::unlinkat(&self.fd, from, AtFlags::empty())?)
            }
            other => Ok(other?),
        }
    }

    /// Removes a file; one that is not there counts as removed. Says whether it was there.
    pub(super) fn remove(&self, path: &str) -> io::Result<bool> {
        match rustix::fs::unlinkat(&self.fd, path, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a folder that may be there.
    pub(super) fn make(&self, folder: &str) -> io::Result<()> {
        match rustix::fs::mkdirat(&self.fd, folder, FOLDER_MODE) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, folder: &str) {
        let mut known = self.known();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(folder.to_owned());
    }
}

fn open_folder(at: impl rustix::fd::AsFd, path: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, path, flags, Mode::empty())?)
}

/// Makes a folder and whatever parents are missing, each flushed into its own parent.
fn make_all(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_all(parent)?;
    match rustix::fs::mkdirat(rustix::fs::CWD, path, FOLDER_MODE) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(rustix::fs::fsync(open_folder(rustix::fs::CWD, parent)?)?)
}

/// Tells the kinds of trouble with files apart.
pub(super) fn trouble(error: io::Error) -> StoreError {
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT | Errno::NOTDIR) => StoreError::NotFound,
        Some(
            Errno::NOSPC
            | Errno::DQUOT
            | Errno::FBIG
            | Errno::ROFS
            | Errno::ACCESS
            | Errno::PERM
            | Errno::EXIST
            | Errno::LOOP
            | Errno::NAMETOOLONG,
        ) => StoreError::Refused(error.into()),
        Some(
            Errno::MFILE
            | Errno::NFILE
            | Errno::NOMEM
            | Errno::AGAIN
            | Errno::TIMEDOUT
            | Errno::STALE
            | Errno::BUSY,
        ) => StoreError::Unavailable(error.into()),
        _ => StoreError::Broken(error.into()),
    }
}

/// A file or folder that vanishes under a writer is no object that is not found.
pub(super) fn write_trouble(error: io::Error) -> StoreError {
    match trouble(error) {
        StoreError::NotFound => StoreError::Refused("the unfinished file was removed".into()),
        other => other,
    }
}

/// Does file work on the blocking pool, and stops waiting for it after `limit`.
///
/// The work itself cannot be stopped: a disk that hangs holds its thread until it answers.
pub(super) async fn blocking<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    settled(limit, &mut tokio::task::spawn_blocking(work)).await
}

/// Waits for file work that was begun before.
pub(super) async fn settled<T>(
    limit: Duration,
    work: &mut tokio::task::JoinHandle<Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(died)) => Err(StoreError::Broken(died.into())),
        Err(late) => Err(StoreError::Unavailable(late.into())),
    }
}
