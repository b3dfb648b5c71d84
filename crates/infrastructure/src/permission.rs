//! The permission backend over HTTP: the application beside us, asked with the caller's own credential.

mod batch;
mod freshness;

use std::time::Duration;

use async_trait::async_trait;
use cloakroom_application::ports::{
    Check, Credential, Keep, PermissionBackend, PermissionError, Ruling,
};
use reqwest::{
    Client, RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
    redirect,
};

const GUEST: HeaderName = HeaderName::from_static("x-guest-authorization");
const PUBLIC: HeaderName = HeaderName::from_static("x-public-authorization");

/// A host that takes longer to connect to is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// An unused connection is closed before the usual servers and proxies close it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How questions are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PermissionProtocol {
    /// A form with one check; the status is the answer.
    Form,
    /// JSON with up to 100 checks, and an answer to each.
    Batch,
}

/// Where and how the permission backend is asked.
#[derive(Debug, Clone)]
pub struct PermissionSettings {
    /// Its `http://` or `https://` address, without user and password.
    pub url: String,
    /// How.
    pub protocol: PermissionProtocol,
    /// The longest that a question takes, its answer included.
    pub timeout: Duration,
    /// So many connections stay open for the next question.
    pub connections: usize,
}

/// A permission backend that speaks HTTP.
#[derive(Debug)]
pub struct HttpPermissions {
    client: Client,
    settings: PermissionSettings,
}

impl HttpPermissions {
    /// Nothing is sent yet. Proxies named in the environment are not used, and redirects are not followed: a
    /// credential goes to that address and nowhere else.
    ///
    /// # Errors
    /// The client cannot be made, for one because the system's certificates cannot be read.
    pub fn new(settings: PermissionSettings) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .http1_only()
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT.min(settings.timeout))
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(settings.connections)
            .user_agent(concat!("cloakroom/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, settings })
    }

    async fn put(
        &self,
        credential: &Credential,
        checks: &[Check],
    ) -> Result<Vec<Ruling>, PermissionError> {
        let (name, value) = header(credential)?;
        let request = self.client.post(&self.settings.url).header(name, value);
        let response = match (self.settings.protocol, checks) {
            (PermissionProtocol::Form, [check]) => send(request.form(&form(check))).await?,
            (PermissionProtocol::Form, _) => return Err(failed("it takes one check at a time")),
            (PermissionProtocol::Batch, _) => send(request.json(&batch::question(checks))).await?,
        };
        let keep = freshness::keep(response.headers());
        match response.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                Ok(alike(false, keep, checks.len()))
            }
            StatusCode::OK if self.settings.protocol == PermissionProtocol::Batch => {
                batch::rulings(response, keep, checks.len()).await
            }
            // The body says nothing more, and is not read.
            StatusCode::OK | StatusCode::NO_CONTENT
                if self.settings.protocol == PermissionProtocol::Form =>
            {
                Ok(alike(true, keep, checks.len()))
            }
            other => {
                let answered = format!("it answered {}", other.as_u16());
                Err(if other.is_client_error() {
                    PermissionError::NoRuling(answered.into())
                } else {
                    failed(answered)
                })
            }
        }
    }
}

#[async_trait]
impl PermissionBackend for HttpPermissions {
    async fn ask(
        &self,
        credential: &Credential,
        checks: &[Check],
    ) -> Result<Vec<Ruling>, PermissionError> {
        let answer = self.put(credential, checks);
        tokio::time::timeout(self.settings.timeout, answer)
            .await
            .unwrap_or(Err(PermissionError::TimedOut))
    }

    fn most_checks(&self) -> usize {
        match self.settings.protocol {
            PermissionProtocol::Form => 1,
            PermissionProtocol::Batch => batch::MOST,
        }
    }
}

/// The header that a credential of this kind travels in, also when it came in a cookie.
fn header(credential: &Credential) -> Result<(HeaderName, HeaderValue), PermissionError> {
    let (name, text) = match credential {
        Credential::Bearer(secret) | Credential::Cookie(secret) => {
            (AUTHORIZATION, format!("Bearer {}", secret.reveal()))
        }
        Credential::Guest(secret) | Credential::GuestCookie(secret) => {
            (GUEST, secret.reveal().to_owned())
        }
        Credential::Public(secret) | Credential::PublicCookie(secret) => {
            (PUBLIC, format!("Token {}", secret.reveal()))
        }
        Credential::Malformed => return Err(failed("the credential is malformed")),
    };
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| failed("the credential cannot be put in a header"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn form(check: &Check) -> [(&'static str, &str); 2] {
    [
        ("file_id", check.file.as_str()),
        ("action", check.action.as_str()),
    ]
}

/// Sends a question. It changes nothing, so it is sent again where a connection broke that had been open for long.
async fn send(request: RequestBuilder) -> Result<Response, PermissionError> {
    let again = request.try_clone();
    match (request.send().await, again) {
        (Err(error), Some(again)) if !error.is_connect() && !error.is_timeout() => {
            again.send().await.map_err(|error| unsent(&error))
        }
        (answer, _) => answer.map_err(|error| unsent(&error)),
    }
}

fn unsent(error: &reqwest::Error) -> PermissionError {
    if error.is_timeout() {
        return PermissionError::TimedOut;
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    failed(format!("no answer: {cause}"))
}

fn alike(allow: bool, keep: Keep, count: usize) -> Vec<Ruling> {
    let ruling = Ruling {
        allow,
        keep,
        reason: None,
    };
    vec![ruling; count]
}

/// The text must be fit for the log: nothing of a credential, and nothing that the backend wrote.
fn failed(what: impl Into<String>) -> PermissionError {
    PermissionError::Failed(what.into().into())
}
