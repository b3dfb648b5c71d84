//! The ports and limits that every use case works with.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::task::TaskTracker;

use crate::{
    Error, Permissions, Rates, Scrubbing, Stores, Turns,
    claims::Claims,
    hot::HotBodies,
    links::Links,
    ports::{
        Authenticator, BucketRepository, Dependency, FileRepository, Meter, MigrationRepository,
        RevocationFeed, StoreRegistry, TokenRepository, UploadRepository, VersionLedger,
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
    /// An object whose write had an unknown outcome is deleted again after so long, and one whose row expired no
    /// sooner: what was sent last may still land.
    pub uncertain_delay: Duration,
    /// The time between two sweeps; a deletion that failed is tried again then.
    pub sweep_interval: Duration,
}

/// What the use cases work with. Made once, by the wiring.
pub struct App {
    /// Files as callers see them.
    pub files: Arc<dyn FileRepository>,
    /// The write protocol's rows.
    pub ledger: Arc<dyn VersionLedger>,
    /// Buckets of objects, and the names in them.
    pub buckets: Arc<dyn BucketRepository>,
    /// Uploads that take several requests.
    pub uploads: Arc<dyn UploadRepository>,
    /// Who of this process holds one of them.
    pub turns: Turns,
    /// Tokens that the service issues.
    pub tokens: Arc<dyn TokenRepository>,
    /// Which stores there are.
    pub registry: Arc<dyn StoreRegistry>,
    /// Moving everything to another store.
    pub migrations: Arc<dyn MigrationRepository>,
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
    /// Reading stored bytes again.
    pub scrubbing: Scrubbing,
    /// What is counted for an operator's charts.
    pub meter: Arc<dyn Meter>,
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
