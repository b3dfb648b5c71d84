//! One body at a time: tried again, noted, or left for a later pass.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use cloakroom_domain::StoreId;
use tokio::time::{sleep, timeout};

use super::{AWAY, MOST_OF_ONE, Mover, REFUSALS};
use crate::{
    Error,
    migration::copying::{MoveError, Moved, move_body},
    ports::{Migration, Movable, StoreError},
    with_causes,
};

/// How often a body is tried in a pass, and the pause before the second time; twice as long before each further one.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);

/// How long a store may take to show that it is there.
const PROBE: Duration = Duration::from_secs(10);

impl Mover {
    /// Moves one body; a failure is noted. Whether it is not in the old store any more. A new store that is away is
    /// waited for, however long that is; the bodies of an old one have their turn in a later pass.
    pub(super) async fn carry(&self, body: &Movable) -> Result<bool, MoveError> {
        let share = (body.size >> 20).min(MOST_OF_ONE) as u32;
        let share = self.on_the_way.acquire_many(share).await;
        let _share = share.map_err(|_| MoveError::Lost)?;
        let _slot = self.slots.acquire().await.map_err(|_| MoveError::Lost)?;
        let source = body.location.store;
        if self.is_refused() || self.is_passed_over(source) {
            return Ok(false);
        }
        let (mut pause, mut attempt) = (PAUSE, 1);
        loop {
            let error = match move_body(&self.app, &self.migration, &self.gear, body).await {
                Ok(Moved::Here | Moved::Gone) => {
                    self.refused.store(0, Relaxed);
                    self.shut().remove(&source);
                    return Ok(true);
                }
                Err(error @ (MoveError::Lost | MoveError::Database(_))) => return Err(error),
                Err(error) => error,
            };
            if let Some(store) = failing(&error, &self.migration, body)
                && !self.answers(store).await
            {
                self.note(body, &error).await?;
                if store != self.migration.target {
                    self.away().insert(store);
                    return Ok(false);
                }
                self.wait_for(store).await;
                continue;
            }
            if attempt == TRIES {
                if matches!(error, MoveError::Target(_)) {
                    self.refused.fetch_add(1, Relaxed);
                }
                if matches!(error, MoveError::Source(StoreError::Refused(_))) {
                    *self.shut().entry(source).or_default() += 1;
                }
                self.note(body, &error).await?;
                return Ok(false);
            }
            tracing::debug!(%error, version = %body.version, "a body was not moved yet");
            sleep(pause).await;
            (pause, attempt) = (pause * 2, attempt + 1);
        }
    }

    async fn note(&self, body: &Movable, error: &MoveError) -> Result<(), MoveError> {
        tracing::warn!(%error, version = %body.version, "a body could not be moved");
        let (id, reason) = (self.migration.id, reason(error));
        let noted = self
            .app
            .migrations
            .note_failure(id, body.version, &body.file, &reason);
        Ok(noted.await?)
    }

    /// Waits for a store to answer, also with another configuration than it has now.
    async fn wait_for(&self, store: StoreId) {
        loop {
            sleep(AWAY).await;
            if self.answers(store).await {
                return;
            }
        }
    }

    pub(super) fn shut(&self) -> MutexGuard<'_, BTreeMap<StoreId, u32>> {
        self.shut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an old store is left to a later pass: it is away, or lets nobody in.
    pub(super) fn is_passed_over(&self, store: StoreId) -> bool {
        let is_shut = self.shut().get(&store).is_some_and(|n| *n >= REFUSALS);
        is_shut || self.away().contains(&store)
    }

    pub(super) fn away(&self) -> MutexGuard<'_, BTreeSet<StoreId>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a store is there, also if it does not let us in: then waiting is of no use.
    async fn answers(&self, store: StoreId) -> bool {
        let stores = &self.app.stores;
        if let Err(error) = stores.refresh().await {
            tracing::debug!(%error, "whether stores have changed is not known");
        }
        let Ok(store) = stores.named(store).await else {
            return false;
        };
        let probed = timeout(PROBE, store.probe()).await;
        matches!(probed, Ok(Ok(()) | Err(StoreError::Refused(_))))
    }
}

/// The store that failed, if one did.
const fn failing(error: &MoveError, migration: &Migration, body: &Movable) -> Option<StoreId> {
    match error {
        MoveError::Source(_) => Some(body.location.store),
        MoveError::Target(_) => Some(migration.target),
        _ => None,
    }
}

/// The failure in words for the operator.
fn reason(error: &MoveError) -> String {
    match error {
        MoveError::Store(Error::Internal(source)) => with_causes(source.as_ref()),
        MoveError::Store(Error::Store { source, .. }) => with_causes(source),
        MoveError::Source(source) => format!("the old store: {}", with_causes(source)),
        MoveError::Target(source) => format!("the new store: {}", with_causes(source)),
        other => other.to_string(),
    }
}
