//! How an S3 store is reached.

use std::fmt;

use crate::stores::guard::Guard;

/// Address and credentials of an S3 store. Nothing is looked up anywhere else: no environment, no instance metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// `http://` or `https://`, host and port, as `https://s3.example.com:9000`.
    pub endpoint: String,
    /// The region that requests are signed for, as `us-east-1` or `garage`.
    pub region: String,
    /// The access key's id.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: S3Secret,
    /// Whether the bucket stands in the path rather than in the host's name.
    pub path_style: bool,
    /// The address at which clients reach the store, if it is another than `endpoint`. Only what clients are to send
    /// there by themselves is signed for it.
    pub public_endpoint: Option<String>,
    /// Where its endpoint may be.
    pub guard: Guard,
    /// Origins, as `https://app.example.com`, whose pages may send to buckets that are made.
    pub cors_origins: Vec<String>,
}

/// A secret access key, which does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Secret(String);

impl S3Secret {
    /// Takes the secret.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for S3Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_does_not_print() {
        let settings = S3Settings {
            endpoint: "http://localhost".into(),
            region: "garage".into(),
            access_key_id: "id".into(),
            secret_access_key: S3Secret::new("canary"),
            path_style: true,
            public_endpoint: None,
            guard: Guard::Open,
            cors_origins: Vec::new(),
        };
        assert!(!format!("{settings:?}").contains("canary"));
    }
}
