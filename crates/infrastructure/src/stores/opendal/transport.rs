//! How OpenDAL sends its requests: with our time limits, to addresses that the guard admits, following no redirects,
//! and reading no answer without end.

use std::{
    io,
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport, Result, raw::Operation};
use reqwest::{header::CONTENT_LENGTH, redirect};

use crate::stores::{
    guard::Guard,
    remote::{Trouble, limits},
};

/// The largest answer that is no object, in bytes.
const LARGEST: usize = 8 * 1024 * 1024;

const CONNECT: Duration = Duration::from_secs(2);

/// An unused connection is closed before the usual servers and proxies close it.
const IDLE: Duration = Duration::from_secs(30);

pub(super) struct Transport {
    http: reqwest::Client,
    guard: Guard,
}

impl Transport {
    pub(super) fn new(guard: Guard) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .http1_only()
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .dns_resolver(guard.resolver())
            .user_agent(concat!("cloakroom/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, guard })
    }
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: http::Request<Buffer>) -> Result<http::Response<HttpBody>> {
        let (mut parts, body) = request.into_parts();
        let is_object = parts.extensions.get::<Operation>() == Some(&Operation::Read);
        let url = reqwest::Url::parse(&parts.uri.to_string())
            .map_err(|_| failed("the request has no address"))?;
        self.guard.admit(&url).map_err(|error| denied(&error))?;
        let limit = limits::write(body.len() as u64);
        let size = body.len();
        let pieces = Iterator::map(body, Ok::<_, std::convert::Infallible>);
        let pieces: Vec<_> = pieces.collect();
        if size > 0 {
            parts.headers.insert(CONTENT_LENGTH, size.into());
        }
        let mut request = self.http.request(parts.method, url).headers(parts.headers);
        if size > 0 {
            request = request.body(reqwest::Body::wrap_stream(stream::iter(pieces)));
        }
        let sending = tokio::time::timeout(limit, request.send());
        let response = match sending.await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(unsent(&error)),
            Err(_) => return Err(failed("no answer in time").set_temporary()),
        };
        let status = response.status().as_u16();
        match status {
            300..=399 if status != 304 => {
                return Err(refused("the server redirects, which is not followed"));
            }
            401 | 402 | 405 | 411 | 413 | 501 | 507 => {
                return Err(refused(format!("the server answered {status}")));
            }
            400.. => tracing::debug!(status, "a store's answer"),
            _ => {}
        }
        let mut answer = http::Response::new(());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        let length = response.content_length();
        let bytes: Bytestream = Box::pin(response.bytes_stream());
        let body = if is_object && answer.status().is_success() {
            HttpBody::new(Locked(Mutex::new(bytes)), length)
        } else {
            let all = tokio::time::timeout(limits::CALL, all(bytes)).await;
            let all = all.map_err(|_| failed("the answer takes too long").set_temporary())??;
            let length = all.len() as u64;
            HttpBody::new(stream::iter([Ok(Buffer::from(all))]), Some(length))
        };
        Ok(answer.map(|()| body))
    }
}

type Bytestream = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>;

/// A whole answer that is bounded and declares nothing.
async fn all(mut bytes: Bytestream) -> Result<Bytes> {
    let mut all = BytesMut::new();
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk.map_err(|error| unsent(&error))?;
        if all.len() + chunk.len() > LARGEST {
            return Err(failed("the server's answer is too large"));
        }
        all.extend_from_slice(&chunk);
    }
    // No service declares a document type; who does wants entities to be read.
    let declares = |name: &[u8]| {
        all.windows(name.len())
            .any(|it| it.eq_ignore_ascii_case(name))
    };
    if all.starts_with(b"<") && (declares(b"<!DOCTYPE") || declares(b"<!ENTITY")) {
        return Err(failed("the server's XML declares a document type"));
    }
    Ok(all.freeze())
}

fn failed(why: &'static str) -> Error {
    Error::new(ErrorKind::Unexpected, why).set_source(Trouble(why.to_owned()))
}

fn refused(why: impl Into<String>) -> Error {
    let why = why.into();
    Error::new(ErrorKind::PermissionDenied, why.clone()).set_source(Trouble(why))
}

fn denied(error: &io::Error) -> Error {
    refused(error.to_string())
}

fn unsent(error: &reqwest::Error) -> Error {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let mut text = "the connection failed".to_owned();
    for cause in causes {
        if let Some(io) = cause.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::PermissionDenied
            && io.raw_os_error().is_none()
        {
            return denied(io);
        }
        text.push_str(&format!(": {cause}"));
    }
    let error = Error::new(ErrorKind::Unexpected, text.clone());
    error.set_source(Trouble(text)).set_temporary()
}

/// A stream that several threads could hold, as OpenDAL wants it; one polls it.
struct Locked(Mutex<Bytestream>);

impl Stream for Locked {
    type Item = Result<Buffer>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let bytes = match self.0.get_mut() {
            Ok(bytes) => bytes,
            Err(poisoned) => poisoned.into_inner(),
        };
        let next = std::task::ready!(bytes.as_mut().poll_next(context));
        Poll::Ready(next.map(|chunk| chunk.map(Buffer::from).map_err(|error| unsent(&error))))
    }
}
