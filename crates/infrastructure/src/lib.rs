//! Adapters: databases, object stores, the permission backend.

pub mod metadata;
pub mod permission;
pub mod stores;
