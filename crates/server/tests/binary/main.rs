//! The binary as an operator meets it: a folder, SQLite, and the command line.

mod check;
mod configure;
#[cfg(test)]
mod running;
mod serving;
mod tokens;
