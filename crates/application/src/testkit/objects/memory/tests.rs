//! The in-memory store holds the contract, and fails as it is told.

use super::*;
use crate::{
    ports::{Ending, PartsWriter, Resume, Unfinished},
    testkit::objects::{collect, contract::Harness, sample},
};

async fn cut() -> Harness {
    Harness::new("memory", Arc::new(MemoryStore::with_parts_of(70_000)))
}

crate::object_store_contract!(cut);

mod growing {
    use super::*;

    async fn growing() -> Harness {
        Harness::new("memory", Arc::new(MemoryStore::with_growing_parts()))
    }

    crate::object_store_contract!(growing);
}

fn address() -> (Bucket, ObjectKey) {
    (
        Bucket::parse("b").unwrap(),
        ObjectKey::parse("a/b/c").unwrap(),
    )
}

async fn put(store: &MemoryStore, body: Bytes) -> Result<(), StoreError> {
    let (bucket, key) = address();
    let mut writer = store.begin(&bucket, &key, WriteHints::default()).await?;
    writer.write(body).await?;
    writer.finish().await
}

#[tokio::test]
async fn the_nth_call_fails_and_the_next_does_not() {
    let store = MemoryStore::new();
    store.fail_nth(Step::Write, 2, Fault::Refuse);
    put(&store, sample(10, 1)).await.unwrap();
    let refused = put(&store, sample(10, 1)).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))));
    put(&store, sample(10, 1)).await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_leaves_the_object() {
    let store = MemoryStore::new();
    store.fail_nth(Step::Finish, 1, Fault::LoseAnswer);
    let lost = put(&store, sample(10, 1)).await;
    assert!(matches!(lost, Err(StoreError::Unavailable(_))));
    assert_eq!(store.objects().len(), 1);
    assert_eq!(store.unfinished(), 0);
}

#[tokio::test]
async fn a_body_breaks_half_way() {
    let store = MemoryStore::new();
    let (bucket, key) = address();
    put(&store, sample(10, 1)).await.unwrap();
    store.fail_nth(Step::Body, 1, Fault::Break);
    let broken = collect(store.read(&bucket, &key, None).await.unwrap()).await;
    assert!(matches!(broken, Err(StoreError::Broken(_))));
    assert!(store.flip_bit(&bucket, &key, 9));
    let flipped = collect(store.read(&bucket, &key, None).await.unwrap()).await;
    assert_ne!(flipped.unwrap(), sample(10, 1));
    assert!(store.lose(&bucket, &key));
}

fn unfinished() -> Unfinished {
    let (bucket, key) = address();
    Unfinished {
        bucket,
        key,
        write_id: None,
    }
}

async fn writer(store: &MemoryStore) -> Box<dyn PartsWriter> {
    let resume = Resume {
        first_number: 1,
        ..Resume::default()
    };
    store.resume(&unfinished(), resume).await.unwrap()
}

#[tokio::test]
async fn a_store_may_have_no_parts() {
    assert!(MemoryStore::new().resumable().is_none());
    assert!(MemoryStore::with_parts_of(1).resumable().is_some());
    assert!(MemoryStore::with_growing_parts().resumable().is_some());
}

#[tokio::test]
async fn a_part_that_fails_takes_nothing_of_those_before_it() {
    for fault in [Fault::Refuse, Fault::Unavailable, Fault::LoseAnswer] {
        let store = MemoryStore::with_parts_of(10);
        store.fail_nth(Step::Part, 3, fault);
        let mut writer = writer(&store).await;
        assert!(writer.write(sample(35, 1)).await.is_err());
        assert!(writer.write(sample(1, 1)).await.is_err());
        assert!(writer.suspend(Ending::Last).await.is_err());
        let told = writer.durable().await.unwrap();
        assert_eq!(told.iter().map(|part| part.size).sum::<u64>(), 20);
        let object = Unfinished {
            write_id: writer.position().write_id,
            ..unfinished()
        };
        assert_eq!(
            writer.position().next_number,
            3 + u32::from(fault == Fault::LoseAnswer)
        );
        drop(writer);
        store.join(&object, &told).await.unwrap();
        assert_eq!(store.objects()[0].2, 20);
        assert_eq!(store.unfinished(), 0);
    }
}

#[tokio::test]
async fn a_flush_that_fails_is_not_told_and_ends_the_writer() {
    let store = MemoryStore::with_growing_parts();
    let mut writer = writer(&store).await;
    writer.write(sample(10, 1)).await.unwrap();
    assert_eq!(writer.durable().await.unwrap()[0].size, 10);
    store.fail_nth(Step::Part, 1, Fault::LoseAnswer);
    writer.write(sample(10, 2)).await.unwrap();
    assert!(writer.durable().await.is_err());
    assert!(writer.write(sample(10, 2)).await.is_err());
    assert_eq!(writer.durable().await.unwrap(), []);
    assert!(writer.suspend(Ending::More).await.is_err());
}

#[tokio::test]
async fn a_join_whose_answer_is_lost_has_made_the_object() {
    let store = MemoryStore::with_parts_of(10);
    let mut writer = writer(&store).await;
    writer.write(sample(15, 1)).await.unwrap();
    let parts = writer.suspend(Ending::Last).await.unwrap().parts;
    let object = Unfinished {
        write_id: writer.position().write_id,
        ..unfinished()
    };
    store.fail_nth(Step::Join, 1, Fault::Break);
    store.fail_nth(Step::Join, 2, Fault::LoseAnswer);
    assert!(store.join(&object, &parts).await.is_err());
    assert_eq!(store.objects(), []);
    let lost = store.join(&object, &parts).await;
    assert!(matches!(lost, Err(StoreError::Unavailable(_))));
    assert_eq!(store.objects().len(), 1);
    store.join(&object, &parts).await.unwrap();
    assert_eq!(store.unfinished(), 0);
}

#[tokio::test]
async fn parts_that_others_send_become_the_object_and_their_addresses_end() {
    let store = MemoryStore::with_parts_of(10);
    let (bucket, key) = address();
    let signing = store.presign().unwrap();
    let object = Unfinished {
        write_id: Some(signing.open(&bucket, &key).await.unwrap()),
        ..unfinished()
    };
    let valid = Duration::from_secs(1);
    let request = signing.put_part(&object, 1, 10, valid).await.unwrap();
    let short = store.send_part(&request.url, &sample(9, 1));
    assert!(matches!(short, Err(StoreError::Refused(_))));
    let tag = store.send_part(&request.url, &sample(10, 1)).unwrap();
    let parts = signing.parts(&object).await.unwrap();
    assert_eq!((parts[0].size, &parts[0].tag), (10, &tag));
    store.join(&object, &parts).await.unwrap();
    let late = store.send_part(&request.url, &sample(10, 1));
    assert!(matches!(late, Err(StoreError::NotFound)));
    let gone = signing.parts(&object).await;
    assert!(matches!(gone, Err(StoreError::NotFound)));
    assert!(MemoryStore::with_growing_parts().presign().is_none());
}
