//! Byte ranges (RFC 9110 §14).

/// The most ranges that one request may name; more are answered with the whole.
pub const MAX_RANGES: usize = 16;

/// The longest field that is read, in bytes: sixteen ranges need less than 700. Longer ones are ignored.
const MAX_FIELD: usize = 8 * 1024;

/// A stretch of bytes: `start` inclusive, `end` exclusive, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// Bytes in the stretch.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub const fn len(&self) -> u64 {
        self.end - self.start
    }
}

/// What a `Range` field asks for, once the size is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeOutcome {
    /// The whole: no usable range, or too many.
    Whole,
    /// 1–[`MAX_RANGES`] ranges that do not overlap, in the order asked for.
    Parts(Vec<ByteRange>),
    /// None of the ranges lies in the representation: 416.
    Unsatisfiable,
}

enum Spec {
    FromTo(u64, Option<u64>),
    Suffix(u64),
}

impl RangeOutcome {
    /// Reads a `Range` field against a representation of `size` bytes.
    ///
    /// An unknown unit, a malformed field and one of more than 8 KiB are ignored (RFC 9110 §14.2). Time is linear in
    /// the field's length.
    #[must_use]
    pub fn of(field: &str, size: u64) -> Self {
        let Some(specs) = parse(field) else {
            return Self::Whole;
        };
        if specs.len() > MAX_RANGES {
            return Self::Whole;
        }
        let has_suffix = specs
            .iter()
            .any(|spec| matches!(spec, Spec::Suffix(n) if *n > 0));
        let parts: Vec<ByteRange> = specs
            .iter()
            .filter_map(|spec| resolve(spec, size))
            .collect();
        match parts.is_empty() {
            // A suffix of nothing is satisfiable, but no Content-Range could state it.
            true if size == 0 && has_suffix => Self::Whole,
            true => Self::Unsatisfiable,
            false => Self::Parts(coalesce(parts)),
        }
    }
}

fn parse(field: &str) -> Option<Vec<Spec>> {
    if field.len() > MAX_FIELD {
        return None;
    }
    let (unit, set) = field.trim().split_once('=')?;
    if !unit.trim_end().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let specs: Vec<Spec> = set
        .split(',')
        .map(|spec| spec.trim_matches([' ', '\t']))
        .filter(|spec| !spec.is_empty())
        .take(MAX_RANGES + 1)
        .map(parse_spec)
        .collect::<Option<_>>()?;
    (!specs.is_empty()).then_some(specs)
}

fn parse_spec(spec: &str) -> Option<Spec> {
    let (first_digits, last) = spec.split_once('-')?;
    if first_digits.is_empty() {
        return number(last).map(Spec::Suffix);
    }
    let first = number(first_digits)?;
    if last.is_empty() {
        return Some(Spec::FromTo(first, None));
    }
    let (from, to) = (significant(first_digits), significant(last));
    let last = number(last)?;
    // As texts: numbers beyond 64 bits must not come out equal.
    let is_ordered = (from.len(), from) <= (to.len(), to);
    is_ordered.then_some(Spec::FromTo(first, Some(last)))
}

/// Digits without leading zeros.
fn significant(digits: &str) -> &str {
    digits.trim_start_matches('0')
}

/// Decimal digits only; beyond 64 bits it is as good as the end of any file.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

fn resolve(spec: &Spec, size: u64) -> Option<ByteRange> {
    let (start, end) = match *spec {
        Spec::FromTo(first, last) => (first, last.map_or(size, |l| l.saturating_add(1).min(size))),
        Spec::Suffix(length) => (size.saturating_sub(length), size),
    };
    (start < end).then_some(ByteRange { start, end })
}

