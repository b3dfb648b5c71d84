//! What the contract says of reading.

use futures_util::StreamExt;

use super::{Harness, an_hour_ago, in_an_hour, key, must, range};
use crate::{
    ports::{Payload, StoreError},
    testkit::objects::sample,
};

/// Short and long stretches, at the ends and in the middle.
pub async fn ranges_give_exactly_their_bytes(h: &Harness) {
    let size = 3_000_000_u64;
    let (key, body) = (key(), sample(size as usize, 50));
    h.put(&key, &body).await;
    let stretches = [
        (0, 1),
        (0, 65_536),
        (0, 65_537),
        (1_234_567, 1_234_568),
        (100, 2_900_000),
        (size - 1, size),
        (size - 70_000, size),
        (0, size),
    ];
    for (start, end) in stretches {
        let read = must(h.get(&key, range(start, end)).await, "read");
        let expected = &body[start as usize..end as usize];
        assert!(read == expected, "{start}..{end} came back changed");
    }
}

/// Never a short body that ends well, and never a panic.
pub async fn a_range_beyond_the_end_is_an_error(h: &Harness) {
    for size in [10_u64, 200_000] {
        let (key, body) = (key(), sample(size as usize, 51));
        h.put(&key, &body).await;
        let beyond = [
            (0, size + 1),
            (size - 1, size + 1),
            (size, size + 1),
            (size + 10, size + 20),
            (5, 1 << 40),
        ];
        for (start, end) in beyond {
            let read = h.get(&key, range(start, end)).await.map(|b| b.len());
            assert!(
                matches!(read, Err(StoreError::Broken(_))),
                "{start}..{end} of {size} gave {read:?}"
            );
        }
    }
}

/// In a bucket that exists and in one that does not.
pub async fn what_is_not_there_is_not_found(h: &Harness) {
    for _ in 0..2 {
        let missing = key();
        h.assert_absent(&missing).await;
        let read = h.get(&missing, range(0, 10)).await;
        assert!(matches!(read, Err(StoreError::NotFound)));
        h.put(&key(), &sample(10, 52)).await;
    }
}

/// The store serves others afterwards, and the object is whole.
pub async fn a_reader_may_leave_half_way(h: &Harness) {
    let (key, body) = (key(), sample(20_000_000, 53));
    h.put(&key, &body).await;
    for _ in 0..20 {
        let payload = must(h.store.read(&h.bucket, &key, None).await, "read");
        let mut stream = match payload {
            Payload::Ready(_) => panic!("20 MB in memory at once"),
            Payload::Stream(stream) => stream,
            Payload::File(file) => file.bytes,
        };
        match stream.next().await {
            Some(Ok(chunk)) => assert!(body.starts_with(&chunk)),
            other => panic!("no first chunk: {other:?}"),
        }
    }
    assert!(must(h.get(&key, None).await, "read") == body);
}

/// Bytes, and a time that is about now.
pub async fn head_tells_size_and_age(h: &Harness) {
    let key = key();
    h.put(&key, &sample(1234, 54)).await;
    let meta = must(h.store.head(&h.bucket, &key).await, "head");
    assert_eq!(meta.size, 1234);
    assert!(meta.modified_at > an_hour_ago() && meta.modified_at < in_an_hour());
}

/// Also before anything was written.
pub async fn the_store_answers_a_probe(h: &Harness) {
    must(h.store.probe().await, "probe");
    assert!(!h.store.driver().is_empty());
}
