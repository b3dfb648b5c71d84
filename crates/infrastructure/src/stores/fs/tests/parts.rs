//! What a folder promises of objects that are written over several requests, beyond the contract.

use cloakroom_application::ports::{
    Ending, PartsWriter, Resumable, Resume, StoredPart, Unfinished,
};

use super::*;

fn unfinished(key: &ObjectKey) -> Unfinished {
    Unfinished {
        bucket: bucket(),
        key: key.clone(),
        write_id: None,
    }
}

async fn writer(
    store: &FsStore,
    key: &ObjectKey,
    first_number: u32,
    growing: Option<&StoredPart>,
) -> Box<dyn PartsWriter> {
    let resume = Resume {
        first_number,
        growing: growing.cloned(),
        size: None,
    };
    store.resume(&unfinished(key), resume).await.unwrap()
}

/// A part with these bytes, of a writer that has ended.
async fn part(store: &FsStore, key: &ObjectKey, number: u32, body: Bytes) -> StoredPart {
    let mut writer = writer(store, key, number, None).await;
    writer.write(body).await.unwrap();
    let mut left = writer.suspend(Ending::More).await.unwrap();
    left.parts.remove(0)
}

async fn read(store: &FsStore, key: &ObjectKey) -> Vec<u8> {
    collect(store.read(&bucket(), key, None).await.unwrap())
        .await
        .unwrap()
}

const STEPS: [Step; 4] = [Step::Write, Step::Flush, Step::Rename, Step::FlushFolder];

#[tokio::test]
async fn a_failing_disk_costs_nothing_that_was_told() {
    for step in [Step::Write, Step::Flush, Step::FlushFolder] {
        for errno in [Errno::NOSPC, Errno::IO] {
            for told_before in [true, false] {
                let folder = tempfile::tempdir().unwrap();
                let store = store(folder.path());
                let (key, body) = (key(), sample(3_000_000, 1));
                let mut old = writer(&store, &key, 1, None).await;
                let mut told = Vec::new();
                if told_before {
                    old.write(body.slice(..1000)).await.unwrap();
                    told = old.durable().await.unwrap();
                    if step == Step::FlushFolder {
                        // The names of a part are flushed once.
                        continue;
                    }
                }
                store.root.failpoints.plant(step, errno);
                let from = told.iter().map(|part| part.size as usize).sum::<usize>();
                let written = old.write(body.slice(from..)).await;
                let flushed = old.durable().await;
                assert!(written.is_err() || flushed.is_err(), "{step:?} {errno:?}");
                store.root.failpoints.clear();
                if step == Step::Write && written.is_err() {
                    let left: u64 = files(folder.path())
                        .iter()
                        .map(|file| {
                            std::fs::metadata(folder.path().join(file)).map_or(0, |m| m.len())
                        })
                        .sum();
                    assert!(
                        left <= from as u64 + 200,
                        "what counts for nothing was cut off: {left}"
                    );
                }
                assert_eq!(old.durable().await.unwrap(), []);
                assert!(old.write(sample(1, 1)).await.is_err());
                assert!(old.suspend(Ending::More).await.is_err());
                drop(old);
                let mut new = writer(&store, &key, 2, told.last()).await;
                new.write(body.slice(from..)).await.unwrap();
                let parts = new.suspend(Ending::Last).await.unwrap().parts;
                assert_eq!(parts[0].number, if told_before { 1 } else { 2 });
                store.join(&unfinished(&key), &parts).await.unwrap();
                assert!(read(&store, &key).await == body);
                assert_eq!(files(folder.path()).len(), 1);
            }
        }
    }
}

