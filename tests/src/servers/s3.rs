//! How to reach an S3 server.

use std::fmt;

use aws_credential_types::Credentials;
use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Builder, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    },
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use super::{random_hex, shared};

/// An S3 server that may be used but not stopped. Its text form is `endpoint|region|access_key|secret_key`.
#[derive(Debug, Clone)]
pub struct S3Access {
    /// `http://host:port`.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The access key's id.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
}

impl S3Access {
    pub(super) fn shared(variable: &str) -> Self {
        let text = shared(variable);
        let [endpoint, region, access_key, secret_key] = text.split('|').collect::<Vec<_>>()[..]
        else {
            panic!("{variable} is not of the form endpoint|region|access_key|secret_key");
        };
        Self {
            endpoint: endpoint.to_owned(),
            region: region.to_owned(),
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
        }
    }

    /// `host:port` of the endpoint.
    #[must_use]
    pub fn address(&self) -> &str {
        self.endpoint
            .strip_prefix("http://")
            .unwrap_or(&self.endpoint)
    }

    /// A bucket's name that nobody else uses.
    #[must_use]
    pub fn bucket_name(&self) -> String {
        format!("test-{}", random_hex(6))
    }

    /// A client of the SDK, nothing in between.
    #[must_use]
    pub fn client(&self) -> Client {
        let credentials = Credentials::new(&self.access_key, &self.secret_key, None, None, "tests");
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint)
            .region(Region::new(self.region.clone()))
            .credentials_provider(credentials)
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .http_client(http)
            .build();
        Client::from_conf(config)
    }
}

impl fmt::Display for S3Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            endpoint,
            region,
            access_key,
            secret_key,
        } = self;
        write!(f, "{endpoint}|{region}|{access_key}|{secret_key}")
    }
}
