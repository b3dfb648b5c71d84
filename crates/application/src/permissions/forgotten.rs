//! What was taken back. Answers carry a stamp of the time of their question; one that was overtaken counts for nothing.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use crate::ports::Revocation;

use super::Subject;

/// Files, users and accounts share places: forgetting one forgets a few others' answers, which are asked again.
const PLACES: usize = 4096;

/// Counts of what was forgotten.
pub(super) struct Forgotten {
    everything: AtomicU64,
    files: Box<[AtomicU64]>,
    users: Box<[AtomicU64]>,
    accounts: Box<[AtomicU64]>,
    hasher: RandomState,
    /// Whether what other replicas take back would be heard of.
    hearing: AtomicBool,
}

/// The counts that matter for a subject, at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp([u64; 4]);

impl Forgotten {
    pub(super) fn new() -> Self {
        let places = || (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        Self {
            everything: AtomicU64::new(0),
            files: places(),
            users: places(),
            accounts: places(),
            hasher: RandomState::new(),
            hearing: AtomicBool::new(true),
        }
    }

    fn place<'a>(&self, places: &'a [AtomicU64], key: &impl Hash) -> &'a AtomicU64 {
        let at = usize::try_from(self.hasher.hash_one(key) % PLACES as u64);
        &places[at.unwrap_or_default()]
    }

    /// The state of things, before somebody is asked, and whenever an answer is used.
    pub(super) fn stamp(&self, subject: &Subject) -> Stamp {
        let count = |place: &AtomicU64| place.load(Ordering::SeqCst);
        let user = subject.user.as_ref();
        let account = subject.account.as_ref();
        Stamp([
            count(&self.everything),
            count(self.place(&self.files, &subject.file)),
            user.map_or(0, |user| count(self.place(&self.users, user))),
            account.map_or(0, |account| count(self.place(&self.accounts, account))),
        ])
    }

    pub(super) fn forget(&self, revocation: &Revocation) {
        let add = |place: &AtomicU64| place.fetch_add(1, Ordering::SeqCst);
        if let Some(file) = &revocation.file {
            add(self.place(&self.files, file));
        }
        if let Some(user) = &revocation.user {
            add(self.place(&self.users, user));
        }
        if let Some(account) = &revocation.account {
            add(self.place(&self.accounts, account));
        }
    }

    pub(super) fn forget_everything(&self) {
        self.everything.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn is_hearing(&self) -> bool {
        self.hearing.load(Ordering::SeqCst)
    }

    pub(super) fn set_hearing(&self, hearing: bool) {
        self.hearing.store(hearing, Ordering::SeqCst);
    }
}
