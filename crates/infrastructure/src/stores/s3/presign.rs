//! Addresses that others may use for a while.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::presigning::PresigningConfig;
use cloakroom_application::ports::{Presign, PresignedUrl, StoreError};
use cloakroom_domain::{Bucket, ObjectKey};

use super::{buckets::checked, client::Core, failure::classify};

#[async_trait]
impl Presign for Core {
    async fn get(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        valid: Duration,
    ) -> Result<PresignedUrl, StoreError> {
        let expiry = PresigningConfig::expires_in(valid)
            .map_err(|error| StoreError::Refused(error.into()))?;
        let get = self.client.get_object();
        let get = get.bucket(checked(bucket)?).key(key.as_str());
        let signed = get.presigned(expiry).await;
        let signed = signed.map_err(|error| classify(&error))?;
        PresignedUrl::parse(signed.uri())
            .filter(|_| signed.headers().next().is_none())
            .ok_or_else(|| StoreError::Broken("an address that is not enough by itself".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::{
        budget::WriteBudget,
        s3::{S3Secret, S3Settings},
    };

    async fn signed(endpoint: &str, path_style: bool) -> PresignedUrl {
        let settings = S3Settings {
            endpoint: endpoint.to_owned(),
            region: "garage".to_owned(),
            access_key_id: "the-id".to_owned(),
            secret_access_key: S3Secret::new("canary"),
            path_style,
        };
        let core = Core::new(&settings, WriteBudget::default()).unwrap();
        let (bucket, key) = (Bucket::parse("files"), ObjectKey::parse("7/a b~%/1.pdf"));
        let valid = Duration::from_secs(60);
        core.get(&bucket.unwrap(), &key.unwrap(), valid)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn an_address_is_signed_without_asking_anybody_and_does_not_print() {
        // Nobody is there to be asked.
        let url = signed("http://127.0.0.1:9", true).await;
        assert_eq!(url.host(), "127.0.0.1:9");
        let target = url.reveal_target();
        assert!(target.starts_with("/files/7/a%20b~%25/1.pdf?"), "{target}");
        for part in [
            "X-Amz-Expires=60",
            "X-Amz-SignedHeaders=host&",
            "X-Amz-Signature=",
        ] {
            assert!(target.contains(part), "{part}: {target}");
        }
        assert!(!target.contains("canary"));
        assert_eq!(format!("{url:?}"), "****");
    }

    #[tokio::test]
    async fn the_host_is_the_one_that_the_signature_covers() {
        let url = signed("https://s3.example.com", false).await;
        assert_eq!(url.host(), "files.s3.example.com");
        assert!(url.reveal_target().starts_with("/7/a%20b~%25/1.pdf?"));
    }
}
