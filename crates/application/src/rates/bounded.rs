//! A table with a bound: a flood of keys takes no more memory than a few.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
};

use crate::ports::RateKey;

const SHARDS: usize = 64;

/// A number for each of so many keys at most. Clones share it.
///
/// Where it is full, the half with the lowest rank is forgotten: of counts those that are nearest to nothing, so
/// whoever used much stays known however many others come.
#[derive(Debug)]
pub struct Bounded<V> {
    shards: Arc<[Mutex<HashMap<RateKey, V>>]>,
    /// Not known to callers, so that nobody can choose keys of one shard.
    hasher: RandomState,
    per_shard: usize,
}

impl<V> Clone for Bounded<V> {
    fn clone(&self) -> Self {
        Self {
            shards: Arc::clone(&self.shards),
            hasher: self.hasher.clone(),
            per_shard: self.per_shard,
        }
    }
}

/// What is kept longest where not everything can be.
pub trait Rank {
    /// The higher, the longer kept.
    fn rank(&self) -> u64;
}

impl<V: Rank> Bounded<V> {
    /// For about `capacity` keys at most.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            per_shard: capacity.div_ceil(SHARDS).max(2),
        }
    }

    /// Looks at what is kept for the key, and changes it. What is `None` afterwards is not kept.
    pub fn with<R>(&self, key: RateKey, change: impl FnOnce(&mut Option<V>) -> R) -> R {
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or_default();
        let mut table = self.shards[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut value = table.remove(&key);
        let outcome = change(&mut value);
        if let Some(value) = value {
            if table.len() >= self.per_shard {
                forget_half(&mut table);
            }
            table.insert(key, value);
        }
        outcome
    }

    /// How many keys are known.
    #[must_use]
    pub fn len(&self) -> usize {
        let count = |shard: &Mutex<HashMap<_, _>>| {
            shard.lock().unwrap_or_else(PoisonError::into_inner).len()
        };
        self.shards.iter().map(count).sum()
    }

    /// Whether no key is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn forget_half<V: Rank>(table: &mut HashMap<RateKey, V>) {
    let mut ranks: Vec<u64> = table.values().map(Rank::rank).collect();
    let middle = ranks.len() / 2;
    let (_, median, _) = ranks.select_nth_unstable(middle);
    let median = *median;
    table.retain(|_, value| value.rank() > median);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    impl Rank for u64 {
        fn rank(&self) -> u64 {
            *self
        }
    }

    #[test]
    fn a_flood_of_keys_is_bounded_and_forgets_the_lowest_first() {
        let table = Bounded::<u64>::new(1024);
        let key = |n: u32| RateKey::of_address(Ipv4Addr::from(n).into());
        table.with(key(0), |value| *value = Some(u64::MAX));
        for n in 1..20_000 {
            table.with(key(n), |value| *value = Some(u64::from(n)));
        }
        assert!(table.len() <= 1024, "{}", table.len());
        assert!(!table.is_empty());
        assert_eq!(table.with(key(0), |value| *value), Some(u64::MAX));
        assert_eq!(table.with(key(1), |value| *value), None);
    }
}
