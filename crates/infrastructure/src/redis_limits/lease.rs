//! Permits that this replica has taken for a caller and not used yet. Pure arithmetic.

use cloakroom_application::{ports::RatePolicy, rates::Rank};

/// A replica holds at most this share of a limit in advance.
const SHARE: u32 = 16;

/// Microseconds since this process began to count.
pub(super) type Moment = u64;

/// What is known of one caller.
///
/// Permits that are held while the shared bucket fills up again would come on top of a full one. So held permits
/// decay as fast as the bucket fills: one each interval since they were asked for, unless they are used faster. Then
/// what is held and what is in the bucket never exceed the limit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    /// When it was asked for.
    since: Moment,
    granted: u32,
    /// Used or decayed.
    used: u32,
    /// Left in the shared bucket, when it was last asked.
    left: u32,
    /// There is none before.
    closed_until: Moment,
    /// How many more than needed were welcome.
    batch: u32,
    interval: u64,
}

/// What a lease says to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// It may pass; so many are left.
    Pass(u32),
    /// Not for so many microseconds.
    Wait(u64),
    /// Redis must be asked.
    Ask,
}

/// What Redis answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) granted: u32,
    pub(super) left: u32,
    /// Microseconds.
    pub(super) wait: u64,
}

impl Rank for Lease {
    fn rank(&self) -> u64 {
        self.closed_until.max(self.end())
    }
}

impl Lease {
    /// The lease that an answer makes, of which `need` requests pass at once.
    pub(super) fn new(
        answer: Answer,
        need: u32,
        more: u32,
        asked: Moment,
        answered: Moment,
        policy: &RatePolicy,
    ) -> Self {
        let closed_until = if answer.granted < need {
            answered.saturating_add(answer.wait.max(1))
        } else {
            0
        };
        Self {
            since: asked,
            granted: answer.granted,
            used: answer.granted.min(need),
            left: answer.left,
            closed_until,
            batch: more,
            interval: micros(policy),
        }
    }

    fn end(&self) -> Moment {
        let life = u64::from(self.granted).saturating_mul(self.interval);
        self.since.saturating_add(life)
    }

    /// Lets a request pass if a permit is held.
    pub(super) fn spend(&mut self, now: Moment) -> Said {
        let decayed = now.saturating_sub(self.since).div_ceil(self.interval);
        let decayed = u32::try_from(decayed).unwrap_or(u32::MAX);
        self.used = self.used.max(decayed.min(self.granted));
        if self.used < self.granted {
            self.used += 1;
            return Said::Pass(self.left.saturating_add(self.granted - self.used));
        }
        match self.closed_until.checked_sub(now) {
            Some(wait) if wait > 0 => Said::Wait(wait),
            _ => Said::Ask,
        }
    }

    /// How long there will be none.
    pub(super) fn refusing(&self, now: Moment) -> Option<u64> {
        let wait = self.closed_until.checked_sub(now)?;
        (wait > 0).then_some(wait)
    }

    /// How many permits to ask for on top of those that are needed now: none for a caller that was not there, more
    /// and more for one that uses them before they decay.
    pub(super) fn more(before: Option<&Self>, now: Moment, policy: &RatePolicy) -> u32 {
        let most = policy.permits.get() / SHARE;
        let Some(before) = before else {
            return 0;
        };
        let more = if now < before.end() {
            before.batch.max(1).saturating_mul(2)
        } else {
            before.batch / 2
        };
        more.min(most)
    }
}

