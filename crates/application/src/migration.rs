//! Moving every body to another store while people live in it.
//!
//! Whoever asks for it has the new store tried, and makes it current: new bodies go there from then on. A mover on
//! some replica then copies the others one by one. A read follows the row, which names the old object until the moment
//! it names the new one.

mod copying;
mod mover;
mod places;
mod together;
mod trial;

use std::sync::Arc;

use cloakroom_domain::{MigrationId, StoreId};

pub use self::mover::move_bodies;
pub(crate) use self::trial::{holds_what_is_stored, try_out};
use crate::{
    App, Error,
    ports::{
        Admitted, Amount, ConfigFault, Migration, MigrationState, MoveFailure, RepositoryError,
        StoreConfig, StoreError, StoreOpener, StoreRecord,
    },
    with_causes,
};

/// The most failures that a status lists.
const LISTED: u32 = 100;

/// What to move everything to.
#[derive(Debug, Clone)]
pub struct MigrationRequest {
    /// The driver of the new store.
    pub driver: String,
    /// Its configuration, by the names of the driver's settings.
    pub config: StoreConfig,
    /// Whether bytes that were moved are removed from the old store, after the delay for deleted ones.
    pub cleanup: bool,
}

/// A migration, and how far it is.
#[derive(Debug, Clone)]
pub struct MigrationStatus {
    /// Its row.
    pub migration: Migration,
    /// The driver of the new store.
    pub driver: String,
    /// What is in other stores.
    pub left: Amount,
    /// How long it has been under way, or was, in seconds.
    pub seconds: u64,
    /// What could not be moved: the first hundred.
    pub failures: Vec<MoveFailure>,
}

impl MigrationStatus {
    /// Bytes per second, on the average so far.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.migration.moved.bytes / self.seconds.max(1)
    }

    /// How long the rest takes at this rate; `None` where nothing is under way or that is not known.
    #[must_use]
    pub fn seconds_left(&self) -> Option<u64> {
        let left = self.left.bytes.checked_div(self.rate());
        left.filter(|_| self.migration.state.is_live())
    }
}

/// Who knows the drivers.
pub(crate) fn opener(app: &App) -> Result<&dyn StoreOpener, Error> {
    let opener = app.stores.opener();
    opener.ok_or_else(|| Error::Internal("this process opens no other stores".into()))
}

/// The entry that the request means: one that is there already, or a new one.
async fn entry(app: &App, request: &MigrationRequest) -> Result<StoreRecord, Error> {
    let opener = opener(app)?;
    let admitted = admitted(opener.admit(&request.driver, &request.config))?;
    let known = app.registry.all().await?;
    let is_there = |record: &StoreRecord| {
        let place = opener.place(record);
        place.is_ok_and(|place| place == admitted.place)
    };
    if let Some(record) = known.iter().find(|record| is_there(record)) {
        return Ok(trial::renewed(record.clone(), Some(admitted.config)));
    }
    // The same each time, so that a place which somebody marked and died over can be asked for again.
    let first = known.first().map(|first| first.id.to_string());
    let name = format!("{} {}", first.unwrap_or_default(), admitted.place);
    let named = StoreId::named(&name);
    // That store may have gone to another address since.
    let is_taken = known.iter().any(|record| record.id == named);
    Ok(StoreRecord {
        id: if is_taken { StoreId::random() } else { named },
        driver: admitted.driver,
        buckets: admitted.buckets,
        config: Some(admitted.config),
        revision: 0,
        is_current: false,
    })
}

/// What was read of a configuration, or why it cannot be one, for whoever gave it.
pub(crate) fn admitted(read: Result<Admitted, ConfigFault>) -> Result<Admitted, Error> {
    read.map_err(|fault| Error::BadValue(fault.to_string()))
}

/// What a migration would move.
///
/// # Errors
/// As [`migrate`].
pub async fn preview(app: &Arc<App>, request: &MigrationRequest) -> Result<Amount, Error> {
    app.stores.refresh().await?;
    let record = entry(app, request).await?;
    let prepared = trial::prepared(app, record).await?;
    let tried = prepared.try_out(app).await;
    prepared.withdraw(app).await;
    tried?;
    left(app, &app.registry.all().await?, prepared.record.id).await
}

