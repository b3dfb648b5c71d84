//! Whether the things that every request needs are there.

use std::time::{Duration, Instant};

use cloakroom_domain::StoreId;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::{App, Error, StoreOperation, error::with_causes, ports::RepositoryError};

/// How long the database may take to say which stores are needed; after that it is the one that is current.
const ASKING: Duration = Duration::from_millis(500);

/// How one dependency is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// `database`, `store`, or the name of another dependency.
    pub name: &'static str,
    /// Whether it answered.
    pub up: bool,
    /// How long it took.
    pub latency: Duration,
}

/// Asks every dependency at once, each within 2 s.
pub async fn health(app: &App) -> Vec<Health> {
    let database = timed("database", async { app.registry.ping().await.is_ok() });
    let stores = timed("store", async {
        let needed = needed(app).await;
        let answers = join_all(needed.into_iter().map(|store| answers(app, store))).await;
        answers.into_iter().all(|answers| answers)
    });
    let others = app.dependencies.iter().map(|dependency| {
        timed(dependency.name(), async {
            let answer = dependency.ping().await;
            if let Err(error) = &answer {
                tracing::warn!(%error, name = dependency.name(), "a dependency does not answer");
            }
            answer.is_ok()
        })
    });
    let (database, stores, others) = tokio::join!(database, stores, join_all(others));
    [database, stores].into_iter().chain(others).collect()
}

/// The store that takes new bodies, and the others that something is stored in: one that everything was moved away from
/// may be gone.
async fn needed(app: &App) -> Vec<StoreId> {
    let known = async {
        let mut needed = Vec::new();
        for record in app.registry.all().await? {
            let id = record.id;
            if record.is_current || !app.migrations.movable(id, None, 1).await?.is_empty() {
                needed.push(id);
            }
        }
        Ok::<_, RepositoryError>(needed)
    };
    match timeout(ASKING, known).await {
        Ok(Ok(needed)) => needed,
        _ => app.stores.current().map(|it| it.id).into_iter().collect(),
    }
}

async fn answers(app: &App, id: StoreId) -> bool {
    let probed = async {
        let store = app.stores.named(id).await?;
        store
            .probe()
            .await
            .map_err(Error::store(StoreOperation::Other))
    };
    match probed.await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(error = with_causes(&error), store = %id, "a store does not answer");
            false
        }
    }
}

async fn timed(name: &'static str, check: impl Future<Output = bool>) -> Health {
    let start = Instant::now();
    let up = timeout(Duration::from_secs(2), check)
        .await
        .unwrap_or(false);
    Health {
        name,
        up,
        latency: start.elapsed(),
    }
}
