//! Adapters: databases, object stores, Redis, JWTs, the permission backend.

pub mod jwt;
pub mod metadata;
pub mod permission;
pub mod redis;
pub mod redis_limits;
pub mod stores;
