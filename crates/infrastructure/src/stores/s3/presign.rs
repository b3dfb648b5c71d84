//! Addresses that others may use for a while.

use std::{collections::BTreeMap, num::TryFromIntError, time::Duration};

use async_trait::async_trait;
use aws_sdk_s3::{presigning::PresigningConfig, types::Part};
use cloakroom_application::ports::{
    Presign, PresignedUrl, SignedRequest, StoreError, StoredPart, Unfinished,
};
use cloakroom_domain::{Bucket, ObjectKey};

use super::{S3Store, buckets::checked, failure::classify};

/// The most parts that S3 gives at a time, and the most that an object has.
const PAGE: i32 = 1000;
const MAX_PARTS: usize = 10_000;

#[async_trait]
impl Presign for S3Store {
    async fn get(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        valid: Duration,
    ) -> Result<PresignedUrl, StoreError> {
        let get = self.0.client.get_object();
        let get = get.bucket(checked(bucket)?).key(key.as_str());
        let signed = get.presigned(for_a_while(valid)?).await;
        let signed = signed.map_err(|error| classify(&error))?;
        PresignedUrl::parse(signed.uri())
            .filter(|_| signed.headers().next().is_none())
            .ok_or_else(|| StoreError::Broken("an address that is not enough by itself".into()))
    }

    async fn open(&self, bucket: &Bucket, key: &ObjectKey) -> Result<String, StoreError> {
        let id = self.target(bucket, key)?.open().await?;
        Ok(id.to_string())
    }

    async fn put_part(
        &self,
        object: &Unfinished,
        number: u32,
        size: u64,
        valid: Duration,
    ) -> Result<SignedRequest, StoreError> {
        let out_of_bounds = |error: TryFromIntError| StoreError::Refused(error.into());
        let put = self.0.signer.upload_part();
        let put = put
            .bucket(checked(&object.bucket)?)
            .key(object.key.as_str())
            .upload_id(id_of(object)?)
            .part_number(i32::try_from(number).map_err(out_of_bounds)?)
            .content_length(i64::try_from(size).map_err(out_of_bounds)?);
        let signed = put.presigned(for_a_while(valid)?).await;
        let signed = signed.map_err(|error| classify(&error))?;
        // The signature covers the length, so that nobody can send more than was asked for.
        let length = signed
            .headers()
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        if length.map(|(_, value)| value) != Some(size.to_string().as_str()) {
            return Err(StoreError::Broken("an address without a length".into()));
        }
        let by_themselves = ["content-length", "host"];
        let headers = signed
            .headers()
            .filter(|(name, _)| {
                !by_themselves
                    .iter()
                    .any(|known| name.eq_ignore_ascii_case(known))
            })
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let url = PresignedUrl::parse(signed.uri());
        Ok(SignedRequest {
            method: "PUT",
            url: url.ok_or_else(|| StoreError::Broken("not an address".into()))?,
            headers: headers.collect(),
        })
    }

    async fn parts(&self, object: &Unfinished) -> Result<Vec<StoredPart>, StoreError> {
        let mut found = BTreeMap::new();
        let mut marker = None;
        loop {
            let list = self.0.client.list_parts();
            let listed = list
                .bucket(checked(&object.bucket)?)
                .key(object.key.as_str())
                .upload_id(id_of(object)?)
                .max_parts(PAGE)
                .set_part_number_marker(marker.clone())
                .send()
                .await
                .map_err(|error| classify(&error))?;
            let page = listed.parts.unwrap_or_default();
            found.extend(page.into_iter().filter_map(known));
            let next = listed.next_part_number_marker;
            if !listed.is_truncated.unwrap_or_default() || next.is_none() {
                return Ok(found.into_values().collect());
            }
            if found.len() >= MAX_PARTS || next == marker {
                return Err(StoreError::Broken("a list of parts without an end".into()));
            }
            marker = next;
        }
    }
}

fn known(part: Part) -> Option<(u32, StoredPart)> {
    let number = u32::try_from(part.part_number?).ok()?;
    let size = u64::try_from(part.size?).ok()?;
    let tag = part.e_tag.unwrap_or_default();
    Some((number, StoredPart { number, size, tag }))
}

fn id_of(object: &Unfinished) -> Result<&str, StoreError> {
    let id = object.write_id.as_deref();
    id.ok_or_else(|| StoreError::Refused("an upload that was not opened".into()))
}

fn for_a_while(valid: Duration) -> Result<PresigningConfig, StoreError> {
    PresigningConfig::expires_in(valid).map_err(|error| StoreError::Refused(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::{
        budget::WriteBudget,
        s3::{S3Secret, S3Settings},
    };

    fn store(endpoint: &str, path_style: bool, public: Option<&str>) -> S3Store {
        let settings = S3Settings {
            endpoint: endpoint.to_owned(),
            region: "garage".to_owned(),
            access_key_id: "the-id".to_owned(),
            secret_access_key: S3Secret::new("canary"),
            path_style,
            public_endpoint: public.map(str::to_owned),
            guard: crate::stores::guard::Guard::Open,
            cors_origins: Vec::new(),
        };
        S3Store::new(&settings, WriteBudget::default()).unwrap()
    }

    fn object() -> Unfinished {
        Unfinished {
            bucket: Bucket::parse("files").unwrap(),
            key: ObjectKey::parse("7/a b~%/1.pdf").unwrap(),
            write_id: Some("the-upload".to_owned()),
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    async fn signed(endpoint: &str, path_style: bool) -> PresignedUrl {
        let Unfinished { bucket, key, .. } = object();
        let public = Some("https://elsewhere.example.com");
        let store = store(endpoint, path_style, public);
        store.get(&bucket, &key, MINUTE).await.unwrap()
    }

    async fn part(endpoint: &str, public: Option<&str>) -> SignedRequest {
        let store = store(endpoint, true, public);
        store.put_part(&object(), 7, 1234, MINUTE).await.unwrap()
    }

    #[tokio::test]
    async fn a_part_s_address_covers_its_length_and_does_not_print() {
        let request = part("http://127.0.0.1:9", None).await;
        assert_eq!(
            (request.method, request.headers.as_slice()),
            ("PUT", &[][..])
        );
        assert_eq!(request.url.host(), "127.0.0.1:9");
        let url = request.url.reveal();
        for part in [
            "partNumber=7",
            "uploadId=the-upload",
            "X-Amz-SignedHeaders=content-length%3Bhost&",
            "X-Amz-Expires=60",
        ] {
            assert!(url.contains(part), "{part}: {url}");
        }
        assert!(!url.contains("canary"));
        assert!(!format!("{request:?}").contains("Signature"));
    }

    #[tokio::test]
    async fn a_part_s_address_is_signed_for_where_clients_reach_the_store() {
        let public = Some("https://s3.example.com");
        let request = part("http://127.0.0.1:9", public).await;
        assert_eq!(request.url.host(), "s3.example.com");
        assert!(request.url.reveal().starts_with("https://"));
    }

    #[tokio::test]
    async fn what_was_not_opened_has_no_addresses() {
        let store = store("http://127.0.0.1:9", true, None);
        let object = Unfinished {
            write_id: None,
            ..object()
        };
        let refused = store.put_part(&object, 1, 1, MINUTE).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))));
        let forever = Duration::from_secs(8 * 24 * 3600);
        let refused = store.put_part(&self::object(), 1, 1, forever).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))));
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
