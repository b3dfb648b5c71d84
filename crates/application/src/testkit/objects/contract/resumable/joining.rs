//! What the contract says of making an object of its parts, and of giving it up.

use super::{Session, ability, assert_reads, fencing::numbers, key, must, part_size, written};
use crate::{
    ports::{Ending, StoreError},
    testkit::objects::{contract::Harness, sample},
};

/// As after an answer that was lost; but never for an object of another size.
pub async fn joining_may_be_asked_for_again(h: &Harness) {
    let part = part_size(h).await;
    for size in [10, part, 2 * part + 1] {
        let (key, body) = (key(), sample(size, 96));
        let session = written(h, &key, &body).await;
        for _ in 0..3 {
            must(session.join(h).await, "join");
            assert_reads(h, &key, &body).await;
        }
        let mut other = session.clone();
        other.parts[0].size += 1;
        let refused = other.join(h).await;
        assert!(refused.is_err(), "another object was joined");
        assert_reads(h, &key, &body).await;
    }
    h.assert_nothing_unfinished().await;
}

/// What was cut by nobody's will, in the middle and at the end.
pub async fn parts_that_are_not_named_are_dropped(h: &Harness) {
    let part = part_size(h).await;
    let (key, body) = (key(), sample(3 * part, 97));
    let mut session = Session::begin(h, &key);
    for third in body.chunks(part) {
        let mut writer = session.writer(h, false).await;
        let third = bytes::Bytes::copy_from_slice(third);
        must(writer.write(third).await, "write");
        assert_eq!(session.suspend(writer, Ending::Last).await, [0; 0]);
        session.next_number += 3;
    }
    assert_eq!(numbers(&session.parts), [1, 5, 9]);
    session.parts.remove(1);
    must(session.join(h).await, "join");
    let expected = [&body[..part], &body[2 * part..]].concat();
    assert_reads(h, &key, &expected).await;
    h.assert_nothing_unfinished().await;
}

/// An empty object is written as one.
pub async fn joining_nothing_is_refused(h: &Harness) {
    let key = key();
    let mut session = Session::begin(h, &key);
    let refused = session.join(h).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))));
    session.write_rest(h, &sample(10, 98), false).await;
    let refused = ability(h).join(&session.object, &[]).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))));
    h.assert_absent(&key).await;
    must(session.join(h).await, "join");
}

/// Whatever the old writer does then, nothing comes back.
pub async fn delete_removes_what_was_written_in_parts(h: &Harness) {
    let part = part_size(h).await;
    let (gone, stays, body) = (key(), key(), sample(2 * part + 1, 99));
    let mut session = Session::begin(h, &gone);
    let mut writer = session.writer(h, false).await;
    must(writer.write(body.slice(..part)).await, "write");
    session.until_durable(&mut writer, part).await;
    let other = written(h, &stays, &body).await;
    let keys = [gone.clone()];
    must(h.store.delete(&h.bucket, &keys).await.remove(0), "delete");
    writer.write(body.slice(part..)).await.ok();
    writer.suspend(Ending::Last).await.ok();
    let joined = session.join(h).await;
    assert!(joined.is_err(), "what was deleted was joined");
    drop(writer);
    must(h.store.delete(&h.bucket, &keys).await.remove(0), "delete");
    h.assert_absent(&gone).await;
    must(other.join(h).await, "join");
    assert_reads(h, &stays, &body).await;
    h.assert_nothing_unfinished().await;
}

/// Either was first; once both are done, and it is deleted again as after every unknown end, nothing is left.
pub async fn delete_beside_a_join_leaves_nothing(h: &Harness) {
    let part = part_size(h).await;
    for (nth, size) in [part / 2, 2 * part + 1, part, 2 * part]
        .into_iter()
        .enumerate()
    {
        let (key, body) = (key(), sample(size, 100));
        let session = written(h, &key, &body).await;
        let keys = [key.clone()];
        let deletion = async {
            tokio::time::sleep(std::time::Duration::from_millis(nth as u64)).await;
            h.store.delete(&h.bucket, &keys).await.remove(0)
        };
        let (joined, deleted) = tokio::join!(session.join(h), deletion);
        must(deleted, "delete");
        if joined.is_err() {
            // A server that was disturbed may end it after its answer.
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        must(h.store.delete(&h.bucket, &keys).await.remove(0), "delete");
        h.assert_absent(&key).await;
    }
    h.assert_nothing_unfinished().await;
}
