//! Listing a bucket: an order over folders that have none.

use std::{
    collections::{BTreeSet, BinaryHeap},
    io,
};

use cloakroom_application::ports::{ListPage, ListedObject, ObjectMeta, StoreError};
use cloakroom_domain::{Bucket, ObjectKey, Timestamp};
use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, Stat},
    io::Errno,
};

use super::{
    joining,
    layout::{Address, UNFINISHED, key_of, shards, unfinished},
    root::{Root, trouble},
};
use crate::stores::hauls::{HAUL, Haul, Hauls};

/// A page of a bucket, bytewise by key. Blocks.
pub(super) fn page(
    root: &Root,
    hauls: &Hauls<String>,
    bucket: &Bucket,
    prefix: &str,
    cursor: Option<&str>,
    limit: usize,
) -> Result<ListPage, StoreError> {
    let kept = cursor.and_then(|cursor| hauls.take(bucket, prefix, cursor, limit));
    let mut haul = match kept {
        Some(haul) => haul,
        None => walk(root, bucket, prefix, cursor)?,
    };
    let mut page = ListPage::default();
    while page.objects.len() < limit
        && let Some(key) = haul.items.pop_front()
    {
        // Whatever went since the walk is passed over.
        page.objects.extend(listed(root, bucket, &key)?);
        haul.after = key;
    }
    if !haul.items.is_empty() || !haul.complete {
        page.next = Some(haul.after.clone());
        hauls.keep(haul);
    }
    Ok(page)
}

/// The first keys after the cursor, in order.
fn walk(
    root: &Root,
    bucket: &Bucket,
    prefix: &str,
    cursor: Option<&str>,
) -> Result<Haul<String>, StoreError> {
    let mut first = BinaryHeap::new();
    let mut complete = true;
    for shard in shards() {
        let keys = entries(root, &format!("{bucket}/{shard}"), |leaf| {
            let Some(key) = key_of(leaf) else { return };
            if !key.starts_with(prefix) || cursor.is_some_and(|cursor| key.as_str() <= cursor) {
                return;
            }
            first.push(key);
            if first.len() > HAUL {
                first.pop();
                complete = false;
            }
        });
        keys.map_err(trouble)?;
    }
    let keys = first.into_sorted_vec();
    Ok(Haul::new(bucket, prefix, cursor, keys, complete))
}

fn listed(root: &Root, bucket: &Bucket, key: &str) -> Result<Option<ListedObject>, StoreError> {
    let Ok(key) = ObjectKey::parse(key) else {
        return Ok(None);
    };
    let Ok(address) = Address::of(bucket, &key) else {
        return Ok(None);
    };
    match meta(root, &address.path) {
        Ok(meta) => Ok(Some(ListedObject {
            bucket: bucket.clone(),
            key,
            size: meta.size,
            modified_at: meta.modified_at,
        })),
        Err(StoreError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Size and age of a file. Blocks.
pub(super) fn meta(root: &Root, path: &str) -> Result<ObjectMeta, StoreError> {
    let stat = rustix::fs::statat(&root.fd, path, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| trouble(error.into()))?;
    Ok(ObjectMeta {
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        modified_at: modified_at(&stat),
    })
}

/// Removes unfinished files and folders of parts that were last written to before the instant and are not under a
/// key to spare, and says how many. Blocks.
pub(super) fn reap(
    root: &Root,
    bucket: &str,
    before: Timestamp,
    spare: &BTreeSet<String>,
) -> Result<u64, StoreError> {
    let folder = format!("{bucket}/{UNFINISHED}");
    let mut found = Vec::new();
    entries(root, &folder, |leaf| {
        let (key, in_parts) = unfinished(leaf);
        if !key.is_some_and(|key| spare.contains(&key)) {
            found.push((format!("{folder}/{leaf}"), in_parts));
        }
    })
    .map_err(trouble)?;
    let mut reaped = 0;
    for (path, in_parts) in found {
        let modified_at = if in_parts {
            joining::modified_at(root, &path)
        } else {
            meta(root, &path).map(|meta| meta.modified_at)
        };
        match modified_at {
            Ok(at) if at < before => {}
            Ok(_) | Err(StoreError::NotFound) => continue,
            Err(error) => return Err(error),
        }
        let removed = if in_parts {
            joining::clear(root, &path)
        } else {
            root.remove(&path)
        };
        reaped += u64::from(removed.map_err(trouble)?);
    }
    Ok(reaped)
}

/// Hands every entry of a folder to `each`. A folder that is not there is empty.
pub(super) fn entries(root: &Root, folder: &str, mut each: impl FnMut(&str)) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let folder = match rustix::fs::openat(&root.fd, folder, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    for entry in Dir::new(folder)? {
        let entry = entry?;
        match entry.file_name().to_str() {
            Ok("." | "..") | Err(_) => {}
            Ok(name) => each(name),
        }
    }
    Ok(())
}

fn modified_at(stat: &Stat) -> Timestamp {
    let micros = i64::try_from(stat.st_mtime_nsec).unwrap_or_default() / 1000;
    Timestamp::from_micros(
        stat.st_mtime
            .saturating_mul(1_000_000)
            .saturating_add(micros),
    )
}
