//! The stores of the registry, opened as they are needed.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use cloakroom_domain::{Location, Seal, StoreId, VersionId};
use tokio::sync::Notify;

use crate::{
    Error, StoreOperation,
    ports::{ObjectStore, Sealing, StoreError, StoreOpener, StoreRecord, StoreRegistry},
};

/// The opened stores by their id in the registry, and the keys that bodies in them are sealed with. Clones share them.
///
/// The registry may change under a running service: another replica moves everything to a new store, or an operator
/// gives new credentials. What this process has not heard of yet it opens when a row names it.
#[derive(Clone)]
pub struct Stores(Arc<Shared>);

struct Shared {
    opened: RwLock<HashMap<StoreId, Opened>>,
    source: Option<Source>,
    sealing: Option<Arc<dyn Sealing>>,
    entered: Notify,
}

struct Source {
    registry: Arc<dyn StoreRegistry>,
    opener: Arc<dyn StoreOpener>,
}

struct Opened {
    record: StoreRecord,
    store: Arc<dyn ObjectStore>,
}

impl Stores {
    /// Those of a registry. None is opened yet.
    #[must_use]
    pub fn of(
        registry: Arc<dyn StoreRegistry>,
        opener: Arc<dyn StoreOpener>,
        sealing: Arc<dyn Sealing>,
    ) -> Self {
        Self(Arc::new(Shared {
            opened: RwLock::default(),
            source: Some(Source { registry, opener }),
            sealing: Some(sealing),
            entered: Notify::new(),
        }))
    }

    /// These and no others, in which nothing is sealed unless there are keys for it.
    #[must_use]
    pub fn fixed(
        stores: Vec<(StoreRecord, Arc<dyn ObjectStore>)>,
        sealing: Option<Arc<dyn Sealing>>,
    ) -> Self {
        let opened = stores
            .into_iter()
            .map(|(record, store)| (record.id, Opened { record, store }));
        Self(Arc::new(Shared {
            opened: RwLock::new(opened.collect()),
            source: None,
            sealing,
            entered: Notify::new(),
        }))
    }

    /// The store that holds this address, for the body that is there: where it is sealed, plain bytes go in and come
    /// out all the same.
    ///
    /// # Errors
    /// The registry does not have it or cannot be read, or it cannot be opened.
    pub async fn at(&self, location: &Location) -> Result<Arc<dyn ObjectStore>, Error> {
        let store = self.as_stored(location).await?;
        let Some(seal) = &location.seal else {
            return Ok(store);
        };
        let sealing = self.0.sealing.as_ref();
        let sealing = sealing.ok_or_else(|| Error::Internal("nothing can be unsealed".into()))?;
        Ok(sealing.over(store, seal))
    }

    /// The store that holds this address, with its bytes as they lie there.
    ///
    /// # Errors
    /// As [`Stores::at`].
    pub async fn as_stored(&self, location: &Location) -> Result<Arc<dyn ObjectStore>, Error> {
        self.named(location.store).await
    }

    /// What the body of a new version is to be sealed with, for its row; `None` where bodies are not sealed.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system has no random bytes.
    pub fn new_seal(&self, version: VersionId) -> Result<Option<Seal>, Error> {
        let Some(sealing) = &self.0.sealing else {
            return Ok(None);
        };
        let seal = sealing.new_seal(version);
        seal.map_err(|error| Error::Internal(error.into()))
    }

    /// Whether a body at this address can be read, as far as keys decide.
    #[must_use]
    pub fn has_key_for(&self, location: &Location) -> bool {
        let Some(seal) = &location.seal else {
            return true;
        };
        let key = seal.key_id();
        let sealing = self.0.sealing.as_ref();
        sealing.is_some_and(|sealing| key.is_some_and(|key| sealing.knows(key)))
    }

    /// The store of this id.
    ///
    /// # Errors
    /// As [`Stores::at`].
    pub async fn named(&self, id: StoreId) -> Result<Arc<dyn ObjectStore>, Error> {
        if let Some(store) = self.find(id) {
            return Ok(store);
        }
        let unopened = self.refresh().await?;
        self.find(id).ok_or_else(|| {
            let why = unopened.into_iter().find(|(store, _)| *store == id);
            why.map_or_else(
                || Error::Internal(format!("the store {id} is not in the registry").into()),
                |(_, error)| Error::store(StoreOperation::Other)(error),
            )
        })
    }

    /// Who knows the drivers; `None` where the stores are fixed.
    #[must_use]
    pub fn opener(&self) -> Option<&dyn StoreOpener> {
        let source = self.0.source.as_ref();
        source.map(|source| source.opener.as_ref())
    }

    fn find(&self, id: StoreId) -> Option<Arc<dyn ObjectStore>> {
        let opened = self.0.opened.read().unwrap_or_else(PoisonError::into_inner);
        opened.get(&id).map(|opened| Arc::clone(&opened.store))
    }

    /// Every opened store.
    #[must_use]
    pub fn all(&self) -> Vec<(StoreRecord, Arc<dyn ObjectStore>)> {
        let opened = self.0.opened.read().unwrap_or_else(PoisonError::into_inner);
        let each = opened.values();
        each.map(|it| (it.record.clone(), Arc::clone(&it.store)))
            .collect()
    }

    /// The entry of the store that takes new bodies, as far as this process has heard.
    #[must_use]
    pub fn current(&self) -> Option<StoreRecord> {
        let opened = self.0.opened.read().unwrap_or_else(PoisonError::into_inner);
        let mut each = opened.values();
        let current = each.find(|opened| opened.record.is_current);
        current.map(|opened| opened.record.clone())
    }

    /// Reads the registry and opens what is new or has changed. Answers the stores that cannot be opened: each is left
    /// as it was, and tried again the next time.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn refresh(&self) -> Result<Vec<(StoreId, StoreError)>, Error> {
        let mut unopened = Vec::new();
        let Some(source) = &self.0.source else {
            return Ok(unopened);
        };
        for record in source.registry.all().await? {
            if self.has(&record) {
                continue;
            }
            match source.opener.open(&record).await {
                Ok(store) => self.enter(Opened { record, store }),
                Err(error) => unopened.push((record.id, error)),
            }
        }
        Ok(unopened)
    }

    fn has(&self, record: &StoreRecord) -> bool {
        let opened = self.0.opened.read().unwrap_or_else(PoisonError::into_inner);
        let known = opened.get(&record.id);
        known.is_some_and(|known| known.record.revision >= record.revision)
    }

    /// Whoever read the registry earlier may come later.
    fn enter(&self, new: Opened) {
        let mut opened = self
            .0
            .opened
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let known = opened.get(&new.record.id);
        if known.is_none_or(|known| known.record.revision < new.record.revision) {
            opened.insert(new.record.id, new);
            self.0.entered.notify_one();
        }
    }

    /// Waits until a store is opened, or was since somebody waited last. Only one task may wait.
    pub(crate) async fn changed(&self) {
        self.0.entered.notified().await;
    }
}
