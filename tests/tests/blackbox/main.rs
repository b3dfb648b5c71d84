//! Black-box tests: the real binary, real servers, and callers who know nothing but the contract.
#![expect(unreachable_pub, reason = "a test has no users")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod bad_input;
mod browser;
mod cli;
mod downloads;
mod drop_in;
mod files;
mod forms;
mod idempotency;
mod raw;
mod replicas;
mod routes;
mod settings;
mod uploads;
mod versions;
