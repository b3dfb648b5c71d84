//! What one check learns and another needs, and what every answer tells beside what it was asked for.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use reqwest::header::{DATE, HeaderMap};

use super::{bodies::Content, exchange::Answer};

/// A file that was stored for others to look at.
#[derive(Debug)]
pub(crate) struct Stored {
    /// Its id.
    pub(crate) id: String,
    /// Its bytes.
    pub(crate) content: Content,
    /// Its name.
    pub(crate) name: String,
    /// The answer to its upload.
    pub(crate) answer: Answer,
}

/// How far the other side's clock is ahead.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Skew {
    /// In seconds; negative where it is behind.
    pub(crate) ahead: f64,
    /// How far that may be off.
    pub(crate) doubt: f64,
}

/// An address that the service told.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// Where.
    pub(crate) what: &'static str,
    pub(crate) address: String,
}

/// What is known so far.
#[derive(Debug)]
pub(crate) struct Facts {
    reached: AtomicBool,
    admitted: AtomicBool,
    slash: AtomicBool,
    http2: AtomicBool,
    max_size: AtomicU64,
    sample: OnceLock<Stored>,
    large: OnceLock<(String, Content)>,
    told: Mutex<Vec<Told>>,
    skew: Mutex<Option<Skew>>,
    leaked: Mutex<BTreeSet<String>>,
}

/// Headers that are between the service and nginx, and nobody else's.
const INTERNAL: [&str; 2] = ["x-accel-", "x-cloakroom-"];

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Facts {
    pub(crate) fn new() -> Self {
        Self {
            reached: AtomicBool::new(false),
            admitted: AtomicBool::new(false),
            slash: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            max_size: AtomicU64::new(u64::MAX),
            sample: OnceLock::new(),
            large: OnceLock::new(),
            told: Mutex::default(),
            skew: Mutex::default(),
            leaked: Mutex::default(),
        }
    }

    /// The service answered.
    pub(crate) fn reach(&self) {
        self.reached.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// The token was accepted.
    pub(crate) fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }

    /// The token was accepted, and may not upload.
    pub(crate) fn dismiss(&self) {
        self.admitted.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_admitted(&self) -> bool {
        self.admitted.load(Ordering::Relaxed)
    }

    /// The collection has a slash at its end.
    pub(crate) fn ends_in_a_slash(&self) {
        self.slash.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_slash(&self) -> bool {
        self.slash.load(Ordering::Relaxed)
    }

    /// HTTP/2 is spoken.
    pub(crate) fn speaks_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    /// The largest file that the service announces, in bytes.
    pub(crate) fn announce_max_size(&self, size: u64) {
        self.max_size.store(size, Ordering::Relaxed);
    }

    /// The largest file; `u64::MAX` where nothing is announced.
    pub(crate) fn max_size(&self) -> u64 {
        self.max_size.load(Ordering::Relaxed)
    }

    pub(crate) fn keep_sample(&self, sample: Stored) {
        // There is one check that makes it.
        let _ = self.sample.set(sample);
    }

    pub(crate) fn sample(&self) -> Option<&Stored> {
        self.sample.get()
    }

    /// A large file that was stored, for others to read.
    pub(crate) fn keep_large(&self, id: String, content: Content) {
        // There is one check that makes it.
        let _ = self.large.set((id, content));
    }

    pub(crate) fn large(&self) -> Option<(&str, Content)> {
        self.large
            .get()
            .map(|(id, content)| (id.as_str(), *content))
    }

    pub(crate) fn tell(&self, what: &'static str, address: &str) {
        let address = address.to_owned();
        locked(&self.told).push(Told { what, address });
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        locked(&self.told).clone()
    }

    /// What the headers of any answer tell.
    pub(crate) fn hear(&self, headers: &HeaderMap, sent: SystemTime, came: SystemTime) {
        let names = headers.keys().map(|name| name.as_str());
        let leaked = names.filter(|name| INTERNAL.iter().any(|start| name.starts_with(start)));
        locked(&self.leaked).extend(leaked.map(str::to_owned));
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|text| httpdate::parse_http_date(text).ok());
        if let Some(skew) = date.and_then(|date| skew(date, sent, came)) {
            let mut least = locked(&self.skew);
            if least.is_none_or(|least| skew.doubt < least.doubt) {
                *least = Some(skew);
            }
        }
    }

    /// Names of headers that no client should see.
    pub(crate) fn leaked(&self) -> Vec<String> {
        locked(&self.leaked).iter().cloned().collect()
    }

    /// The best that is known of the proxy's clock.
    pub(crate) fn skew(&self) -> Option<Skew> {
        *locked(&self.skew)
    }
}

/// How far a clock is ahead that said `date`, in whole seconds, between those two moments.
pub(crate) fn skew(date: SystemTime, sent: SystemTime, came: SystemTime) -> Option<Skew> {
    let since = |time: SystemTime| {
        time.duration_since(UNIX_EPOCH)
            .as_ref()
            .map(Duration::as_secs_f64)
            .ok()
    };
    let (date, sent, came) = (since(date)?, since(sent)?, since(came)?);
    // It was half a second later, give or take, when the clock said so.
    Some(Skew {
        ahead: date + 0.5 - f64::midpoint(sent, came),
        doubt: 0.5 + (came - sent).abs() / 2.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_judged_by_the_middle_of_the_exchange() {
        let at = |seconds: f64| UNIX_EPOCH + Duration::from_secs_f64(seconds);
        let found = skew(at(1_000.0), at(1_000.2), at(1_000.8)).unwrap();
        assert!(found.ahead.abs() < 0.01 && found.doubt < 0.81, "{found:?}");
        let found = skew(at(1_045.0), at(1_000.0), at(1_001.0)).unwrap();
        assert!((found.ahead - 45.0).abs() < 0.01, "{found:?}");
    }
}
