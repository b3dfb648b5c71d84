//! A cache that cannot keep an answer which was dropped while it was being asked for.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use moka::sync::Cache;

/// Places at which answers are dropped; keys share them.
const PLACES: usize = 64;

/// A bounded cache that keeps no answer older than what was dropped last.
pub struct Kept<K, V> {
    cache: Cache<K, V>,
    places: [Mutex<u64>; PLACES],
    hasher: RandomState,
}

/// The state of a place when a look-up began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(u64);

impl<K, V> Kept<K, V>
where
    K: Hash + Eq + Send + Sync + Clone + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Keeps up to `capacity` answers, each for `ttl` at most.
    #[must_use]
    pub fn new(capacity: u64, ttl: Duration) -> Self {
        Self {
            cache: Cache::builder()
                .max_capacity(capacity)
                .time_to_live(ttl)
                .build(),
            places: std::array::from_fn(|_| Mutex::new(0)),
            hasher: RandomState::new(),
        }
    }

    fn place(&self, key: &K) -> &Mutex<u64> {
        let hash = usize::try_from(self.hasher.hash_one(key) % PLACES as u64);
        &self.places[hash.unwrap_or_default()]
    }

    /// What is kept for the key.
    pub fn get(&self, key: &K) -> Option<V> {
        self.cache.get(key)
    }

    /// Marks the place of the key, before somebody is asked.
    pub fn mark(&self, key: &K) -> Mark {
        Mark(*locked(self.place(key)))
    }

    /// Keeps an answer, unless something at its place was dropped since the mark.
    pub fn keep(&self, key: K, value: V, mark: Mark) {
        let drops = locked(self.place(&key));
        if *drops == mark.0 {
            self.cache.insert(key, value);
        }
    }

    /// Drops what is kept for the key, and what is being asked for it now.
    pub fn drop_one(&self, key: &K) {
        let mut drops = locked(self.place(key));
        *drops += 1;
        self.cache.invalidate(key);
    }

    /// Drops everything, and what is being asked now.
    pub fn drop_all(&self) {
        for place in &self.places {
            *locked(place) += 1;
        }
        // After the places: what is inserted from now on was asked for from now on.
        self.cache.invalidate_all();
    }
}

fn locked(place: &Mutex<u64>) -> std::sync::MutexGuard<'_, u64> {
    // A count cannot be left half done.
    place.lock().unwrap_or_else(PoisonError::into_inner)
}
