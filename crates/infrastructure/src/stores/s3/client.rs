//! The SDK's client, and how long its calls may take.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_s3::{
    Client, Config,
    config::{
        BehaviorVersion, Builder, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
    },
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use cloakroom_application::ports::StoreError;
use reqwest::Url;

use super::{buckets::Buckets, http, settings::S3Settings};
use crate::stores::budget::WriteBudget;

const CONNECT: Duration = Duration::from_secs(2);

/// A small call over all its attempts, and one attempt of it.
const SMALL_CALL: Duration = Duration::from_secs(9);
const SMALL_ATTEMPT: Duration = Duration::from_secs(4);

/// A write may take this long and the time for its bytes at the slowest rate that is served.
const WRITE_CALL: Duration = Duration::from_secs(8);
const SLOWEST: u64 = 512 * 1024;

/// Joining the parts of an upload may take this long and the time for its bytes at this rate.
const JOIN_CALL: Duration = Duration::from_secs(9);
const JOIN_RATE: u64 = 64 * 1024 * 1024;

const ATTEMPTS: u32 = 3;
pub(super) const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// What every part of the adapter shares.
pub(super) struct Core {
    pub(super) client: Client,
    /// Signs what clients send to the store by themselves, and sends nothing.
    pub(super) signer: Client,
    pub(super) budget: WriteBudget,
    pub(super) buckets: Buckets,
}

impl Core {
    pub(super) fn new(settings: &S3Settings, budget: WriteBudget) -> Result<Self, StoreError> {
        let public = settings.public_endpoint.as_ref();
        let public = public.unwrap_or(&settings.endpoint);
        let is_plain = |endpoint: &str| {
            let mut schemes = ["http://", "https://"].into_iter();
            schemes.any(|scheme| endpoint.starts_with(scheme))
        };
        if !is_plain(&settings.endpoint) || !is_plain(public) {
            let why = "the endpoint is neither an http:// nor an https:// address";
            return Err(StoreError::Refused(why.into()));
        }
        for endpoint in [&settings.endpoint, public] {
            let url = Url::parse(endpoint).map_err(|error| StoreError::Refused(error.into()))?;
            let admitted = settings.guard.admit(&url);
            admitted.map_err(|error| StoreError::Refused(error.into()))?;
        }
        let http = http::client(CONNECT, settings.guard)?;
        Ok(Self {
            client: client(settings, &settings.endpoint, http.clone()),
            signer: client(settings, public, http),
            budget,
            buckets: Buckets::new(settings),
        })
    }
}

/// The limits for writing so many bytes in one call.
pub(super) fn write_limits(bytes: u64) -> Builder {
    let limit = WRITE_CALL + Duration::from_secs_f64(bytes as f64 / SLOWEST as f64);
    limits(limit, limit)
}

/// The limits for joining the parts of so many bytes.
pub(super) fn join_limits(bytes: u64) -> Builder {
    let limit = JOIN_CALL + Duration::from_secs(bytes / JOIN_RATE);
    limits(limit, limit)
}

/// Limits for a call over all its attempts and for one attempt.
pub(super) fn limits(call: Duration, attempt: Duration) -> Builder {
    Config::builder().timeout_config(timeouts(call, attempt))
}

fn timeouts(call: Duration, attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_timeout(call)
        .operation_attempt_timeout(attempt)
        .build()
}

fn client(settings: &S3Settings, endpoint: &str, http: SharedHttpClient) -> Client {
    let secret = settings.secret_access_key.reveal();
    let credentials =
        Credentials::new(&settings.access_key_id, secret, None, None, "configuration");
    let retry = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(FIRST_BACKOFF);
    Client::from_conf(
        Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(endpoint)
            .region(Region::new(settings.region.clone()))
            .credentials_provider(credentials)
            .force_path_style(settings.path_style)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            // The adapter has time limits of its own for bodies.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(timeouts(SMALL_CALL, SMALL_ATTEMPT))
            .retry_config(retry)
            .http_client(http)
            .build(),
    )
}
