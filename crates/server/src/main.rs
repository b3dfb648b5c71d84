//! The file service `cloakroom`: configuration, command line, and the wiring of everything.
mod config;
fn main() {}
