//! What the contract says of deleting and reaping.

use std::time::Duration;

use cloakroom_domain::ObjectKey;

use super::{Harness, PART, an_hour_ago, in_an_hour, key, must};
use crate::{ports::WriteHints, testkit::objects::sample};

/// Answers come in the order of the keys, and what was never there counts as removed.
pub async fn delete_removes_what_is_there_and_forgives_what_is_not(h: &Harness) {
    assert!(h.store.delete(&h.bucket, &[key()]).await[0].is_ok());
    let kept = key();
    h.put(&kept, &sample(10, 60)).await;
    let keys: Vec<ObjectKey> = (0..7).map(|_| key()).collect();
    for key in keys.iter().step_by(2) {
        h.put(key, &sample(10, 61)).await;
    }
    for _ in 0..2 {
        let answers = h.store.delete(&h.bucket, &keys).await;
        assert_eq!(answers.len(), keys.len());
        for answer in answers {
            must(answer, "delete");
        }
    }
    for key in &keys {
        h.assert_absent(key).await;
    }
    assert_eq!(must(h.store.head(&h.bucket, &kept).await, "head").size, 10);
    assert_eq!(h.store.delete(&h.bucket, &[]).await.len(), 0);
}

/// Beyond what one request of S3 takes.
pub async fn more_than_a_thousand_keys_are_deleted_at_once(h: &Harness) {
    let keys: Vec<ObjectKey> = (0..1100).map(|_| key()).collect();
    let there = [&keys[0], &keys[999], &keys[1000], &keys[1099]];
    for key in there {
        h.put(key, &sample(10, 62)).await;
    }
    let answers = h.store.delete(&h.bucket, &keys).await;
    assert_eq!(answers.len(), 1100);
    for answer in answers {
        must(answer, "delete");
    }
    for key in there {
        h.assert_absent(key).await;
    }
}

/// What a crash left under a key goes with the key.
pub async fn delete_removes_an_unfinished_write(h: &Harness) {
    let (key, other) = (key(), key());
    leave_unfinished(h, &key).await;
    leave_unfinished(h, &other).await;
    must(
        h.store
            .delete(&h.bucket, std::slice::from_ref(&key))
            .await
            .remove(0),
        "delete",
    );
    let left = h.reap(in_an_hour(), &[]).await;
    assert_eq!(left, 1, "of two unfinished writes one was deleted");
    h.assert_absent(&key).await;
}

/// As after a crash; a second look finds nothing.
pub async fn reap_removes_unfinished_writes(h: &Harness) {
    let none = h.reap(in_an_hour(), &[]).await;
    assert_eq!(none, 0, "in a bucket that does not exist");
    let (one, two, kept) = (key(), key(), key());
    h.put(&kept, &sample(10, 63)).await;
    leave_unfinished(h, &one).await;
    leave_unfinished(h, &two).await;
    let reaped = h.reap(in_an_hour(), &[]).await;
    assert_eq!(reaped, 2);
    let again = h.reap(in_an_hour(), &[]).await;
    assert_eq!(again, 0);
    h.assert_absent(&one).await;
    assert_eq!(must(h.get(&kept, None).await, "read").len(), 10);
}

/// A write that goes on is not a leftover.
pub async fn reap_leaves_younger_writes_alone(h: &Harness) {
    let (key, body) = (key(), sample(2 * PART + 1, 64));
    let mut writer = h.begin(&key, WriteHints::default()).await;
    must(writer.write(body.clone()).await, "write");
    let reaped = h.reap(an_hour_ago(), &[]).await;
    assert_eq!(reaped, 0);
    must(writer.finish().await, "finish");
    assert!(must(h.get(&key, None).await, "read") == body);
}

/// What a row still names is not a leftover, however old it is.
pub async fn reap_spares_what_it_is_told_to(h: &Harness) {
    let (old, spared) = (key(), key());
    leave_unfinished(h, &old).await;
    leave_unfinished(h, &spared).await;
    assert_eq!(h.reap(in_an_hour(), &[&spared]).await, 1);
    assert_eq!(h.reap(in_an_hour(), &[&spared]).await, 0);
    assert_eq!(h.reap(in_an_hour(), &[]).await, 1);
}

/// Writes and then forgets the writer, as a killed process does.
async fn leave_unfinished(h: &Harness, key: &ObjectKey) {
    let mut writer = h.begin(key, WriteHints::default()).await;
    must(writer.write(sample(2 * PART + 1, 65)).await, "write");
    // What is under way when a process dies arrives or does not; the test waits for it.
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::mem::forget(writer);
}
