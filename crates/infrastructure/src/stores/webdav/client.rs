//! Requests to a WebDAV server, and how long they may take.

use std::{
    collections::HashSet,
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use cloakroom_application::ports::StoreError;
use futures_util::StreamExt;
use reqwest::{
    Method, RequestBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect,
};
use tokio::sync::{OnceCell, Semaphore};

use super::{
    failure::{cut, sorted, unsent},
    multistatus::{self, Found},
};
use crate::stores::{
    guard::Guard,
    remote::{Entry, limits, with_retries, within},
    secret::Secret,
};

/// The largest answer with a folder's contents that is read, in bytes: about 15,000 objects of one shard.
const LARGEST_FOLDER: usize = 8 * 1024 * 1024;

/// The largest answer about one file that is read, in bytes.
const LARGEST_LOOK: usize = 256 * 1024;

/// Folders' contents held at once.
const FOLDERS_AT_ONCE: usize = 4;

/// Answers above this many bytes are parsed where it keeps nobody waiting.
const PARSED_IN_PLACE: usize = 64 * 1024;

/// The longest that a first connection may take.
const CONNECT: Duration = Duration::from_secs(2);

/// An unused connection is closed before the usual servers and proxies close it.
const IDLE: Duration = Duration::from_secs(30);

const WANTED: &str = concat!(
    r#"<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop>"#,
    "<D:resourcetype/><D:getcontentlength/><D:getlastmodified/></D:prop></D:propfind>"
);

/// Address and login of a WebDAV server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebdavSettings {
    /// `http://` or `https://`, without user and password.
    pub endpoint: String,
    /// The folder below it that the buckets are in, with slashes between its names; made if it is not there.
    pub root: String,
    /// How to log in.
    pub login: WebdavLogin,
}

/// Who we are to a WebDAV server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WebdavLogin {
    /// Nobody.
    #[default]
    None,
    /// A user with a password (`Basic`).
    User(String, Secret),
    /// Whoever has the token (`Bearer`).
    Token(Secret),
}

/// What all requests share.
#[derive(Clone)]
pub(super) struct Client(Arc<Shared>);

pub(super) struct Shared {
    http: reqwest::Client,
    /// The folder of the buckets; ends with a slash.
    root: Url,
    /// How many names of the root's path may have to be made.
    pub(super) depth: usize,
    /// Folders that were there a moment ago.
    known: Mutex<HashSet<String>>,
    /// Whether the server takes bodies of unknown length, once it was tried.
    pub(super) chunks: OnceCell<bool>,
    reading: Semaphore,
}

impl Deref for Client {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    pub(super) fn new(settings: &WebdavSettings, guard: Guard) -> Result<Self, StoreError> {
        let (root, depth) = root(settings, guard)?;
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .http1_only()
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .dns_resolver(guard.resolver())
            .default_headers(login(&settings.login)?)
            .user_agent(concat!("cloakroom/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| unsent(&error))?;
        Ok(Self(Arc::new(Shared {
            http,
            root,
            depth,
            known: Mutex::default(),
            chunks: OnceCell::new(),
            reading: Semaphore::new(FOLDERS_AT_ONCE),
        })))
    }

    /// The address of a file, or of a folder if the path ends with a slash or is empty.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.root.clone();
        url.set_path(&format!("{}{path}", self.root.path()));
        url
    }

    /// The address of the root's ancestor that is so many names above it.
    pub(super) fn above(&self, names: usize) -> Url {
        let mut url = self.root.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
            for _ in 0..names {
                segments.pop();
            }
            segments.push("");
        }
        url
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    pub(super) fn request_at(&self, method: Method, url: Url) -> RequestBuilder {
        self.http.request(method, url)
    }

    pub(super) fn known(&self) -> MutexGuard<'_, HashSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a request if it is a success.
    pub(super) async fn answer(
        &self,
        sending: impl Future<Output = reqwest::Result<Response>>,
        limit: Duration,
    ) -> Result<Response, StoreError> {
        let sending = async { sending.await.map_err(|error| unsent(&error)) };
        let response = within(limit, sending).await?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(sorted(response.status()))
        }
    }

    /// Does something of which no more than its success is of interest.
    pub(super) async fn done(
        &self,
        sending: impl Future<Output = reqwest::Result<Response>>,
        limit: Duration,
    ) -> Result<(), StoreError> {
        let response = self.answer(sending, limit).await?;
        match response.status() {
            StatusCode::MULTI_STATUS => self.all_done(response).await,
            _ => Ok(()),
        }
    }

    /// A `207` to anything but a question carries what failed.
    pub(super) async fn all_done(&self, response: Response) -> Result<(), StoreError> {
        let answer = read_all(response, LARGEST_LOOK, limits::ATTEMPT).await?;
        multistatus::all_done(&answer)
    }

    /// What is at a path.
    pub(super) async fn look(&self, path: &str) -> Result<Found, StoreError> {
        let url = self.url(path);
        let look = || self.ask(url.clone(), "0", LARGEST_LOOK);
        let answer = with_retries(limits::CALL, look).await?;
        multistatus::one(&answer)
    }

