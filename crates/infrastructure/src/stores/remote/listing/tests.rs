//! Listings beyond one haul, over folders in memory.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom_application::ports::{ByteStream, ObjectMeta, ObjectStore};
use cloakroom_domain::ByteRange;
use uuid::Uuid;

use super::*;
use crate::stores::{
    budget::WriteBudget,
    remote::{RemoteStore, Sink},
};

#[derive(Clone, Default)]
struct Folders {
    entries: Arc<HashMap<String, Vec<Entry>>>,
    looks: Arc<AtomicUsize>,
}

fn other<T>() -> Result<T, StoreError> {
    Err(StoreError::Refused("only folders".into()))
}

#[async_trait]
impl Remote for Folders {
    fn driver(&self) -> &'static str {
        "folders"
    }

    async fn put(&self, _: &str, _: &[Bytes]) -> Result<(), StoreError> {
        other()
    }

    async fn open(&self, _: &str) -> Result<Box<dyn Sink>, StoreError> {
        other()
    }

    async fn read(&self, _: &str, _: Option<ByteRange>) -> Result<(u64, ByteStream), StoreError> {
        other()
    }

    async fn stat(&self, _: &str) -> Result<ObjectMeta, StoreError> {
        other()
    }

    async fn folder(&self, path: &str) -> Result<Vec<Entry>, StoreError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        Ok(self.entries.get(path).cloned().unwrap_or_default())
    }

    async fn rename(&self, _: &str, _: &str, _: u64) -> Result<(), StoreError> {
        other()
    }

    async fn remove(&self, _: &str) -> Result<bool, StoreError> {
        other()
    }

    async fn probe(&self) -> Result<(), StoreError> {
        other()
    }
}

fn entry(name: &str, is_folder: bool) -> Entry {
    Entry {
        name: name.to_owned(),
        is_folder,
        size: 1,
        modified_at: None,
    }
}

/// A bucket of so many objects of two accounts, and their keys in order.
fn bucket_of(count: usize) -> (Folders, Vec<String>) {
    let mut entries: HashMap<String, Vec<Entry>> = HashMap::new();
    let mut keys = Vec::with_capacity(count);
    for nth in 0..count {
        let uuid = Uuid::new_v4().to_string();
        let account = nth % 2 + 1;
        keys.push(format!("{account}/f/{uuid}"));
        let shard = entries.entry(format!("files/{}", &uuid[..2])).or_default();
        shard.push(entry(&format!("{account}~f~{uuid}"), false));
    }
    let shards = entries
        .keys()
        .map(|path| entry(&path["files/".len()..], true));
    let mut bucket: Vec<Entry> = shards.collect();
    // The server may tell of a shard twice, and of what is not ours.
    bucket.push(bucket[0].clone());
    bucket.push(entry("tmp", true));
    entries.insert("files".to_owned(), bucket);
    keys.sort();
    let folders = Folders {
        entries: Arc::new(entries),
        looks: Arc::default(),
    };
    (folders, keys)
}

async fn all(store: &RemoteStore, prefix: &str) -> Vec<String> {
    let bucket = Bucket::parse("files").unwrap();
    let (mut found, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = store.list(&bucket, prefix, cursor.as_deref(), 1000).await;
        let page = page.unwrap();
        found.extend(page.objects.iter().map(|object| object.key.to_string()));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return found,
        }
    }
}

#[tokio::test]
async fn a_bucket_of_more_than_a_haul_is_listed_without_gaps_and_in_few_walks() {
    let (folders, keys) = bucket_of(HAUL + 5_000);
    let store = RemoteStore::new(folders.clone(), WriteBudget::default());
    assert!(all(&store, "").await == keys);
    let looks = folders.looks.load(Ordering::Relaxed);
    assert!(looks <= 3 * 257, "{looks} folders were read");
    let of_one: Vec<String> = keys.into_iter().filter(|it| it.starts_with("2/")).collect();
    assert!(all(&store, "2/").await == of_one);
}
