//! What a folder promises beyond the contract.

mod parts;

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use cloakroom_application::{
    ports::{ObjectStore, ObjectWriter, Payload, StoreError, WriteHints},
    testkit::objects::{bucket, collect, contract::Harness, key, sample},
};
use cloakroom_domain::{Bucket, ByteRange, ObjectKey, StoreId};
use rustix::io::Errno;

use super::{FsOptions, FsStore, failpoint::Step};
use crate::stores::{ReadBudget, WriteBudget};

async fn harness() -> Harness {
    let folder = tempfile::tempdir().unwrap();
    let store = FsStore::open(folder.path().join("objects"), FsOptions::default()).unwrap();
    Harness::new("fs", Arc::new(store)).keeping(folder)
}

cloakroom_application::object_store_contract!(harness);

fn store(folder: &Path) -> FsStore {
    FsStore::open(folder.join("deep/er/objects"), FsOptions::default()).unwrap()
}

async fn begin(store: &FsStore, key: &ObjectKey) -> Box<dyn ObjectWriter> {
    let hints = WriteHints::default();
    store.begin(&bucket(), key, hints).await.unwrap()
}

async fn put(store: &FsStore, key: &ObjectKey, body: Bytes) -> Result<(), StoreError> {
    let mut writer = begin(store, key).await;
    writer.write(body).await?;
    writer.finish().await
}

/// Every file below the folder.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[tokio::test]
async fn a_failing_disk_leaves_neither_object_nor_file_and_the_next_write_succeeds() {
    for step in [Step::Write, Step::Flush, Step::Rename, Step::FlushFolder] {
        for (errno, refused) in [(Errno::NOSPC, true), (Errno::IO, false)] {
            for size in [10, 5_000_000] {
                let folder = tempfile::tempdir().unwrap();
                let store = store(folder.path());
                put(&store, &key(), sample(1, 1)).await.unwrap();
                let before = files(folder.path());
                let key = key();
                store.root.failpoints.plant(step, errno);
                let failed = put(&store, &key, sample(size, 1)).await;
                match failed {
                    Err(StoreError::Refused(_)) if refused => {}
                    Err(StoreError::Broken(_)) if !refused => {}
                    other => panic!("{step:?} {errno:?} {size}: {other:?}"),
                }
                assert_eq!(files(folder.path()), before, "{step:?} {errno:?} {size}");
                store.root.failpoints.clear();
                put(&store, &key, sample(size, 1)).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_name_that_could_not_be_flushed_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let key = key();
    let mut writer = begin(&store, &key).await;
    for _ in 0..3 {
        writer.write(sample(2_000_000, 1)).await.unwrap();
    }
    store.root.failpoints.plant(Step::FlushFolder, Errno::IO);
    let failed = writer.finish().await;
    assert!(matches!(failed, Err(StoreError::Broken(_))), "{failed:?}");
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_writer_that_failed_never_succeeds_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let key = key();
    let mut writer = begin(&store, &key).await;
    writer.write(sample(2_000_000, 1)).await.unwrap();
    store.root.failpoints.plant(Step::Write, Errno::IO);
    // A batch is written in the background: the failure shows at one of the next calls.
    let mut seen = Ok(());
    for _ in 0..3 {
        seen = writer.write(sample(2_000_000, 2)).await;
        if seen.is_err() {
            break;
        }
    }
    assert!(matches!(seen, Err(StoreError::Broken(_))), "{seen:?}");
    store.root.failpoints.clear();
    assert!(writer.write(sample(10, 4)).await.is_err());
    assert!(writer.finish().await.is_err());
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_full_disk_refuses_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Ok(_mounted) = Mounted::small(folder.path()) else {
        // Mounting takes root; the planted errors above say the same without it.
        return;
    };
    let store = store(folder.path());
    for _ in 0..3 {
        let full = put(&store, &key(), sample(4_000_000, 1)).await;
        assert!(matches!(full, Err(StoreError::Refused(_))), "{full:?}");
    }
    put(&store, &key(), sample(500_000, 1)).await.unwrap();
    assert_eq!(files(folder.path()).len(), 1);
}

/// A file system of 1 MiB, unmounted when dropped.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn small(at: &Path) -> rustix::io::Result<Self> {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", at, "tmpfs", flags, c"size=1m")?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let lazily = rustix::mount::UnmountFlags::DETACH;
        rustix::mount::unmount(&self.0, lazily).unwrap();
    }
}

#[tokio::test]
async fn a_name_that_is_taken_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let key = key();
    put(&store, &key, sample(10, 1)).await.unwrap();
    let again = put(&store, &key, sample(10, 2)).await;
    assert!(matches!(again, Err(StoreError::Refused(_))), "{again:?}");
    let body = collect(store.read(&bucket(), &key, None).await.unwrap()).await;
    assert_eq!(body.unwrap(), sample(10, 1));
    assert_eq!(files(folder.path()).len(), 1);
}

