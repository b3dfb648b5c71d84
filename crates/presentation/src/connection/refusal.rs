//! What is said to a client whose head or framing cannot be served.

use std::{fmt, time::SystemTime};

use actix_web::{
    ResponseError,
    body::MessageBody,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
};

use crate::{Settings, error::ApiError, front};

/// The longest that a bare refusal of the server underneath can be.
const MAX_BARE: usize = 256;

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The head, or the framing of the body, is no HTTP, or could be read in two ways (RFC 9112 §6.3).
    Malformed,
    /// The head took too long to come.
    TooSlow,
    /// The head has too many fields or bytes.
    HeadTooLarge,
}

impl Refusal {
    /// The refusal that these bytes are, where they are the whole of an answer that actix-http wrote by itself.
    pub(super) fn bare(bytes: &[u8]) -> Option<Self> {
        let version = bytes.strip_prefix(b"HTTP/1.")?;
        let why = match version.get(1..6)? {
            b" 400 " => Self::Malformed,
            b" 408 " => Self::TooSlow,
            b" 431 " => Self::HeadTooLarge,
            _ => return None,
        };
        let text = std::str::from_utf8(bytes).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let empty = body.is_empty() && head.to_ascii_lowercase().contains("\r\ncontent-length: 0");
        (bytes.len() <= MAX_BARE && empty).then_some(why)
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the head or the framing of the request cannot be read",
            Self::TooSlow => "the head of the request took too long",
            Self::HeadTooLarge => "the head of the request is too large",
        })
    }
}

/// A refusal, and the id by which it can be found in the log.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) why: Refusal,
    pub(super) id: HeaderValue,
}

impl Refused {
    /// The answer as it goes over the wire.
    pub(super) fn spelled(self, settings: &Settings) -> Vec<u8> {
        let mut answer = ApiError::Refused(self.why).error_response();
        front::decorate(answer.headers_mut(), settings, &HeaderMap::new(), self.id);
        let (answer, body) = answer.into_parts();
        let body = body.try_into_bytes().unwrap_or_default();
        let mut bytes = format!(
            "HTTP/1.1 {}\r\ncontent-length: {}\r\nconnection: close\r\ndate: {}\r\n",
            answer.status(),
            body.len(),
            httpdate::fmt_http_date(SystemTime::now()),
        )
        .into_bytes();
        for (name, value) in answer.headers() {
            if name == header::CONTENT_LENGTH {
                continue;
            }
            for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                bytes.extend_from_slice(piece);
            }
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&body);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Refusal;

    #[test]
    fn only_a_whole_answer_without_a_body_is_taken_for_a_bare_refusal() {
        let bare = |text: &str| Refusal::bare(text.as_bytes());
        let rest = "content-length: 0\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";
        for (text, expected) in [
            ("HTTP/1.1 400 Bad Request\r\n", Some(Refusal::Malformed)),
            ("HTTP/1.0 400 Bad Request\r\n", Some(Refusal::Malformed)),
            ("HTTP/1.1 408 Request Timeout\r\n", Some(Refusal::TooSlow)),
            ("HTTP/1.1 431 X\r\n", Some(Refusal::HeadTooLarge)),
            ("HTTP/1.1 404 Not Found\r\n", None),
            ("HTTP/1.1 200 OK\r\n", None),
            ("HTTP/1.1", None),
            ("", None),
        ] {
            assert_eq!(bare(&format!("{text}{rest}")), expected, "{text}");
        }
        let whole = format!("HTTP/1.1 400 Bad Request\r\n{rest}");
        assert_eq!(bare(&whole[..whole.len() - 1]), None);
        assert_eq!(bare(&format!("{whole}x")), None);
        assert_eq!(bare(&whole.replace(": 0", ": 1")), None);
        let long = "x".repeat(300);
        assert_eq!(
            bare(&whole.replace("date", &format!("x: {long}\r\ndate"))),
            None
        );
    }
}
