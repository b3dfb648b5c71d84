//! The registry of stores.

use std::sync::Arc;

use async_trait::async_trait;
use cloakroom_domain::{AccountId, Bucket, BucketRule, StoreId};
use serde_json::{Map, Value};

use super::{ObjectStore, RepositoryError, StoreError};

/// The configuration of a store: the names of its driver's settings, and their values.
pub type StoreConfig = Map<String, Value>;

/// An entry of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreRecord {
    /// Its id.
    pub id: StoreId,
    /// The driver's name, such as `fs` or `webdav`.
    pub driver: String,
    /// How it finds buckets.
    pub buckets: BucketRule,
    /// Its configuration, sealed; `None` where the configuration of the process says it.
    pub config: Option<Vec<u8>>,
    /// Raised with every change of the entry.
    pub revision: u64,
    /// Whether new bodies go there. Exactly one entry is current.
    pub is_current: bool,
}

impl StoreRecord {
    /// The bucket for an account's bodies.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if it would have a name that no bucket can have.
    pub fn bucket(&self, account: &AccountId) -> Result<Bucket, StoreError> {
        match &self.buckets {
            BucketRule::Fixed(bucket) => Ok(bucket.clone()),
            BucketRule::PerAccount(prefix) => {
                let name = format!("{prefix}-{}", BucketRule::account_part(account));
                Bucket::parse(&name).map_err(|error| StoreError::Refused(error.into()))
            }
        }
    }
}

/// Which stores there are, and which takes new bodies.
#[async_trait]
pub trait StoreRegistry: Send + Sync {
    /// Enters `record` as the current store if the registry is empty; answers every entry either way.
    /// Of several callers at once, one enters its record.
    async fn seed(&self, record: StoreRecord) -> Result<Vec<StoreRecord>, RepositoryError>;

    /// Every entry.
    async fn all(&self) -> Result<Vec<StoreRecord>, RepositoryError>;

    /// Gives an entry another configuration, and raises its revision. `false`: it has another revision than `expected`
    /// by now.
    async fn reconfigure(
        &self,
        id: StoreId,
        expected: u64,
        config: &[u8],
    ) -> Result<bool, RepositoryError>;

    /// Whether the database answers, cheaply and within 2 s.
    async fn ping(&self) -> Result<(), RepositoryError>;
}

/// Why a configuration of a store is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigFault {
    /// A field is missing, unknown, or has a value that cannot be; there is no such driver.
    #[error("{0}")]
    Field(String),
    /// The service has no key to seal it with.
    #[error("{0}")]
    NoKey(&'static str),
}

/// A configuration that can be an entry of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Its driver.
    pub driver: String,
    /// Where the store is, as [`StoreOpener::place`] tells it.
    pub place: String,
    /// How it finds buckets.
    pub buckets: BucketRule,
    /// The configuration, sealed.
    pub config: Vec<u8>,
}

/// Whose store a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The store's id.
    pub store: StoreId,
    /// Whether the place was nobody's until now.
    pub is_new: bool,
}

/// Knows the drivers: opens entries of the registry, and reads configurations.
#[async_trait]
pub trait StoreOpener: Send + Sync {
    /// Opens an entry. The store need not answer, but a folder has to be the one that was prepared.
    async fn open(&self, record: &StoreRecord) -> Result<Arc<dyn ObjectStore>, StoreError>;

    /// Makes a place ready to become a store of that id. A folder is marked; one that is marked already is the store
    /// of that mark.
    async fn prepare(&self, record: &StoreRecord) -> Result<Mark, StoreError>;

    /// Whether the place of an entry, which bears the mark of a known store, is that store's own and no copy of it.
    async fn is_own_place(
        &self,
        known: &StoreRecord,
        marked: &StoreRecord,
    ) -> Result<bool, StoreError>;

    /// Takes a mark away that [`StoreOpener::prepare`] made, from a store that never came to be.
    async fn withdraw(&self, record: &StoreRecord) -> Result<(), StoreError>;

    /// What tells an entry from all other stores: its driver, and where it is, without credentials.
    ///
    /// # Errors
    /// Its configuration was sealed with another key.
    fn place(&self, record: &StoreRecord) -> Result<String, StoreError>;

    /// Reads a configuration that somebody gave.
    ///
    /// # Errors
    /// What is wrong with it.
    fn admit(&self, driver: &str, config: &StoreConfig) -> Result<Admitted, ConfigFault>;

    /// The configuration of an entry, with secrets as `****`.
    ///
    /// # Errors
    /// It was sealed with another key.
    fn shown(&self, record: &StoreRecord) -> Result<StoreConfig, StoreError>;

    /// The configuration of an entry with these changes; a secret that is given as `****` stays as it is.
    ///
    /// # Errors
    /// What is wrong with it.
    fn changed(&self, record: &StoreRecord, changes: &StoreConfig)
    -> Result<Admitted, ConfigFault>;
}