pub(super) fn micros(policy: &RatePolicy) -> u64 {
    u64::try_from(policy.interval().as_micros())
        .unwrap_or(u64::MAX)
        .max(1)
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::*;

    /// One permit comes back in 50 ms.
    fn policy(permits: u32) -> RatePolicy {
        RatePolicy {
            permits: NonZeroU32::new(permits).unwrap(),
            window: Duration::from_millis(50) * permits,
        }
    }

    fn lease(granted: u32, need: u32, wait: u64) -> Lease {
        let answer = Answer {
            granted,
            left: 7,
            wait,
        };
        Lease::new(
            answer,
            need,
            granted - granted.min(need),
            1000,
            2000,
            &policy(1200),
        )
    }

    #[test]
    fn held_permits_are_spent_without_asking_and_then_redis_is_asked() {
        let mut lease = lease(4, 1, 0);
        let said: Vec<Said> = (0..4).map(|_| lease.spend(1000)).collect();
        let expected = [Said::Pass(9), Said::Pass(8), Said::Pass(7), Said::Ask];
        assert_eq!(said, expected);
    }

    #[test]
    fn held_permits_decay_as_fast_as_the_bucket_fills() {
        for (after, left) in [
            (0, 9),
            (50_000, 9),
            (50_001, 8),
            (100_000, 8),
            (449_000, 1),
            (450_001, 0),
        ] {
            let mut lease = lease(10, 1, 0);
            let passed = (0..20)
                .filter(|_| matches!(lease.spend(1000 + after), Said::Pass(_)))
                .count();
            assert_eq!(passed, left, "after {after} µs");
        }
    }

    /// Redis, as the script counts: the new lease of a replica, and whether the request that asked for it passes.
    fn ask(
        arrival: &mut u64,
        before: Option<&Lease>,
        now: u64,
        policy: &RatePolicy,
    ) -> (Lease, bool) {
        let interval = micros(policy);
        let window = interval * u64::from(policy.permits.get());
        let more = Lease::more(before, now, policy);
        let from = now.max(*arrival);
        let free = u32::try_from((now + window - from) / interval).unwrap();
        let granted = match free {
            0 => 0,
            free => 1 + more.min((free - 1) / 2),
        };
        if granted > 0 {
            *arrival = from + u64::from(granted) * interval;
        }
        let answer = Answer {
            granted,
            left: free - granted,
            wait: (from + interval).saturating_sub(now + window),
        };
        (Lease::new(answer, 1, more, now, now, policy), granted > 0)
    }

    /// However requests, leases and replicas come together: no more than the limit at once, and no more than the
    /// limit and what came back in any stretch of time.
    #[test]
    fn what_is_held_and_what_is_in_the_bucket_never_exceed_the_limit() {
        let policy = policy(64);
        let interval = micros(&policy);
        let window = interval * 64;
        let mut random = 12345_u64;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % below
        };
        let mut arrival = 0;
        let mut leases: [Option<Lease>; 4] = [None; 4];
        let (mut now, mut passed) = (1_000_000, Vec::new());
        for _ in 0..20_000 {
            // Bursts, and rests in which the bucket fills.
            now += match next(400) {
                0 => next(2 * window),
                1..20 => next(interval),
                _ => next(100),
            };
            let lease = &mut leases[usize::try_from(next(4)).unwrap()];
            let said = lease.as_mut().map_or(Said::Ask, |lease| lease.spend(now));
            match said {
                Said::Pass(_) => passed.push(now),
                Said::Wait(_) => {}
                Said::Ask => {
                    let (renewed, passes) = ask(&mut arrival, lease.as_ref(), now, &policy);
                    *lease = Some(renewed);
                    if passes {
                        passed.push(now);
                    }
                }
            }
        }
        assert!(passed.len() > 1000);
        for (first, from) in passed.iter().enumerate() {
            let within = passed[first..].iter().take_while(|at| **at < from + window);
            let stretch: Vec<&u64> = within.collect();
            for (count, at) in stretch.iter().enumerate() {
                let allowed = 64 + (**at - from) / interval;
                assert!(
                    (count as u64) < allowed,
                    "{} in {} µs",
                    count + 1,
                    **at - from
                );
            }
        }
    }

    #[test]
    fn a_hot_caller_is_given_more_and_more_at_a_time_but_never_much_of_the_limit() {
        let policy = policy(1200);
        assert_eq!(Lease::more(None, 0, &policy), 0);
        let mut lease = lease(1, 1, 0);
        let mut asked = Vec::new();
        for _ in 0..10 {
            let more = Lease::more(Some(&lease), 1000, &policy);
            asked.push(more);
            let answer = Answer {
                granted: 1 + more,
                left: 7,
                wait: 0,
            };
            lease = Lease::new(answer, 1, more, 1000, 1000, &policy);
        }
        assert_eq!(asked, [2, 4, 8, 16, 32, 64, 75, 75, 75, 75]);
        assert_eq!(Lease::more(Some(&lease), 60_000_000, &policy), 37);
    }

    #[test]
    fn where_there_is_none_nobody_asks_before_there_may_be_one() {
        let mut lease = lease(0, 3, 50_000);
        assert_eq!(lease.spend(2000), Said::Wait(50_000));
        assert_eq!(lease.refusing(51_999), Some(1));
        assert_eq!(lease.refusing(52_000), None);
        assert_eq!(lease.spend(52_000), Said::Ask);
    }
}
