//! Sharing answers with pages of other origins (the Fetch standard, "CORS protocol").

use actix_web::{
    HttpResponse,
    dev::ServiceRequest,
    http::{
        Method,
        header::{
            ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
            ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
            ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
        },
    },
};

use crate::{Origins, objects::META_PREFIX};

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// In seconds. Browsers ask again after two hours at the latest.
const MAX_AGE: &str = "7200";

/// What the protocols that are spoken here take. With credentials a browser takes `*` for a name.
const REQUEST_HEADERS: &str = "Accept, Accept-Language, Authorization, Cache-Control, Content-Digest, \
    Content-Disposition, Content-Language, Content-Type, Idempotency-Key, If-Match, If-Modified-Since, If-None-Match, \
    If-Range, If-Unmodified-Since, Pragma, Prefer, Range, Repr-Digest, Tus-Resumable, Upload-Checksum, Upload-Complete, \
    Upload-Concat, Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Length, Upload-Metadata, Upload-Offset, \
    X-Guest-Authorization, X-HTTP-Method-Override, X-Public-Authorization, X-Request-Id, X-Requested-With";

/// So many of the names that a page asks for are looked at.
const MOST_NAMES: usize = 64;

/// What they answer with.
const ANSWER_HEADERS: &str = "Accept-Ranges, Allow, Content-Digest, Content-Disposition, Content-Encoding, \
    Content-Length, Content-Range, Content-Type, Date, ETag, Last-Modified, Location, RateLimit, RateLimit-Policy, \
    Repr-Digest, Retry-After, Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, \
    Upload-Complete, Upload-Concat, Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Expires, Upload-Length, \
    Upload-Limit, Upload-Metadata, Upload-Offset, WWW-Authenticate, X-Request-Id";

/// Whether a browser asks before it sends a request. Any other OPTIONS is for the protocol of its route.
pub(crate) fn is_preflight(request: &ServiceRequest) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight. To a page that is not allowed it says nothing, and its browser does not go on.
pub(crate) fn preflight(origins: &Origins, asked: &HeaderMap) -> HttpResponse {
    let mut answer = HttpResponse::NoContent();
    if origins.has_others() {
        answer.append_header((VARY, "Access-Control-Request-Method"));
        answer.append_header((VARY, "Access-Control-Request-Headers"));
    }
    if allowed(origins, asked).is_some() {
        answer
            .insert_header((ACCESS_CONTROL_ALLOW_METHODS, METHODS))
            .insert_header((ACCESS_CONTROL_ALLOW_HEADERS, request_headers(asked)))
            .insert_header((ACCESS_CONTROL_MAX_AGE, MAX_AGE));
    }
    answer.finish()
}

/// Those of the protocols, and what else a page that is trusted asks for, such as the headers of its tracing.
fn request_headers(asked: &HeaderMap) -> String {
    let mut names = REQUEST_HEADERS.to_owned();
    let lists = asked
        .get_all(ACCESS_CONTROL_REQUEST_HEADERS)
        .filter_map(|list| list.to_str().ok());
    for name in lists.flat_map(|list| list.split(',')).take(MOST_NAMES) {
        let Ok(name) = HeaderName::try_from(name.trim()) else {
            continue;
        };
        let is_listed = names
            .split(", ")
            .any(|known| known.eq_ignore_ascii_case(name.as_str()));
        if !is_listed && names.len() < 4096 {
            names.push_str(", ");
            names.push_str(name.as_str());
        }
    }
    names
}

/// Adds to any answer, errors too, what lets an allowed page read it.
pub(crate) fn share(origins: &Origins, asked: &HeaderMap, answer: &mut HeaderMap) {
    if !origins.has_others() {
        return;
    }
    // Also where nothing is allowed: a cache must not give that answer to a page that is.
    answer.append(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = allowed(origins, asked) else {
        return;
    };
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    answer.insert(
        ACCESS_CONTROL_ALLOW_CREDENTIALS,
        HeaderValue::from_static("true"),
    );
    if !answer.contains_key(ACCESS_CONTROL_ALLOW_METHODS) {
        let names = answer_headers(answer);
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names);
    }
}

/// Those of the protocols, and what an object was put with.
fn answer_headers(answer: &HeaderMap) -> HeaderValue {
    let mut names = ANSWER_HEADERS.to_owned();
    let own = answer.keys().map(HeaderName::as_str);
    for name in own.filter(|name| name.starts_with(META_PREFIX)) {
        names.push_str(", ");
        names.push_str(name);
    }
    HeaderValue::try_from(names).unwrap_or_else(|_| HeaderValue::from_static(ANSWER_HEADERS))
}

fn allowed<'a>(origins: &Origins, asked: &'a HeaderMap) -> Option<&'a HeaderValue> {
    let mut all = asked.get_all(ORIGIN);
    let origin = all.next().filter(|_| all.next().is_none())?;
    origin
        .to_str()
        .is_ok_and(|text| origins.allows(text))
        .then_some(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.clone(), HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn a_preflight_allows_every_header_of_the_protocols_and_what_else_is_asked_for() {
        let origins = Origins::new(
            "https://f.example.com",
            ["https://a.example.com".to_owned()],
        );
        let asked = asked(&[
            (ORIGIN, "https://a.example.com"),
            (
                ACCESS_CONTROL_REQUEST_HEADERS,
                "tus-resumable, x-meta-kind,sentry-trace, bad name, authorization",
            ),
        ]);
        let answer = preflight(&origins, &asked);
        let names = answer.headers().get(ACCESS_CONTROL_ALLOW_HEADERS).unwrap();
        let names: Vec<&str> = names.to_str().unwrap().split(", ").collect();
        for name in [
            "Tus-Resumable",
            "Upload-Metadata",
            "Content-Digest",
            "x-meta-kind",
            "sentry-trace",
        ] {
            assert!(names.contains(&name), "{name}");
        }
        let once = names
            .iter()
            .filter(|name| name.eq_ignore_ascii_case("authorization"));
        assert_eq!(once.count(), 1);
        assert!(!names.contains(&"bad name") && !names.contains(&"bad"));
    }

    #[test]
    fn only_an_allowed_origin_is_named_and_caches_are_told_that_it_matters() {
        let origins = Origins::new(
            "https://f.example.com",
            ["https://a.example.com".to_owned()],
        );
        for (origin, named) in [
            (Some("https://a.example.com"), true),
            (Some("https://evil.com"), false),
            (Some("null"), false),
            (None, false),
        ] {
            let headers: Vec<_> = origin.map(|origin| (ORIGIN, origin)).into_iter().collect();
            let mut answer = HeaderMap::new();
            share(&origins, &asked(&headers), &mut answer);
            assert_eq!(answer.get(VARY).unwrap(), "Origin");
            let found = answer.get(ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(found.is_some(), named, "{origin:?}");
            assert_eq!(answer.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS), named);
        }
        let mut answer = HeaderMap::new();
        share(
            &Origins::new("https://f.example.com", []),
            &HeaderMap::new(),
            &mut answer,
        );
        assert!(answer.is_empty(), "nothing depends on the origin");
    }
}
