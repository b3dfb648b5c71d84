//! Which pages may send to a bucket by themselves (CORS).

use aws_sdk_s3::types::{CorsConfiguration, CorsRule};
use cloakroom_domain::Bucket;

use super::{client::Core, failure::classify};

/// How long a browser may keep the answer, in seconds.
const MAX_AGE: i32 = 3600;

impl Core {
    /// Lets pages of the configured origins send parts to a bucket that was just made, and read their tags. A store
    /// that knows no such rules is passed over: everything else works without them.
    pub(super) async fn let_pages_send(&self, bucket: &Bucket) {
        let origins = &self.buckets.origins;
        if origins.is_empty() {
            return;
        }
        let rule = CorsRule::builder()
            .set_allowed_origins(Some(origins.clone()))
            .allowed_methods("PUT")
            .allowed_headers("*")
            .expose_headers("ETag")
            .max_age_seconds(MAX_AGE)
            .build();
        let rules = rule.and_then(|rule| CorsConfiguration::builder().cors_rules(rule).build());
        let Ok(rules) = rules else { return };
        let put = self.client.put_bucket_cors().bucket(bucket.as_str());
        if let Err(error) = put.cors_configuration(rules).send().await {
            let error = classify(&error);
            self.buckets.said.get_or_init(|| {
                tracing::warn!(
                    %error, %bucket,
                    "the store took no CORS rule for a new bucket: browsers cannot send to it by themselves"
                );
            });
        }
    }
}
