//! The ports and limits that every use case works with.

use std::{collections::HashMap, sync::Arc, time::Duration};

use cloakroom_domain::{Location, StoreId};
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::task::TaskTracker;

use crate::{
    Error, Permissions, Rates, Turns,
    claims::Claims,
    hot::HotBodies,
    links::Links,
    ports::{
        Authenticator, Dependency, FileRepository, ObjectStore, RevocationFeed, StoreRegistry,
        TokenRepository, UploadRepository, VersionLedger,
    },
};

/// Numbers that bound the use cases.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest file, in bytes.
    pub max_file_size: u64,
    /// A pending upload that has not moved for so long is given up.
    pub pending_ttl: Duration,
    /// An upload of several requests lives for so long without a change; for as long again it is known to have ended.
    pub upload_expiry: Duration,
    /// Bytes of a deleted version stay for so long.
    pub delete_delay: Duration,
    /// An object whose write had an unknown outcome is deleted again after so long.
    pub uncertain_delay: Duration,
    /// The time between two sweeps; a deletion that failed is tried again then.
    pub sweep_interval: Duration,
}

/// The opened stores by their id in the registry.
#[derive(Clone, Default)]
pub struct Stores(HashMap<StoreId, Arc<dyn ObjectStore>>);

impl Stores {
    /// Over these stores.
    #[must_use]
    pub const fn new(stores: HashMap<StoreId, Arc<dyn ObjectStore>>) -> Self {
        Self(stores)
    }

    /// The store that holds this address.
    ///
    /// # Errors
    /// [`Error::Internal`] if the registry names a store that this process has not opened.
    pub fn at(&self, location: &Location) -> Result<&Arc<dyn ObjectStore>, Error> {
        self.0.get(&location.store).ok_or_else(|| {
            Error::Internal(format!("the store {} is not opened", location.store).into())
        })
    }

    /// Every opened store.
    pub fn iter(&self) -> impl Iterator<Item = (StoreId, &Arc<dyn ObjectStore>)> {
        self.0.iter().map(|(id, store)| (*id, store))
    }
}

/// What the use cases work with. Made once, by the wiring.
pub struct App {
    /// Files as callers see them.
    pub files: Arc<dyn FileRepository>,
    /// The write protocol's rows.
    pub ledger: Arc<dyn VersionLedger>,
    /// Uploads that take several requests.
    pub uploads: Arc<dyn UploadRepository>,
    /// Who of this process holds one of them.
    pub turns: Turns,
    /// Tokens that the service issues.
    pub tokens: Arc<dyn TokenRepository>,
    /// Which stores there are.
    pub registry: Arc<dyn StoreRegistry>,
    /// Those stores, opened.
    pub stores: Stores,
    /// Small bodies that are read often.
    pub hot: HotBodies,
    /// Who recognises callers, asked in this order.
    pub authenticators: Vec<Arc<dyn Authenticator>>,
    /// How much each caller may ask for.
    pub rates: Rates,
    /// What else has to be there for requests to be answered.
    pub dependencies: Vec<Arc<dyn Dependency>>,
    /// Who may do what, where our own rules do not say.
    pub permissions: Arc<Permissions>,
    /// Where other replicas hear what was taken back.
    pub revocations: Arc<dyn RevocationFeed>,
    /// Signed links.
    pub links: Links,
    /// What the application has to claim, and what it still refers to.
    pub claims: Claims,
    /// Work that outlives its request.
    pub background: Background,
    /// Numbers.
    pub limits: Limits,
}

/// Tasks that go on when the request that started them is gone: commits, cleaning up.
///
/// They run on the runtime that made it, not on the one of the request, so a server that stops can wait for them.
#[derive(Debug, Clone)]
pub struct Background {
    runtime: Handle,
    tasks: TaskTracker,
}

impl Background {
    /// On the current runtime.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn here() -> Self {
        Self {
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
        }
    }

    /// Starts a task.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.tasks.spawn_on(task, &self.runtime)
    }

    /// Does work to its end, also if whoever waits for it leaves meanwhile.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.spawn(work)
            .await
            .map_err(|error| Error::Internal(error.into()))?
    }

    /// Waits until no task is left.
    pub async fn idle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }
}
