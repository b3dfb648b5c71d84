//! The registry of stores.

use async_trait::async_trait;
use cloakroom_domain::{BucketRule, StoreId};

use super::RepositoryError;

/// An entry of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreRecord {
    /// Its id.
    pub id: StoreId,
    /// The driver: `fs`, `s3`.
    pub driver: String,
    /// How it finds buckets.
    pub buckets: BucketRule,
    /// Whether new bodies go there. Exactly one entry is current.
    pub is_current: bool,
}

/// Which stores there are, and which takes new bodies.
#[async_trait]
pub trait StoreRegistry: Send + Sync {
    /// Enters `record` as the current store if the registry is empty; answers every entry either way.
    /// Of several callers at once, one enters its record.
    async fn seed(&self, record: StoreRecord) -> Result<Vec<StoreRecord>, RepositoryError>;

    /// Every entry.
    async fn all(&self) -> Result<Vec<StoreRecord>, RepositoryError>;

    /// Whether the database answers, cheaply and within 2 s.
    async fn ping(&self) -> Result<(), RepositoryError>;
}
