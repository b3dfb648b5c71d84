//! What the HTTP face needs to know besides the application.

/// Made once by the wiring; every worker reads it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the files API is mounted: `/files`, or `/`.
    pub mount: String,
    /// The service's address as clients know it, with the mount, without a slash at the end.
    pub public_url: String,
    /// The driver of the store that takes new bodies, for `/health`.
    pub backend: String,
    /// `Cache-Control` of public files.
    pub public_cache: String,
    /// `Cross-Origin-Resource-Policy` of downloads.
    pub resource_policy: String,
    /// The value of `Strict-Transport-Security`, where it is to be sent.
    pub transport_security: Option<String>,
    /// The web application's address without a slash at the end, where browsers are to be sent there on errors.
    pub frontend_url: Option<String>,
    /// Requests that may be in hand at once, over all workers; more are told to come back.
    pub max_requests: usize,
}
