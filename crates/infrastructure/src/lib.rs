//! Adapters: databases, object stores, sealing, Redis, JWTs, the permission backend, metrics.

pub mod jwt;
pub mod metadata;
pub mod metrics;
pub mod permission;
pub mod redis;
pub mod redis_limits;
pub mod sealing;
pub mod stores;
