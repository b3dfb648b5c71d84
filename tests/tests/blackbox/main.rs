//! Black-box tests: the real binary, real servers, and callers who know nothing but the contract.
#![expect(unreachable_pub, reason = "a test has no users")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod bad_input;
mod browser;
mod cli;
mod connections;
mod cors;
mod credentials;
mod downloads;
mod files;
mod forms;
mod headers;
mod idempotency;
mod issuers;
mod limits;
mod raw;
mod replicas;
mod routes;
mod settings;
mod shared_limits;
mod uploads;
mod versions;
