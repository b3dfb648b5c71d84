//! What the contract says of listing.

use std::collections::BTreeSet;

use cloakroom_domain::ObjectKey;

use super::{Harness, key, key_of, must};
use crate::testkit::objects::sample;

/// `-` sorts before `/`, digits after it, capitals before small letters: bytes, not words.
const ACCOUNTS: [&str; 6] = ["1", "1-a", "10", "B", "b", "b_c"];

/// Every object once, in order, whatever the size of a page.
pub async fn a_list_is_bytewise_and_pages_without_gaps(h: &Harness) {
    let mut expected = BTreeSet::new();
    for account in ACCOUNTS.iter().cycle().take(25) {
        let key = key_of(account);
        h.put(&key, &sample(key.as_str().len(), 70)).await;
        expected.insert(key);
    }
    let expected: Vec<ObjectKey> = expected.into_iter().collect();
    for limit in [1, 4, 25, 1000] {
        assert_eq!(list_all(h, "", limit).await, expected, "pages of {limit}");
    }
    let page = must(h.store.list(&h.bucket, "", None, 2).await, "list");
    let first = &page.objects[0];
    assert_eq!(first.bucket, h.bucket);
    assert_eq!(first.size, first.key.as_str().len() as u64);
    let head = must(h.store.head(&h.bucket, &first.key).await, "head");
    let apart = (first.modified_at.micros() - head.modified_at.micros()).abs();
    assert!(apart <= 1_000_000, "list and head tell different ages");
}

/// A prefix ends anywhere, in the middle of an id too.
pub async fn a_list_keeps_to_its_prefix(h: &Harness) {
    let keys: Vec<ObjectKey> = ACCOUNTS.iter().map(|account| key_of(account)).collect();
    for key in &keys {
        h.put(key, &sample(1, 71)).await;
    }
    for (prefix, found) in [("1", 3), ("1/", 1), ("b", 2), ("b_", 1), ("c", 0), ("~", 0)] {
        assert_eq!(list_all(h, prefix, 2).await.len(), found, "{prefix:?}");
    }
    let whole = keys[3].as_str();
    assert_eq!(list_all(h, whole, 10).await, [keys[3].clone()]);
    let half = &whole[..whole.len() - 20];
    assert_eq!(list_all(h, half, 10).await, [keys[3].clone()]);
}

/// Not an error, and not made by asking.
pub async fn a_bucket_that_does_not_exist_is_empty(h: &Harness) {
    assert_eq!(list_all(h, "", 10).await, []);
    assert_eq!(list_all(h, key().as_str(), 10).await, []);
}

async fn list_all(h: &Harness, prefix: &str, limit: usize) -> Vec<ObjectKey> {
    let mut found = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = h.store.list(&h.bucket, prefix, cursor.as_deref(), limit);
        let page = must(page.await, "list");
        assert!(page.objects.len() <= limit, "a page beyond its limit");
        found.extend(page.objects.into_iter().map(|object| object.key));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return found,
        }
    }
}