#[tokio::test]
async fn foreign_keys_and_odd_buckets_are_refused_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let foreign = ObjectKey::parse("../../etc/passwd").unwrap();
    let odd = Bucket::parse("..").unwrap();
    for (bucket, key) in [(bucket(), foreign), (odd, key())] {
        let begun = store.begin(&bucket, &key, WriteHints::default()).await;
        assert!(matches!(begun.map(|_| ()), Err(StoreError::Refused(_))));
        let read = store.read(&bucket, &key, None).await;
        assert!(matches!(read.map(|_| ()), Err(StoreError::Refused(_))));
        let head = store.head(&bucket, &key).await;
        assert!(matches!(head, Err(StoreError::Refused(_))));
        let deleted = store.delete(&bucket, &[key]).await.remove(0);
        assert!(matches!(deleted, Err(StoreError::Refused(_))));
    }
}

#[tokio::test]
async fn a_link_in_place_of_an_object_or_a_folder_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let key = key();
    put(&store, &key, sample(10, 1)).await.unwrap();
    let path = files(folder.path()).remove(0);
    let elsewhere = folder.path().join("elsewhere");
    std::fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    let read = store.read(&bucket(), &key, None).await;
    assert!(matches!(read.map(|_| ()), Err(StoreError::Refused(_))));
}

#[tokio::test]
async fn small_bodies_come_at_once_and_large_ones_with_their_path() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (small, large) = (key(), key());
    put(&store, &small, sample(64 * 1024, 1)).await.unwrap();
    put(&store, &large, sample(3_000_000, 2)).await.unwrap();
    let read = store.read(&bucket(), &small, None).await.unwrap();
    assert!(matches!(read, Payload::Ready(body) if body == sample(64 * 1024, 1)));
    let Payload::File(file) = store.read(&bucket(), &large, None).await.unwrap() else {
        panic!("a large body did not come as a file");
    };
    let path = store.root().join(&file.path);
    assert_eq!(std::fs::read(path).unwrap(), sample(3_000_000, 2));
}

#[tokio::test]
async fn who_writes_while_all_hands_are_busy_waits_and_who_reads_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (there, written) = (key(), key());
    put(&store, &there, sample(3_000_000, 1)).await.unwrap();
    let all = u32::try_from(store.root.hands.available_permits()).unwrap();
    let busy = store.root.hands.acquire_many(all).await.unwrap();
    let free = async {
        let read = store.read(&bucket(), &there, None).await.unwrap();
        assert_eq!(collect(read).await.unwrap(), sample(3_000_000, 1));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(store.head(&bucket(), &written).await.is_err());
        drop(busy);
    };
    let (outcome, ()) = tokio::join!(put(&store, &written, sample(3_000_000, 2)), free);
    outcome.unwrap();
    assert_eq!(store.root.hands.available_permits(), all as usize);
}

