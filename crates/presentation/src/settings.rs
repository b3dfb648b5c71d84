//! What the HTTP face needs to know besides the application.

use ipnet::IpNet;

use crate::Origins;

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
    /// The pages that browsers are sent to on errors, where there is a web application.
    pub pages: Option<Pages>,
    /// The origins whose pages may work with the service.
    pub origins: Origins,
    /// Proxies that are believed where a request came from.
    pub trusted_proxies: Vec<IpNet>,
    /// Requests that may be in hand at once, over all workers; more are told to come back.
    pub max_requests: usize,
}

/// Pages of the web application, by their addresses.
#[derive(Debug, Clone)]
pub struct Pages {
    /// Where to sign in. Told by `redirectUrl` where to come back to.
    pub sign_in: String,
    /// What is shown for any other error.
    pub error: String,
}
