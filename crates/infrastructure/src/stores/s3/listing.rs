//! Listing objects, and finding unfinished uploads.

use std::collections::BTreeSet;

use aws_sdk_s3::{
    primitives::DateTime,
    types::{EncodingType, MultipartUpload},
};
use cloakroom_application::ports::{ListPage, ListedObject, ObjectMeta, StoreError};
use cloakroom_domain::{Bucket, ObjectKey, Timestamp};
use futures_util::{StreamExt, stream};
use percent_encoding::percent_decode_str;

use super::{
    client::Core,
    failure::{classify, is_unknown_call},
};

/// Uploads given up at once.
const AT_ONCE: usize = 8;

/// An unfinished upload.
pub(super) struct Unfinished {
    pub(super) key: String,
    pub(super) id: String,
    begun_at: Timestamp,
}

/// A page of a bucket.
pub(super) async fn page(
    core: &Core,
    bucket: &Bucket,
    prefix: &str,
    cursor: Option<&str>,
    limit: usize,
) -> Result<ListPage, StoreError> {
    let list = core.client.list_objects_v2();
    let listed = list
        .bucket(bucket.as_str())
        .prefix(prefix)
        .set_start_after(cursor.map(str::to_owned))
        .max_keys(i32::try_from(limit.clamp(1, 1000)).unwrap_or(1000))
        // XML has no way to write some characters that a key may have.
        .encoding_type(EncodingType::Url)
        .send()
        .await;
    let answer = match listed.map_err(|error| classify(&error)) {
        Ok(answer) => answer,
        Err(StoreError::NotFound) => return Ok(ListPage::default()),
        Err(error) => return Err(error),
    };
    let encoded = answer.encoding_type == Some(EncodingType::Url);
    let more = answer.is_truncated.unwrap_or_default();
    let mut page = ListPage::default();
    for object in answer.contents.unwrap_or_default() {
        let Some(key) = object.key.map(|key| decoded(key, encoded)) else {
            continue;
        };
        page.next = more.then(|| key.clone());
        let size = object.size.and_then(|size| u64::try_from(size).ok());
        if let (Ok(key), Some(size)) = (ObjectKey::parse(&key), size) {
            page.objects.push(ListedObject {
                bucket: bucket.clone(),
                key,
                size,
                modified_at: timestamp(object.last_modified),
            });
        }
    }
    Ok(page)
}

/// Size and age of an object.
pub(super) async fn head(
    core: &Core,
    bucket: &Bucket,
    key: &ObjectKey,
) -> Result<ObjectMeta, StoreError> {
    let head = core.client.head_object();
    let head = head.bucket(bucket.as_str()).key(key.as_str());
    let answer = head.send().await.map_err(|error| classify(&error))?;
    let size = answer
        .content_length
        .and_then(|size| u64::try_from(size).ok());
    Ok(ObjectMeta {
        size: size.ok_or_else(|| StoreError::Broken("an object of unknown size".into()))?,
        modified_at: timestamp(answer.last_modified),
    })
}

/// Every unfinished upload whose key begins with the prefix. A store without a way to ask has none.
pub(super) async fn unfinished(
    core: &Core,
    bucket: &Bucket,
    prefix: &str,
) -> Result<Vec<Unfinished>, StoreError> {
    let mut found = Vec::new();
    let (mut key_marker, mut id_marker) = (None, None);
    loop {
        let list = core.client.list_multipart_uploads();
        let listed = list
            .bucket(bucket.as_str())
            .prefix(prefix)
            .set_key_marker(key_marker.clone())
            .set_upload_id_marker(id_marker.clone())
            .send()
            .await;
        let answer = match listed {
            Ok(answer) => answer,
            Err(error) if is_unknown_call(&error) => return Ok(found),
            Err(error) => match classify(&error) {
                StoreError::NotFound => return Ok(found),
                error => return Err(error),
            },
        };
        found.extend(
            answer
                .uploads
                .unwrap_or_default()
                .into_iter()
                .filter_map(known),
        );
        let next = (answer.next_key_marker, answer.next_upload_id_marker);
        if !answer.is_truncated.unwrap_or_default() || next.0.is_none() {
            return Ok(found);
        }
        if (&key_marker, &id_marker) == (&next.0, &next.1) {
            return Err(StoreError::Broken("a list that does not go on".into()));
        }
        (key_marker, id_marker) = next;
    }
}

/// Gives up uploads of ours that began before the instant and are not under a key to spare, and says how many. Others
/// may use the bucket, too.
pub(super) async fn reap(
    core: &Core,
    bucket: &Bucket,
    before: Timestamp,
    spare: &BTreeSet<ObjectKey>,
) -> Result<u64, StoreError> {
    let spare: BTreeSet<&str> = spare.iter().map(ObjectKey::as_str).collect();
    let mut old = unfinished(core, bucket, "").await?;
    let is_ours = |key: &str| ObjectKey::parse(key).is_ok_and(|key| key.minted_parts().is_some());
    old.retain(|upload| {
        upload.begun_at < before && is_ours(&upload.key) && !spare.contains(upload.key.as_str())
    });
    let mut given_up = stream::iter(old)
        .map(|upload| async move { core.abort_upload(bucket, &upload.key, &upload.id).await })
        .buffer_unordered(AT_ONCE);
    let mut reaped = 0;
    while let Some(outcome) = given_up.next().await {
        reaped += u64::from(outcome?);
    }
    Ok(reaped)
}

fn known(upload: MultipartUpload) -> Option<Unfinished> {
    Some(Unfinished {
        key: upload.key?,
        id: upload.upload_id?,
        begun_at: timestamp(upload.initiated),
    })
}

fn decoded(key: String, encoded: bool) -> String {
    if !encoded {
        return key;
    }
    let spaced = key.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(plain) => plain.into_owned(),
        Err(_) => key,
    }
}

/// A time that is not told counts as long ago.
fn timestamp(time: Option<DateTime>) -> Timestamp {
    let micros = time.map_or(0, |time| time.as_nanos() / 1000);
    Timestamp::from_micros(i64::try_from(micros).unwrap_or_default())
}
