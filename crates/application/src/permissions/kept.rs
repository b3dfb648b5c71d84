//! Answers that are kept, each for as long as it may be, and a record of what was asked last.

use std::time::{Duration, Instant as SystemInstant, SystemTime, UNIX_EPOCH};

use cloakroom_domain::{Action, Timestamp};
use moka::{Expiry, policy::EvictionPolicy, sync::Cache};
use tokio::time::Instant;

use super::{
    Key, Outcome, Subject, Trouble,
    forgotten::{Forgotten, Stamp},
};
use crate::ports::{Keep, Ruling};

/// How long a yes is kept if the backend does not say.
const YES: Duration = Duration::from_secs(5);
/// How long a no is.
const NO: Duration = Duration::from_secs(1);
/// The longest that an answer is kept, whatever the backend says.
const LONGEST: Duration = Duration::from_secs(3600);
/// The longest while what other replicas take back is not heard of.
const DEAF: Duration = Duration::from_secs(1);
/// How many records of questions there are.
const RECORDS: u64 = 10_000;
/// How long a record is there.
const RECORD_TTL: Duration = Duration::from_secs(24 * 3600);

/// How long an answer is kept.
pub(super) fn lifetime(ruling: &Ruling) -> Duration {
    match ruling.keep {
        Keep::For(time) => time.min(LONGEST),
        Keep::Usual if ruling.allow => YES,
        Keep::Usual => NO,
    }
}

#[derive(Debug, Clone)]
struct Kept {
    allow: bool,
    stamp: Stamp,
    since: Instant,
    lifetime: Duration,
}

impl Kept {
    fn holds(&self, forgotten: &Forgotten, stamp: Stamp) -> bool {
        let longest = if forgotten.is_hearing() {
            LONGEST
        } else {
            DEAF
        };
        self.stamp == stamp && self.since.elapsed() < self.lifetime.min(longest)
    }
}

/// Frees the place of an answer that holds no longer.
struct ByLifetime;

impl Expiry<Key, Kept> for ByLifetime {
    fn expire_after_create(&self, _: &Key, kept: &Kept, _: SystemInstant) -> Option<Duration> {
        Some(kept.lifetime)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        kept: &Kept,
        _: SystemInstant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.lifetime)
    }
}

/// The kept answers.
pub(super) struct Answers(Cache<Key, Kept>);

impl Answers {
    pub(super) fn new(entries: u64) -> Self {
        let cache = Cache::builder().max_capacity(entries);
        Self(cache.expire_after(ByLifetime).build())
    }

    pub(super) fn get(&self, key: &Key, forgotten: &Forgotten, stamp: Stamp) -> Option<bool> {
        let kept = self.0.get(key)?;
        kept.holds(forgotten, stamp).then_some(kept.allow)
    }

    pub(super) fn keep(&self, key: Key, ruling: &Ruling, stamp: Stamp) {
        let lifetime = lifetime(ruling);
        if lifetime.is_zero() {
            // What was kept before is older than this.
            self.0.invalidate(&key);
            return;
        }
        let kept = Kept {
            allow: ruling.allow,
            stamp,
            since: Instant::now(),
            lifetime,
        };
        self.0.insert(key, kept);
    }
}

/// What became of the last question about somebody, a file and an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastAsked {
    /// When the answer came, or did not, by this machine's clock.
    pub at: Timestamp,
    /// What was answered.
    pub said: Said,
    /// Why, where the backend said that.
    pub reason: Option<String>,
    /// Whether the answer still holds for the credential that it was given to.
    pub kept: bool,
}

/// What a question led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Yes.
    Yes,
    /// No.
    No,
    /// No answer that is one.
    Failed,
    /// No answer in time.
    TimedOut,
}

#[derive(Clone)]
struct Record {
    last: LastAsked,
    kept: Option<Kept>,
}

/// What was asked last, for those who want an explanation.
pub(super) struct Records(Cache<(Subject, Action), Record>);

impl Records {
    pub(super) fn new() -> Self {
        let cache = Cache::builder().max_capacity(RECORDS);
        let cache = cache.eviction_policy(EvictionPolicy::lru());
        Self(cache.time_to_live(RECORD_TTL).build())
    }

    pub(super) fn note(&self, subject: Subject, action: Action, outcome: &Outcome, stamp: Stamp) {
        let (said, ruling) = match outcome {
            Ok(ruling) if ruling.allow => (Said::Yes, Some(ruling)),
            Ok(ruling) => (Said::No, Some(ruling)),
            Err(Trouble::Failed) => (Said::Failed, None),
            Err(Trouble::TimedOut) => (Said::TimedOut, None),
        };
        let record = Record {
            last: LastAsked {
                at: now(),
                said,
                reason: ruling.and_then(|ruling| ruling.reason.clone()),
                kept: false,
            },
            kept: ruling.map(|ruling| Kept {
                allow: ruling.allow,
                stamp,
                since: Instant::now(),
                lifetime: lifetime(ruling),
            }),
        };
        self.0.insert((subject, action), record);
    }

    pub(super) fn last(
        &self,
        subject: &Subject,
        action: Action,
        forgotten: &Forgotten,
    ) -> Option<LastAsked> {
        let record = self.0.get(&(subject.clone(), action))?;
        let stamp = forgotten.stamp(subject);
        let kept = record.kept.is_some_and(|kept| kept.holds(forgotten, stamp));
        Some(LastAsked {
            kept,
            ..record.last
        })
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = since.map_or(0, |since| since.as_micros());
    Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}
