//! Leaving the sending of bodies to the nginx in front, by `X-Accel-Redirect`.
//!
//! nginx sends a body as if the client had asked it alone: it looks at the client's `Range`, `If-Range` and the other
//! conditions once more. So a request is handed over only where that comes to what was decided here: a whole body to
//! a place where nginx knows no ranges, a single range only where its text means the same to everybody.

use std::os::unix::ffi::OsStrExt;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
};
use cloakroom_application::{
    Error, StoreOperation,
    ports::{PresignedUrl, StoreError},
};
use cloakroom_domain::{ByteRange, Validators};

use crate::{Offload, Settings, conditions::text, dates, linked::RECEIPT, wire::path_of};

/// How nginx says that it understands, in place of whatever its client said.
const OFFERED: HeaderName = HeaderName::from_static("x-cloakroom-offload");
const REDIRECT: HeaderName = HeaderName::from_static("x-accel-redirect");
const UNDERSTOOD: &str = "x-accel";
/// nginx could not send what was left to it.
const AGAIN: &str = "again";
/// The store did not answer nginx in time.
const TIMED_OUT: &str = "timed-out";
/// The path and query of this request as they came, to ask again with.
const REQUEST: HeaderName = HeaderName::from_static("x-cloakroom-request");
const STORE_HOST: HeaderName = HeaderName::from_static("x-cloakroom-store-host");
const STORE_TARGET: HeaderName = HeaderName::from_static("x-cloakroom-store-target");
const STORE_RANGE: HeaderName = HeaderName::from_static("x-cloakroom-store-range");

/// Headers that nginx would keep even if it came to ask again, and the names that they travel under instead.
const RENAMED: [(HeaderName, HeaderName); 2] = [
    (
        header::CACHE_CONTROL,
        HeaderName::from_static("x-cloakroom-cache-control"),
    ),
    (
        header::CONTENT_DISPOSITION,
        HeaderName::from_static("x-cloakroom-content-disposition"),
    ),
];

/// Conditions that nginx would hold against its own idea of the file, and bodies, which cannot be sent twice.
const IN_THE_WAY: [HeaderName; 4] = [
    header::IF_MATCH,
    header::IF_UNMODIFIED_SINCE,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
];

/// Digits of a position in a range that every reader of the field can hold.
const MAX_DIGITS: usize = 18;

/// A peer that may be left to send a body.
pub(super) struct Offer {
    again: HeaderValue,
}

impl Offer {
    /// Whether the body of an answer may be left to the peer; `range` is the one that was asked for and counts.
    ///
    /// # Errors
    /// [`Error::Store`] where the peer was left to fetch it from the store, waited in vain, and says so. Asking the
    /// store once more would only make the client wait twice.
    pub(super) fn of(
        settings: &Settings,
        http: &HttpRequest,
        validators: &Validators,
        range: Option<ByteRange>,
    ) -> Result<Option<Self>, Error> {
        let headers = http.headers();
        let Some(said) = said_by_the_proxy(settings, http) else {
            return Ok(None);
        };
        if said == TIMED_OUT {
            return Err(Error::Store {
                operation: StoreOperation::Download,
                source: StoreError::Unavailable("the proxy waited for the store in vain".into()),
            });
        }
        if said == AGAIN {
            tracing::warn!(
                "the proxy could not send a body that was left to it, and asks again: can it read the store?"
            );
        }
        let wanted = said == UNDERSTOOD
            && !IN_THE_WAY.iter().any(|name| headers.contains_key(name))
            && (range.is_none() || range_is_plain(headers, validators));
        let target = http.uri().path_and_query().filter(|_| wanted);
        let again = target.and_then(|target| HeaderValue::from_str(target.as_str()).ok());
        Ok(again.map(|again| Self { again }))
    }

    /// The answer that has nginx send a file of the folder.
    pub(super) fn file(
        self,
        mut answer: HttpResponseBuilder,
        path: &std::path::Path,
        range: Option<ByteRange>,
    ) -> HttpResponse {
        let kind = if range.is_some() { "range" } else { "whole" };
        let path = path_of(path.as_os_str().as_bytes());
        answer.insert_header((REDIRECT, format!("/_cloakroom/fs/{kind}/{path}")));
        self.finished(answer)
    }

    /// The answer that has nginx fetch from the store.
    pub(super) fn address(
        self,
        mut answer: HttpResponseBuilder,
        url: &PresignedUrl,
        range: Option<ByteRange>,
    ) -> HttpResponse {
        answer
            .insert_header((REDIRECT, "/_cloakroom/s3/"))
            .insert_header((STORE_HOST, url.host()))
            .insert_header((STORE_TARGET, url.reveal_target()));
        if let Some(range) = range {
            let field = format!("bytes={}-{}", range.start, range.end - 1);
            answer.insert_header((STORE_RANGE, field));
        }
        self.finished(answer)
    }

    /// The same, where whoever asks again has to say by this that it asked before.
    pub(super) fn with_receipt(self, receipt: Option<String>) -> Self {
        let (Some(receipt), Ok(asked)) = (receipt, self.again.to_str()) else {
            return self;
        };
        // There is a link in the query already.
        let again = HeaderValue::from_str(&format!("{asked}&{RECEIPT}={receipt}"));
        again.map_or(self, |again| Self { again })
    }

