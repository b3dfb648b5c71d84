//! The binary as an operator meets it: a folder, SQLite, and the command line.

mod check;
mod configure;
mod running;
mod serving;
mod tokens;
