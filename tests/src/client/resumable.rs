//! Callers of uploads that take several requests, by tus 1.0.0 and by draft-ietf-httpbis-resumable-upload-11.

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Method, RequestBuilder, Response, StatusCode};

use super::{Client, expect, header};

/// The media type of a tus PATCH.
pub const OFFSET_STREAM: &str = "application/offset+octet-stream";

/// The media type of the draft's PATCH.
pub const PARTIAL_UPLOAD: &str = "application/partial-upload";

/// The header that makes a request one of tus.
pub const TUS: (&str, &str) = ("Tus-Resumable", "1.0.0");

/// A caller that speaks tus.
#[derive(Debug, Clone)]
pub struct Tus(Client);

/// A caller that speaks the draft.
#[derive(Debug, Clone)]
pub struct Draft(Client);

/// The pairs of an `Upload-Metadata`, their values in Base64.
#[must_use]
pub fn described(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter();
    let pairs: Vec<String> = pairs
        .map(|(key, value)| format!("{key} {}", STANDARD.encode(value)))
        .collect();
    pairs.join(",")
}

/// The path of an absolute address, for any replica.
///
/// # Panics
/// It is not absolute.
#[must_use]
pub fn path_of(address: &str) -> String {
    let (_, rest) = address.split_once("://").expect("an absolute address");
    rest[rest.find('/').expect("an address with a path")..].to_owned()
}

/// The id at the end of an upload's or a file's path.
///
/// # Panics
/// There is no path.
#[must_use]
pub fn id_in(path: &str) -> &str {
    path.rsplit_once('/').expect("a path").1
}

/// The `Upload-Offset` of an answer.
///
/// # Panics
/// It has none.
#[must_use]
pub fn offset_in(answer: &Response) -> u64 {
    let offset = header(answer, "upload-offset");
    offset
        .parse()
        .unwrap_or_else(|_| panic!("an offset: {answer:?}"))
}

impl Tus {
    /// The caller, speaking tus.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self(client.with_header(TUS.0, TUS.1))
    }

    /// The caller, without the protocol.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.0
    }

    /// A creation with these headers and no body.
    pub fn create(&self, headers: &[(&str, &str)]) -> RequestBuilder {
        with(self.0.post("/files"), headers)
    }

    /// Creates an upload and answers its path.
    ///
    /// # Panics
    /// The answer is not 201 with an absolute `Location`.
    pub async fn created(&self, length: usize, headers: &[(&str, &str)]) -> String {
        let request = self.create(headers).header("Upload-Length", length);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED, "{answer:?}");
        path_of(header(&answer, "location"))
    }

    /// Creates a partial upload of these bytes, sends them, and answers its path.
    ///
    /// # Panics
    /// An answer is another than that of success.
    pub async fn partial(&self, body: &[u8]) -> String {
        let path = self
            .created(body.len(), &[("Upload-Concat", "partial")])
            .await;
        assert_eq!(self.patched(&path, 0, body).await, body.len() as u64);
        path
    }

    /// An append.
    pub fn patch(&self, path: &str, offset: u64, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.0
            .call(Method::PATCH, path)
            .header("Content-Type", OFFSET_STREAM)
            .header("Upload-Offset", offset)
            .body(body)
    }

    /// Appends, and answers the new offset.
    ///
    /// # Panics
    /// The answer is not 204 with an offset.
    pub async fn patched(&self, path: &str, offset: u64, body: &[u8]) -> u64 {
        let answer = self.patch(path, offset, body.to_vec()).send().await;
        let answer = answer.unwrap();
        let status = answer.status();
        assert_eq!(status, StatusCode::NO_CONTENT, "{answer:?}");
        offset_in(&answer)
    }

    /// Asks how far it is.
    pub async fn head(&self, path: &str) -> Response {
        self.0.call(Method::HEAD, path).send().await.unwrap()
    }

    /// How far it is.
    ///
    /// # Panics
    /// The answer is not 200 with an offset.
    pub async fn offset(&self, path: &str) -> u64 {
        let answer = self.head(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{answer:?}");
        offset_in(&answer)
    }

    /// Gives it up.
    pub async fn delete(&self, path: &str) -> Response {
        self.0.call(Method::DELETE, path).send().await.unwrap()
    }

    /// A concatenation of these.
    pub fn join(&self, paths: &[&str]) -> RequestBuilder {
        let list = format!("final;{}", paths.join(" "));
        self.create(&[("Upload-Concat", &list)])
    }
}

impl Draft {
    /// The caller, speaking the draft.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self(client.clone())
    }

    /// The caller.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.0
    }

    /// A creation whose body is not all there is.
    pub fn create(&self, body: impl Into<reqwest::Body>) -> RequestBuilder {
        let request = self.0.post("/files").header("Upload-Complete", "?0");
        request.body(body)
    }

    /// Creates an upload with its first bytes and these headers, and answers its path.
    ///
    /// # Panics
    /// The answer is not 201 with an absolute `Location`.
    pub async fn created(&self, body: &[u8], headers: &[(&str, &str)]) -> String {
        let request = with(self.create(body.to_vec()), headers);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED, "{answer:?}");
        path_of(header(&answer, "location"))
    }

    /// An append; `complete` is the `Upload-Complete`.
    pub fn patch(
        &self,
        path: &str,
        offset: u64,
        complete: &str,
        body: impl Into<reqwest::Body>,
    ) -> RequestBuilder {
        self.0
            .call(Method::PATCH, path)
            .header("Content-Type", PARTIAL_UPLOAD)
            .header("Upload-Offset", offset)
            .header("Upload-Complete", complete)
            .body(body)
    }

    /// Appends what is not the end.
    ///
    /// # Panics
    /// The answer is not 204 with the new offset.
    pub async fn appended(&self, path: &str, offset: u64, body: &[u8]) {
        let request = self.patch(path, offset, "?0", body.to_vec());
        let answer = request.send().await.unwrap();
        let status = answer.status();
        assert_eq!(status, StatusCode::NO_CONTENT, "{answer:?}");
        assert_eq!(header(&answer, "upload-complete"), "?0");
        assert_eq!(offset_in(&answer), offset + body.len() as u64);
    }

    /// Appends the end, and answers the file's JSON.
    ///
    /// # Panics
    /// The answer is not 201 with the file.
    pub async fn completed(&self, path: &str, offset: u64, body: &[u8]) -> serde_json::Value {
        let request = self.patch(path, offset, "?1", body.to_vec());
        let answer = request.send().await.unwrap();
        assert_eq!(header(&answer, "upload-complete"), "?1", "{answer:?}");
        expect(answer, StatusCode::CREATED).await
    }

    /// Asks how far it is.
    pub async fn head(&self, path: &str) -> Response {
        self.0.call(Method::HEAD, path).send().await.unwrap()
    }

    /// How far it is.
    ///
    /// # Panics
    /// The answer is not 204 with an offset.
    pub async fn offset(&self, path: &str) -> u64 {
        let answer = self.head(path).await;
        let status = answer.status();
        assert_eq!(status, StatusCode::NO_CONTENT, "{answer:?}");
        offset_in(&answer)
    }

    /// Gives it up.
    pub async fn delete(&self, path: &str) -> Response {
        self.0.call(Method::DELETE, path).send().await.unwrap()
    }
}

fn with(request: RequestBuilder, headers: &[(&str, &str)]) -> RequestBuilder {
    headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    })
}
