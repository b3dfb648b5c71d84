//! Clients: a thin one over HTTP, bodies made from a seed, and a raw one that sends exactly these bytes.

mod raw;
mod seeded;

use futures_util::StreamExt;
use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    header::{CONTENT_LENGTH, HeaderMap},
    multipart::{Form, Part},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use self::{
    raw::{Answer, Raw},
    seeded::Seeded,
};

/// A caller of the service, with or without a token. Follows no redirects.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// What came of reading a body.
#[derive(Debug)]
pub struct Download {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// Bytes that arrived.
    pub size: u64,
    /// Their SHA-256, in hexadecimal.
    pub sha256: String,
    /// Whether the body ended as it should, and was not cut off.
    pub whole: bool,
}

impl Client {
    /// A caller without a credential; `base` is `http://host:port`.
    #[must_use]
    pub fn new(base: &str) -> Self {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        Self {
            http,
            base: base.to_owned(),
            token: None,
        }
    }

    /// The same caller with that token.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self {
            token: Some(token.into()),
            ..self.clone()
        }
    }

    /// A request to a path, or to a whole URL as `Location` gives it.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with('/') {
            format!("{}{path}", self.base)
        } else {
            path.to_owned()
        };
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// A GET.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// A HEAD.
    pub fn head(&self, path: &str) -> RequestBuilder {
        self.request(Method::HEAD, path)
    }

    /// A POST.
    pub fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// A PUT.
    pub fn put(&self, path: &str) -> RequestBuilder {
        self.request(Method::PUT, path)
    }

    /// A PATCH.
    pub fn patch(&self, path: &str) -> RequestBuilder {
        self.request(Method::PATCH, path)
    }

    /// A DELETE.
    pub fn delete(&self, path: &str) -> RequestBuilder {
        self.request(Method::DELETE, path)
    }

    /// Uploads a form with one part `file`.
    pub async fn upload_form(
        &self,
        name: &str,
        body: impl Into<Seeded>,
    ) -> reqwest::Result<Response> {
        let form = Form::new().part("file", part(name, &body.into()));
        self.post("/files").multipart(form).send().await
    }

    /// Uploads a raw body.
    pub async fn upload_raw(
        &self,
        name: &str,
        body: impl Into<Seeded>,
    ) -> reqwest::Result<Response> {
        let request = self.post(&format!("/files?filename={}", encoded(name)));
        with_body(request, &body.into()).send().await
    }

    /// Puts a new version.
    pub async fn upload_version(
        &self,
        id: &str,
        body: impl Into<Seeded>,
    ) -> reqwest::Result<Response> {
        with_body(self.put(&file_path(id)), &body.into())
            .send()
            .await
    }

    /// Uploads a form and answers the file's JSON.
    ///
    /// # Panics
    /// Unless the answer is 201 and states the size and the hash of the body.
    pub async fn uploaded(&self, name: &str, body: impl Into<Seeded>) -> Value {
        let body = body.into();
        let response = self.upload_form(name, body).await.unwrap();
        let file = json(response, StatusCode::CREATED).await;
        assert_eq!(file["size"], body.size, "{file}");
        assert_eq!(file["sha256"], body.sha256(), "{file}");
        file
    }

    /// Downloads a file by its id, hashing it on the way.
    pub async fn download(&self, id: &str) -> reqwest::Result<Download> {
        fetch(self.get(&file_path(id))).await
    }

    /// Downloads and compares.
    ///
    /// # Panics
    /// Unless the answer is 200 with exactly this body.
    pub async fn assert_body(&self, id: &str, body: impl Into<Seeded>) {
        let (body, download) = (body.into(), self.download(id).await.unwrap());
        assert_eq!(download.status, StatusCode::OK, "{id}");
        assert!(download.whole, "{id} was cut off at {}", download.size);
        assert_eq!(download.size, body.size, "{id}");
        assert_eq!(download.sha256, body.sha256(), "{id}");
    }
}

/// `/files/{id}`, the id percent-encoded.
#[must_use]
pub fn file_path(id: &str) -> String {
    format!("/files/{}", encoded(id))
}

/// The text percent-encoded, bar RFC 3986's unreserved characters.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            encoded.extend(["%", &hex::encode_upper([byte])]);
        }
    }
    encoded
}

/// A form's part with a file name and a known length, so that the form has a `Content-Length`.
#[must_use]
pub fn part(name: &str, body: &Seeded) -> Part {
    let stream = reqwest::Body::wrap_stream(body.stream());
    Part::stream_with_length(stream, body.size).file_name(name.to_owned())
}

/// Gives a request that body, with its `Content-Length`.
pub fn with_body(request: RequestBuilder, body: &Seeded) -> RequestBuilder {
    request
        .header(CONTENT_LENGTH, body.size)
        .body(reqwest::Body::wrap_stream(body.stream()))
}

/// Sends a request and reads the answer to its end, keeping none of it.
pub async fn fetch(request: RequestBuilder) -> reqwest::Result<Download> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let (mut size, mut hash, mut whole) = (0, Sha256::new(), true);
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        let Ok(chunk) = chunk else {
            whole = false;
            break;
        };
        size += chunk.len() as u64;
        hash.update(&chunk);
    }
    Ok(Download {
        status,
        headers,
        size,
        sha256: hex::encode(hash.finalize()),
        whole,
    })
}

/// The answer's JSON.
///
/// # Panics
/// When the status is another, with the body.
pub async fn json(response: Response, status: StatusCode) -> Value {
    let actual = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(actual, status, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// Checks an answer of `application/problem+json`, and gives it.
///
/// # Panics
/// When status, code or media type are others.
pub async fn problem(response: Response, status: u16, code: &str) -> Value {
    let media = response.headers().get("content-type").cloned();
    let status = StatusCode::from_u16(status).unwrap();
    let problem = json(response, status).await;
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["status"], status.as_u16(), "{problem}");
    let media = media.as_ref().and_then(|value| value.to_str().ok());
    assert_eq!(media, Some("application/problem+json"), "{problem}");
    problem
}
