//! Faults, crashes, crowds and large files. Each test has the machine to itself: several measure time or memory.
#![expect(unreachable_pub, reason = "a test has no users")]
#![expect(
    dead_code,
    reason = "what the other black-box tests stand on is not all needed here"
)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod crash;
mod faults;
mod limits;
#[path = "../blackbox/stand.rs"]
mod stand;
#[path = "../blackbox/support.rs"]
mod support;
#[path = "../blackbox/traces.rs"]
mod traces;

/// One test at a time.
pub async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    TURN.lock().await
}
