//! Clients: a thin one over HTTP, bodies and answers for it, and a raw one that sends exactly these bytes.

mod answers;
mod bodies;
mod raw;
mod repeated;
mod resumable;
mod seeded;

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    multipart::{Form, Part},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use self::{
    answers::{expect, header, id, refused},
    bodies::{digest_field, encoded, file_path, part, sample, sha256},
    raw::{Answer, Raw},
    repeated::Repeated,
    resumable::{
        Draft, OFFSET_STREAM, PARTIAL_UPLOAD, TUS, Tus, described, id_in, offset_in, path_of,
    },
    seeded::Seeded,
};

/// The longest that an answer with its body may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A caller of the service, with or without a token. Follows no redirects.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    headers: Vec<(&'static str, String)>,
}

impl Client {
    /// A caller without a credential; `base` is `http://host:port`.
    #[must_use]
    pub fn new(base: &str) -> Self {
        // Clients are built without a provider of their own; that one is there already changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // No test waits for ever for a service that was killed.
            .timeout(PATIENCE)
            .no_proxy()
            .build()
            .unwrap();
        Self {
            http,
            base: base.to_owned(),
            token: None,
            headers: Vec::new(),
        }
    }

    /// The same service, called by somebody else.
    #[must_use]
    pub fn with(&self, token: Option<&str>) -> Self {
        Self {
            token: token.map(str::to_owned),
            ..self.clone()
        }
    }

    /// The same caller with a header on every request, as credentials come that are no bearer.
    #[must_use]
    pub fn with_header(&self, name: &'static str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name, value.to_owned()));
        client
    }

    /// The address of a path; a whole address, as `Location` gives it, is itself.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}{path}", self.base)
        }
    }

    /// A request to a path or a whole address.
    pub fn call(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.http.request(method, self.url(path));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// A GET.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.call(Method::GET, path)
    }

    /// A POST.
    pub fn post(&self, path: &str) -> RequestBuilder {
        self.call(Method::POST, path)
    }

    /// Removes a file with its bytes.
    ///
    /// # Panics
    /// The answer is no success.
    pub async fn purge(&self, id: &str) {
        let path = format!("{}?purge=true", file_path(id));
        let answer = self.call(Method::DELETE, &path).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    /// Uploads a form with the one part `file`.
    pub async fn upload(&self, name: &str, kind: &str, body: impl Into<Vec<u8>>) -> Response {
        let form = Form::new().part("file", part(name, kind, body));
        let request = self.post("/files").multipart(form);
        request.send().await.unwrap()
    }

    /// Uploads a raw body and answers the file's JSON.
    ///
    /// # Panics
    /// The answer is not 201.
    pub async fn stored(&self, name: &str, body: impl Into<Vec<u8>>) -> Value {
        let request = self.post(&format!("/files?filename={}", encoded(name)));
        let answer = request.body(body.into()).send().await.unwrap();
        expect(answer, StatusCode::CREATED).await
    }

    /// Uploads a form with a body that is made as it is sent, and answers the file's JSON.
    ///
    /// # Panics
    /// Unless the answer is 201 and states the size and the hash of the body.
    pub async fn uploaded(&self, name: &str, body: impl Into<Seeded>) -> Value {
        let body = body.into();
        let stream = reqwest::Body::wrap_stream(body.stream());
        // With its length known, the form has a `Content-Length`.
        let part = Part::stream_with_length(stream, body.size).file_name(name.to_owned());
        let request = self
            .post("/files")
            .multipart(Form::new().part("file", part));
        let file = expect(request.send().await.unwrap(), StatusCode::CREATED).await;
        assert_eq!(file["size"], body.size, "{file}");
        assert_eq!(file["sha256"], body.sha256(), "{file}");
        file
    }

    /// The bytes at a path.
    ///
    /// # Panics
    /// The answer is not 200, or is cut off.
    pub async fn bytes(&self, path: &str) -> Vec<u8> {
        let answer = self.get(path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.bytes().await.unwrap().to_vec()
    }

    /// Downloads a file by its id, keeping none of it, and compares.
    ///
    /// # Panics
    /// Unless the answer is 200 with exactly this body.
    pub async fn assert_body(&self, id: &str, body: impl Into<Seeded>) {
        let body = body.into();
        let found = self.hash_of(&file_path(id)).await;
        assert_eq!(found, (body.size, body.sha256()), "{id}");
    }

    /// Downloads a path, keeping none of it, and answers its length and SHA-256 in hexadecimal.
    ///
    /// # Panics
    /// Unless the answer is 200 and comes to its end.
    pub async fn hash_of(&self, path: &str) -> (u64, String) {
        let answer = self.get(path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let (mut size, mut hash) = (0, Sha256::new());
        let mut chunks = answer.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.unwrap_or_else(|error| panic!("{path}: {error} after {size} bytes"));
            size += chunk.len() as u64;
            hash.update(&chunk);
        }
        (size, hex::encode(hash.finalize()))
    }
}
