//! Contract suites of the ports and in-memory adapters. For tests only.

pub mod metadata;
pub mod objects;
