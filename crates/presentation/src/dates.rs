//! HTTP dates (RFC 9110 §5.6.7).

use std::time::{Duration, UNIX_EPOCH};

/// The date of whole seconds since the epoch; one before it is shown as the epoch.
pub(crate) fn http_date(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    httpdate::fmt_http_date(UNIX_EPOCH + since)
}
