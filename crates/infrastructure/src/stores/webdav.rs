//! A WebDAV server as a place of files and folders.
//!
//! Nothing that it says is trusted: answers are bounded in size and time, its XML may declare nothing, redirects are
//! not followed, and no name from a listing becomes a path unless it is one of ours.

mod chunked;
mod client;
mod failure;
mod folders;
mod multistatus;
mod sinks;

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom_application::ports::{ByteStream, ObjectMeta, StoreError};
use cloakroom_domain::{ByteRange, Timestamp};
use futures_util::StreamExt;
use reqwest::{
    Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE},
};

pub use self::client::{WebdavLogin, WebdavSettings};
use self::{
    client::{Client, method},
    failure::{sorted, unsent},
    multistatus::Found,
};
use super::{
    budget::WriteBudget,
    guard::Guard,
    remote::{Entry, Remote, RemoteStore, Sink, limits, with_retries},
};

/// A store at a WebDAV server; asks it nothing yet.
///
/// # Errors
/// The endpoint is not an HTTP address, or one that the guard forbids, or the login cannot be sent.
pub fn webdav(
    settings: &WebdavSettings,
    guard: Guard,
    budget: WriteBudget,
) -> Result<RemoteStore, StoreError> {
    let client = Client::new(settings, guard)?;
    Ok(RemoteStore::new(Webdav(client), budget))
}

struct Webdav(Client);

#[async_trait]
impl Remote for Webdav {
    fn driver(&self) -> &'static str {
        "webdav"
    }

    async fn put(&self, path: &str, body: &[Bytes]) -> Result<(), StoreError> {
        let size = body.iter().map(|bytes| bytes.len() as u64).sum();
        let put = || async move {
            self.0.make_parent(path).await?;
            let request = self.0.request(Method::PUT, path);
            let request = request.header(CONTENT_LENGTH, size).body(whole(body));
            let outcome = self.0.done(request.send(), limits::write(size)).await;
            if outcome.is_err() {
                self.0.forget_parent(path);
            }
            outcome
        };
        with_retries(limits::write(size), put).await
    }

    async fn open(&self, path: &str) -> Result<Box<dyn Sink>, StoreError> {
        self.0.make_parent(path).await?;
        if self.0.takes_chunks(path).await? {
            Ok(Box::new(sinks::Upload::open(&self.0, path, None)?))
        } else {
            Ok(Box::new(sinks::Spool::open(&self.0, path).await?))
        }
    }

    async fn read(
        &self,
        path: &str,
        range: Option<ByteRange>,
    ) -> Result<(u64, ByteStream), StoreError> {
        let get = || async move {
            let mut request = self.0.request(Method::GET, path);
            if let Some(range) = range {
                let field = format!("bytes={}-{}", range.start, range.end - 1);
                request = request.header(RANGE, field);
            }
            self.0.answer(request.send(), limits::ATTEMPT).await
        };
        let response = with_retries(limits::CALL, get).await?;
        let field = |name| {
            let value = response.headers().get(name);
            value.and_then(|value| value.to_str().ok()).unwrap_or("")
        };
        let length = field(CONTENT_LENGTH)
            .parse()
            .map_err(|_| StoreError::Broken("a body of unknown length".into()))?;
        let as_asked = match (range, response.status()) {
            (None, StatusCode::OK) => true,
            (Some(range), StatusCode::PARTIAL_CONTENT) => {
                length == range.len() && states(field(CONTENT_RANGE), range)
            }
            _ => false,
        };
        if !as_asked {
            return Err(StoreError::Broken(
                "not the bytes that were asked for".into(),
            ));
        }
        let bytes = response.bytes_stream();
        let bytes = bytes.map(|chunk| chunk.map_err(|error| failure::cut(&error)));
        Ok((length, Box::pin(bytes)))
    }

    async fn stat(&self, path: &str) -> Result<ObjectMeta, StoreError> {
        match self.0.look(path).await? {
            Found {
                is_folder: true, ..
            } => Err(StoreError::NotFound),
            Found { size: None, .. } => Err(StoreError::Broken("a file of unknown size".into())),
            Found {
                size: Some(size),
                modified_at,
                ..
            } => Ok(ObjectMeta {
                size,
                modified_at: modified_at.unwrap_or(Timestamp::from_micros(0)),
            }),
        }
    }

    async fn folder(&self, path: &str) -> Result<Vec<Entry>, StoreError> {
        match self.0.look_into(path).await {
            Err(StoreError::NotFound) => Ok(Vec::new()),
            other => other,
        }
    }

    async fn rename(&self, from: &str, to: &str, size: u64) -> Result<(), StoreError> {
        let rename = || self.0.rename(from, to, size);
        match with_retries(limits::rename(size), rename).await {
            // The source is gone where an answer was lost: then it is there already.
            Err(StoreError::NotFound) => match self.stat(to).await {
                Ok(there) if there.size == size => Ok(()),
                Ok(_) => Err(StoreError::Broken("another file was moved".into())),
                Err(error) => Err(error),
            },
            other => other,
        }
    }

    async fn remove(&self, path: &str) -> Result<bool, StoreError> {
        let remove = || async move {
            let request = self.0.request(Method::DELETE, path);
            self.0.done(request.send(), limits::ATTEMPT).await
        };
        match with_retries(limits::CALL, remove).await {
            Ok(()) => Ok(true),
            Err(StoreError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn probe(&self) -> Result<(), StoreError> {
        match self.0.look("").await {
            // The root is made when it is first written to.
            Ok(_) | Err(StoreError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn whole(body: &[Bytes]) -> reqwest::Body {
    match body {
        [] => reqwest::Body::from(Bytes::new()),
        [one] => reqwest::Body::from(one.clone()),
        several => {
            let pieces: Vec<Result<Bytes, std::convert::Infallible>> =
                several.iter().cloned().map(Ok).collect();
            reqwest::Body::wrap_stream(futures_util::stream::iter(pieces))
        }
    }
}

/// Whether a `Content-Range` field is that of the range.
fn states(field: &str, range: ByteRange) -> bool {
    let stretch = field.strip_prefix("bytes ").and_then(|s| s.split_once('/'));
    let ends = stretch.and_then(|(stretch, _)| stretch.trim().split_once('-'));
    ends.is_some_and(|(first, last)| {
        first.parse() == Ok(range.start) && last.parse() == Ok(range.end - 1)
    })
}

impl Client {
    async fn rename(&self, from: &str, to: &str, size: u64) -> Result<(), StoreError> {
        self.make_parent(to).await?;
        let destination = self.url(to);
        let request = self
            .request(method("MOVE"), from)
            .header("Destination", destination.as_str())
            .header("Overwrite", "T");
        let answer = tokio::time::timeout(limits::rename(size), request.send()).await;
        let response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(unsent(&error)),
            Err(late) => return Err(StoreError::Unavailable(late.into())),
        };
        match response.status() {
            StatusCode::MULTI_STATUS => self.all_done(response).await,
            status if status.is_success() => Ok(()),
            status => {
                // The folder may have gone since it was made.
                self.forget_parent(to);
                Err(sorted(status))
            }
        }
    }
}
