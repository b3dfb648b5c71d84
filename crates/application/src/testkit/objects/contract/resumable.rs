//! What the contract says of objects that are written over several requests.

mod fencing;
mod joining;

use std::time::Duration;

use bytes::Bytes;
use cloakroom_domain::ObjectKey;

pub use fencing::*;
pub use joining::*;

use super::{Harness, PART, key, must};
use crate::{
    ports::{Ending, PartsWriter, Resumable, Resume, StoreError, StoredPart, Unfinished},
    testkit::objects::sample,
};

/// Numbers that a writer is given, as the rows of uploads give them.
const NUMBERS: u32 = 16;

/// An upload as its rows would have it.
#[derive(Clone)]
struct Session {
    object: Unfinished,
    parts: Vec<StoredPart>,
    next_number: u32,
    size: Option<u64>,
}

impl Session {
    fn begin(h: &Harness, key: &ObjectKey) -> Self {
        Self {
            object: Unfinished {
                bucket: h.bucket.clone(),
                key: key.clone(),
                write_id: None,
            },
            parts: Vec::new(),
            next_number: 1,
            size: None,
        }
    }

    /// Bytes that are durable.
    fn offset(&self) -> usize {
        let bytes: u64 = self.parts.iter().map(|part| part.size).sum();
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// A writer that goes on behind what is durable; the last part grows if nobody else can be writing to it.
    async fn writer(&self, h: &Harness, is_alone: bool) -> Box<dyn PartsWriter> {
        let resume = Resume {
            first_number: self.next_number,
            growing: self.parts.last().filter(|_| is_alone).cloned(),
            size: self.size,
        };
        must(ability(h).resume(&self.object, resume).await, "resume")
    }

    /// Keeps what a writer told, and what the next one has to know.
    fn keep(&mut self, writer: &dyn PartsWriter, told: Vec<StoredPart>) {
        for part in told {
            assert!(part.size > 0, "a part without bytes");
            match self.parts.last_mut() {
                Some(last) if last.number == part.number => {
                    assert!(part.size >= last.size, "{last:?} shrank to {part:?}");
                    *last = part;
                }
                Some(last) if last.number > part.number => {
                    panic!("{part:?} was told after {last:?}")
                }
                _ => self.parts.push(part),
            }
        }
        let position = writer.position();
        self.object.write_id = position.write_id;
        self.next_number = position.next_number;
    }

    /// Waits until so many bytes are durable.
    async fn until_durable(&mut self, writer: &mut Box<dyn PartsWriter>, bytes: usize) {
        for _ in 0..400 {
            let told = must(writer.durable().await, "durable");
            self.keep(writer.as_ref(), told);
            if self.offset() >= bytes {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} of {bytes} bytes became durable", self.offset());
    }

    /// Ends a writer, and gives the bytes that it could not keep.
    async fn suspend(&mut self, mut writer: Box<dyn PartsWriter>, ending: Ending) -> Vec<u8> {
        let left = must(writer.suspend(ending).await, "suspend");
        self.keep(writer.as_ref(), left.parts);
        left.rest.concat()
    }

    /// Writes all that is missing of the body, and ends.
    async fn write_rest(&mut self, h: &Harness, body: &Bytes, is_alone: bool) {
        let mut writer = self.writer(h, is_alone).await;
        must(writer.write(body.slice(self.offset()..)).await, "write");
        let rest = self.suspend(writer, Ending::Last).await;
        assert_eq!(rest, [0; 0], "the last bytes were handed back");
        assert_eq!(self.offset(), body.len());
    }

    async fn join(&self, h: &Harness) -> Result<(), StoreError> {
        ability(h).join(&self.object, &self.parts).await
    }
}

/// The object of such a body, written by one writer.
async fn written(h: &Harness, key: &ObjectKey, body: &Bytes) -> Session {
    let mut session = Session::begin(h, key);
    session.write_rest(h, body, false).await;
    session
}

fn ability(h: &Harness) -> &dyn Resumable {
    match h.store.resumable() {
        Some(ability) => ability,
        None => panic!("the store cannot write over several requests"),
    }
}

/// The size of a part; some size where parts may have any.
async fn part_size(h: &Harness) -> usize {
    let writer = Session::begin(h, &key()).writer(h, false).await;
    let size = writer.until_cut().unwrap_or(100_000);
    usize::try_from(size).unwrap_or(usize::MAX)
}

async fn assert_reads(h: &Harness, key: &ObjectKey, body: &[u8]) {
    let read = must(h.get(key, None).await, "read");
    assert!(read == body, "the body came back changed");
    let meta = must(h.store.head(&h.bucket, key).await, "head");
    assert_eq!(meta.size, body.len() as u64);
}

/// Alone or not, each behind the other, with nothing to be seen before they are joined.
pub async fn several_writers_make_one_object(h: &Harness) {
    let part = part_size(h).await;
    let (key, body) = (key(), sample(3 * part + 1234, 80));
    let mut session = Session::begin(h, &key);
    session.size = Some(body.len() as u64);
    for (nth, end) in [part + part / 3, 2 * part - 1, 2 * part + 7]
        .into_iter()
        .enumerate()
    {
        let mut writer = session.writer(h, nth % 2 == 1).await;
        let from = session.offset();
        for piece in body[from..end].chunks(part / 3 + 1) {
            let piece = Bytes::copy_from_slice(piece);
            must(writer.write(piece).await, "write");
        }
        let rest = session.suspend(writer, Ending::More).await;
        assert!(rest.len() < part, "a whole part was handed back");
        assert!(rest == body[session.offset()..end], "other bytes are left");
        h.assert_absent(&key).await;
    }
    session.write_rest(h, &body, true).await;
    h.assert_absent(&key).await;
    must(session.join(h).await, "join");
    assert_reads(h, &key, &body).await;
    h.assert_nothing_unfinished().await;
}

/// Large enough for every dialect of S3, which has a least size.
pub async fn large_parts_make_one_object(h: &Harness) {
    let (key, body) = (key(), sample(2 * PART + 100_001, 81));
    let mut session = Session::begin(h, &key);
    let mut writer = session.writer(h, false).await;
    for piece in body.chunks(777_777) {
        must(writer.write(Bytes::copy_from_slice(piece)).await, "write");
    }
    assert_eq!(session.suspend(writer, Ending::Last).await, [0; 0]);
    must(session.join(h).await, "join");
    assert_reads(h, &key, &body).await;
    h.assert_nothing_unfinished().await;
}

/// One byte short of a cut is not a part yet, unless it was the last one.
pub async fn parts_are_cut_where_the_writer_says(h: &Harness) {
    let part = part_size(h).await;
    let (key, body) = (key(), sample(part + 10, 82));
    let mut session = Session::begin(h, &key);
    let mut writer = session.writer(h, false).await;
    must(writer.write(body.slice(..part - 1)).await, "write");
    let cuts = writer.until_cut();
    assert!(matches!(cuts, None | Some(1)), "{cuts:?} bytes to the cut");
    must(writer.write(body.slice(part - 1..part + 3)).await, "write");
    assert_eq!(writer.until_cut(), cuts.map(|_| part as u64 - 3));
    session.until_durable(&mut writer, part).await;
    let rest = session.suspend(writer, Ending::More).await;
    if cuts.is_some() {
        assert_eq!(session.offset(), part);
    }
    assert_eq!(rest, body[session.offset()..part + 3]);
    session.write_rest(h, &body, true).await;
    must(session.join(h).await, "join");
    assert_reads(h, &key, &body).await;
}

/// Parts that arrive out of order are told in order, and nothing is told twice without having grown.
pub async fn parts_are_told_in_order_and_without_gaps(h: &Harness) {
    let part = part_size(h).await;
    let (key, body) = (key(), sample(5 * part + 5, 83));
    let mut session = Session::begin(h, &key);
    let mut writer = session.writer(h, false).await;
    for piece in body.chunks(part / 2 + 3) {
        must(writer.write(Bytes::copy_from_slice(piece)).await, "write");
        let told = must(writer.durable().await, "durable");
        let before = session.offset();
        let grew = !told.is_empty();
        session.keep(writer.as_ref(), told);
        assert_eq!(session.offset() > before, grew, "told without having grown");
    }
    session.until_durable(&mut writer, 5 * part).await;
    assert_eq!(must(writer.durable().await, "durable"), []);
    assert_eq!(session.suspend(writer, Ending::Last).await, [0; 0]);
    must(session.join(h).await, "join");
    assert_reads(h, &key, &body).await;
}

/// Not a number, not a part.
pub async fn a_writer_that_was_given_nothing_leaves_nothing(h: &Harness) {
    for ending in [Ending::More, Ending::Last] {
        let mut session = Session::begin(h, &key());
        session.next_number = 7;
        let mut writer = session.writer(h, false).await;
        must(writer.write(Bytes::new()).await, "write");
        assert_eq!(must(writer.durable().await, "durable"), []);
        assert_eq!(session.suspend(writer, ending).await, [0; 0]);
        assert_eq!((session.offset(), session.next_number), (0, 7));
        assert_eq!(session.object.write_id, None);
    }
    h.assert_nothing_unfinished().await;
}

/// Dropped between two calls and in the middle of one.
pub async fn a_dropped_writer_loses_nothing_that_it_told(h: &Harness) {
    let part = part_size(h).await;
    let (key, body) = (key(), sample(4 * part, 84));
    let mut session = Session::begin(h, &key);
    for cut in [false, true] {
        let mut writer = session.writer(h, false).await;
        let from = session.offset();
        must(
            writer.write(body.slice(from..from + part + 5)).await,
            "write",
        );
        session.until_durable(&mut writer, from + part).await;
        session.next_number += NUMBERS;
        if cut {
            let write = writer.write(sample(2 * part, 85));
            tokio::time::timeout(Duration::from_millis(3), write)
                .await
                .ok();
        }
    }
    session.write_rest(h, &body, false).await;
    must(session.join(h).await, "join");
    assert_reads(h, &key, &body).await;
}
