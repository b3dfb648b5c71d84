//! Black-box tests: the real binary, real servers, and callers who know nothing but the contract.
#![expect(unreachable_pub, reason = "a test has no users")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod access;
mod bad_input;
mod browser;
mod cli;
mod connections;
mod cors;
mod credentials;
mod downloads;
mod files;
mod forms;
mod hook;
mod idempotency;
mod issuers;
mod limits;
mod raw;
mod redis_tokens;
mod replicas;
mod routes;
mod settings;
mod uploads;
mod versions;