/// Joins ranges that overlap; each stands where the first of its members stood.
fn coalesce(parts: Vec<ByteRange>) -> Vec<ByteRange> {
    let mut by_start: Vec<(usize, ByteRange)> = parts.into_iter().enumerate().collect();
    by_start.sort_by_key(|(_, part)| part.start);
    let mut joined: Vec<(usize, ByteRange)> = Vec::with_capacity(by_start.len());
    for (order, part) in by_start {
        match joined.last_mut() {
            Some((first, last)) if part.start < last.end => {
                last.end = last.end.max(part.end);
                *first = (*first).min(order);
            }
            _ => joined.push((order, part)),
        }
    }
    joined.sort_by_key(|(order, _)| *order);
    joined.into_iter().map(|(_, part)| part).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_end_before_the_start_is_malformed_however_large_both_are() {
        let large = "8".to_owned() + &"0".repeat(30);
        for (field, outcome) in [
            (
                format!("bytes={large}-3174100485882526254177"),
                RangeOutcome::Whole,
            ),
            (
                format!("bytes={large}-{large}"),
                RangeOutcome::Unsatisfiable,
            ),
            (
                format!("bytes=00{large}-0{large}"),
                RangeOutcome::Unsatisfiable,
            ),
            (format!("bytes={large}1-{large}"), RangeOutcome::Whole),
            ("bytes=0-0".to_owned(), RangeOutcome::of("bytes=00-000", 10)),
        ] {
            assert_eq!(RangeOutcome::of(&field, 10), outcome, "{field}");
        }
    }

    fn parts(field: &str, size: u64) -> Vec<(u64, u64)> {
        match RangeOutcome::of(field, size) {
            RangeOutcome::Parts(parts) => parts.iter().map(|p| (p.start, p.end)).collect(),
            other => panic!("{field}: {other:?}"),
        }
    }

    #[test]
    fn single_open_suffix_and_clamped_ranges() {
        assert_eq!(parts("bytes=0-0", 10), [(0, 1)]);
        assert_eq!(parts("bytes=5-", 10), [(5, 10)]);
        assert_eq!(parts("bytes=-3", 10), [(7, 10)]);
        assert_eq!(parts("bytes=-30", 10), [(0, 10)]);
        assert_eq!(parts("bytes=8-99999999999999999999999", 10), [(8, 10)]);
        assert_eq!(parts("BYTES = 1-2 , ,\t4-5", 10), [(1, 3), (4, 6)]);
    }

    #[test]
    fn what_is_malformed_or_unknown_is_ignored() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=a-b",
            "bytes=5-2",
            "bytes=--1",
            "bytes=-",
            "items=0-1",
            "bytes=0-1,x",
            "bytes=1-2-3",
            "bytes 0-1",
            "bytes=+1-2",
            "bytes=٣-٤",
        ] {
            assert_eq!(RangeOutcome::of(field, 10), RangeOutcome::Whole, "{field}");
        }
    }

    #[test]
    fn nothing_inside_is_unsatisfiable() {
        for field in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99-,10-11"] {
            assert_eq!(
                RangeOutcome::of(field, 10),
                RangeOutcome::Unsatisfiable,
                "{field}"
            );
        }
        assert_eq!(RangeOutcome::of("bytes=0-", 0), RangeOutcome::Unsatisfiable);
        assert_eq!(RangeOutcome::of("bytes=-5", 0), RangeOutcome::Whole);
    }

    #[test]
    fn overlapping_ranges_are_joined_and_order_is_kept() {
        assert_eq!(parts("bytes=8-9,0-3,2-5", 10), [(8, 10), (0, 6)]);
        assert_eq!(parts("bytes=0-1,2-3", 10), [(0, 2), (2, 4)]);
        assert_eq!(parts("bytes=0-,0-,0-", 10), [(0, 10)]);
        assert_eq!(parts("bytes=20-30,0-0", 10), [(0, 1)]);
    }

    #[test]
    fn more_than_sixteen_ranges_give_the_whole() {
        let field = |n: u64| {
            let specs: Vec<String> = (0..n).map(|i| format!("{}-{}", i * 2, i * 2)).collect();
            format!("bytes={}", specs.join(","))
        };
        assert_eq!(parts(&field(16), 100).len(), 16);
        assert_eq!(RangeOutcome::of(&field(17), 100), RangeOutcome::Whole);
    }

    /// What a build that is optimised needs no more of; others are many times slower.
    const LIMIT: Duration = Duration::from_millis(if cfg!(debug_assertions) { 50 } else { 1 });

    #[test]
    fn any_text_is_read_in_a_millisecond() {
        for piece in [
            ",",
            ", ",
            " ",
            "\t,",
            "-",
            "0-,",
            "-1,",
            "0-0,",
            "9",
            "=",
            "bytes=",
            "bytes=0-0,",
            "٣",
            "0-18446744073709551615,",
            "\0",
            "a-b,",
        ] {
            for (lead, tail) in [
                ("", ""),
                ("bytes=", ""),
                ("bytes=", "-"),
                ("bytes=0-", ""),
                ("bytes=", "0-0"),
            ] {
                for length in [MAX_FIELD - lead.len() - tail.len(), 128 * 1024] {
                    let field = format!("{lead}{}{tail}", piece.repeat(length / piece.len()));
                    // The best of many: the machine may be busy with something else meanwhile.
                    let best = (0..20).map(|_| {
                        let start = Instant::now();
                        let outcome = RangeOutcome::of(&field, 1_000_000);
                        assert!(!matches!(outcome, RangeOutcome::Parts(parts) if parts.len() > MAX_RANGES));
                        start.elapsed()
                    });
                    let best = best.min().unwrap();
                    assert!(best < LIMIT, "{lead}{piece}…{tail}: {best:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn parts_cover_what_a_byte_by_byte_reading_of_the_field_covers(
            specs in prop::collection::vec((0u64..40, prop::option::of(0u64..40), any::<bool>()), 1..16),
            size in 0u64..30,
        ) {
            let texts: Vec<String> = specs.iter().map(|(a, b, suffix)| match (suffix, b) {
                (true, _) => format!("-{a}"),
                (false, None) => format!("{a}-"),
                (false, Some(b)) => format!("{}-{}", a.min(b), a.max(b)),
            }).collect();
            let asked = |byte: u64| specs.iter().any(|(a, b, suffix)| match (suffix, b) {
                (true, _) => byte + a >= size,
                (false, None) => byte >= *a,
                (false, Some(b)) => byte >= *a.min(b) && byte <= *a.max(b),
            });
            let field = format!("bytes={}", texts.join(","));
            match RangeOutcome::of(&field, size) {
                RangeOutcome::Parts(parts) => for byte in 0..size {
                    let times = parts.iter().filter(|p| p.start <= byte && byte < p.end).count();
                    prop_assert_eq!(times, usize::from(asked(byte)), "{} byte {}", field, byte);
                },
                RangeOutcome::Unsatisfiable => prop_assert!(!(0..size).any(asked)),
                RangeOutcome::Whole => prop_assert_eq!(size, 0),
            }
        }

        #[test]
        fn no_text_makes_it_fail(field in ".{0,200}", size in any::<u64>()) {
            if let RangeOutcome::Parts(parts) = RangeOutcome::of(&field, size) {
                prop_assert!(parts.iter().all(|p| p.start < p.end && p.end <= size));
            }
        }
    }
}
