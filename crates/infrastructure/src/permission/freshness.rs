//! For how long an answer may be kept.

use std::time::Duration;

use cloakroom_application::ports::Keep;
use reqwest::header::{CACHE_CONTROL, HeaderMap};

/// Reads `Cache-Control` (RFC 9111 §5.2.2). What cannot be read is taken for the shorter (§4.2.1).
pub(super) fn keep(headers: &HeaderMap) -> Keep {
    let mut keep = Keep::Usual;
    for value in headers.get_all(CACHE_CONTROL) {
        let Ok(text) = value.to_str() else {
            return Keep::For(Duration::ZERO);
        };
        for directive in text.split(',') {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            let time = match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => Duration::ZERO,
                "max-age" => seconds(argument.trim().trim_matches('"')),
                _ => continue,
            };
            keep = match keep {
                Keep::For(other) => Keep::For(other.min(time)),
                Keep::Usual => Keep::For(time),
            };
        }
    }
    keep
}

/// Whole seconds; what is too large is very long (RFC 9111 §1.2.2), what is no number nothing.
fn seconds(text: &str) -> Duration {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let seconds = if digits {
        text.parse().unwrap_or(u32::MAX)
    } else {
        0
    };
    Duration::from_secs(seconds.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&'static str]) -> Keep {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CACHE_CONTROL, value.parse().unwrap());
        }
        keep(&headers)
    }

    #[test]
    fn the_shortest_that_is_said_holds_and_nonsense_is_not_kept() {
        let secs = |secs| Keep::For(Duration::from_secs(secs));
        assert_eq!(of(&[]), Keep::Usual);
        assert_eq!(of(&["private"]), Keep::Usual);
        assert_eq!(of(&["max-age=60"]), secs(60));
        assert_eq!(of(&["private, Max-Age=\"60\""]), secs(60));
        assert_eq!(of(&["max-age=60", "max-age=30"]), secs(30));
        assert_eq!(of(&["max-age=60, no-store"]), secs(0));
        assert_eq!(of(&["no-cache"]), secs(0));
        for nonsense in [
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=1.5",
            "max-age=x",
        ] {
            assert_eq!(of(&[nonsense]), secs(0), "{nonsense}");
        }
        assert_eq!(of(&["max-age=99999999999999999999"]), secs(u32::MAX.into()));
    }
}
