//! Who moves: one replica at a time, until another has to take over.

mod carrying;

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use cloakroom_domain::StoreId;
use tokio::{
    sync::Semaphore,
    task::{JoinError, JoinSet},
    time::{Instant, sleep},
};

use super::{
    copying::{Gear, MoveError},
    places::Places,
};
use crate::{
    App, Error, Pace,
    ports::{MIGRATION_LEASE, Migration, MigrationState, RepositoryError},
};

/// How often a replica looks whether there is something to move that nobody moves; it also looks when it hears of a
/// store that is new.
const LOOK: Duration = Duration::from_secs(2);

/// How often a mover shows that it lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(MIGRATION_LEASE.as_secs() / 4);

/// How many bodies are looked up at a time.
const PAGE: u32 = 500;

/// MiB of bodies on their way at once, and the most that one body counts for: of large ones there are few at a time, so
/// that a mover which dies loses little.
const ON_THE_WAY: usize = 128;
const MOST_OF_ONE: u64 = 96;

/// How many large bodies may wait for that while small ones pass them by.
const WAITING: usize = 64;

/// How many passes over what is left are made without anything being moved, before what is left is said to fail.
const IDLE_PASSES: u32 = 3;
const BETWEEN_PASSES: Duration = Duration::from_secs(1);

/// How often that time doubles while nothing but failures is left and uploads still end in the old store.
const LONGER: u32 = 6;

/// So many bodies in a row that the new store does not take end a pass: it is full, or takes nothing more. As many that
/// an old store does not give end it for that store.
const REFUSALS: u32 = 32;

/// How often a store that is away is asked whether it is back.
const AWAY: Duration = Duration::from_secs(2);

/// An old store that is away for longer has failed, so that a migration which can do no more ends.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Takes part in moving until `stop` is done: takes a migration that nobody carries on, and carries it on.
pub async fn move_bodies(
    app: Arc<App>,
    owner: String,
    concurrency: usize,
    pace: Pace,
    stop: impl Future<Output = ()>,
) {
    let (mut stop, pace) = (pin!(stop), Arc::new(pace));
    let concurrency = concurrency.max(1);
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = sleep(LOOK) => {}
            () = app.stores.changed() => {}
        }
        let migration = match take(&app, &owner).await {
            Ok(Some(migration)) => migration,
            Ok(None) => continue,
            Err(error) => {
                tracing::debug!(%error, "whether there is a migration to carry on is not known");
                continue;
            }
        };
        tracing::info!(migration = %migration.id, "moving to another store");
        let mover = Arc::new(Mover {
            app: app.clone(),
            migration: migration.clone(),
            begun: 2 * concurrency + WAITING,
            slots: Semaphore::new(2 * concurrency),
            gear: Gear {
                pace: pace.clone(),
                places: Places::of(&app, &migration),
                copying: Semaphore::new(concurrency),
            },
            on_the_way: Semaphore::new(ON_THE_WAY),
            refused: AtomicU32::new(0),
            away: Mutex::default(),
            shut: Mutex::default(),
        });
        let ended = tokio::select! {
            () = &mut stop => Ok(()),
            () = lost(&app, &migration) => Err(MoveError::Lost),
            ended = mover.run() => ended,
        };
        match ended {
            Ok(()) | Err(MoveError::Lost) => {}
            Err(error) => tracing::warn!(%error, "moving was interrupted"),
        }
        if let Err(error) = app
            .migrations
            .release(migration.id, migration.generation)
            .await
        {
            tracing::debug!(%error, "a migration is let go when its lease ends");
        }
    }
}

/// Takes the migration under way, if it is anybody's to take. Most of the time there is none, and nothing is written.
async fn take(app: &App, owner: &str) -> Result<Option<Migration>, RepositoryError> {
    let last = app.migrations.last().await?;
    if !last.is_some_and(|last| last.state.is_live()) {
        return Ok(None);
    }
    app.migrations.take(owner).await
}

/// Shows signs of life until the migration is another's or has ended.
async fn lost(app: &App, migration: &Migration) {
    let mut heard = Instant::now();
    loop {
        sleep(SIGN_OF_LIFE).await;
        match app
            .migrations
            .renew(migration.id, migration.generation)
            .await
        {
            Ok(true) => heard = Instant::now(),
            Ok(false) => return,
            // Another may have taken it over by then.
            Err(_) if heard.elapsed() >= MIGRATION_LEASE => return,
            Err(_) => {}
        }
    }
}

struct Mover {
    app: Arc<App>,
    migration: Migration,
    /// Bodies that are moved or wait to be, at most.
    begun: usize,
    /// For those that are moved: while half of them are copied, the rows of the others are written.
    slots: Semaphore,
    gear: Gear,
    on_the_way: Semaphore,
    /// Bodies in a row that the new store did not take.
    refused: AtomicU32,
    /// Old stores that did not answer in this pass.
    away: Mutex<BTreeSet<StoreId>>,
    /// Bodies in a row that an old store has refused to give.
    shut: Mutex<BTreeMap<StoreId, u32>>,
}

