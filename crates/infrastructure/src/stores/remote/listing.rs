//! Listing a bucket: an order over shards that have none.

use std::collections::{BTreeMap, BTreeSet};

use cloakroom_application::ports::{ListPage, ListedObject, StoreError};
use cloakroom_domain::{Bucket, ObjectKey, Timestamp};
use futures_util::{StreamExt, stream};

use super::{Entry, Remote};
use crate::stores::{
    fs::layout::key_of,
    hauls::{HAUL, Haul, Hauls},
};

/// Shards read at once.
const AT_ONCE: usize = 4;

/// A page of a bucket, bytewise by key.
pub(super) async fn page(
    remote: &dyn Remote,
    hauls: &Hauls<ListedObject>,
    bucket: &Bucket,
    prefix: &str,
    cursor: Option<&str>,
    limit: usize,
) -> Result<ListPage, StoreError> {
    let kept = cursor.and_then(|cursor| hauls.take(bucket, prefix, cursor, limit));
    let mut haul = match kept {
        Some(haul) => haul,
        None => walk(remote, bucket, prefix, cursor).await?,
    };
    let count = limit.min(haul.items.len());
    let mut page = ListPage {
        objects: haul.items.drain(..count).collect(),
        next: None,
    };
    if let Some(last) = page.objects.last()
        && !(haul.items.is_empty() && haul.complete)
    {
        haul.after = last.key.as_str().to_owned();
        page.next = Some(haul.after.clone());
        hauls.keep(haul);
    }
    Ok(page)
}

/// The first objects after the cursor, in order.
async fn walk(
    remote: &dyn Remote,
    bucket: &Bucket,
    prefix: &str,
    cursor: Option<&str>,
) -> Result<Haul<ListedObject>, StoreError> {
    let entries = remote.folder(bucket.as_str()).await?.into_iter();
    // Each once, however often it was told: there are 256 at most.
    let shards: BTreeSet<String> = entries
        .filter(|entry| entry.is_folder && is_shard(&entry.name))
        .map(|entry| entry.name)
        .collect();
    let mut first: BTreeMap<ObjectKey, ListedObject> = BTreeMap::new();
    let mut complete = true;
    let read = |shard: String| {
        let path = format!("{bucket}/{shard}");
        async move { remote.folder(&path).await }
    };
    let each: Vec<_> = shards.into_iter().map(read).collect();
    let mut reading = stream::iter(each).buffer_unordered(AT_ONCE);
    while let Some(entries) = reading.next().await {
        for entry in entries? {
            let Some(object) = listed(bucket, &entry) else {
                continue;
            };
            let key = object.key.as_str();
            if !key.starts_with(prefix) || cursor.is_some_and(|cursor| key <= cursor) {
                continue;
            }
            first.insert(object.key.clone(), object);
            if first.len() > HAUL {
                first.pop_last();
                complete = false;
            }
        }
    }
    let objects = first.into_values();
    Ok(Haul::new(bucket, prefix, cursor, objects, complete))
}

fn is_shard(name: &str) -> bool {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    name.len() == 2 && name.bytes().all(digit)
}

/// The object, `None` for whatever else lies in a shard.
fn listed(bucket: &Bucket, entry: &Entry) -> Option<ListedObject> {
    if entry.is_folder {
        return None;
    }
    let key = ObjectKey::parse(&key_of(&entry.name)?).ok()?;
    key.minted_parts()?;
    Some(ListedObject {
        bucket: bucket.clone(),
        key,
        size: entry.size,
        // A time that is not told counts as long ago.
        modified_at: entry.modified_at.unwrap_or(Timestamp::from_micros(0)),
    })
}

#[cfg(test)]
mod tests;
