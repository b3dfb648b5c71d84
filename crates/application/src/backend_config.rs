//! The configuration of the store that takes new bodies, as an operator sees and changes it.

use std::sync::Arc;

use crate::{
    App, Error,
    migration::{admitted, holds_what_is_stored, opener, try_out},
    ports::{StoreConfig, StoreRecord},
};

/// A store as an operator sees it.
#[derive(Debug, Clone)]
pub struct BackendConfig {
    /// Its entry.
    pub record: StoreRecord,
    /// Its configuration, with secrets as `****`.
    pub config: StoreConfig,
}

/// The store that takes new bodies.
///
/// # Errors
/// Failures of the database; [`Error::Internal`] if the configuration was sealed with a key that is not there.
pub async fn backend_config(app: &App) -> Result<BackendConfig, Error> {
    app.stores.refresh().await?;
    let record = current(app)?;
    let config = opener(app)?
        .shown(&record)
        .map_err(|error| Error::Internal(error.into()))?;
    Ok(BackendConfig { record, config })
}

/// Writes, reads, lists and deletes an object in the store that takes new bodies.
///
/// # Errors
/// [`Error::BadValue`] that says what failed; failures of the database.
pub async fn probe_backend(app: &Arc<App>) -> Result<(), Error> {
    app.stores.refresh().await?;
    try_out(app, &current(app)?).await
}

fn current(app: &App) -> Result<StoreRecord, Error> {
    let current = app.stores.current();
    current.ok_or_else(|| Error::Internal("the registry has no current store".into()))
}

/// Changes credentials or endpoint of the store that takes new bodies, once it has been tried with them. No byte is
/// moved, so it has to be the same store.
///
/// # Errors
/// [`Error::BadValue`] if the configuration cannot be, means another place in the store, or does not work: nothing has
/// changed then; [`Error::Conflict`] if somebody else changed it meanwhile; failures of the database.
pub async fn change_backend_config(
    app: &Arc<App>,
    changes: &StoreConfig,
) -> Result<BackendConfig, Error> {
    app.stores.refresh().await?;
    let record = current(app)?;
    let admitted = admitted(opener(app)?.changed(&record, changes))?;
    if admitted.buckets != record.buckets {
        let why = "the bucket cannot be changed without moving what is in it: use POST /migrate";
        return Err(Error::BadValue(why.to_owned()));
    }
    let changed = StoreRecord {
        config: Some(admitted.config.clone()),
        ..record.clone()
    };
    try_out(app, &changed).await?;
    holds_what_is_stored(app, &changed).await?;
    let done = app
        .registry
        .reconfigure(record.id, record.revision, &admitted.config)
        .await?;
    if !done {
        return Err(Error::Conflict("the store was changed meanwhile"));
    }
    backend_config(app).await
}
