//! An answer as it came, and why there was none.

use std::{error::Error, fmt, io, time::Duration};

use bytes::Bytes;
use reqwest::{
    Method, StatusCode, Version,
    header::{HeaderMap, RETRY_AFTER},
};
use serde_json::Value;

use crate::failure::with_causes;

/// What a client sees of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The method that was asked with.
    pub(crate) method: Method,
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A header's first value, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A header that holds a whole number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.trim().parse().ok()
    }

    /// The body, if it is JSON.
    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Code and detail, if the body is a problem of the service.
    pub(crate) fn problem(&self) -> Option<(String, String)> {
        let body = self.json()?;
        let text = |name: &str| Some(body.get(name)?.as_str()?.to_owned());
        Some((text("code")?, text("detail").unwrap_or_default()))
    }

    /// How long to wait before asking again, where the answer says so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.number(RETRY_AFTER.as_str()).map(Duration::from_secs)
    }

    /// Whether the status is that number.
    pub(crate) fn is(&self, status: u16) -> bool {
        self.status.as_u16() == status
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The certificate was not accepted.
    Certificate(String),
    /// No connection came about.
    Unreachable(String),
    /// It took too long.
    TimedOut,
    /// The connection broke off.
    Broken(String),
    /// More came than such an answer has.
    Endless,
}

impl Trouble {
    /// Whether the other side ended the connection.
    pub(crate) const fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(why) => write!(f, "the certificate is not accepted: {why}"),
            Self::Unreachable(why) => write!(f, "no connection: {why}"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Broken(why) => write!(f, "the connection broke off: {why}"),
            Self::Endless => f.write_str("the answer is longer than it can rightly be"),
        }
    }
}

impl From<reqwest::Error> for Trouble {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if let Some(why) = certificate(&error) {
            return Self::Certificate(why);
        }
        if error.is_timeout() {
            return Self::TimedOut;
        }
        let why = with_causes(&error);
        if error.is_connect() {
            Self::Unreachable(why)
        } else {
            Self::Broken(why)
        }
    }
}

/// What is wrong with a certificate, if that is what is wrong.
fn certificate(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
            return Some(why.to_string());
        }
        // An I/O error passes over the error in it when it is asked for its cause.
        next = match error.downcast_ref::<io::Error>().map(io::Error::get_ref) {
            Some(inner) => inner.map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}