    /// Whether there is a folder at an address.
    pub(super) async fn is_folder(&self, url: &Url) -> Result<bool, StoreError> {
        match self.ask(url.clone(), "0", LARGEST_LOOK).await {
            Ok(answer) => Ok(multistatus::one(&answer)?.is_folder),
            Err(StoreError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What lies in a folder.
    pub(super) async fn look_into(&self, path: &str) -> Result<Vec<Entry>, StoreError> {
        let url = self.url(&format!("{path}/"));
        let _turn = self.reading.acquire().await;
        let look = || self.ask(url.clone(), "1", LARGEST_FOLDER);
        let answer = with_retries(2 * limits::CALL, look).await?;
        if answer.len() <= PARSED_IN_PLACE {
            return multistatus::several(&answer);
        }
        let parsing = tokio::task::spawn_blocking(move || multistatus::several(&answer));
        parsing
            .await
            .map_err(|died| StoreError::Unavailable(died.into()))?
    }

    async fn ask(&self, url: Url, depth: &str, most: usize) -> Result<Bytes, StoreError> {
        let request = self
            .request_at(method("PROPFIND"), url)
            .header("Depth", depth)
            .header(CONTENT_TYPE, "application/xml; charset=utf-8")
            .body(WANTED);
        let response = self.answer(request.send(), limits::ATTEMPT).await?;
        if response.status() != StatusCode::MULTI_STATUS {
            return Err(StoreError::Broken(
                "the server does not answer as WebDAV does".into(),
            ));
        }
        read_all(response, most, limits::CALL).await
    }
}

/// A method that only WebDAV has.
pub(super) fn method(name: &'static str) -> Method {
    // Every name here is one; a GET in its place would do no harm.
    Method::from_bytes(name.as_bytes()).unwrap_or(Method::GET)
}

/// A body of at most so many bytes.
async fn read_all(response: Response, most: usize, limit: Duration) -> Result<Bytes, StoreError> {
    let too_large = || StoreError::Broken("the server's answer is too large".into());
    if response.content_length().is_some_and(|it| it > most as u64) {
        return Err(too_large());
    }
    let reading = async {
        let (mut all, mut body) = (BytesMut::new(), response.bytes_stream());
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| cut(&error))?;
            if all.len() + chunk.len() > most {
                return Err(too_large());
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    };
    within(limit, reading).await
}

fn root(settings: &WebdavSettings, guard: Guard) -> Result<(Url, usize), StoreError> {
    let refused = |why: &'static str| StoreError::Refused(why.into());
    let mut url =
        Url::parse(&settings.endpoint).map_err(|_| refused("the endpoint is no address"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refused("the endpoint is neither http:// nor https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("the endpoint has a user or a password in it"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("the endpoint has a query or a fragment"));
    }
    guard
        .admit(&url)
        .map_err(|error| StoreError::Refused(error.into()))?;
    let names: Vec<&str> = settings
        .root
        .split('/')
        .filter(|it| !it.is_empty())
        .collect();
    if names.iter().any(|name| matches!(*name, "." | "..")) {
        return Err(refused("the root has . or .. in it"));
    }
    let mut segments = url
        .path_segments_mut()
        .map_err(|()| refused("the endpoint is no address"))?;
    segments.pop_if_empty().extend(&names).push("");
    drop(segments);
    Ok((url, names.len()))
}

fn login(login: &WebdavLogin) -> Result<HeaderMap, StoreError> {
    let field = match login {
        WebdavLogin::None => return Ok(HeaderMap::new()),
        WebdavLogin::User(name, password) => {
            let pair = format!("{name}:{}", password.reveal());
            format!("Basic {}", STANDARD.encode(pair))
        }
        WebdavLogin::Token(token) => format!("Bearer {}", token.reveal()),
    };
    let mut value = HeaderValue::try_from(field)
        .map_err(|_| StoreError::Refused("the token has characters that no header takes".into()))?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(endpoint: &str, root: &str) -> Result<Client, StoreError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = WebdavSettings {
            endpoint: endpoint.into(),
            root: root.into(),
            login: WebdavLogin::User("u".into(), Secret::new("canary")),
        };
        assert!(!format!("{settings:?}").contains("canary"));
        Client::new(&settings, Guard::Strict)
    }

    #[test]
    fn paths_lie_below_endpoint_and_root() {
        let cases = [
            ("http://h", "", "http://h/b/0a/x~y~z.pdf"),
            ("http://h/", "/", "http://h/b/0a/x~y~z.pdf"),
            (
                "https://h:1/dav",
                "a b/ü",
                "https://h:1/dav/a%20b/%C3%BC/b/0a/x~y~z.pdf",
            ),
            ("https://h/dav/", "//a/", "https://h/dav/a/b/0a/x~y~z.pdf"),
        ];
        for (endpoint, root, url) in cases {
            let client = client(endpoint, root).unwrap();
            assert_eq!(client.url("b/0a/x~y~z.pdf").as_str(), url);
        }
        let client = client("https://h/dav", "a/b").unwrap();
        assert_eq!(client.url("").as_str(), "https://h/dav/a/b/");
        assert_eq!(client.above(1).as_str(), "https://h/dav/a/");
        assert_eq!(client.depth, 2);
    }

    #[test]
    fn addresses_that_will_not_do_are_refused() {
        let endpoints = [
            "",
            "h",
            "ftp://h/",
            "http://u:p@h/",
            "http://h/?a",
            "http://h/#a",
            "http://169.254.169.254/",
            "http://[fe80::1]/",
        ];
        for endpoint in endpoints {
            let refused = client(endpoint, "");
            assert!(matches!(refused, Err(StoreError::Refused(_))), "{endpoint}");
        }
        assert!(matches!(
            client("http://h", "a/../b"),
            Err(StoreError::Refused(_))
        ));
    }
}
