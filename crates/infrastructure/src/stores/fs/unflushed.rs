//! Bytes that were written and are not on disk yet, bounded for the whole folder.
//!
//! The system would let gigabytes of them gather, and then a flush of anything on the same disk, a database's log
//! among it, waits for all of them.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use rustix::fd::OwnedFd;

use super::root::Root;

/// Beyond so many bytes over all files, whoever writes flushes its own.
const MOST: u64 = 128 * 1024 * 1024;

/// What one file has of them.
#[derive(Debug)]
pub(super) struct Unflushed {
    root: Arc<Root>,
    bytes: u64,
}

impl Unflushed {
    /// Of a file that nothing was written to.
    pub(super) const fn none(root: Arc<Root>) -> Self {
        Self { root, bytes: 0 }
    }

    /// So many were written to the file, which is flushed if there are too many now. Blocks.
    pub(super) fn grow(&mut self, file: &OwnedFd, bytes: u64) -> io::Result<()> {
        self.bytes += bytes;
        if self.root.unflushed.fetch_add(bytes, Ordering::Relaxed) + bytes > MOST {
            self.root.flush_file(file)?;
            self.flushed();
        }
        Ok(())
    }

    /// All of the file's are on disk.
    pub(super) fn flushed(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.root.unflushed.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Unflushed {
    fn drop(&mut self) {
        self.flushed();
    }
}
