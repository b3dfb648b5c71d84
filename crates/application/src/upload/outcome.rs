//! How an upload ends: committed, given up, or with an outcome that only the row knows.

use std::{sync::Arc, time::Duration};

use cloakroom_domain::{File, Location, VersionId};

use super::Open;
use crate::{
    App, Error, Limits, StoreOperation,
    ports::{Commit, CommitError, RepositoryError, StoreError},
};

/// Makes the object durable and its row `stored`, or cleans up.
pub(super) async fn complete(app: &Arc<App>, open: Open, commit: Commit) -> Result<File, Error> {
    let Open {
        version,
        location,
        writer,
    } = open;
    if let Err(source) = writer.finish().await {
        let delay = app.limits.delay_after(&source);
        clean_up_soon(app, version, &location, delay).await;
        return Err(Error::Store {
            operation: StoreOperation::Upload,
            source,
        });
    }
    let error = match app.files.commit(commit).await {
        Ok(file) => return Ok(file),
        // Only the row knows. It is read later, by the sweeper.
        Err(CommitError::Repository(error @ RepositoryError::OutcomeUnknown(_))) => {
            return Err(error.into());
        }
        Err(error) => error,
    };
    let lost_row = matches!(error, CommitError::Lost);
    clean_up_soon(app, version, &location, Duration::ZERO).await;
    if lost_row {
        let (owned, location) = (Arc::clone(app), location.clone());
        soon(app, async move { remove_object(&owned, &location).await }).await;
    }
    Err(match error {
        CommitError::Lost => lost(),
        CommitError::FileGone => Error::NotFound,
        CommitError::Changed => Error::PreconditionFailed,
        CommitError::Repository(error) => error.into(),
    })
}

/// Removes the object of a row that went to the sweeper: it may have looked before the object appeared, and no row
/// can come to refer to this key any more.
async fn remove_object(app: &App, location: &Location) {
    let Ok(store) = app.stores.at(location).await else {
        return;
    };
    let answers = store
        .delete(&location.bucket, std::slice::from_ref(&location.key))
        .await;
    for error in answers.into_iter().filter_map(Result::err) {
        tracing::error!(%error, "an object without a row could not be removed");
    }
}

/// The longest that a caller with an error to answer waits for the cleaning.
const SOON: Duration = Duration::from_secs(1);

/// Cleans up in a task of its own, so that a caller that leaves does not stop it, and waits for it a little.
pub(super) async fn soon(app: &App, cleaning: impl Future<Output = ()> + Send + 'static) {
    let cleaning = app.background.spawn(cleaning);
    if let Ok(Err(error)) = tokio::time::timeout(SOON, cleaning).await {
        tracing::error!(%error, "cleaning up after an upload failed");
    }
}

/// [`clean_up`], [`soon`].
pub(super) async fn clean_up_soon(
    app: &Arc<App>,
    version: VersionId,
    location: &Location,
    delay: Duration,
) {
    let (owned, location) = (Arc::clone(app), location.clone());
    soon(app, async move {
        clean_up(&owned, version, &location, delay).await;
    })
    .await;
}

/// Gives up the object and the row.
pub(super) async fn abandon(app: &App, open: Open) {
    let Open {
        version,
        location,
        writer,
    } = open;
    let delay = match writer.abort().await {
        Ok(()) => Duration::ZERO,
        Err(error) => app.limits.delay_after(&error),
    };
    clean_up(app, version, &location, delay).await;
}

/// Removes a pending upload's object and row. Where the write's outcome is unknown, the row stays `deleting`
/// for `delay`, so that the sweeper deletes again. Nothing is removed unless the row was still pending.
pub(crate) async fn clean_up(app: &App, version: VersionId, location: &Location, delay: Duration) {
    match app.ledger.give_up(version, delay).await {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => {
            tracing::warn!(%error, "a failed upload is left to the sweeper");
            return;
        }
    }
    let Ok(store) = app.stores.at(location).await else {
        return;
    };
    let answers = store
        .delete(&location.bucket, std::slice::from_ref(&location.key))
        .await;
    if delay.is_zero()
        && answers.iter().all(Result::is_ok)
        && let Err(error) = app.ledger.forget(&[version]).await
    {
        tracing::warn!(%error, "a removed upload's row is left to the sweeper");
    }
}

/// Its bytes came slowly while others waited for the memory that they were collected in.
pub(crate) fn too_slow() -> Error {
    let why = "the bytes came slowly while other uploads waited for memory; a resumable upload can be slow";
    Error::store(StoreOperation::Upload)(StoreError::Unavailable(why.into()))
}

/// The upload's row or key went to somebody else.
pub(super) fn lost() -> Error {
    Error::Conflict("the upload took too long and was given up")
}

impl Limits {
    pub(crate) const fn delay_after(&self, error: &StoreError) -> Duration {
        match error {
            StoreError::Unavailable(_) => self.uncertain_delay,
            _ => Duration::ZERO,
        }
    }
}
