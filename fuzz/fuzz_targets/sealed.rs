//! What is sealed, changed at will: it opens as what it was, or not at all, and never gives out a byte that was not in it.
#![no_main]

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use cloakroom_application::{
    ports::{ObjectStore, Sealing, StoreError},
    testkit::objects::{MemoryStore, collect, sample},
};
use cloakroom_domain::{Bucket, ByteRange, ObjectKey, SEGMENT, Seal, VersionId, opened_size};
use cloakroom_infrastructure::sealing::MasterKeys;
use futures_util::{FutureExt, StreamExt};
use libfuzzer_sys::fuzz_target;

/// Three segments and a bit.
const SIZE: usize = 3 * SEGMENT as usize + 100;

struct Body {
    keys: MasterKeys,
    seal: Seal,
    plain: Bytes,
    stored: Vec<u8>,
    secret: Vec<u8>,
    bucket: Bucket,
    key: ObjectKey,
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("memory makes nobody wait")
}

fn body() -> &'static Body {
    static BODY: OnceLock<Body> = OnceLock::new();
    BODY.get_or_init(|| {
        let keys = MasterKeys::parse(&hex::encode(std::array::from_fn::<u8, 32, _>(|n| n as u8))).unwrap();
        let seal = keys.new_seal(VersionId::random()).unwrap().unwrap();
        let (bucket, key) = (Bucket::parse("b").unwrap(), ObjectKey::parse("k").unwrap());
        let (store, plain) = (MemoryStore::new(), sample(SIZE, 1));
        let view = keys.over(Arc::new(store.clone()), &seal);
        now(view.put(&bucket, &key, vec![plain.clone()])).unwrap();
        let stored = now(collect(now(store.read(&bucket, &key, None)).unwrap())).unwrap();
        let secret = keys.seal(b"a secret", "context").unwrap();
        Body { keys, seal, plain, stored, secret, bucket, key }
    })
}

/// Two bytes of a place, one of what to do there, one of how.
fn change(bytes: &mut Vec<u8>, instructions: &[u8], coarse: usize) {
    for &[high, low, what, how] in instructions.as_chunks().0 {
        if bytes.is_empty() {
            return;
        }
        let at = (usize::from(u16::from_be_bytes([high, low])) * coarse + usize::from(how)) % bytes.len();
        match what % 6 {
            0 | 1 => bytes[at] ^= how,
            2 => bytes.truncate(at),
            3 => bytes.extend_from_within(at..),
            4 => bytes.rotate_left(at),
            _ => {
                let long = bytes.len() - at;
                bytes.copy_within(at.., long.min(at));
            }
        }
    }
}

fn read(body: &Body, stored: &[u8], size: Option<u64>, range: Option<ByteRange>) -> (Vec<u8>, bool) {
    let store = MemoryStore::new();
    now(store.put(&body.bucket, &body.key, vec![Bytes::copy_from_slice(stored)])).unwrap();
    let seal = Seal { size, ..body.seal.clone() };
    let view = body.keys.over(Arc::new(store), &seal);
    let payload = match now(view.read(&body.bucket, &body.key, range)) {
        Ok(payload) => payload,
        Err(StoreError::Broken(_)) => return (Vec::new(), false),
        Err(other) => panic!("{other:?}"),
    };
    let (mut stream, mut given) = (payload.into_stream(), Vec::new());
    while let Some(chunk) = now(stream.next()) {
        match chunk {
            Ok(chunk) => given.extend_from_slice(&chunk),
            Err(StoreError::Broken(_)) => return (given, false),
            Err(other) => panic!("{other:?}"),
        }
    }
    (given, true)
}

fuzz_target!(|data: &[u8]| {
    let body = body();
    let _ = body.keys.open(data, "context");
    let Some((&[a, b, c, d], instructions)) = data.split_first_chunk() else {
        return;
    };
    let mut secret = body.secret.clone();
    change(&mut secret, instructions, 1);
    let opened = body.keys.open(&secret, "context");
    assert_eq!(opened.is_ok(), secret == body.secret);

    let mut stored = body.stored.clone();
    change(&mut stored, instructions, 3);
    let is_same = stored == body.stored;
    for size in [Some(SIZE as u64), None, opened_size(stored.len() as u64)] {
        let (given, well) = read(body, &stored, size, None);
        assert!(body.plain.starts_with(&given));
        assert_eq!(well, is_same, "{} bytes of {}", given.len(), stored.len());
    }
    let start = usize::from(u16::from_be_bytes([a, b])) * 3 % SIZE;
    let end = (start + 1 + usize::from(u16::from_be_bytes([c, d])) * 2).min(SIZE);
    let range = ByteRange { start: start as u64, end: end as u64 };
    for size in [Some(SIZE as u64), None] {
        let (given, well) = read(body, &stored, size, Some(range));
        let meant = &body.plain[start..end];
        assert!(meant.starts_with(&given));
        assert!(!well || given == meant);
        assert!(well || !is_same);
    }
});
