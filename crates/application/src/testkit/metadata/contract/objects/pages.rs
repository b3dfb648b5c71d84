//! Lists of keys.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join;

use super::{ObjectsFixture, Shelf};

/// Keys that look alike, in the order of their bytes.
const ALIKE: [&str; 14] = [
    " ",
    "%2F",
    "/",
    "//",
    "K",
    "a",
    "a/",
    "a//b",
    "a/b",
    "k",
    "ko\u{308}ln",
    "k\u{f6}ln",
    "\u{ffff}",
    "\u{10000}",
];

/// Keys that differ in a byte are different objects.
pub async fn keys_that_differ_in_a_byte_are_different_objects(fixture: &dyn ObjectsFixture) {
    let shelf = Shelf::open(fixture).await;
    let mut files = Vec::new();
    for key in ALIKE {
        files.push(shelf.put(key).await.id);
    }
    for (key, file) in ALIKE.iter().zip(&files) {
        assert_eq!(
            shelf.find(key).await.map(|f| f.id).as_ref(),
            Some(file),
            "{key}"
        );
    }
    let longest = "\u{10ffff}".repeat(256);
    shelf.put(&longest).await;
    assert!(shelf.find(&longest).await.is_some());
}

/// Keys come in the order of their bytes, and pages of any size join.
pub async fn keys_are_in_the_order_of_their_bytes_and_pages_join(fixture: &dyn ObjectsFixture) {
    let shelf = Shelf::open(fixture).await;
    for key in ALIKE.iter().rev() {
        shelf.put(key).await;
    }
    assert_eq!(shelf.keys("", None, 100).await, ALIKE);
    for limit in 1..=5 {
        let mut all: Vec<String> = Vec::new();
        loop {
            let page = shelf.keys("", all.last().map(String::as_str), limit).await;
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        assert_eq!(all, ALIKE, "{limit}");
    }
}

/// A prefix is bytes, whatever they are elsewhere.
pub async fn a_prefix_is_taken_literally(fixture: &dyn ObjectsFixture) {
    let shelf = Shelf::open(fixture).await;
    for key in ["a%b", "a_b", "axb", "a/1", "a/2", "b", "\u{10ffff}z", "Ab"] {
        shelf.put(key).await;
    }
    assert_eq!(shelf.keys("a%", None, 9).await, ["a%b"]);
    assert_eq!(shelf.keys("a_", None, 9).await, ["a_b"]);
    assert_eq!(shelf.keys("a/", None, 9).await, ["a/1", "a/2"]);
    assert_eq!(shelf.keys("a/", Some("a/1"), 9).await, ["a/2"]);
    assert_eq!(shelf.keys("a/", Some("A"), 9).await, ["a/1", "a/2"]);
    assert_eq!(shelf.keys("\u{10ffff}", None, 9).await, ["\u{10ffff}z"]);
    assert!(shelf.keys("a/", Some("b"), 9).await.is_empty());
    assert!(shelf.keys("c", None, 9).await.is_empty());
}

/// Whatever others write between two pages: what is there throughout is listed once.
pub async fn what_is_there_throughout_is_listed_once_while_others_write(
    fixture: &dyn ObjectsFixture,
) {
    let shelf = Shelf::open(fixture).await;
    let stays = |n: u32| format!("k{n:03}");
    for n in 0..60 {
        shelf.put(&stays(n)).await;
    }
    let done = AtomicBool::new(false);
    let write = async {
        let mut n = 0;
        while !done.load(Ordering::Relaxed) {
            n = (n + 7) % 60;
            let passing = format!("k{n:03}-passing");
            let file = shelf.put(&passing).await;
            shelf.put(&stays(n)).await;
            shelf.remove(&passing, file.current.id).await;
            // An adapter that never waits would let nobody else go on.
            tokio::task::yield_now().await;
        }
    };
    let read = async {
        for _ in 0..5 {
            let mut all: Vec<String> = Vec::new();
            loop {
                let page = shelf.keys("k", all.last().map(String::as_str), 7).await;
                if page.is_empty() {
                    break;
                }
                all.extend(page);
            }
            let stayed: Vec<String> = all
                .into_iter()
                .filter(|key| !key.ends_with("-passing"))
                .collect();
            assert_eq!(stayed, (0..60).map(stays).collect::<Vec<_>>());
        }
        done.store(true, Ordering::Relaxed);
    };
    join(write, read).await;
}
