//! The binary as an operator meets it: a folder, SQLite, and the command line.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod check;
mod configure;
#[cfg(test)]
mod running;
mod serving;
mod tokens;
