//! Bodies: there and back in every size, every stretch, and never a byte that was not sealed there.

use std::sync::Arc;

use cloakroom_application::{
    ports::{Payload, Sealing, StoreError, WriteHints},
    testkit::objects::{Fault, MemoryStore, Step, collect, sample},
};
use cloakroom_domain::{ByteRange, SEGMENT, Seal, VersionId, sealed_size};

use super::{super::segments::STORED, MasterKeys, Sealed, keys};

const FULL: usize = SEGMENT as usize;

/// Around every border of segments.
fn sizes() -> Vec<usize> {
    let mut sizes = vec![0, 1, 2, 100];
    for segments in 1..=3 {
        sizes.extend([segments * FULL - 1, segments * FULL, segments * FULL + 1]);
    }
    sizes
}

/// Whether the size is known or has to be found out.
fn knowing(size: usize) -> [Option<u64>; 2] {
    [Some(size as u64), None]
}

fn range(start: usize, end: usize) -> ByteRange {
    ByteRange {
        start: start as u64,
        end: end as u64,
    }
}

/// The stretches that begin and end around borders.
fn ranges(size: usize) -> Vec<ByteRange> {
    let mut ends = sizes();
    ends.extend([size / 3, size / 2, size.saturating_sub(1), size]);
    ends.retain(|at| *at <= size);
    let all = ends
        .iter()
        .flat_map(|start| ends.iter().map(move |end| (*start, *end)));
    all.filter(|(start, end)| start < end)
        .map(|(start, end)| range(start, end))
        .collect()
}

#[tokio::test]
async fn every_size_comes_back_and_lies_sealed() {
    for size in sizes() {
        let body = sample(size, 1);
        let sealed = Sealed::of(&keys(), &body).await;
        let stored = sealed.stored().await;
        assert_eq!(stored.len() as u64, sealed_size(size as u64));
        let shown = size > 16 && stored.windows(16).any(|some| body.starts_with(some));
        assert!(!shown, "plain bytes lie in the store");
        for known in knowing(size) {
            assert_eq!(sealed.read(known, None).await.unwrap(), body);
            let view = sealed.view(known);
            let head = view.head(&sealed.bucket, &sealed.key).await;
            assert_eq!(head.unwrap().size, size as u64);
        }
    }
}

#[tokio::test]
async fn every_stretch_is_what_a_slice_is() {
    for size in [
        1,
        FULL - 1,
        FULL,
        FULL + 1,
        2 * FULL,
        2 * FULL + 7,
        3 * FULL,
    ] {
        let body = sample(size, 2);
        let sealed = Sealed::of(&keys(), &body).await;
        for range in ranges(size) {
            for known in knowing(size) {
                let read = sealed.read(known, Some(range)).await.unwrap();
                let meant = &body[range.start as usize..range.end as usize];
                assert!(read == meant, "{range:?} of {size}");
            }
        }
    }
}

#[tokio::test]
async fn a_small_body_is_in_memory_at_once_and_put_is_as_good_as_begin() {
    let sealed = Sealed::of(&keys(), &sample(10, 3)).await;
    assert!(sealed.store.lose(&sealed.bucket, &sealed.key));
    let body = vec![sample(FULL, 4), sample(0, 0), sample(3, 5)];
    let view = sealed.view(None);
    let put = view.put(&sealed.bucket, &sealed.key, body.clone());
    put.await.unwrap();
    assert_eq!(sealed.read(None, None).await.unwrap(), body.concat());
    assert!(view.presign().is_none() && view.resumable().is_none());

    let folder = tempfile::tempdir().unwrap();
    let store = super::FsStore::open(folder.path().join("o"), super::FsOptions::default());
    let (keys, version) = (keys(), VersionId::random());
    let seal = keys.new_seal(version).unwrap().unwrap();
    let view = keys.over(Arc::new(store.unwrap()), &seal);
    let put = view.put(&sealed.bucket, &sealed.key, vec![sample(10, 6)]);
    put.await.unwrap();
    match view.read(&sealed.bucket, &sealed.key, None).await.unwrap() {
        Payload::Ready(bytes) => assert_eq!(bytes, sample(10, 6)),
        _ => panic!("a small body had to be waited for"),
    }
    // A large file is not for a proxy to send.
    let (large, key) = (sample(500_000, 7), super::key());
    view.put(&sealed.bucket, &key, vec![large.clone()])
        .await
        .unwrap();
    match view.read(&sealed.bucket, &key, None).await.unwrap() {
        Payload::Stream(bytes) => {
            assert_eq!(collect(Payload::Stream(bytes)).await.unwrap(), large);
        }
        _ => panic!("sealed bytes were offered"),
    }
}

