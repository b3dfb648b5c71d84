//! How fast the scrub reads.

use crate::Pace;

/// An object counts as at least so many bytes: asking for it is work, too.
const OBJECT: u64 = 4 * 1024;

/// What was read, no faster than a rate.
pub(super) struct Paced {
    pace: Pace,
    /// Bytes read.
    read: u64,
    /// Of them, those of this object.
    of_object: u64,
}

impl Paced {
    /// At most so many bytes a second; 0 is taken for 1.
    pub(super) fn of(rate: u64) -> Self {
        Self {
            pace: Pace::of(Some(rate)),
            read: 0,
            of_object: 0,
        }
    }

    /// Bytes read so far.
    pub(super) const fn read(&self) -> u64 {
        self.read
    }

    /// So many were read: waits until they are paid for.
    pub(super) async fn spend(&mut self, bytes: u64) {
        self.read += bytes;
        self.of_object += bytes;
        self.pace.spend(bytes).await;
    }

    /// An object was read.
    pub(super) async fn object(&mut self) {
        let rest = OBJECT.saturating_sub(std::mem::take(&mut self.of_object));
        self.pace.spend(rest).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_read_is_counted_and_paced() {
        let mut paced = Paced::of(1_000_000);
        let begun = Instant::now();
        while paced.read() < 3_000_000 {
            paced.spend(65_536).await;
        }
        let took = begun.elapsed().as_secs_f64();
        let expected = paced.read() as f64 / 1_000_000.0;
        assert!((expected - 0.15..expected + 0.15).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn empty_objects_cost_something_and_large_ones_no_more_than_their_bytes() {
        let mut paced = Paced::of(OBJECT);
        let begun = Instant::now();
        for _ in 0..5 {
            paced.object().await;
        }
        assert!(begun.elapsed() > Duration::from_millis(4800));
        let begun = Instant::now();
        paced.spend(OBJECT * 2).await;
        paced.object().await;
        assert!(begun.elapsed() < Duration::from_millis(2100));
    }
}
