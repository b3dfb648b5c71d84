//! A file that nobody sees until it is whole and on disk.

use std::{
    io::{self, IoSlice},
    sync::Arc,
};

use bytes::Bytes;
use cloakroom_application::ports::StoreError;
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{
    failpoint::Step,
    layout::Address,
    root::{Root, trouble},
};

const FILE_MODE: Mode = Mode::from_raw_mode(0o640);

/// The most pieces that one `writev` takes (`IOV_MAX`).
const MAX_PIECES: usize = 1024;

/// An unfinished file. Every method blocks. Dropping it removes the file in the background.
#[derive(Debug)]
pub(super) struct Temp {
    root: Arc<Root>,
    address: Arc<Address>,
    file: OwnedFd,
    /// Whether the file is still there to be removed.
    armed: bool,
}

impl Temp {
    /// Makes the file, which must not be there.
    pub(super) fn create(root: Arc<Root>, address: Arc<Address>) -> Result<Self, StoreError> {
        let created = root.prepare(&address).and_then(|()| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let path = address.unfinished.as_str();
            Ok(rustix::fs::openat(&root.fd, path, flags, FILE_MODE)?)
        });
        match created {
            Ok(file) => Ok(Self {
                root,
                address,
                file,
                armed: true,
            }),
            Err(error) => Err(write_trouble(error)),
        }
    }

    /// Appends the pieces. After an error the file is gone.
    pub(super) fn append(self, pieces: &[Bytes]) -> Result<Self, StoreError> {
        match self.write_all(pieces) {
            Ok(()) => Ok(self),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Flushes the file, gives it its name and flushes the name. After an error there is neither file nor object.
    pub(super) fn publish(mut self) -> Result<(), StoreError> {
        if let Err(error) = self.flush().and_then(|()| self.rename()) {
            return Err(self.fail(error));
        }
        self.armed = false;
        let Err(error) = self.root.flush_folder(&self.address.folder) else {
            return Ok(());
        };
        // Whether the name is on disk is unknown, and must not stay so.
        match self.root.remove(&self.address.path) {
            Ok(_) => Err(write_trouble(error)),
            Err(_) => Err(StoreError::Unavailable(error.into())),
        }
    }

    /// Removes the file.
    pub(super) fn discard(mut self) -> Result<(), StoreError> {
        self.armed = false;
        match self.root.remove(&self.address.unfinished) {
            Ok(_) => Ok(()),
            Err(error) => Err(write_trouble(error)),
        }
    }

    fn fail(mut self, error: io::Error) -> StoreError {
        self.armed = false;
        if let Err(left) = self.root.remove(&self.address.unfinished) {
            tracing::warn!(error = %left, "an unfinished file could not be removed; reaping will try again");
        }
        write_trouble(error)
    }

    fn write_all(&self, pieces: &[Bytes]) -> io::Result<()> {
        self.root.failpoints.meet(Step::Write)?;
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut left = &mut slices[..];
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            let some = &left[..left.len().min(MAX_PIECES)];
            match rustix::io::writev(&self.file, some) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut left, written),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Data and the size to read it by; times may follow when they like.
    fn flush(&self) -> io::Result<()> {
        self.root.failpoints.meet(Step::Flush)?;
        Ok(rustix::fs::fdatasync(&self.file)?)
    }

    fn rename(&self) -> io::Result<()> {
        self.root.failpoints.meet(Step::Rename)?;
        let (root, from, to) = (&self.root.fd, &self.address.unfinished, &self.address.path);
        let (from, to) = (from.as_str(), to.as_str());
        match rustix::fs::renameat_with(root, from, root, to, RenameFlags::NOREPLACE) {
            // Some file systems cannot rename without replacing; none links over a name that is taken.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::linkat(root, from, root, to, AtFlags::empty())?;
                Ok(rustix::fs::unlinkat(root, from, AtFlags::empty())?)
            }
            other => Ok(other?),
        }
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (root, address) = (Arc::clone(&self.root), Arc::clone(&self.address));
        let remove = move || {
            if let Err(left) = root.remove(&address.unfinished) {
                tracing::warn!(error = %left, "an unfinished file could not be removed; reaping will try again");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// A file or folder that vanishes under a writer is no object that is not found.
fn write_trouble(error: io::Error) -> StoreError {
    match trouble(error) {
        StoreError::NotFound => StoreError::Refused("the unfinished file was removed".into()),
        other => other,
    }
}
