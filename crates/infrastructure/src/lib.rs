//! Adapters: databases and object stores.

pub mod metadata;
pub mod redis;
pub mod stores;
