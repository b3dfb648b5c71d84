//! What every module of the black-box tests needs.

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, multipart};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A caller of one service.
#[derive(Clone)]
pub struct Api {
    base: String,
    token: Option<String>,
    http: Client,
}

impl Api {
    pub fn new(base: &str, token: Option<&str>) -> Self {
        let http = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            base: base.to_owned(),
            token: token.map(str::to_owned),
            http,
        }
    }

    /// The same service, called by somebody else.
    pub fn with(&self, token: Option<&str>) -> Self {
        Self {
            token: token.map(str::to_owned),
            ..self.clone()
        }
    }

    pub fn url(&self, path: &str) -> String {
        if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}{path}", self.base)
        }
    }

    pub fn call(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, self.url(path));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.call(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.call(Method::POST, path)
    }

    /// Uploads a form with the one part `file`.
    pub async fn upload(&self, name: &str, kind: &str, body: impl Into<Vec<u8>>) -> Response {
        let part = part(name, kind, body);
        self.post("/files")
            .multipart(multipart::Form::new().part("file", part))
            .send()
            .await
            .unwrap()
    }

    /// Uploads a raw body; the answer must be 201.
    pub async fn stored(&self, name: &str, body: impl Into<Vec<u8>>) -> Value {
        let answer = self
            .post(&format!(
                "/files?filename={}",
                utf8_percent_encode(name, NON_ALPHANUMERIC)
            ))
            .body(body.into())
            .send()
            .await
            .unwrap();
        expect(answer, StatusCode::CREATED).await
    }

    /// The bytes at a path; the answer must be 200.
    pub async fn bytes(&self, path: &str) -> Vec<u8> {
        let answer = self.get(path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.bytes().await.unwrap().to_vec()
    }
}

pub fn part(name: &str, kind: &str, body: impl Into<Vec<u8>>) -> multipart::Part {
    multipart::Part::bytes(body.into())
        .file_name(name.to_owned())
        .mime_str(kind)
        .unwrap()
}

/// The JSON of an answer that must have this status.
pub async fn expect(answer: Response, status: StatusCode) -> Value {
    let (found, url) = (answer.status(), answer.url().clone());
    let text = answer.text().await.unwrap();
    assert_eq!(found, status, "{url}: {text}");
    if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap()
    }
}

/// An answer must be this refusal, in the contract's form.
pub async fn refused(answer: Response, status: u16, code: &str) -> Value {
    let kind = answer
        .headers()
        .get("content-type")
        .map(|v| v.to_str().unwrap().to_owned());
    let id = answer.headers().contains_key("x-request-id");
    let problem = expect(answer, StatusCode::from_u16(status).unwrap()).await;
    assert_eq!(
        kind.as_deref(),
        Some("application/problem+json"),
        "{problem}"
    );
    assert!(id, "no request id: {problem}");
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["status"], status);
    for member in ["type", "title", "detail", "message"] {
        assert!(problem[member].is_string(), "{member}: {problem}");
    }
    assert!(problem["details"]["reason"].is_string(), "{problem}");
    problem
}

pub fn sha256(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// The value of a digest field.
pub fn digest_field(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

/// Bytes that look random and are the same for the same seed.
pub fn sample(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut body = Vec::with_capacity(length + 8);
    while body.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.extend_from_slice(&state.to_le_bytes());
    }
    body.truncate(length);
    body
}

/// The header of an answer as text, empty if absent.
pub fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// The id in a file's JSON.
pub fn id(file: &Value) -> &str {
    file["file_id"].as_str().unwrap()
}
