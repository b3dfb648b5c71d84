//! What the HTTP face needs to know besides the application.

use ipnet::IpNet;

use crate::Origins;

/// Who sends the bodies of downloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offload {
    /// The service.
    Off,
    /// A proxy in front that understands `X-Accel-Redirect`, wherever it says so and is trusted.
    XAccel,
}

/// Made once by the wiring; every worker reads it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the files API is mounted: `/files`, or `/`.
    pub mount: String,
    /// The service's address as clients know it, with the mount, without a slash at the end.
    pub public_url: String,
    /// What tells this process from other replicas.
    pub replica: String,
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
    /// Proxies that are believed where a request came from, and may be left to send bodies.
    pub trusted_proxies: Vec<IpNet>,
    /// Who sends bodies.
    pub offload: Offload,
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

#[cfg(test)]
impl Settings {
    /// As little as there can be.
    pub(crate) fn bare() -> Self {
        Self {
            mount: "/files".to_owned(),
            public_url: "http://localhost/files".to_owned(),
            replica: "one".to_owned(),
            public_cache: String::new(),
            resource_policy: String::new(),
            transport_security: None,
            pages: None,
            origins: Origins::default(),
            trusted_proxies: Vec::new(),
            offload: Offload::Off,
            max_requests: 1,
        }
    }
}
