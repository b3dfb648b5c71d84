//! What the contract says of writers whose time is over.

use super::{NUMBERS, Session, assert_reads, key, must, part_size, written};
use crate::{
    ports::{Ending, StoredPart},
    testkit::objects::{contract::Harness, sample},
};

/// What was flushed but never kept by anybody is written over. Where parts do not grow, there is a new one.
pub async fn a_part_that_grows_drops_what_lies_beyond_its_size(h: &Harness) {
    let part = part_size(h).await;
    let (key, lost, body) = (key(), sample(part + 1500, 86), sample(2 * part + 9, 87));
    let mut session = Session::begin(h, &key);
    let mut writer = session.writer(h, false).await;
    must(writer.write(body.slice(..part)).await, "write");
    session.until_durable(&mut writer, part).await;
    let kept = session.clone();
    must(writer.write(lost).await, "write");
    session.suspend(writer, Ending::More).await;
    let next_number = session.next_number;
    session = Session {
        next_number,
        ..kept
    };
    session.write_rest(h, &body, true).await;
    must(session.join(h).await, "join");
    assert_reads(h, &key, &body).await;
    h.assert_nothing_unfinished().await;
}

/// Somebody was wrong about the one before: a part of its own is safe.
pub async fn a_part_that_is_still_written_to_does_not_grow(h: &Harness) {
    let part = part_size(h).await;
    let (key, body) = (key(), sample(2 * part + 9, 88));
    let mut session = Session::begin(h, &key);
    let mut old = session.writer(h, false).await;
    must(old.write(body.slice(..part)).await, "write");
    session.until_durable(&mut old, part).await;
    session.next_number += NUMBERS;
    session.write_rest(h, &body, true).await;
    let numbers = numbers(&session.parts);
    assert!(numbers[1] > NUMBERS, "{numbers:?} do not keep apart");
    must(old.write(sample(part + 3, 89)).await, "write");
    old.suspend(Ending::More).await.ok();
    must(session.join(h).await, "join");
    assert_reads(h, &key, &body).await;
}

/// The old writer goes on and on; the object is made of what the new one named.
pub async fn bytes_of_an_old_writer_never_reach_the_object(h: &Harness) {
    let part = part_size(h).await;
    let (key, body) = (key(), sample(2 * part + 77, 90));
    let mut session = Session::begin(h, &key);
    let mut old = session.writer(h, false).await;
    must(old.write(body.slice(..part + 10)).await, "write");
    session.until_durable(&mut old, part).await;
    session.next_number += NUMBERS;
    let mut new = session.writer(h, false).await;
    must(old.write(sample(part + 77, 91)).await, "write");
    must(new.write(body.slice(session.offset()..)).await, "write");
    must(old.durable().await, "durable");
    assert_eq!(session.suspend(new, Ending::Last).await, [0; 0]);
    must(old.write(sample(part, 92)).await, "write");
    must(old.suspend(Ending::Last).await, "suspend");
    must(session.join(h).await, "join");
    assert_reads(h, &key, &body).await;
    h.assert_nothing_unfinished().await;
}

/// All of it is one part of a writer that was thought dead, and writes when the object is made.
pub async fn an_object_does_not_change_under_a_writer_that_goes_on(h: &Harness) {
    let part = part_size(h).await;
    let (key, body) = (key(), sample(part, 93));
    let mut session = Session::begin(h, &key);
    let mut old = session.writer(h, false).await;
    must(old.write(body.clone()).await, "write");
    session.until_durable(&mut old, part).await;
    must(session.join(h).await, "join");
    assert_reads(h, &key, &body).await;
    // Whether it hears that its upload is over is its own business.
    old.write(sample(part, 94)).await.ok();
    old.durable().await.ok();
    old.suspend(Ending::Last).await.ok();
    drop(old);
    assert_reads(h, &key, &body).await;
}

/// An upload that lives is not taken for a leftover, and goes on.
pub async fn reap_spares_objects_in_parts(h: &Harness) {
    let part = part_size(h).await;
    let (live, dead, body) = (key(), key(), sample(2 * part + 3, 95));
    let session = written(h, &live, &body).await;
    written(h, &dead, &body).await;
    assert_eq!(h.reap(super::super::an_hour_ago(), &[]).await, 0);
    assert_eq!(h.reap(super::super::in_an_hour(), &[&live]).await, 1);
    must(session.join(h).await, "join");
    assert_reads(h, &live, &body).await;
    h.assert_nothing_unfinished().await;
}

/// Parts with these numbers.
pub(super) fn numbers(parts: &[StoredPart]) -> Vec<u32> {
    parts.iter().map(|part| part.number).collect()
}
