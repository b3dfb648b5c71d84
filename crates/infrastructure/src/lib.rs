//! Adapters: databases and object stores.

pub mod metadata;
pub mod redis_limits;
pub mod stores;
