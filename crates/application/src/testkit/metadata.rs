//! The contract of the metadata ports, and an in-memory database.