/// What a pass over everything that is left did.
#[derive(Default)]
struct Pass {
    moved: u64,
    failed: u64,
}

impl Pass {
    fn count(
        &mut self,
        carried: Result<Result<bool, MoveError>, JoinError>,
    ) -> Result<(), MoveError> {
        let died = |died: JoinError| MoveError::Store(Error::Internal(died.into()));
        if carried.map_err(died)?? {
            self.moved += 1;
        } else {
            self.failed += 1;
        }
        Ok(())
    }
}

impl Mover {
    async fn run(self: &Arc<Self>) -> Result<(), MoveError> {
        if self.migration.state == MigrationState::Validating {
            let why = "whoever tried the new store died over it";
            return self.end(MigrationState::Failed, Some(why)).await;
        }
        self.app.stores.refresh().await.map_err(MoveError::Store)?;
        let (mut idle, mut away_since) = (0, None);
        loop {
            // Before the pass: an upload that ends between the two would be in neither.
            let pending = self.pending().await?;
            let pass = self.pass().await?;
            if self.away().is_empty() {
                away_since = None;
            } else if away_since.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
                sleep(AWAY).await;
                continue;
            }
            idle = if pass.moved > 0 { 0 } else { idle + 1 };
            if idle >= IDLE_PASSES && self.is_refused() {
                let why = "the new store takes nothing more";
                return self.end(MigrationState::Failed, Some(why)).await;
            }
            if pending == 0 && pass.failed == 0 && pass.moved == 0 {
                return self.end(MigrationState::Done, None).await;
            }
            if pending == 0 && idle >= IDLE_PASSES {
                return self.end(MigrationState::DoneWithFailures, None).await;
            }
            if pass.moved == 0 && !self.is_refused() {
                self.advance(MigrationState::Draining, None).await?;
            }
            // What came after the pass had gone by is moved at once.
            if pass.moved == 0 || pass.failed > 0 {
                // What fails again and again is not copied again and again.
                let longer = if pass.failed > 0 { idle.min(LONGER) } else { 0 };
                sleep(BETWEEN_PASSES * 2_u32.pow(longer)).await;
            }
        }
    }

    /// Whether the new store has refused everything for a while.
    fn is_refused(&self) -> bool {
        self.refused.load(Relaxed) >= REFUSALS
    }

    async fn end(&self, state: MigrationState, failure: Option<&str>) -> Result<(), MoveError> {
        tracing::info!(migration = %self.migration.id, state = state.as_str(), "moving has ended");
        self.advance(state, failure).await
    }

    async fn advance(&self, state: MigrationState, failure: Option<&str>) -> Result<(), MoveError> {
        let Migration { id, generation, .. } = self.migration;
        let advanced = self
            .app
            .migrations
            .advance(id, generation, state, failure)
            .await?;
        advanced.then_some(()).ok_or(MoveError::Lost)
    }

    async fn sources(&self) -> Result<Vec<StoreId>, MoveError> {
        let records = self.app.registry.all().await?;
        let ids = records.into_iter().map(|record| record.id);
        Ok(ids.filter(|id| *id != self.migration.target).collect())
    }

    /// Uploads that still end in another store.
    async fn pending(&self) -> Result<u64, MoveError> {
        let mut pending = 0;
        for store in self.sources().await? {
            pending += self.app.migrations.pending_in(store).await?;
        }
        Ok(pending)
    }

    /// Over everything that is left, as long as the new store takes any of it. Each body in a task of its own, on
    /// whichever core is free.
    async fn pass(self: &Arc<Self>) -> Result<Pass, MoveError> {
        let mut pass = Pass::default();
        self.refused.store(0, Relaxed);
        self.away().clear();
        self.shut().clear();
        let mut moving = JoinSet::new();
        for store in self.sources().await? {
            let mut after = None;
            while !self.is_refused() && !self.is_passed_over(store) {
                let movable = &self.app.migrations;
                let page = movable.movable(store, after.as_ref(), PAGE).await?;
                let Some(last) = page.last() else {
                    break;
                };
                after = Some(last.location.clone());
                for body in page {
                    if moving.len() >= self.begun
                        && let Some(carried) = moving.join_next().await
                    {
                        pass.count(carried)?;
                    }
                    if self.is_refused() {
                        break;
                    }
                    let mover = Arc::clone(self);
                    moving.spawn(async move { mover.carry(&body).await });
                }
            }
        }
        while let Some(carried) = moving.join_next().await {
            pass.count(carried)?;
        }
        Ok(pass)
    }
}
