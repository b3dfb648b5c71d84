//! Hauls: what a walk over folders that have no order brings home.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use cloakroom_domain::Bucket;

/// How much a walk brings home, so that the pages after the first cost no walk.
pub(super) const HAUL: usize = 65_536;

/// How many hauls are kept, one for each listing that goes on.
const KEPT: usize = 2;

/// How long a haul is good for. What is written or removed meanwhile may be missing from it, or still be in it.
const FRESH: Duration = Duration::from_secs(60);

/// Hauls of listings that go on. They spare walks; every page can do without.
#[derive(Debug)]
pub(super) struct Hauls<T>(Mutex<VecDeque<Haul<T>>>);

/// The first of a bucket behind a key, in order.
#[derive(Debug)]
pub(super) struct Haul<T> {
    bucket: String,
    prefix: String,
    /// The key that the page before ended with.
    pub(super) after: String,
    /// What is left of it.
    pub(super) items: VecDeque<T>,
    /// Whether there is nothing beyond.
    pub(super) complete: bool,
    walked_at: Instant,
}

impl<T> Haul<T> {
    pub(super) fn new(
        bucket: &Bucket,
        prefix: &str,
        after: Option<&str>,
        items: impl IntoIterator<Item = T>,
        complete: bool,
    ) -> Self {
        Self {
            bucket: bucket.as_str().to_owned(),
            prefix: prefix.to_owned(),
            after: after.unwrap_or_default().to_owned(),
            items: items.into_iter().collect(),
            complete,
            walked_at: Instant::now(),
        }
    }
}

impl<T> Default for Hauls<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Hauls<T> {
    /// The haul for a page that begins behind `after`, if it is enough for `limit`.
    pub(super) fn take(
        &self,
        bucket: &Bucket,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Option<Haul<T>> {
        let mut hauls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hauls.retain(|haul| haul.walked_at.elapsed() < FRESH);
        let at = hauls
            .iter()
            .position(|h| h.bucket == bucket.as_str() && h.prefix == prefix && h.after == after)?;
        hauls
            .remove(at)
            .filter(|haul| haul.complete || haul.items.len() >= limit)
    }

    pub(super) fn keep(&self, haul: Haul<T>) {
        let mut hauls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if hauls.len() >= KEPT {
            hauls.pop_front();
        }
        hauls.push_back(haul);
    }
}
