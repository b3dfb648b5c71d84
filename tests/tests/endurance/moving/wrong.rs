//! Stores that give wrong bytes back now and then.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// One in so many answers has a wrong byte.
const ONE_IN: u64 = 1000;

static ON: AtomicBool = AtomicBool::new(false);
static ANSWERS: AtomicU64 = AtomicU64::new(0);
/// An answer's turn has come, and nothing of its body yet.
static DUE: AtomicBool = AtomicBool::new(false);
static SPOILED: AtomicU64 = AtomicU64::new(0);

pub(super) fn begin() {
    ON.store(true, Relaxed);
}

pub(super) fn end() {
    ON.store(false, Relaxed);
}

/// How many bytes were wrong so far.
pub(super) fn count() -> u64 {
    SPOILED.load(Relaxed)
}

/// Flips a bit of a piece of what a store answers, if it is its turn.
pub(super) fn spoil(piece: &mut [u8]) {
    if !ON.load(Relaxed) {
        return;
    }
    if piece.starts_with(b"HTTP/1.") && ANSWERS.fetch_add(1, Relaxed) % ONE_IN == ONE_IN / 2 {
        DUE.store(true, Relaxed);
    }
    if !piece.ends_with(b"\r\n\r\n")
        && DUE.swap(false, Relaxed)
        && let Some(last) = piece.last_mut()
    {
        *last ^= 1;
        SPOILED.fetch_add(1, Relaxed);
    }
}
