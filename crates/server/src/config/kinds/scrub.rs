//! The kinds of values of the scrub.

use std::time::Duration;

use super::{Kind, LONGEST, duration, size};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) const SCRUB_INTERVAL: Kind<Option<Duration>> = Kind::new(
    "duration or `off`",
    "off, or a duration from 1s to ten years, such as 30d or 12h",
    |text| match text {
        "off" | "0" => Some(None),
        _ => days(text)
            .or_else(|| duration(text))
            .filter(|duration| (Duration::from_secs(1)..=LONGEST).contains(duration))
            .map(Some),
    },
);

/// A connection that gives a chunk is read from again before its server takes us for gone.
pub(crate) const SCRUB_RATE: Kind<u64> = Kind::new(
    "size",
    "a size from 64KiB to 100GiB, read in a second, such as 10MiB",
    |text| size(text).filter(|size| (64 * 1024..=100 << 30).contains(size)),
);

fn days(text: &str) -> Option<Duration> {
    let days: u32 = text.strip_suffix('d')?.parse().ok()?;
    DAY.checked_mul(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_may_be_written_in_days_or_be_off() {
        let read = |text| (SCRUB_INTERVAL.read)(text);
        assert_eq!(read("30d"), Some(Some(DAY * 30)));
        assert_eq!(read("12h"), Some(Some(DAY / 2)));
        assert_eq!(read("off"), Some(None));
        assert_eq!(read("0"), Some(None));
        for wrong in [
            "",
            "d",
            "-1d",
            "1.5d",
            "0d",
            "500ms",
            "99999d",
            "4294967296d",
            "+1d1",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_rate_has_bounds() {
        let read = |text| (SCRUB_RATE.read)(text);
        assert_eq!(read("10MiB"), Some(10 * 1024 * 1024));
        assert_eq!(read("64KiB"), Some(64 * 1024));
        for wrong in ["0", "65535", "101GiB", "fast", "10MiB/s"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
