//! Limits of this process alone.

use std::time::Duration;

use async_trait::async_trait;
use governor::{
    Quota, RateLimiter as Governor,
    clock::{Clock, MonotonicClock, Reference},
    middleware::StateInformationMiddleware,
    nanos::Nanos,
    state::StateStore,
};

use super::bounded::{Bounded, Rank};
use crate::ports::{RateClass, RateKey, RateLimiter, RatePolicies, RatePolicy, RateVerdict};

/// How many callers each class knows at once: at most 5 MB each.
const CALLERS: usize = 65_536;

/// The theoretical arrival time of each caller's next request, since the limiter was made.
#[derive(Debug, Clone)]
struct Arrivals(Bounded<Nanos>);

impl Rank for Nanos {
    fn rank(&self) -> u64 {
        self.as_u64()
    }
}

impl StateStore for Arrivals {
    type Key = RateKey;

    fn measure_and_replace<T, F, E>(&self, key: &RateKey, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.with(*key, |arrival| {
            let (outcome, next) = f(*arrival)?;
            *arrival = Some(next);
            Ok(outcome)
        })
    }
}

/// One class.
struct Counter<C: Clock> {
    policy: RatePolicy,
    governor: Governor<RateKey, Arrivals, C, StateInformationMiddleware>,
    arrivals: Arrivals,
    start: C::Instant,
}

impl<C: Clock + Clone> Counter<C> {
    fn new(policy: RatePolicy, clock: &C) -> Self {
        let arrivals = Arrivals(Bounded::new(CALLERS));
        let interval = policy.interval();
        // An interval is never zero, so the first form always holds.
        let quota = Quota::with_period(interval)
            .unwrap_or_else(|| Quota::per_second(policy.permits))
            .allow_burst(policy.permits);
        Self {
            policy,
            start: clock.now(),
            governor: Governor::new(quota, arrivals.clone(), clock.clone()),
            arrivals,
        }
    }

    fn take(&self, class: RateClass, key: RateKey) -> RateVerdict {
        let (remaining, refused) = match self.governor.check_key(&key) {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(until) => {
                let wait = until.wait_time_from(self.governor.clock().now());
                (0, Some(wait))
            }
        };
        RateVerdict {
            class,
            policy: self.policy,
            remaining,
            refused,
        }
    }

    fn refusing(&self, key: RateKey) -> Option<Duration> {
        let arrival = self.arrivals.0.with(key, |arrival| *arrival)?;
        let now = self.governor.clock().now().duration_since(self.start);
        let interval = self.policy.interval();
        let tolerance = interval.saturating_mul(self.policy.permits.get() - 1);
        let ahead = Duration::from(arrival.saturating_sub(now));
        ahead.checked_sub(tolerance).filter(|wait| !wait.is_zero())
    }
}

/// Counts in this process: exact for one replica, and what several fall back to.
pub struct LocalRates<C: Clock = MonotonicClock> {
    upload: Counter<C>,
    download: Counter<C>,
    auth_failure: Counter<C>,
}

impl LocalRates {
    /// By the monotonic clock.
    #[must_use]
    pub fn new(policies: &RatePolicies) -> Self {
        Self::with_clock(policies, &MonotonicClock)
    }
}

impl<C: Clock + Clone> LocalRates<C> {
    /// By that clock.
    #[must_use]
    pub fn with_clock(policies: &RatePolicies, clock: &C) -> Self {
        Self {
            upload: Counter::new(policies.upload, clock),
            download: Counter::new(policies.download, clock),
            auth_failure: Counter::new(policies.auth_failure, clock),
        }
    }

    const fn counter(&self, class: RateClass) -> &Counter<C> {
        match class {
            RateClass::Upload => &self.upload,
            RateClass::Download => &self.download,
            RateClass::AuthFailure => &self.auth_failure,
        }
    }

    /// Takes a permit. Nothing is waited for.
    pub fn take_now(&self, class: RateClass, key: RateKey) -> RateVerdict {
        self.counter(class).take(class, key)
    }

    /// How many callers are known, in all classes.
    #[must_use]
    pub fn known_callers(&self) -> usize {
        let count = |class| self.counter(class).arrivals.0.len();
        RateClass::ALL.into_iter().map(count).sum()
    }
}

#[async_trait]
impl<C> RateLimiter for LocalRates<C>
where
    C: Clock + Clone + Send + Sync,
    C::Instant: Send + Sync,
{
    async fn take(&self, class: RateClass, key: RateKey) -> RateVerdict {
        self.take_now(class, key)
    }

    fn refusing(&self, class: RateClass, key: RateKey) -> Option<Duration> {
        self.counter(class).refusing(key)
    }

    fn policy(&self, class: RateClass) -> RatePolicy {
        self.counter(class).policy
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, num::NonZeroU32};

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn policies(permits: u32, seconds: u64) -> RatePolicies {
        let policy = RatePolicy {
            permits: NonZeroU32::new(permits).unwrap(),
            window: Duration::from_secs(seconds),
        };
        RatePolicies {
            upload: policy,
            download: policy,
            auth_failure: policy,
        }
    }

    fn key(n: u32) -> RateKey {
        RateKey::of_address(Ipv4Addr::from(n).into())
    }

    #[test]
    fn so_many_pass_at_once_and_then_one_each_interval() {
        let clock = FakeRelativeClock::default();
        let rates = LocalRates::with_clock(&policies(60, 60), &clock);
        let take = || rates.take_now(RateClass::Upload, key(1));
        for n in (0..60).rev() {
            assert_eq!(rates.refusing(RateClass::Upload, key(1)), None);
            let verdict = take();
            assert_eq!((verdict.remaining, verdict.refused), (n, None));
        }
        let second = Duration::from_secs(1);
        assert_eq!(take().refused, Some(second));
        assert_eq!(rates.refusing(RateClass::Upload, key(1)), Some(second));
        assert_eq!(rates.refusing(RateClass::Download, key(1)), None);
        assert_eq!(rates.refusing(RateClass::Upload, key(2)), None);
        clock.advance(second);
        assert_eq!(rates.refusing(RateClass::Upload, key(1)), None);
        assert_eq!(take().refused, None);
        assert!(take().refused.is_some());
        clock.advance(Duration::from_secs(3600));
        let passed = (0..600).filter(|_| take().refused.is_none()).count();
        assert_eq!(passed, 60, "a long rest saves up no more than the limit");
    }

    #[test]
    fn ten_times_the_rate_gets_the_limit_in_the_long_run() {
        let clock = FakeRelativeClock::default();
        let rates = LocalRates::with_clock(&policies(60, 60), &clock);
        let mut passed = 0;
        for _ in 0..6000 {
            let verdict = rates.take_now(RateClass::Download, key(1));
            passed += u32::from(verdict.refused.is_none());
            clock.advance(Duration::from_millis(100));
        }
        assert!((655..=660).contains(&passed), "{passed} in ten windows");
    }

    #[test]
    fn two_hundred_thousand_addresses_are_bounded_and_the_busiest_stay_known() {
        let clock = FakeRelativeClock::default();
        let rates = LocalRates::with_clock(&policies(20, 60), &clock);
        for _ in 0..20 {
            rates.take_now(RateClass::AuthFailure, key(7));
        }
        for n in 0..200_000 {
            rates.take_now(RateClass::AuthFailure, key(1000 + n));
        }
        assert!(
            rates.known_callers() <= CALLERS,
            "{}",
            rates.known_callers()
        );
        assert!(rates.refusing(RateClass::AuthFailure, key(7)).is_some());
    }
}
