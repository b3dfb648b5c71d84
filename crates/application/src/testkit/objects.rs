//! The contract of the object store port, and an in-memory store.
