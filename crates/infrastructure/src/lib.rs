//! Adapters: databases, object stores, tokens.

pub mod jwt;
pub mod metadata;
pub mod redis;
pub mod redis_limits;
pub mod stores;
