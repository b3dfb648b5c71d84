//! The deployment that is looked at: its address, the credential, and requests to it.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::BytesMut;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Client, Method, Request, RequestBuilder, Response, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};

use super::{
    exchange::{Answer, Trouble},
    facts::Facts,
    made::Made,
};
use crate::{config::Secret, failure::Failure};

/// How long an answer to a small request may take.
pub(crate) const QUICK: Duration = Duration::from_secs(20);
/// How long a large body may take.
pub(crate) const LONG: Duration = Duration::from_secs(120);
const CONNECT: Duration = Duration::from_secs(10);
/// The longest that a rate limit is waited for, and how often.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
const WAITS: u32 = 3;
/// No answer that is kept is longer, in bytes.
pub(super) const LARGEST_ANSWER: usize = 8 * 1024 * 1024;

/// RFC 3986 unreserved characters stay.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What is looked at, and how.
#[derive(Debug)]
pub(crate) struct Options {
    /// The address of the files API, without a slash at its end.
    pub(crate) url: String,
    pub(crate) token: Option<Secret>,
    /// The account to upload for.
    pub(crate) account: Option<String>,
    /// The size of large bodies, in bytes.
    pub(crate) large: u64,
    /// A page that uses the service.
    pub(crate) origin: Option<String>,
    /// Somebody else's file.
    pub(crate) hook_file: Option<String>,
}

/// Which version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Http {
    One,
    /// HTTP/2 where TLS offers it.
    Best,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) options: Options,
    /// Scheme, host and port.
    pub(crate) root: String,
    pub(crate) facts: Facts,
    pub(crate) made: Made,
    /// The id on every request, by which the log of the service is searched.
    pub(crate) id: String,
    /// Set once everything that is on its way is to end.
    pub(crate) stopped: Arc<AtomicBool>,
    authorization: Option<HeaderValue>,
    one: Client,
    best: Client,
}

/// A handle on the deployment.
#[derive(Debug, Clone)]
pub(crate) struct Deployment(Arc<Inner>);

impl Deref for Deployment {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

fn client(id: &str, http: Http) -> reqwest::Result<Client> {
    let mut headers = HeaderMap::new();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert("x-request-id", id);
    }
    let client = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT)
        .default_headers(headers)
        .user_agent(concat!("cloakroom-doctor/", env!("CARGO_PKG_VERSION")));
    match http {
        Http::One => client.http1_only().build(),
        Http::Best => client.build(),
    }
}

