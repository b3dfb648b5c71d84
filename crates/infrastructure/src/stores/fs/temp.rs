//! A file that nobody sees until it is whole and on disk.

use std::{io, sync::Arc};

use bytes::Bytes;
use cloakroom_application::ports::StoreError;
use rustix::{fd::OwnedFd, fs::OFlags};

use super::{
    batches::{Appending, write_all},
    layout::Address,
    root::{FILE_MODE, Root, write_trouble},
    unflushed::Unflushed,
};

/// An unfinished file. Every method blocks. Dropping it removes the file in the background.
#[derive(Debug)]
pub(super) struct Temp {
    root: Arc<Root>,
    address: Arc<Address>,
    file: OwnedFd,
    unflushed: Unflushed,
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
                unflushed: Unflushed::none(Arc::clone(&root)),
                root,
                address,
                file,
                armed: true,
            }),
            Err(error) => Err(write_trouble(error)),
        }
    }

    /// Flushes the file, gives it its name and flushes the name. After an error there is neither file nor object.
    pub(super) fn publish(mut self) -> Result<(), StoreError> {
        if let Err(error) = self.root.flush_file(&self.file).and_then(|()| {
            self.root
                .publish(&self.address.unfinished, &self.address.path)
        }) {
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
}

impl Appending for Temp {
    fn append(mut self, pieces: &[Bytes]) -> Result<Self, StoreError> {
        match write_all(&self.root, &self.file, pieces, &mut self.unflushed) {
            Ok(()) => Ok(self),
            Err(error) => Err(self.fail(error)),
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
