//! Whether the things that every request needs are there.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::App;

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
        for (id, store) in app.stores.iter() {
            if let Err(error) = store.probe().await {
                tracing::warn!(%error, store = %id.uuid(), "a store does not answer");
                return false;
            }
        }
        true
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

async fn timed(name: &'static str, check: impl Future<Output = bool>) -> Health {
    let start = Instant::now();
    let up = tokio::time::timeout(Duration::from_secs(2), check)
        .await
        .unwrap_or(false);
    Health {
        name,
        up,
        latency: start.elapsed(),
    }
}
