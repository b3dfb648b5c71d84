//! Faults, crashes, crowds and large files. Each test has the machine to itself: several measure time or memory.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod clients;
mod crash;
mod faults;
mod limits;
mod moving;
mod redis;

/// One test at a time.
pub(crate) async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    TURN.lock().await
}