#[tokio::test]
async fn a_disk_that_fails_in_a_join_leaves_the_parts_and_no_object() {
    for step in STEPS {
        for count in [1, 3] {
            for errno in [Errno::NOSPC, Errno::IO] {
                if step == Step::Write && count == 1 {
                    continue;
                }
                let folder = tempfile::tempdir().unwrap();
                let store = store(folder.path());
                let key = key();
                let mut parts = Vec::new();
                for number in 1..=count {
                    parts.push(part(&store, &key, number, sample(100_000, 2)).await);
                }
                let mut before = files(folder.path());
                before.sort();
                store.root.failpoints.plant(step, errno);
                let failed = store.join(&unfinished(&key), &parts).await;
                assert!(failed.is_err(), "{step:?} {count}");
                let mut after = files(folder.path());
                after.sort();
                assert_eq!(after, before, "{step:?} {count}");
                let head = store.head(&bucket(), &key).await;
                assert!(matches!(head, Err(StoreError::NotFound)));
                store.root.failpoints.clear();
                store.join(&unfinished(&key), &parts).await.unwrap();
                let expected = sample(100_000, 2).repeat(count as usize);
                assert!(read(&store, &key).await == expected);
                assert_eq!(files(folder.path()).len(), 1);
            }
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_what_was_told_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let Ok(_mounted) = Mounted::small(folder.path()) else {
        // Mounting takes root; the planted errors above say the same without it.
        return;
    };
    let store = store(folder.path());
    let (key, body) = (key(), sample(600_000, 3));
    let mut old = writer(&store, &key, 1, None).await;
    old.write(body.slice(..500_000)).await.unwrap();
    let told = old.durable().await.unwrap();
    let written = old.write(sample(2_000_000, 3)).await;
    let full = match written {
        Ok(()) => old.durable().await.map(|_| ()),
        refused => refused,
    };
    assert!(matches!(full, Err(StoreError::Refused(_))), "{full:?}");
    drop(old);
    let mut new = writer(&store, &key, 2, told.last()).await;
    new.write(body.slice(500_000..)).await.unwrap();
    let parts = new.suspend(Ending::Last).await.unwrap().parts;
    store.join(&unfinished(&key), &parts).await.unwrap();
    assert!(read(&store, &key).await == body);
}

#[tokio::test]
async fn a_join_goes_on_where_a_crash_has_left_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (key, body) = (key(), sample(100_000, 4));
    let parts = [
        part(&store, &key, 1, body.clone()).await,
        part(&store, &key, 2, body.clone()).await,
    ];
    // Half a copy.
    let one = files(folder.path()).remove(0);
    let in_parts = Path::new(&one).parent().unwrap().to_owned();
    std::fs::write(in_parts.join("copy-0"), &body[..500]).unwrap();
    store.join(&unfinished(&key), &parts).await.unwrap();
    assert_eq!(files(folder.path()).len(), 1);
    // In its place, with the parts still there.
    std::fs::create_dir(&in_parts).unwrap();
    std::fs::write(in_parts.join("2"), &body).unwrap();
    store.join(&unfinished(&key), &parts).await.unwrap();
    assert_eq!(files(folder.path()).len(), 1);
    assert!(read(&store, &key).await == body.repeat(2));
}

#[tokio::test]
async fn a_tail_that_nobody_was_told_of_does_not_reach_the_object() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (key, body) = (key(), sample(100_000, 5));
    let mut told = part(&store, &key, 1, body.clone()).await;
    told.size = 70_000;
    store.join(&unfinished(&key), &[told]).await.unwrap();
    assert!(read(&store, &key).await == body[..70_000]);
}

#[tokio::test]
async fn parts_that_are_shorter_than_they_were_told_are_not_joined() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let key = key();
    let mut parts = vec![part(&store, &key, 1, sample(100, 6)).await];
    parts[0].size = 101;
    for count in [1, 2] {
        let short = store.join(&unfinished(&key), &parts[..count]).await;
        assert!(matches!(short, Err(StoreError::Broken(_))), "{short:?}");
        parts.push(part(&store, &key, count as u32 + 1, sample(100, 6)).await);
    }
    let mut growing = writer(&store, &key, 9, parts.first()).await;
    growing.write(sample(10, 6)).await.unwrap();
    let short = growing.durable().await;
    assert!(matches!(short, Err(StoreError::Broken(_))), "{short:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_beside_a_join_leaves_nothing_whichever_was_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    for round in 0..60 {
        let key = key();
        let mut parts = Vec::new();
        for number in 1..=round % 2 + 1 {
            parts.push(part(&store, &key, number, sample(20_000, 7)).await);
        }
        let object = unfinished(&key);
        let keys = [key.clone()];
        let deletion = async {
            tokio::time::sleep(Duration::from_micros(u64::from(round) * 20)).await;
            store.delete(&bucket(), &keys).await.remove(0).unwrap();
        };
        let (_, ()) = tokio::join!(store.join(&object, &parts), deletion);
        let left = files(folder.path());
        assert_eq!(left, Vec::<String>::new(), "round {round}");
    }
}

#[tokio::test]
async fn an_ended_writer_holds_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let options = FsOptions::default();
    let free = Arc::clone(&options.write_budget.parts.free);
    let store = FsStore::open(folder.path(), options).unwrap();
    let all = free.available_permits();
    let key = key();
    let mut writer = writer(&store, &key, 1, None).await;
    writer.write(sample(200_000, 8)).await.unwrap();
    assert!(free.available_permits() < all);
    writer.suspend(Ending::More).await.unwrap();
    assert_eq!(free.available_permits(), all);
}

#[tokio::test]
async fn a_link_in_place_of_a_part_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let key = key();
    let told = part(&store, &key, 1, sample(100, 9)).await;
    let path = files(folder.path()).remove(0);
    let elsewhere = folder.path().join("elsewhere");
    std::fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    let mut writer = writer(&store, &key, 2, Some(&told)).await;
    writer.write(sample(10, 9)).await.unwrap();
    assert!(writer.durable().await.is_err());
    assert!(store.join(&unfinished(&key), &[told]).await.is_err());
    assert_eq!(std::fs::read(elsewhere).unwrap(), sample(100, 9));
}
