//! `Range` fields against a reading of RFC 9110 §14 that looks at every byte by itself.
#![no_main]

use cloakroom_domain::{MAX_RANGES, RangeOutcome};
use libfuzzer_sys::fuzz_target;

/// What one element of the set asks for.
enum Asked {
    From(u128),
    FromTo(u128, u128),
    Last(u128),
}

impl Asked {
    fn has(&self, byte: u64, size: u64) -> bool {
        let byte = u128::from(byte);
        match *self {
            Self::From(first) => byte >= first,
            Self::FromTo(first, last) => byte >= first && byte <= last,
            Self::Last(length) => byte + length >= u128::from(size),
        }
    }
}

fn number(text: &str) -> Option<u128> {
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    // Beyond any size all numbers are the same.
    let digits = text.trim_start_matches('0');
    if digits.len() > 30 {
        return Some(10_u128.pow(30));
    }
    Some(digits.parse().unwrap_or(0))
}

/// The elements, or none where the field is to be ignored.
fn read(field: &str) -> Option<Vec<Asked>> {
    let blank = [' ', '\t'];
    let (unit, set) = field.split_once('=')?;
    if !unit.trim_matches(blank).eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut elements = Vec::new();
    for text in set.split(',') {
        let text = text.trim_matches(blank);
        if text.is_empty() {
            continue;
        }
        let (first, last) = text.split_once('-')?;
        elements.push(match (first, last) {
            ("", last) => Asked::Last(number(last)?),
            (first, "") => Asked::From(number(first)?),
            (first, last) => {
                let digits = |text: &str| text.trim_start_matches('0').to_owned();
                let (from, to) = (digits(first), digits(last));
                let (first, last) = (number(first)?, number(last)?);
                // As texts: no number of any length is cut short.
                if (to.len(), &to) < (from.len(), &from) {
                    return None;
                }
                Asked::FromTo(first, last)
            }
        });
    }
    (!elements.is_empty() && elements.len() <= MAX_RANGES).then_some(elements)
}

fuzz_target!(|data: &[u8]| {
    let Some((size, field)) = data.split_first() else {
        return;
    };
    let Ok(field) = std::str::from_utf8(field) else {
        return;
    };
    // Whatever the text and the size: what comes out lies within.
    for size in [0, 1, u64::from(*size), u64::MAX] {
        if let RangeOutcome::Parts(parts) = RangeOutcome::of(field, size) {
            assert!((1..=MAX_RANGES).contains(&parts.len()));
            assert!(parts.iter().all(|p| p.start < p.end && p.end <= size));
        }
    }
    // What a header can hold: the oracle must agree on every byte.
    if !field.bytes().all(|b| b == b'\t' || (0x20..0x7f).contains(&b)) {
        return;
    }
    let size = u64::from(*size);
    let outcome = RangeOutcome::of(field, size);
    let Some(elements) = read(field) else {
        assert_eq!(outcome, RangeOutcome::Whole, "{field}");
        return;
    };
    let asked = |byte: u64| elements.iter().any(|element| element.has(byte, size));
    match outcome {
        RangeOutcome::Parts(parts) => {
            for byte in 0..size {
                let times = parts.iter().filter(|p| p.start <= byte && byte < p.end).count();
                assert_eq!(times, usize::from(asked(byte)), "{field}, byte {byte} of {size}");
            }
        }
        RangeOutcome::Unsatisfiable => assert!(!(0..size).any(asked), "{field} of {size}"),
        // A suffix of nothing could not be stated.
        RangeOutcome::Whole => assert!(
            size == 0 && elements.iter().any(|e| matches!(e, Asked::Last(n) if *n > 0)),
            "{field} of {size}"
        ),
    }
});
