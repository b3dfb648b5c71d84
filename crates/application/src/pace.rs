//! A limit on bytes per second.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// What could have passed in so long, and did not, may pass at once.
const BURST: Duration = Duration::from_millis(100);

/// Lets so many bytes pass per second, over everybody who shares it.
#[derive(Debug)]
pub struct Pace {
    rate: Option<u64>,
    /// When what has passed is paid for.
    due: Mutex<Instant>,
}

impl Pace {
    /// At most so many bytes a second; 0 is taken for 1, `None` limits nothing.
    #[must_use]
    pub fn of(rate: Option<u64>) -> Self {
        Self {
            rate: rate.map(|rate| rate.max(1)),
            due: Mutex::new(Instant::now()),
        }
    }

    /// So many bytes have passed: waits until they are paid for.
    pub async fn spend(&self, bytes: u64) {
        let Some(rate) = self.rate else {
            return;
        };
        let micros = u128::from(bytes) * 1_000_000 / u128::from(rate);
        let cost = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        let now = Instant::now();
        let due = {
            let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            *due = (*due).max(now.checked_sub(BURST).unwrap_or(now)) + cost;
            *due
        };
        if due > now {
            sleep_until(due).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_passes_than_the_rate_says_however_it_is_cut() {
        for step in [1_u64, 777, 65_536, 1_000_000] {
            let (pace, begun, mut passed) = (Pace::of(Some(1_000_000)), Instant::now(), 0);
            while passed < 3_000_000 {
                pace.spend(step).await;
                passed += step;
            }
            let took = begun.elapsed().as_secs_f64();
            let expected = passed as f64 / 1_000_000.0;
            assert!(
                (expected - 0.15..expected + 0.15).contains(&took),
                "{step}: {took}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_pass_no_faster_than_that_whoever_sends_them() {
        let pace = Pace::of(Some(1000));
        let begun = Instant::now();
        tokio::join!(pace.spend(500), pace.spend(1500));
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
        let free = Pace::of(None);
        free.spend(u64::MAX).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_did_not_pass_in_an_hour_does_not_pass_at_once() {
        let pace = Pace::of(Some(1000));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let begun = Instant::now();
        pace.spend(10_000).await;
        assert!(begun.elapsed() > Duration::from_secs(9));
    }
}