/// Tries the new store, makes it current, and lets the movers begin. One migration at a time.
///
/// # Errors
/// [`Error::BadValue`] if the configuration cannot be, or the store fails what it was asked to do: nothing has changed
/// then; [`Error::Conflict`] if a migration is under way; failures of the database.
pub async fn migrate(
    app: &Arc<App>,
    owner: &str,
    request: &MigrationRequest,
) -> Result<MigrationStatus, Error> {
    app.stores.refresh().await?;
    let record = entry(app, request).await?;
    let prepared = trial::prepared(app, record).await?;
    match begin(app, owner, &prepared, request.cleanup).await {
        Ok(()) => {}
        // The store may be current by now, or another's request may be trying the same place.
        Err(
            error @ (Error::Repository(RepositoryError::OutcomeUnknown(_)) | Error::Conflict(_)),
        ) => return Err(error),
        Err(error) => {
            prepared.withdraw(app).await;
            return Err(error);
        }
    }
    app.stores.refresh().await?;
    let status = migration_status(app).await?;
    status.ok_or_else(|| Error::Internal("the migration is not there".into()))
}

/// Nobody else begins one while the store is tried.
async fn begin(
    app: &Arc<App>,
    owner: &str,
    prepared: &trial::Prepared,
    cleanup: bool,
) -> Result<(), Error> {
    let (id, target) = (MigrationId::random(), &prepared.record);
    let begun = app.migrations.begin(id, target.id, cleanup, owner).await?;
    let generation = begun
        .ok_or(Error::Conflict("a migration is under way"))?
        .generation;
    if let Err(error) = prepared.try_out(app).await {
        let (failed, why) = (MigrationState::Failed, error.to_string());
        app.migrations
            .advance(id, generation, failed, Some(&why))
            .await?;
        return Err(error);
    }
    let started = app.migrations.start(id, generation, target).await?;
    started
        .then_some(())
        .ok_or(Error::Conflict("the migration was cancelled"))
}

/// The newest migration, and how far it is.
///
/// # Errors
/// Failures of the database.
pub async fn migration_status(app: &App) -> Result<Option<MigrationStatus>, Error> {
    let Some(migration) = app.migrations.last().await? else {
        return Ok(None);
    };
    status_of(app, migration).await.map(Some)
}

/// Stops the migration under way. Every file can be read where it is, and asking for the same again goes on with it.
///
/// # Errors
/// [`Error::Conflict`] if none is under way; failures of the database.
pub async fn cancel_migration(app: &App) -> Result<MigrationStatus, Error> {
    let cancelled = app.migrations.cancel().await?;
    let cancelled = cancelled.ok_or(Error::Conflict("no migration is under way"))?;
    status_of(app, cancelled).await
}

async fn status_of(app: &App, migration: Migration) -> Result<MigrationStatus, Error> {
    let records = app.registry.all().await?;
    let target = records.iter().find(|it| it.id == migration.target);
    let now = app.ledger.now().await?;
    let until = migration.finished_at.unwrap_or(now);
    let micros = until.micros().saturating_sub(migration.started_at.micros());
    Ok(MigrationStatus {
        driver: target.map_or_else(String::new, |record| record.driver.clone()),
        left: left(app, &records, migration.target).await?,
        seconds: u64::try_from(micros / 1_000_000).unwrap_or_default(),
        failures: app.migrations.failures(migration.id, LISTED).await?,
        migration,
    })
}

/// What is in other stores than this one.
async fn left(app: &App, records: &[StoreRecord], target: StoreId) -> Result<Amount, Error> {
    let mut left = Amount::default();
    for record in records.iter().filter(|record| record.id != target) {
        let there = app.migrations.stored_in(record.id).await?;
        left.objects += there.objects;
        left.bytes += there.bytes;
    }
    Ok(left)
}

/// A store that was to be tried said no, in words for the operator.
pub(crate) fn unfit(step: &'static str, error: &StoreError) -> Error {
    Error::BadValue(format!(
        "the new store failed to {step}: {}",
        with_causes(error)
    ))
}
