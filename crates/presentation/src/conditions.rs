//! Conditional and digest fields of a request.

use std::time::UNIX_EPOCH;

use actix_web::http::header::{self, HeaderMap, HeaderName};
use cloakroom_application::Error;
use cloakroom_domain::{EntityTag, EntityTags, IfRange, Preconditions, Sha256Digest};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// Reads the preconditions. Several fields of a name count as one list.
pub(crate) fn preconditions(headers: &HeaderMap) -> Preconditions {
    Preconditions {
        if_match: tags(headers, header::IF_MATCH),
        if_unmodified_since: date(headers, header::IF_UNMODIFIED_SINCE),
        if_none_match: tags(headers, header::IF_NONE_MATCH),
        if_modified_since: date(headers, header::IF_MODIFIED_SINCE),
        if_range: text(headers, header::IF_RANGE).map(|value| if_range(&value)),
    }
}

/// The SHA-256 that `Content-Digest` or `Repr-Digest` states (RFC 9530). Other algorithms are passed over.
///
/// # Errors
/// [`Error::BadValue`] if a stated SHA-256 cannot be read or two differ.
pub(crate) fn stated_digest(headers: &HeaderMap) -> Result<Option<Sha256Digest>, Error> {
    digest_in(headers, &[CONTENT_DIGEST, REPR_DIGEST])
}

/// The SHA-256 of a request's own bytes, by `Content-Digest` alone.
///
/// # Errors
/// As [`stated_digest`].
pub(crate) fn content_digest(headers: &HeaderMap) -> Result<Option<Sha256Digest>, Error> {
    digest_in(headers, &[CONTENT_DIGEST])
}

/// The SHA-256 of the whole that a request is a stretch of, by `Repr-Digest` alone.
///
/// # Errors
/// As [`stated_digest`].
pub(crate) fn repr_digest(headers: &HeaderMap) -> Result<Option<Sha256Digest>, Error> {
    digest_in(headers, &[REPR_DIGEST])
}

fn digest_in(headers: &HeaderMap, names: &[HeaderName]) -> Result<Option<Sha256Digest>, Error> {
    let unreadable = || Error::BadValue("a digest field cannot be read".to_owned());
    let mut stated = None;
    for name in names {
        let Some(field) = text(headers, name.clone()) else {
            continue;
        };
        for member in field.split(',') {
            let (algorithm, value) = member.trim().split_once('=').ok_or_else(unreadable)?;
            if !algorithm.trim().eq_ignore_ascii_case("sha-256") {
                continue;
            }
            let base64 = value
                .split(';')
                .next()
                .and_then(|value| value.trim().strip_prefix(':')?.strip_suffix(':'))
                .ok_or_else(unreadable)?;
            let digest = Sha256Digest::from_base64(base64).ok_or_else(unreadable)?;
            if stated.is_some_and(|other| other != digest) {
                return Err(Error::BadValue("two digest fields differ".to_owned()));
            }
            stated = Some(digest);
        }
    }
    Ok(stated)
}

/// The value of a field, several lines joined by commas (RFC 9110 §5.3). `None` where it is absent.
pub(crate) fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let lines: Vec<String> = headers
        .get_all(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

fn tags(headers: &HeaderMap, name: HeaderName) -> Option<EntityTags> {
    text(headers, name).map(|value| EntityTags::parse(&value))
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<i64> {
    text(headers, name).and_then(|value| seconds(&value))
}

fn if_range(value: &str) -> IfRange {
    match (EntityTag::parse(value), seconds(value)) {
        (Some(tag), _) => IfRange::Tag(tag),
        (None, Some(date)) => IfRange::Date(date),
        (None, None) => IfRange::Unreadable,
    }
}

fn seconds(value: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(value.trim()).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn digest_of(field: &str) -> Result<Option<Sha256Digest>, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(REPR_DIGEST, HeaderValue::from_str(field).unwrap());
        stated_digest(&headers)
    }

    #[test]
    fn sha_256_is_read_and_other_algorithms_are_passed_over() {
        let digest = Sha256Digest::of(b"x");
        let field = format!("md5=:AAAA:, sha-256=:{}:", digest.base64());
        assert_eq!(digest_of(&field).unwrap(), Some(digest));
        assert_eq!(digest_of("sha-512=:AAAA:").unwrap(), None);
        for bad in ["sha-256", "sha-256=abc", "sha-256=:abc:", "sha-256=:!:"] {
            assert!(matches!(digest_of(bad), Err(Error::BadValue(_))), "{bad}");
        }
    }

    #[test]
    fn an_unreadable_date_is_absent_and_an_unreadable_if_range_never_matches() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::IF_MODIFIED_SINCE,
            HeaderValue::from_static("yesterday"),
        );
        headers.insert(header::IF_RANGE, HeaderValue::from_static("yesterday"));
        let read = preconditions(&headers);
        assert_eq!(read.if_modified_since, None);
        assert_eq!(read.if_range, Some(IfRange::Unreadable));
    }
}