/// Asserts that of the body as it is now nothing goes out but what is true, and that it never ends well.
async fn assert_breaks(sealed: &Sealed, body: &[u8], whole_from: usize, why: &str) {
    let size = body.len();
    for known in knowing(size) {
        let (given, well) = sealed.given_out(known, None).await;
        assert!(!well, "{why}: ended well, size known: {known:?}");
        assert!(body.starts_with(&given), "{why}: garbage");
        assert!(given.len() <= whole_from, "{why}: {} bytes", given.len());
    }
    for range in ranges(size) {
        let (given, well) = sealed.given_out(Some(size as u64), Some(range)).await;
        let meant = &body[range.start as usize..range.end as usize];
        assert!(meant.starts_with(&given), "{why}: garbage in {range:?}");
        assert!(!well || given == meant, "{why}: {range:?} ended early");
        // Segments before the changed one are true, whatever follows.
        if range.start as usize >= whole_from {
            assert!(given.is_empty(), "{why}: {range:?} was given out");
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_breaks_the_body_before_its_segment() {
    let keys = keys();
    for size in [0, 10, FULL, FULL + 10, 3 * FULL] {
        let body = sample(size, 8);
        let sealed = Sealed::of(&keys, &body).await;
        let stored = sealed.stored().await;
        let borders = (0..stored.len()).step_by(STORED);
        let places = borders.flat_map(|at| [at, at + 11, at + 12, at + 27, at + 5_000]);
        let places = places.chain([stored.len() - 17, stored.len() - 16, stored.len() - 1]);
        for at in places.filter(|at| *at < stored.len()) {
            for bit in [1, 0x80] {
                let mut changed = stored.clone();
                changed[at] ^= bit;
                sealed.put(changed).await;
                let segment = at / STORED;
                let known = sealed.given_out(Some(size as u64), None).await;
                assert!(!known.1 && known.0 == body[..segment * FULL], "byte {at}");
                if segment * FULL >= size.saturating_sub(FULL) {
                    assert_breaks(&sealed, &body, segment * FULL, &format!("byte {at}")).await;
                }
            }
        }
        sealed.put(stored).await;
        assert_eq!(sealed.read(None, None).await.unwrap(), body);
    }
}

#[tokio::test]
async fn what_is_cut_off_or_put_behind_breaks_the_body() {
    let keys = keys();
    for size in [0, 10, FULL, 2 * FULL, 2 * FULL + 10] {
        let body = sample(size, 9);
        let sealed = Sealed::of(&keys, &body).await;
        let stored = sealed.stored().await;
        let last = size.saturating_sub(1) / FULL * FULL;
        let cuts = [0, 1, 27, 28, STORED - 1, STORED, STORED + 1, STORED + 28];
        let cuts = cuts.into_iter().chain([stored.len() - 1]);
        for cut in cuts.filter(|cut| *cut < stored.len()) {
            sealed.put(stored[..cut].to_vec()).await;
            for known in knowing(size) {
                let (given, well) = sealed.given_out(known, None).await;
                assert!(!well && body.starts_with(&given), "cut at {cut} of {size}");
            }
        }
        let behind = [vec![0], vec![0; 28], stored[..28].to_vec(), stored.clone()];
        for more in behind {
            sealed.put([stored.clone(), more].concat()).await;
            for known in knowing(size) {
                let (given, well) = sealed.given_out(known, None).await;
                assert!(!well && body.starts_with(&given), "more than {size}");
                assert!(given.len() <= last, "the last segment was given out");
            }
        }
    }
}

#[tokio::test]
async fn segments_in_another_order_or_of_another_body_break_it() {
    let keys = keys();
    let body = sample(3 * FULL, 10);
    let sealed = Sealed::of(&keys, &body).await;
    let other = Sealed::of(&keys, &body).await;
    let (stored, foreign) = (sealed.stored().await, other.stored().await);
    let segment = |of: &[u8], n: usize| of[n * STORED..(n + 1) * STORED].to_vec();
    let swapped = [
        segment(&stored, 1),
        segment(&stored, 0),
        segment(&stored, 2),
    ];
    let repeated = [
        segment(&stored, 0),
        segment(&stored, 0),
        segment(&stored, 2),
    ];
    let borrowed = [
        segment(&stored, 0),
        segment(&foreign, 1),
        segment(&stored, 2),
    ];
    for (changed, whole_from) in [(swapped, 0), (repeated, FULL), (borrowed, FULL)] {
        sealed.put(changed.concat()).await;
        let (given, well) = sealed.given_out(Some(body.len() as u64), None).await;
        assert!(!well && given == body[..whole_from]);
    }
    sealed.put(foreign).await;
    assert_breaks(&sealed, &body, 0, "another body").await;
    // The last segment is the last, also where one before it is as long.
    sealed.put(stored[..2 * STORED].to_vec()).await;
    for known in [Some(2 * SEGMENT), None] {
        let (given, well) = sealed.given_out(known, None).await;
        assert!(!well && given == body[..FULL]);
    }
}

#[tokio::test]
async fn plain_bytes_are_never_taken_for_sealed_ones() {
    let sealed = Sealed::of(&keys(), &sample(10, 11)).await;
    for size in [0, 10, 28, 38, 100_000] {
        sealed.put(sample(size, 12).to_vec()).await;
        for known in [Some(10), Some(size as u64), None] {
            let (given, well) = sealed.given_out(known, None).await;
            assert!(!well && given.is_empty(), "{size} plain bytes");
        }
    }
}

#[tokio::test]
async fn without_the_key_there_is_a_refusal_and_no_byte() {
    let sealed = Sealed::of(&keys(), &sample(100, 13)).await;
    for wrong in [keys(), MasterKeys::none()] {
        let id = sealed.seal.key_id().unwrap().to_string();
        let view = wrong.over(Arc::new(sealed.store.clone()), &sealed.seal);
        let (bucket, key) = (&sealed.bucket, &sealed.key);
        for range in [None, Some(range(0, 5))] {
            match view.read(bucket, key, range).await {
                Err(StoreError::Refused(why)) => assert!(why.to_string().contains(&id)),
                other => panic!("{:?}", other.map(|_| ())),
            }
        }
        let begun = view.begin(bucket, key, WriteHints::default()).await;
        assert!(matches!(begun, Err(StoreError::Refused(_))));
        assert!(view.head(bucket, key).await.is_ok());
        assert!(view.list(bucket, "", None, 10).await.is_ok());
    }
    let view = keys().over(Arc::new(sealed.store.clone()), &sealed.seal);
    let deleted = view.delete(&sealed.bucket, std::slice::from_ref(&sealed.key));
    assert!(deleted.await[0].is_ok());
    assert!(sealed.store.objects().is_empty());
}

#[tokio::test]
async fn a_key_of_another_version_or_form_breaks_at_once() {
    let sealed = Sealed::of(&keys(), &sample(100, 14)).await;
    let odd = [
        Seal {
            version: VersionId::random(),
            ..sealed.seal.clone()
        },
        Seal {
            encoding: "sealed-2".to_owned(),
            ..sealed.seal.clone()
        },
        Seal {
            wrapped_key: Vec::new(),
            ..sealed.seal.clone()
        },
    ];
    for seal in odd {
        let view = sealed.keys.over(Arc::new(sealed.store.clone()), &seal);
        let read = view.read(&sealed.bucket, &sealed.key, None).await;
        assert!(matches!(read, Err(StoreError::Broken(_))));
    }
}

#[tokio::test]
async fn a_write_that_failed_half_way_is_never_an_object() {
    let (keys, store) = (keys(), MemoryStore::new());
    let seal = keys.new_seal(VersionId::random()).unwrap().unwrap();
    let view = keys.over(Arc::new(store.clone()), &seal);
    let (bucket, key) = (cloakroom_domain::Bucket::parse("b").unwrap(), super::key());
    let begun = view.begin(&bucket, &key, WriteHints::default()).await;
    let mut writer = begun.unwrap();
    store.fail_nth(Step::Write, 2, Fault::Unavailable);
    let written = writer.write(sample(4 * FULL, 15)).await;
    assert!(matches!(written, Err(StoreError::Unavailable(_))));
    let again = writer.write(sample(1, 16)).await;
    assert!(matches!(again, Err(StoreError::Refused(_))));
    assert!(matches!(writer.finish().await, Err(StoreError::Refused(_))));
    assert!(store.objects().is_empty());
}
