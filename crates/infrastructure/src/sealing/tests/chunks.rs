//! However a store cuts what it gives, the body is the same.

use bytes::Bytes;
use cloakroom_application::{
    ports::{Payload, Sealing},
    testkit::objects::{collect, sample},
};
use cloakroom_domain::{ByteRange, SEGMENT, SealedRange, VersionId};
use futures_util::{FutureExt, StreamExt, stream};
use proptest::prelude::*;

use super::{
    super::{
        reading::{Opening, Wanted},
        segments::BodyKey,
        writing::Sealer,
    },
    keys,
};

/// A body cut into pieces of these lengths, again and again; the rest is the last.
fn cut(body: &Bytes, lengths: &[usize]) -> Vec<Bytes> {
    let (mut rest, mut pieces) = (body.clone(), Vec::new());
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            return pieces;
        }
        pieces.push(rest.split_to((*length).min(rest.len())));
    }
    vec![body.clone()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn chunks_of_any_length_give_the_body_and_every_stretch(
        size in 0_usize..300_000,
        written in prop::collection::vec(1_usize..100_000, 1..4),
        given in prop::collection::vec(1_usize..100_000, 1..4),
        stretch: (u64, u64),
        damage: Option<(usize, u8)>,
    ) {
        let keys = keys();
        let version = VersionId::random();
        let seal = keys.new_seal(version).unwrap().unwrap();
        let key = || BodyKey::new(&keys.body_key(&seal).unwrap()).unwrap();
        let (body, mut sealer, mut stored) = (sample(size, 1), Sealer::new(key()), Vec::new());
        for mut piece in cut(&body, &written) {
            while let Some(segment) = sealer.take(&mut piece).unwrap() {
                stored.extend_from_slice(&segment);
            }
        }
        stored.extend_from_slice(&sealer.end().unwrap());
        let damaged = damage.map(|(at, how)| {
            let at = at % stored.len();
            stored[at] ^= how | 1;
            at as u64
        });
        let stored = Bytes::from(stored);
        let length = size as u64;

        let open = |wanted: Wanted, stored: &Bytes| {
            let chunks = cut(stored, &given).into_iter().map(Ok);
            let payload = Payload::Stream(stream::iter(chunks).boxed());
            let payload = Opening::new(key(), version, wanted).over(payload).ok()?;
            collect(payload).now_or_never().unwrap().ok()
        };
        for known in [Some(length), None] {
            let read = open(Wanted::whole(known), &stored);
            prop_assert_eq!(read.is_some(), damaged.is_none());
            prop_assert!(read.is_none_or(|read| read == body));
        }
        if size > 0 {
            let (a, b) = (stretch.0 % length, stretch.1 % length);
            let range = ByteRange { start: a.min(b), end: a.max(b) + 1 };
            let sealed = SealedRange::of(range, length).unwrap();
            let at = sealed.stored.start as usize..sealed.stored.end as usize;
            let read = open(Wanted::stretch(range, &sealed, length), &stored.slice(at.clone()));
            let is_hit = damaged.is_some_and(|byte| at.contains(&(byte as usize)));
            prop_assert_eq!(read.is_some(), !is_hit);
            let meant = &body[range.start as usize..range.end as usize];
            prop_assert!(read.is_none_or(|read| read == meant));
            prop_assert!(sealed.stored.len() <= range.len() + 2 * (SEGMENT + 28));
        }
    }
}
