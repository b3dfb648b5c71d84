//! Whether the things that every request needs are there.

use std::time::{Duration, Instant};

use crate::App;

/// How one dependency is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// `database`, or `store`.
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
    let (database, stores) = tokio::join!(database, stores);
    vec![database, stores]
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
