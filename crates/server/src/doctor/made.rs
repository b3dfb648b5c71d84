//! What a look made, so that it can be removed.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio_util::task::TaskTracker;

/// Everything that this look made, and what it is just making.
#[derive(Debug)]
pub(crate) struct Made {
    /// What every name begins with, and no other file's does.
    pub(crate) prefix: String,
    /// Requests that may make something.
    pub(crate) making: TaskTracker,
    /// Ids of uploads, which are those of their files, too.
    uploads: Mutex<BTreeSet<String>>,
    /// Ids of files.
    files: Mutex<BTreeSet<String>>,
    /// How much was made whose id did not come back.
    nameless: AtomicUsize,
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Made {
    pub(crate) fn new(prefix: String) -> Self {
        Self {
            prefix,
            making: TaskTracker::new(),
            uploads: Mutex::default(),
            files: Mutex::default(),
            nameless: AtomicUsize::new(0),
        }
    }

    pub(crate) fn upload(&self, id: String) {
        locked(&self.uploads).insert(id);
    }

    pub(crate) fn file(&self, id: String) {
        locked(&self.files).insert(id);
    }

    pub(crate) fn nameless(&self) {
        self.nameless.fetch_add(1, Ordering::Relaxed);
    }

    /// The ids of all uploads so far.
    pub(crate) fn uploads(&self) -> Vec<String> {
        locked(&self.uploads).iter().cloned().collect()
    }

    /// The ids of all files so far.
    pub(crate) fn files(&self) -> Vec<String> {
        let files = locked(&self.files);
        files.union(&locked(&self.uploads)).cloned().collect()
    }

    /// How much was made whose id did not come back.
    pub(crate) fn without_a_name(&self) -> usize {
        self.nameless.load(Ordering::Relaxed)
    }
}
