//! Listing a bucket: an order over folders that have none.

use std::{
    collections::{BTreeSet, BinaryHeap, VecDeque},
    io,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
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

/// How many keys a walk over the folders brings home, so that the pages after the first cost no walk.
const HAUL: usize = 65_536;

/// How many hauls are kept, one for each listing that goes on.
const KEPT: usize = 2;

/// How long a haul is good for. What is written meanwhile may be missing from it.
const FRESH: Duration = Duration::from_secs(60);

/// Hauls of listings that go on.
#[derive(Debug, Default)]
pub(super) struct Hauls(Mutex<VecDeque<Haul>>);

#[derive(Debug)]
struct Haul {
    bucket: String,
    prefix: String,
    /// The key that the page before ended with.
    after: String,
    keys: VecDeque<String>,
    /// Whether there is nothing beyond these keys.
    complete: bool,
    walked_at: Instant,
}

impl Hauls {
    fn take(&self, bucket: &str, prefix: &str, after: &str) -> Option<Haul> {
        let mut hauls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hauls.retain(|haul| haul.walked_at.elapsed() < FRESH);
        let at = hauls
            .iter()
            .position(|h| h.bucket == bucket && h.prefix == prefix && h.after == after)?;
        hauls.remove(at)
    }

    fn keep(&self, haul: Haul) {
        let mut hauls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if hauls.len() >= KEPT {
            hauls.pop_front();
        }
        hauls.push_back(haul);
    }
}

/// A page of a bucket, bytewise by key. Blocks.
pub(super) fn page(
    root: &Root,
    hauls: &Hauls,
    bucket: &Bucket,
    prefix: &str,
    cursor: Option<&str>,
    limit: usize,
) -> Result<ListPage, StoreError> {
    let name = bucket.as_str();
    let kept = cursor.and_then(|cursor| hauls.take(name, prefix, cursor));
    let mut haul = match kept {
        Some(haul) if haul.complete || haul.keys.len() >= limit => haul,
        _ => walk(root, name, prefix, cursor)?,
    };
    let mut page = ListPage::default();
    while page.objects.len() < limit
        && let Some(key) = haul.keys.pop_front()
    {
        // Whatever went since the walk is passed over.
        page.objects.extend(listed(root, bucket, &key)?);
        haul.after = key;
    }
    if !haul.keys.is_empty() || !haul.complete {
        page.next = Some(haul.after.clone());
        hauls.keep(haul);
    }
    Ok(page)
}

/// The first keys after the cursor, in order.
fn walk(root: &Root, bucket: &str, prefix: &str, cursor: Option<&str>) -> Result<Haul, StoreError> {
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
    Ok(Haul {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        after: cursor.unwrap_or_default().to_owned(),
        keys: first.into_sorted_vec().into(),
        complete,
        walked_at: Instant::now(),
    })
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
