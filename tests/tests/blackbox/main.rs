//! Black-box tests: the real binary, real servers, and callers who know nothing but the contract.
#![expect(unreachable_pub, reason = "a test has no users")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod access;
mod bad_input;
mod browser;
mod claims;
mod cli;
mod clients;
mod connections;
mod cors;
mod credentials;
mod direct;
mod django;
mod doctor;
mod downloads;
mod draft;
mod drop_in;
mod encryption;
mod files;
mod forms;
mod headers;
mod hook;
mod idempotency;
mod interrupted;
mod issuers;
mod limits;
mod links;
mod moving;
mod nginx;
mod objects;
mod raw;
mod redis_tokens;
mod replicas;
mod routes;
mod scrub;
mod settings;
mod shared_limits;
mod tus;
mod uploads;
mod versions;
