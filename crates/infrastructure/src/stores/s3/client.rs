//! The SDK's client, how long its calls may take, and the making of buckets.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    failure::{again, answer, classify},
    settings::S3Settings,
};
use crate::stores::budget::WriteBudget;
use aws_credential_types::Credentials;
use aws_sdk_s3::{
    Client, Config,
    config::{
        BehaviorVersion, Builder, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
    },
    error::{ProvideErrorMetadata, SdkError},
    types::{BucketLocationConstraint, CreateBucketConfiguration},
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use cloakroom_application::ports::StoreError;
use cloakroom_domain::Bucket;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};

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
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// How often a write is tried again for a bucket that is made but not seen yet.
const BUCKET_TRIES: u32 = 5;

type Making = Shared<BoxFuture<'static, Result<(), Arc<StoreError>>>>;

/// What every part of the adapter shares.
pub(super) struct Core {
    pub(super) client: Client,
    pub(super) budget: WriteBudget,
    region: String,
    /// Attempts to make a bucket that are under way.
    making: Mutex<HashMap<Bucket, Making>>,
}

impl Core {
    pub(super) fn new(settings: &S3Settings, budget: WriteBudget) -> Result<Self, StoreError> {
        let plain = ["http://", "https://"]
            .iter()
            .any(|scheme| settings.endpoint.starts_with(scheme));
        if !plain {
            let why = "the endpoint is neither an http:// nor an https:// address";
            return Err(StoreError::Refused(why.into()));
        }
        Ok(Self {
            client: client(settings),
            budget,
            region: settings.region.clone(),
            making: Mutex::default(),
        })
    }

    /// Does a write that may find its bucket missing: makes the bucket and does it again.
    pub(super) async fn with_bucket<T, E, F>(
        self: &Arc<Self>,
        bucket: &Bucket,
        mut write: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, SdkError<E, aws_sdk_s3::config::http::HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        for tried in 0..BUCKET_TRIES {
            match write().await {
                Ok(done) => return Ok(done),
                Err(error) if super::failure::bucket_is_missing(&error) => {
                    if tried > 0 {
                        // It was made, but not everyone in the store has heard of it.
                        tokio::time::sleep(FIRST_BACKOFF * 2_u32.pow(tried)).await;
                    }
                    self.make_bucket(bucket).await?;
                }
                Err(error) => return Err(classify(&error)),
            }
        }
        Err(StoreError::Unavailable(
            "a bucket that was made is not there".into(),
        ))
    }

    /// Makes the bucket, together with whoever else wants it now.
    async fn make_bucket(self: &Arc<Self>, bucket: &Bucket) -> Result<(), StoreError> {
        let making = {
            let mut under_way = self.making.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = || {
                let (core, name) = (Arc::clone(self), bucket.clone());
                // A task of its own: those who wait may leave, the next to come finds it done.
                let made = tokio::spawn(async move {
                    let made = core.create(&name).await;
                    let mut under_way = core.making.lock().unwrap_or_else(PoisonError::into_inner);
                    under_way.remove(&name);
                    made
                });
                let made = async move {
                    match made.await {
                        Ok(outcome) => outcome.map_err(Arc::new),
                        Err(died) => Err(Arc::new(StoreError::Unavailable(died.into()))),
                    }
                };
                made.boxed().shared()
            };
            under_way
                .entry(bucket.clone())
                .or_insert_with(begin)
                .clone()
        };
        making.await.map_err(|error| again(&error))
    }

    async fn create(&self, bucket: &Bucket) -> Result<(), StoreError> {
        // AWS wants the region said, except where it is the one that it assumes.
        let place = (self.region != "us-east-1").then(|| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(self.region.as_str()))
                .build()
        });
        let create = self.client.create_bucket().bucket(bucket.as_str());
        match create.set_create_bucket_configuration(place).send().await {
            Ok(_) => {
                tracing::info!(%bucket, "made the bucket");
                Ok(())
            }
            // Somebody else was faster. Whether it is a bucket of ours, the write itself will tell.
            Err(error) if answer(&error).0 == Some(409) => Ok(()),
            Err(error) => Err(classify(&error)),
        }
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

fn client(settings: &S3Settings) -> Client {
    let secret = settings.secret_access_key.reveal();
    let credentials =
        Credentials::new(&settings.access_key_id, secret, None, None, "configuration");
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let retry = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(FIRST_BACKOFF);
    Client::from_conf(
        Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&settings.endpoint)
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

/// The bucket's name, if S3 takes it: 3–63 of `[a-z0-9-]`, no hyphen at an end.
pub(super) fn checked(bucket: &Bucket) -> Result<&str, StoreError> {
    let name = bucket.as_str();
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let fits = (3..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if fits {
        Ok(name)
    } else {
        Err(StoreError::Refused(
            "an S3 bucket has a name of 3 to 63 of a-z, 0-9 and inner hyphens".into(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_are_those_that_every_s3_takes() {
        let longest = "a".repeat(63);
        for good in ["abc", "a-1", &longest] {
            assert!(checked(&Bucket::parse(good).unwrap()).is_ok(), "{good}");
        }
        let long = "a".repeat(64);
        for bad in ["ab", "-abc", "abc-", "a.b", "ABC", "a_b", "ä-b", &long] {
            let bucket = Bucket::parse(bad).unwrap();
            assert!(
                matches!(checked(&bucket), Err(StoreError::Refused(_))),
                "{bad}"
            );
        }
    }
}