impl Deployment {
    /// Prepares to look; nothing is asked yet.
    ///
    /// # Errors
    /// The options make no sense, or the system has no random bytes or no certificates.
    pub(crate) fn new(options: Options) -> Result<Self, Failure> {
        let url = Url::parse(&options.url)
            .map_err(|error| Failure::usage(format!("{}: {error}", options.url)))?;
        let authorization = options.token.as_ref().map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
                .map_err(|_| Failure::usage("the token does not fit into a header"))?;
            value.set_sensitive(true);
            Ok::<_, Failure>(value)
        });
        let random: u32 = rand::random();
        let id = format!("cloakroom-doctor-{random:08x}");
        let build = |http| {
            client(&id, http).map_err(|error| Failure::because("no client for HTTP", &error))
        };
        Ok(Self(Arc::new(Inner {
            root: url.origin().ascii_serialization(),
            facts: Facts::new(),
            made: Made::new(id.clone()),
            stopped: Arc::default(),
            authorization: authorization.transpose()?,
            one: build(Http::One)?,
            best: build(Http::Best)?,
            id,
            options,
        })))
    }

    /// The public address, without a slash at its end.
    pub(crate) fn base(&self) -> &str {
        &self.options.url
    }

    /// The address of the collection: the public one, with a slash where the proxy wants one.
    pub(crate) fn collection(&self) -> String {
        let slash = if self.facts.has_slash() { "/" } else { "" };
        format!("{}{slash}", self.base())
    }

    /// The address of a file.
    pub(crate) fn file_url(&self, id: &str) -> String {
        format!("{}/{}", self.base(), utf8_percent_encode(id, SEGMENT))
    }

    /// The address of an upload.
    pub(crate) fn upload_url(&self, id: &str) -> String {
        format!(
            "{}/uploads/{}",
            self.base(),
            utf8_percent_encode(id, SEGMENT)
        )
    }

    /// The address for a raw body with that name, all of them ours.
    pub(crate) fn raw_url(&self, name: &str) -> String {
        let name = format!("{} {name}", self.made.prefix);
        let mut url = format!(
            "{}?filename={}",
            self.collection(),
            utf8_percent_encode(&name, SEGMENT)
        );
        if let Some(account) = &self.options.account {
            url.push_str("&account_id=");
            url.extend(utf8_percent_encode(account, SEGMENT));
        }
        url
    }

    /// So many bytes, or as many as the service takes.
    pub(crate) fn at_most(&self, size: u64) -> u64 {
        size.min(self.facts.max_size())
    }

    /// Lets everything that is on its way end.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// A request with the credential.
    pub(crate) fn call(&self, http: Http, method: Method, url: &str) -> RequestBuilder {
        let request = self.anonymous(http, method, url);
        match &self.authorization {
            Some(value) => request.header(reqwest::header::AUTHORIZATION, value.clone()),
            None => request,
        }
    }

    /// A request without the credential.
    pub(crate) fn anonymous(&self, http: Http, method: Method, url: &str) -> RequestBuilder {
        let client = match http {
            Http::One => &self.one,
            Http::Best => &self.best,
        };
        client.request(method, url)
    }

    /// A GET with the credential.
    pub(crate) fn get(&self, url: &str) -> RequestBuilder {
        self.call(Http::Best, Method::GET, url)
    }

    /// Sends a request and keeps its answer. A rate limit that soon has room is waited for, where the request can be
    /// sent again.
    ///
    /// # Errors
    /// There is no answer within that time, or it has more than 8 MiB.
    pub(crate) async fn send(
        &self,
        request: RequestBuilder,
        patience: Duration,
    ) -> Result<Answer, Trouble> {
        let (client, request) = request.timeout(patience).build_split();
        let mut request = request?;
        for _ in 0..WAITS {
            let Some(next) = request.try_clone() else {
                break;
            };
            let answer = self.exchange(&client, request).await?;
            let wait = answer.retry_after().filter(|wait| *wait <= LONGEST_WAIT);
            match wait {
                Some(wait) if answer.is(429) => tokio::time::sleep(wait).await,
                _ => return Ok(answer),
            }
            request = next;
        }
        self.exchange(&client, request).await
    }

    /// A small request with the credential, and its answer.
    ///
    /// # Errors
    /// As [`Deployment::send`].
    pub(crate) async fn ask(&self, request: RequestBuilder) -> Result<Answer, Trouble> {
        self.send(request, QUICK).await
    }

    async fn exchange(&self, client: &Client, request: Request) -> Result<Answer, Trouble> {
        let method = request.method().clone();
        let (mut response, mut answer) = self.head(client, request, method).await?;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(Trouble::Endless);
            }
            body.extend_from_slice(&chunk);
        }
        answer.body = body.freeze();
        Ok(answer)
    }

    /// The head of an answer, whose body is still to be read.
    pub(super) async fn head(
        &self,
        client: &Client,
        request: Request,
        method: Method,
    ) -> Result<(Response, Answer), Trouble> {
        let sent = SystemTime::now();
        let mut response = client.execute(request).await?;
        let headers = std::mem::take(response.headers_mut());
        self.facts.hear(&headers, sent, SystemTime::now());
        let answer = Answer {
            method,
            status: response.status(),
            version: response.version(),
            headers,
            body: bytes::Bytes::new(),
        };
        Ok((response, answer))
    }
}

/// A request with these headers.
pub(crate) fn with_headers<'a>(
    request: RequestBuilder,
    headers: impl IntoIterator<Item = (&'a str, String)>,
) -> RequestBuilder {
    headers.into_iter().fold(request, |request, (name, value)| {
        match (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(&value),
        ) {
            (Ok(name), Ok(value)) => request.header(name, value),
            _ => request,
        }
    })
}
