//! The keys that an issuer publishes: fetched, kept, and fetched again before they are old.
//!
//! One task fetches; requests only look at what it found. So identical fetches are one, a request whose key is known
//! never waits, and tokens with made-up key ids make the issuer hear from us no more than once in [`PAUSE`].

use std::{fmt, sync::Arc, time::Duration};

use cloakroom_application::ports::CredentialError;
use jsonwebtoken::Algorithm;
use reqwest::{Client, StatusCode, Url, header, redirect};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};

use super::{key::Key, key_set::KeySet};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request waits for keys that it needs. Longer than a fetch.
const PATIENCE: Duration = Duration::from_millis(2500);
/// The least time between two fetches.
const PAUSE: Duration = Duration::from_secs(5);
/// Keys are fetched again after this.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// They are fetched again after this where the last fetch failed.
const RETRY: Duration = Duration::from_secs(30);
/// Keys of an issuer that is down are used for so long.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// The largest answer, in bytes.
const MAX_ANSWER: usize = 256 * 1024;

/// Why keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum RemoteKeysError {
    /// The address is none, or the client cannot be made.
    #[error("the address of the keys cannot be used")]
    Address,
    /// No answer, or half of one.
    #[error("the keys cannot be fetched")]
    Fetch(#[source] reqwest::Error),
    /// An answer that is no success. Redirects are not followed.
    #[error("the keys' address answered {0}")]
    Status(StatusCode),
    /// More than anybody's keys.
    #[error("the keys' address answered more than {MAX_ANSWER} bytes")]
    TooLarge,
    /// An answer without a key.
    #[error("the keys' address answered no set with a key that can be used")]
    NoKeys,
    /// The task that fetched broke off.
    #[error("fetching the keys broke off")]
    Broken,
    /// Nothing was fetched yet, or not for too long.
    #[error("the issuer's keys are not to be had")]
    Missing,
}

/// What is known of an issuer's keys.
#[derive(Debug, Clone, Default)]
struct Known {
    keys: Option<(Arc<KeySet>, Instant)>,
    last: Option<Attempt>,
}

/// How the last fetch went.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    ended: Instant,
    worked: bool,
}

impl Known {
    fn suitable(&self, kid: Option<&str>, algorithm: Algorithm) -> Vec<Arc<Key>> {
        match &self.keys {
            Some((keys, since)) if since.elapsed() < MAX_AGE => keys.suitable(kid, algorithm),
            _ => Vec::new(),
        }
    }

    fn was_asked_just_now(&self) -> bool {
        self.last.is_some_and(|last| last.ended.elapsed() < PAUSE)
    }
}

/// An issuer's keys.
pub struct RemoteKeys {
    source: Source,
    known: watch::Sender<Known>,
    wanted: Notify,
}

/// Where they are, and how they are fetched.
#[derive(Clone)]
struct Source {
    client: Client,
    url: Url,
    allowed: Option<Vec<Algorithm>>,
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys")
            .field("url", &self.source.url.as_str())
            .finish_non_exhaustive()
    }
}

impl RemoteKeys {
    /// The keys at that address, for those algorithms alone, or for all that they are for. Nothing is fetched before
    /// [`RemoteKeys::keep_fresh`] runs.
    ///
    /// # Errors
    /// [`RemoteKeysError::Address`].
    pub fn new(url: &str, allowed: Option<Vec<Algorithm>>) -> Result<Self, RemoteKeysError> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(FETCH_TIMEOUT)
            .redirect(redirect::Policy::none())
            .http1_only()
            .no_proxy()
            .build();
        Ok(Self {
            source: Source {
                client: client.map_err(|_| RemoteKeysError::Address)?,
                url: Url::parse(url).map_err(|_| RemoteKeysError::Address)?,
                allowed,
            },
            known: watch::Sender::default(),
            wanted: Notify::new(),
        })
    }

    /// Fetches the keys now and again until `stop` is done.
    pub async fn keep_fresh(&self, stop: impl Future<Output = ()>) {
        let keep = async {
            loop {
                let worked = self.fetch().await;
                sleep(PAUSE).await;
                let until_next = if worked { REFRESH } else { RETRY } - PAUSE;
                // Elapsed or wanted: both mean that it is time.
                let _ = timeout(until_next, self.wanted.notified()).await;
            }
        };
        tokio::select! {
            () = stop => {}
            () = keep => {}
        }
    }

    /// The keys that a token with this `kid` may be signed with; empty if the issuer has none.
    ///
    /// # Errors
    /// [`CredentialError::Unavailable`]: no key suits, and the issuer could not be asked whether one does.
    pub(super) async fn suitable(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<Arc<Key>>, CredentialError> {
        let mut news = self.known.subscribe();
        let known = news.borrow_and_update().clone();
        let keys = known.suitable(kid, algorithm);
        if !keys.is_empty() {
            return Ok(keys);
        }
        let known = if known.was_asked_just_now() {
            known
        } else {
            self.wanted.notify_one();
            let heard = timeout(PATIENCE, news.changed()).await;
            heard.map_err(|_| missing())?.map_err(|_| missing())?;
            news.borrow().clone()
        };
        let keys = known.suitable(kid, algorithm);
        let asked = known.last.is_some_and(|last| last.worked);
        if keys.is_empty() && !asked {
            return Err(missing());
        }
        Ok(keys)
    }

    /// Fetches once. What was known stays where that fails.
    async fn fetch(&self) -> bool {
        // In a task of its own, so that a panic ends an attempt and not the fetching.
        let fetched = tokio::spawn(self.source.clone().fetch()).await;
        let fetched = fetched.unwrap_or(Err(RemoteKeysError::Broken));
        let worked = fetched.is_ok();
        match &fetched {
            Ok(keys) => tracing::debug!(keys = keys.count(), "fetched the keys of JWTs"),
            Err(error) => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                let cause = cause.unwrap_or_default();
                tracing::warn!(%error, cause, "the keys of JWTs (CLOAKROOM_JWT_JWKS_URL)");
            }
        }
        self.known.send_modify(|known| {
            let ended = Instant::now();
            if let Ok(keys) = fetched {
                known.keys = Some((Arc::new(keys), ended));
            }
            known.last = Some(Attempt { ended, worked });
        });
        worked
    }
}

fn missing() -> CredentialError {
    CredentialError::Unavailable(RemoteKeysError::Missing.into())
}

impl Source {
    async fn fetch(self) -> Result<KeySet, RemoteKeysError> {
        let failed = |error: reqwest::Error| RemoteKeysError::Fetch(error.without_url());
        let request = self.client.get(self.url);
        let accepted = "application/jwk-set+json, application/json";
        let mut answer = request
            .header(header::ACCEPT, accepted)
            .send()
            .await
            .map_err(failed)?;
        if answer.status() != StatusCode::OK {
            return Err(RemoteKeysError::Status(answer.status()));
        }
        let mut json = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if json.len() + chunk.len() > MAX_ANSWER {
                return Err(RemoteKeysError::TooLarge);
            }
            json.extend_from_slice(&chunk);
        }
        KeySet::read(&json, self.allowed.as_deref()).ok_or(RemoteKeysError::NoKeys)
    }
}

#[cfg(test)]
mod tests;
