//! What statuses and the HTTP client's errors mean to the port.

use std::{error::Error, io};

use cloakroom_application::ports::StoreError;
use reqwest::StatusCode;

use crate::stores::remote::Trouble;

/// An answer that is not a success.
pub(super) fn sorted(status: StatusCode) -> StoreError {
    let said = || Box::new(Trouble(format!("the server answered {}", status.as_u16())));
    match status.as_u16() {
        404 | 410 => StoreError::NotFound,
        // Not now: locked, too early, too many, in trouble. Nobody says so of a length or of a method.
        408 | 409 | 423 | 425 | 429 | 500 | 502..=504 => StoreError::Unavailable(said()),
        100..=299 | 416 => StoreError::Broken(said()),
        300..=399 => StoreError::Refused("the server redirects, which is not followed".into()),
        507 => StoreError::Refused("the server is full (507)".into()),
        400..=499 | 501 | 505..=599 => StoreError::Refused(said()),
        _ => StoreError::Broken(said()),
    }
}

/// A request that got no answer.
pub(super) fn unsent(error: &reqwest::Error) -> StoreError {
    if denied(error) {
        return StoreError::Refused(
            "the endpoint is at an address that is link-local or of cloud metadata".into(),
        );
    }
    let told = Box::new(Trouble(described(error)));
    if error.is_builder() {
        StoreError::Refused(told)
    } else {
        StoreError::Unavailable(told)
    }
}

/// A body that broke off.
pub(super) fn cut(error: &reqwest::Error) -> StoreError {
    StoreError::Broken(Box::new(Trouble(described(error))))
}

fn causes<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let next = |cause: &&'a (dyn Error + 'static)| -> Option<&'a (dyn Error + 'static)> {
        (*cause).source()
    };
    std::iter::successors(error.source(), next)
}

/// Whether the guard found no address that may be connected to.
fn denied(error: &reqwest::Error) -> bool {
    error.is_connect()
        && causes(error).any(|cause| {
            let io = cause.downcast_ref::<io::Error>();
            io.is_some_and(|io| {
                io.kind() == io::ErrorKind::PermissionDenied && io.raw_os_error().is_none()
            })
        })
}

/// Without the address, which may hold what is nobody's business.
fn described(error: &reqwest::Error) -> String {
    let what = if error.is_connect() {
        "no connection"
    } else if error.is_timeout() {
        "no answer in time"
    } else {
        "the connection broke"
    };
    causes(error).fold(what.to_owned(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_means_something() {
        let kind = |status: u16| match sorted(StatusCode::from_u16(status).unwrap()) {
            StoreError::NotFound => "missing",
            StoreError::Refused(_) => "refused",
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Broken(_) => "broken",
        };
        let cases = [
            (404, "missing"),
            (401, "refused"),
            (403, "refused"),
            (405, "refused"),
            (411, "refused"),
            (413, "refused"),
            (423, "unavailable"),
            (429, "unavailable"),
            (500, "unavailable"),
            (501, "refused"),
            (503, "unavailable"),
            (507, "refused"),
            (301, "refused"),
            (307, "refused"),
            (416, "broken"),
            (204, "broken"),
            (999, "broken"),
        ];
        for (status, expected) in cases {
            assert_eq!(kind(status), expected, "{status}");
        }
        for status in 100..1000 {
            kind(status);
        }
    }
}
