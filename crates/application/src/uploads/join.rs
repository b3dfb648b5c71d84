//! An upload made of finished partial ones (tus 1.0.0, concatenation).

use std::{sync::Arc, time::Duration};

use cloakroom_domain::{FileId, Location, Principal, UploadKind, UploadState};

use super::{
    NewResumable, UploadStatus,
    assemble::{self, Body, Made},
    finish, hold,
};
use crate::{
    App, Error,
    hashes::Hashes,
    ports::{NewUploadRow, UploadRecord},
};

/// The most partial uploads that one can be made of.
const MAX_PARTIALS: usize = 1000;

/// How long a caller waits for the joining; it goes on without it.
const PATIENCE: Duration = Duration::from_secs(45);

/// Joins finished partial uploads of the same caller, in this order, and removes them. Joining what is large goes on
/// after the answer.
///
/// # Errors
/// [`Error::UploadMissing`] if one is not the caller's or does not exist, [`Error::UploadGone`]; [`Error::BadValue`]
/// for none, too many, one that is not partial, or one named twice; [`Error::Conflict`] for one that is not finished;
/// [`Error::TooLarge`]; as `create`; failures of database and store.
pub async fn join(
    app: &Arc<App>,
    who: &Principal,
    partials: &[FileId],
    new: NewResumable,
) -> Result<UploadStatus, Error> {
    let partials = find_all(app, who, partials).await?;
    let length = partials.iter().try_fold(0_u64, |sum, partial| {
        sum.checked_add(partial.progress.offset())
    });
    let limit = app.limits.max_file_size;
    let length = length.ok_or(Error::TooLarge { limit })?;
    let new = NewResumable {
        kind: UploadKind::Joined,
        length: Some(length),
        ..new
    };
    let row = super::new_row(app, who, new)?;
    let id = row.id.clone();
    let work = app
        .background
        .spawn(run_to_its_end(Arc::clone(app), row, partials));
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(outcome) => outcome.map_err(|error| Error::Internal(error.into()))??,
        Err(_) => tracing::debug!("joining takes longer than its caller waits"),
    }
    Ok(super::find_own(app, who, &id).await?.into())
}

async fn find_all(app: &App, who: &Principal, ids: &[FileId]) -> Result<Vec<UploadRecord>, Error> {
    if ids.is_empty() || ids.len() > MAX_PARTIALS {
        let count = format!("a final upload has 1 to {MAX_PARTIALS} partial ones");
        return Err(Error::BadValue(count));
    }
    let mut partials = Vec::with_capacity(ids.len());
    for (at, id) in ids.iter().enumerate() {
        if ids[..at].contains(id) {
            return Err(Error::BadValue(
                "a partial upload is named twice".to_owned(),
            ));
        }
        let partial = super::find_own(app, who, id).await?;
        if partial.kind != UploadKind::Partial {
            return Err(Error::BadValue(format!("the upload {id} is not partial")));
        }
        if partial.state.is_gone() {
            return Err(Error::UploadGone);
        }
        if partial.state != UploadState::Finished {
            return Err(Error::Conflict("a partial upload is not finished"));
        }
        partials.push(partial);
    }
    Ok(partials)
}

/// Joins, and fails the upload if that fails: nobody may wait for it any more, and its partial uploads are still there.
async fn run_to_its_end(
    app: Arc<App>,
    row: NewUploadRow,
    partials: Vec<UploadRecord>,
) -> Result<(), Error> {
    let id = row.id.clone();
    let outcome = run(Arc::clone(&app), row, partials).await;
    if let Err(error) = &outcome {
        tracing::warn!(%error, upload = %id, "partial uploads were not joined");
        if let Ok(hold::Taken::Held(held)) = hold::hold(&app, &id).await {
            held.fail("the partial uploads could not be joined").await?;
        }
    }
    outcome
}

async fn run(app: Arc<App>, row: NewUploadRow, partials: Vec<UploadRecord>) -> Result<(), Error> {
    let id = app.uploads.create(row).await?.id;
    let hold::Taken::Held(held) = hold::hold(&app, &id).await? else {
        return Err(Error::UploadGone);
    };
    let sources: Vec<Location> = partials.iter().map(|it| it.location.clone()).collect();
    let outcome = finish::watched(held, async |held| {
        let mut hashes = Hashes::new();
        assemble::write_object(held, &sources, Some(&mut hashes)).await?;
        let body = Body {
            version: held.record().version,
            location: held.record().location.clone(),
        };
        Ok(Made {
            body,
            hashes,
            partials: partials.iter().map(|it| it.id.clone()).collect(),
        })
    })
    .await;
    match outcome {
        Ok(_) => Ok(()),
        // They may be gone because the file is there: only the rows know.
        Err(error @ Error::Repository(_)) => Err(error),
        Err(error) => Err(gone_or(&app, &partials, error).await?),
    }
}

/// Partial uploads that could not be read or used may be those that another request has joined meanwhile.
async fn gone_or(app: &App, partials: &[UploadRecord], error: Error) -> Result<Error, Error> {
    for partial in partials {
        let now = app.uploads.find(&partial.id).await?;
        if now.is_none_or(|now| now.state.is_gone()) {
            return Ok(Error::UploadGone);
        }
    }
    Ok(error)
}
