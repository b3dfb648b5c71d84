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

#[cfg(test)]
mod tests {
    use rustix::{
        fs::{Mode, OFlags},
        io::Errno,
    };

    use super::{super::failpoint::Step, *};

    fn root(folder: &std::path::Path) -> Arc<Root> {
        Arc::new(Root::open(folder.join("objects")).unwrap())
    }

    fn file(root: &Root, name: &str) -> OwnedFd {
        let flags = OFlags::CREATE | OFlags::WRONLY;
        rustix::fs::openat(&root.fd, name, flags, Mode::RWXU).unwrap()
    }

    /// Tells a flush by its failing.
    fn grows(unflushed: &mut Unflushed, file: &OwnedFd, bytes: u64) -> bool {
        unflushed.grow(file, bytes).is_ok()
    }

    #[test]
    fn over_all_files_no_more_than_the_bound_is_unflushed() {
        let folder = tempfile::tempdir().unwrap();
        let root = root(folder.path());
        let gathered = || root.unflushed.load(Ordering::Relaxed);
        let (a, b) = (file(&root, "a"), file(&root, "b"));
        let mut one = Unflushed::none(Arc::clone(&root));
        let mut two = Unflushed::none(Arc::clone(&root));
        root.failpoints.plant(Step::Flush, Errno::IO);
        assert!(grows(&mut one, &a, MOST / 2) && grows(&mut two, &b, MOST / 2));
        assert_eq!(gathered(), MOST, "up to the bound nothing is flushed");
        assert!(!grows(&mut two, &b, 1), "one more, whoever wrote the rest");
        // What could not be flushed still counts.
        assert_eq!(gathered(), MOST + 1);
        root.failpoints.clear();
        assert!(grows(&mut two, &b, 1));
        assert_eq!(gathered(), MOST / 2, "the writer flushed its own");
        assert!(grows(&mut two, &b, 5));
        assert_eq!(gathered(), MOST / 2 + 5);
        one.flushed();
        assert_eq!(gathered(), 5);
        one.flushed();
        assert_eq!(gathered(), 5, "told twice");
        drop(two);
        assert_eq!(gathered(), 0, "whoever gives up leaves nothing to count");
    }
}
