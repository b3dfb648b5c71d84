//! Buckets: their names, and making them when they are first written to.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    types::{BucketLocationConstraint, CreateBucketConfiguration},
};
use cloakroom_application::ports::StoreError;
use cloakroom_domain::Bucket;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};

use super::{
    client::{Core, FIRST_BACKOFF},
    failure::{again, answer, bucket_is_missing, classify},
    settings::S3Settings,
};

/// How often a write is tried again for a bucket that is made but not seen yet.
const TRIES: u32 = 5;

/// Buckets remembered, at most; beyond it they are looked at again.
const MAX_KNOWN: usize = 65_536;

type Making = Shared<BoxFuture<'static, Result<(), Arc<StoreError>>>>;

/// What is known of the buckets.
pub(super) struct Buckets {
    region: String,
    /// Whose pages may send to buckets that are made.
    pub(super) origins: Vec<String>,
    /// Whether it was said that the store has no rules for pages.
    pub(super) said: OnceLock<()>,
    /// Attempts to make a bucket that are under way.
    making: Mutex<HashMap<Bucket, Making>>,
    /// Buckets that were there a moment ago.
    known: Mutex<HashSet<Bucket>>,
}

impl Buckets {
    pub(super) fn new(settings: &S3Settings) -> Self {
        Self {
            region: settings.region.clone(),
            origins: settings.cors_origins.clone(),
            said: OnceLock::new(),
            making: Mutex::default(),
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashSet<Bucket>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, bucket: &Bucket) {
        let mut known = self.known();
        if known.contains(bucket) {
            return;
        }
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(bucket.clone());
    }

    fn forget(&self, bucket: &Bucket) {
        self.known().remove(bucket);
    }
}

impl Core {
    /// Makes sure of the bucket before a body is sent that a store may not care to read to its end: some answer
    /// that there is no such bucket and hang up, and who is still sending never sees the answer.
    pub(super) async fn look_for_bucket(
        self: &Arc<Self>,
        bucket: &Bucket,
    ) -> Result<(), StoreError> {
        if self.buckets.known().contains(bucket) {
            return Ok(());
        }
        let head = self.client.head_bucket().bucket(bucket.as_str());
        match head.send().await.map_err(|error| classify(&error)) {
            Ok(_) => self.buckets.remember(bucket),
            Err(StoreError::NotFound) => self.make_bucket(bucket).await?,
            // Not everyone who may write may look. The write itself will tell.
            Err(StoreError::Refused(_) | StoreError::Broken(_)) => {}
            Err(unavailable) => return Err(unavailable),
        }
        Ok(())
    }

    /// Does a write that may find its bucket missing: makes the bucket and does it again.
    pub(super) async fn with_bucket<T, E, F>(
        self: &Arc<Self>,
        bucket: &Bucket,
        mut write: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        for tried in 0..TRIES {
            match write().await {
                Ok(done) => {
                    self.buckets.remember(bucket);
                    return Ok(done);
                }
                Err(error) if bucket_is_missing(&error) => {
                    if tried > 0 {
                        // It was made, but not everyone in the store has heard of it.
                        tokio::time::sleep(FIRST_BACKOFF * 2_u32.pow(tried)).await;
                    }
                    self.make_bucket(bucket).await?;
                }
                Err(error) => {
                    self.buckets.forget(bucket);
                    return Err(classify(&error));
                }
            }
        }
        Err(StoreError::Unavailable(
            "a bucket that was made is not there".into(),
        ))
    }

    /// Makes the bucket, together with whoever else wants it now.
    async fn make_bucket(self: &Arc<Self>, bucket: &Bucket) -> Result<(), StoreError> {
        let making = {
            let mut under_way = self
                .buckets
                .making
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let begin = || {
                let (core, name) = (Arc::clone(self), bucket.clone());
                // A task of its own: those who wait may leave, the next to come finds it done.
                let made = tokio::spawn(async move {
                    let made = core.create(&name).await;
                    let mut under_way = core
                        .buckets
                        .making
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
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
        let place = (self.buckets.region != "us-east-1").then(|| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(self.buckets.region.as_str()))
                .build()
        });
        let create = self.client.create_bucket().bucket(bucket.as_str());
        match create.set_create_bucket_configuration(place).send().await {
            Ok(_) => {
                tracing::info!(%bucket, "made the bucket");
                self.let_pages_send(bucket).await;
                Ok(())
            }
            // Somebody else was faster. Whether it is a bucket of ours, the write itself will tell.
            Err(error) if answer(&error).0 == Some(409) => Ok(()),
            Err(error) => Err(classify(&error)),
        }
    }
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