#[test]
fn a_small_read_that_the_page_cache_can_answer_waits_for_no_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let key = key();
        put(&store, &key, sample(10_000, 1)).await.unwrap();
        if !answers_from_the_cache(&files(folder.path())[0]) {
            // Some file systems, those of containers among them, cannot say whether they would wait.
            return;
        }
        let (free, busy) = std::sync::mpsc::channel::<()>();
        let held = tokio::task::spawn_blocking(move || busy.recv());
        for range in [None, Some(ByteRange { start: 5, end: 9 })] {
            let bucket = bucket();
            let read = store.read(&bucket, &key, range);
            let read = tokio::time::timeout(Duration::from_secs(2), read).await;
            assert!(matches!(read.unwrap().unwrap(), Payload::Ready(_)));
        }
        drop(free);
        assert!(held.await.unwrap().is_err());
    });
}

fn answers_from_the_cache(path: &str) -> bool {
    let file = std::fs::File::open(path).unwrap();
    let mut byte = [0];
    let into = &mut [std::io::IoSliceMut::new(&mut byte)];
    rustix::io::preadv2(&file, into, 0, rustix::io::ReadWriteFlags::NOWAIT).is_ok()
}

#[tokio::test]
async fn a_file_cut_short_under_a_reader_ends_in_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let key = key();
    put(&store, &key, sample(3_000_000, 1)).await.unwrap();
    let payload = store.read(&bucket(), &key, None).await.unwrap();
    let path = files(folder.path()).remove(0);
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(2_900_000).unwrap();
    let cut = collect(payload).await;
    assert!(matches!(cut, Err(StoreError::Broken(_))));
}

#[tokio::test]
async fn readers_and_writers_without_a_budget_go_on_in_small_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let options = FsOptions {
        read_budget: ReadBudget::new(0),
        write_budget: WriteBudget::default(),
    };
    let write_budget = options.write_budget.clone();
    let store = FsStore::open(folder.path(), options).unwrap();
    let held = write_budget.parts.free.available_permits();
    let _held = write_budget
        .parts
        .free
        .try_acquire_many(held as u32)
        .unwrap();
    let key = key();
    let mut writer = begin(&store, &key).await;
    for _ in 0..100 {
        writer.write(sample(50_000, 1)).await.unwrap();
    }
    writer.finish().await.unwrap();
    let body = collect(store.read(&bucket(), &key, None).await.unwrap()).await;
    assert!(body.unwrap() == sample(50_000, 1).repeat(100));
}

#[tokio::test]
async fn a_chunk_gives_its_memory_back_when_it_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let budget = ReadBudget::default();
    let options = FsOptions {
        read_budget: budget.clone(),
        ..FsOptions::default()
    };
    let store = FsStore::open(folder.path(), options).unwrap();
    let key = key();
    put(&store, &key, sample(10_000_000, 1)).await.unwrap();
    let all = budget.0.available_permits();
    collect(store.read(&bucket(), &key, None).await.unwrap())
        .await
        .unwrap();
    assert_eq!(budget.0.available_permits(), all);
}

#[tokio::test]
async fn a_dropped_writer_removes_its_file_soon() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let mut writer = begin(&store, &key()).await;
    writer.write(sample(2_000_000, 1)).await.unwrap();
    writer.write(sample(2_000_000, 1)).await.unwrap();
    assert_eq!(files(folder.path()).len(), 1);
    drop(writer);
    for _ in 0..100 {
        if files(folder.path()).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the file is still there");
}

#[test]
fn a_folder_keeps_the_first_mark_it_gets() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    assert_eq!(store.marker().unwrap(), None);
    let id = StoreId::random();
    assert_eq!(store.mark(id).unwrap(), id);
    assert_eq!(store.mark(StoreId::random()).unwrap(), id);
    assert_eq!(store.marker().unwrap(), Some(id));
    store.unmark(StoreId::random()).unwrap();
    assert_eq!(store.marker().unwrap(), Some(id));
    assert_eq!(files(store.root()).len(), 1);
    store.unmark(id).unwrap();
    assert_eq!(store.marker().unwrap(), None);
    std::fs::write(store.root().join(".cloakroom-store"), "garbage").unwrap();
    assert!(matches!(store.marker(), Err(StoreError::Broken(_))));
}
