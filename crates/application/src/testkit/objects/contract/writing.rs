//! What the contract says of writing.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Harness, PART, key, must};
use crate::{ports::WriteHints, testkit::objects::sample};

/// Whole bodies around every size where an adapter changes its ways.
pub async fn a_body_reads_back_whole_in_any_size(h: &Harness) {
    let small = [1, 2, 4095, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1];
    let large = [1024 * 1024, PART - 1, PART, PART + 1, 2 * PART];
    for size in small.into_iter().chain(large) {
        let (key, body) = (key(), sample(size, size as u64));
        h.put(&key, &body).await;
        let read = must(h.get(&key, None).await, "read");
        assert!(read == body, "{size} bytes came back changed");
        let meta = must(h.store.head(&h.bucket, &key).await, "head");
        assert_eq!(meta.size, size as u64);
    }
}

/// 40 MiB in chunks that fit nothing.
pub async fn a_body_in_odd_chunks_reads_back_whole(h: &Harness) {
    let (key, body) = (key(), sample(40 * 1024 * 1024, 40));
    h.put_in_pieces(&key, &body, 77_777, true).await;
    let read = must(h.get(&key, None).await, "read");
    assert!(read == body, "the body came back changed");
}

/// The same without a size announced, and in tiny chunks.
pub async fn a_body_of_unknown_size_reads_back_whole(h: &Harness) {
    for (size, piece) in [(3 * PART + 5, 500_000), (200_000, 3)] {
        let (key, body) = (key(), sample(size, 41));
        h.put_in_pieces(&key, &body, piece, false).await;
        let read = must(h.get(&key, None).await, "read");
        assert!(read == body, "{size} bytes came back changed");
    }
}

/// Announced too small, too large, and as nothing.
pub async fn an_announced_size_may_lie(h: &Harness) {
    let announced = [0, 10, 30 * 1024 * 1024 * 1024];
    for (announced, size) in announced.into_iter().zip([100_000, 2 * PART, 5]) {
        let (key, body) = (key(), sample(size, 42));
        let size = Some(announced);
        let mut writer = h.begin(&key, WriteHints { size }).await;
        must(writer.write(body.clone()).await, "write");
        must(writer.finish().await, "finish");
        let read = must(h.get(&key, None).await, "read");
        assert!(
            read == body,
            "announced as {announced}, it came back changed"
        );
    }
}

/// Neither writing nothing nor writing empty chunks is an error.
pub async fn an_empty_object_is_an_object(h: &Harness) {
    for size in [None, Some(0)] {
        let key = key();
        let mut writer = h.begin(&key, WriteHints { size }).await;
        must(writer.write(sample(0, 0)).await, "write");
        must(writer.finish().await, "finish");
        assert_eq!(must(h.get(&key, None).await, "read"), Vec::<u8>::new());
        assert_eq!(must(h.store.head(&h.bucket, &key).await, "head").size, 0);
    }
}

/// Not by head, not by read, not in a list, small or large.
pub async fn nothing_is_visible_before_finish(h: &Harness) {
    for size in [10, 2 * PART + 1] {
        let (key, body) = (key(), sample(size, 43));
        let mut writer = h.begin(&key, WriteHints::default()).await;
        h.assert_absent(&key).await;
        must(writer.write(body.clone()).await, "write");
        h.assert_absent(&key).await;
        must(writer.finish().await, "finish");
        let read = must(h.get(&key, None).await, "read");
        assert!(read == body, "the body came back changed");
    }
}

/// Neither object nor unfinished write.
pub async fn abort_leaves_nothing(h: &Harness) {
    for size in [0, 10, 2 * PART + 1] {
        let key = key();
        let mut writer = h.begin(&key, WriteHints::default()).await;
        must(writer.write(sample(size, 44)).await, "write");
        must(writer.abort().await, "abort");
        h.assert_absent(&key).await;
    }
    h.assert_nothing_unfinished().await;
}

/// A client that leaves drops the writer at any point.
pub async fn dropping_a_writer_leaves_nothing(h: &Harness) {
    for size in [0, 10, 2 * PART + 1] {
        let key = key();
        let mut writer = h.begin(&key, WriteHints::default()).await;
        must(writer.write(sample(size, 45)).await, "write");
        drop(writer);
        h.assert_absent(&key).await;
    }
    let key = key();
    let mut writer = h.begin(&key, WriteHints::default()).await;
    let write = writer.write(sample(2 * PART + 1, 46));
    if let Ok(done) = tokio::time::timeout(Duration::from_millis(3), write).await {
        must(done, "write");
    }
    drop(writer);
    h.assert_nothing_unfinished().await;
    h.assert_absent(&key).await;
}

/// Interleaved chunks of two objects stay apart.
pub async fn two_writers_at_once_do_not_mix(h: &Harness) {
    let (one, two) = (key(), key());
    let (ones, twos) = (sample(PART + 100_000, 47), sample(PART + 50_000, 48));
    tokio::join!(
        h.put_in_pieces(&one, &ones, 100_000, true),
        h.put_in_pieces(&two, &twos, 99_000, false),
    );
    assert!(must(h.get(&one, None).await, "read") == ones);
    assert!(must(h.get(&two, None).await, "read") == twos);
}

/// A bucket is made by whoever comes first, and nobody fails for it.
pub async fn twelve_first_writes_to_a_new_bucket_all_succeed(h: &Harness) {
    let writes = (0..12_u64).map(|n| async move {
        let size = if n % 4 == 0 { PART + 1 } else { 1000 };
        let (key, body) = (key(), sample(size, n));
        h.put(&key, &body).await;
        (key, body)
    });
    for (key, body) in join_all(writes).await {
        assert!(must(h.get(&key, None).await, "read") == body);
    }
}

/// Whatever number of pieces it is in.
pub async fn what_is_in_memory_becomes_a_small_object(h: &Harness) {
    let body = sample(3_000_000, 49);
    for size in [0, 1, 100_000, body.len()] {
        let key = key();
        let pieces = body.slice(..size);
        let pieces = pieces.chunks(70_000).map(bytes::Bytes::copy_from_slice);
        let put = h.store.put(&h.bucket, &key, pieces.collect()).await;
        must(put, "put");
        assert!(must(h.get(&key, None).await, "read") == body[..size]);
    }
    h.assert_nothing_unfinished().await;
}