    fn finished(self, mut answer: HttpResponseBuilder) -> HttpResponse {
        answer.insert_header((REQUEST, self.again));
        let mut answer = answer.finish();
        let headers = answer.headers_mut();
        for (name, other) in RENAMED {
            let values: Vec<HeaderValue> = headers.remove(name).collect();
            for value in values {
                headers.append(other.clone(), value);
            }
        }
        headers.remove(header::ACCEPT_RANGES);
        answer
    }
}

/// What the peer says about offloading, if it may: only one that may speak for clients is told where bytes lie.
fn said_by_the_proxy<'a>(settings: &Settings, http: &'a HttpRequest) -> Option<&'a HeaderValue> {
    if settings.offload == Offload::Off {
        return None;
    }
    let mut values = http.headers().get_all(OFFERED);
    let said = values.next().filter(|_| values.next().is_none())?;
    let peer = http.peer_addr()?.ip().to_canonical();
    let trusted = settings.trusted_proxies.iter();
    trusted
        .into_iter()
        .any(|net| net.contains(&peer))
        .then_some(said)
}

/// Whether `Range` and `If-Range` are written in a way that leaves no room for another reading.
fn range_is_plain(headers: &HeaderMap, validators: &Validators) -> bool {
    let plain = |text: String| {
        let stretch = text.strip_prefix("bytes=");
        let ends = stretch.and_then(|stretch| stretch.split_once('-'));
        let short = |end: &str| end.len() <= MAX_DIGITS && end.bytes().all(|b| b.is_ascii_digit());
        ends.is_some_and(|(first, last)| short(first) && short(last))
    };
    let ours = |text: String| {
        text == validators.etag.to_string() || text == dates::http_date(validators.last_modified)
    };
    text(headers, header::RANGE).is_some_and(plain)
        && text(headers, header::IF_RANGE).is_none_or(ours)
}

#[cfg(test)]
mod tests {
    use actix_web::{http::header::TryIntoHeaderPair, test::TestRequest};
    use cloakroom_domain::EntityTag;

    use super::*;

    fn settings(offload: Offload, trusted: &str) -> Settings {
        Settings {
            offload,
            trusted_proxies: vec![trusted.parse().unwrap()],
            ..Settings::bare()
        }
    }

    fn validators() -> Validators {
        Validators {
            etag: EntityTag::strong("ours".to_owned()),
            last_modified: 1_700_000_000,
        }
    }

    fn asked(more: impl TryIntoHeaderPair) -> TestRequest {
        TestRequest::get()
            .uri("/files/a%20b?disposition=inline")
            .peer_addr("127.0.0.1:1".parse().unwrap())
            .insert_header((OFFERED, "x-accel"))
            .append_header(more)
    }

    fn offer(request: TestRequest, range: Option<ByteRange>) -> Option<Offer> {
        let settings = settings(Offload::XAccel, "127.0.0.0/8");
        Offer::of(&settings, &request.to_http_request(), &validators(), range).unwrap()
    }

    #[test]
    fn only_a_trusted_peer_that_understands_is_left_to_send() {
        let plain = || asked(("accept", "*/*")).to_http_request();
        let of = |offload, trusted| {
            let settings = settings(offload, trusted);
            let offer = Offer::of(&settings, &plain(), &validators(), None);
            offer.unwrap().is_some()
        };
        assert!(of(Offload::XAccel, "127.0.0.1/32"));
        assert!(!of(Offload::Off, "127.0.0.1/32"));
        assert!(!of(Offload::XAccel, "10.0.0.0/8"));
        assert!(offer(asked(("x-cloakroom-offload", "x-accel")), None).is_none());
        let silent = TestRequest::get().peer_addr("127.0.0.1:1".parse().unwrap());
        assert!(offer(silent, None).is_none());
    }

    #[test]
    fn a_trusted_proxy_that_waited_in_vain_is_believed_and_nobody_else() {
        let told = |trusted| {
            let request = TestRequest::get()
                .peer_addr("127.0.0.1:1".parse().unwrap())
                .insert_header((OFFERED, "timed-out"));
            let settings = settings(Offload::XAccel, trusted);
            Offer::of(&settings, &request.to_http_request(), &validators(), None)
        };
        assert!(matches!(told("127.0.0.1/32"), Err(Error::Store { .. })));
        assert!(matches!(told("10.0.0.0/8"), Ok(None)));
    }

    #[test]
    fn what_nginx_would_judge_otherwise_is_not_left_to_it() {
        for header in ["if-match", "if-unmodified-since", "content-length"] {
            assert!(offer(asked((header, "*")), None).is_none(), "{header}");
        }
        let range = Some(ByteRange { start: 1, end: 3 });
        for plain in ["bytes=1-2", "bytes=1-", "bytes=-2"] {
            assert!(offer(asked(("range", plain)), range).is_some(), "{plain}");
        }
        for other in [
            "BYTES=1-2",
            "bytes= 1-2",
            "bytes=1-1,2-2",
            "bytes=1-9999999999999999999",
        ] {
            assert!(offer(asked(("range", other)), range).is_none(), "{other}");
        }
        let both = |value: &str| asked(("range", "bytes=1-2")).insert_header(("if-range", value));
        assert!(offer(both("\"ours\""), range).is_some());
        assert!(offer(both("Tue, 14 Nov 2023 22:13:20 GMT"), range).is_some());
        assert!(offer(both("Tuesday, 14-Nov-23 22:13:20 GMT"), range).is_none());
    }
}
