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

/// How long a caller waits for the joining. After that it is told that the file will be there.
const PATIENCE: Duration = Duration::from_secs(45);

/// The most that one replica takes up at a time; another look is taken soon.
const TAKEN_UP: u32 = 4;

/// Joins finished partial uploads of the same caller, in this order, and removes them. What takes longer than a caller
/// waits is kept as promised: whatever becomes of this replica, [`take_up`] goes on with it. Whoever asks for the same
/// again in the same words, since the answer was lost, is told of the upload that there is.
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
    let described = new.described.clone();
    match join_anew(app, who, partials, new).await {
        Err(Error::UploadGone) => joined_before(app, who, partials, described).await,
        joined => joined,
    }
}

/// The upload that just these were joined into, asked for in these words.
async fn joined_before(
    app: &App,
    who: &Principal,
    partials: &[FileId],
    described: Option<String>,
) -> Result<UploadStatus, Error> {
    let mut joined = None;
    for id in partials {
        let used_by = super::find_own(app, who, id).await?.used_by;
        let used_by = used_by.ok_or(Error::UploadGone)?;
        if *joined.get_or_insert_with(|| used_by.clone()) != used_by {
            return Err(Error::UploadGone);
        }
    }
    let joined = joined.ok_or(Error::UploadGone)?;
    let joined = super::find_own(app, who, &joined).await?;
    let is_same = described.is_some() && joined.target.described == described;
    if !is_same || super::is_gone(app, &joined).await? {
        return Err(Error::UploadGone);
    }
    Ok(joined.into())
}

async fn join_anew(
    app: &Arc<App>,
    who: &Principal,
    partials: &[FileId],
    new: NewResumable,
) -> Result<UploadStatus, Error> {
    let found = find_all(app, who, partials).await?;
    let length = found.iter().try_fold(0_u64, |sum, partial| {
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
    let joining = join_or_promise(Arc::clone(app), row, found);
    app.background.finish(joining).await?;
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

/// An upload that could not be joined while its caller waited fails, since that is what it is told; its partial uploads
/// are still there.
async fn join_or_promise(
    app: Arc<App>,
    row: NewUploadRow,
    partials: Vec<UploadRecord>,
) -> Result<(), Error> {
    let id = row.id.clone();
    let ids: Vec<FileId> = partials.iter().map(|it| it.id.clone()).collect();
    let first = begin(Arc::clone(&app), row, partials);
    let mut first = app.background.spawn(first);
    let outcome = loop {
        if let Ok(outcome) = tokio::time::timeout(PATIENCE, &mut first).await {
            break outcome;
        }
        match app.uploads.promise(&id, &ids).await {
            Ok(true) => return Ok(()),
            // It ended in this moment.
            Ok(false) => break first.await,
            Err(error) => tracing::warn!(%error, upload = %id, "a joining is not promised yet"),
        }
    };
    let outcome = outcome.map_err(|error| Error::Internal(error.into()))?;
    if outcome.is_err() {
        fail(&app, &id).await?;
    }
    outcome
}

async fn begin(app: Arc<App>, row: NewUploadRow, partials: Vec<UploadRecord>) -> Result<(), Error> {
    let ids: Vec<FileId> = partials.iter().map(|it| it.id.clone()).collect();
    app.uploads.prolong(&ids, row.lifetime).await?;
    let id = app.uploads.create(row).await?.id;
    let outcome = run(&app, &id, &partials).await;
    if let Err(error) = &outcome {
        tracing::warn!(%error, upload = %id, "partial uploads were not joined");
    }
    outcome
}

async fn fail(app: &Arc<App>, id: &FileId) -> Result<(), Error> {
    match hold::hold(app, id).await {
        Ok(hold::Taken::Held(held)) => held.fail("the partial uploads could not be joined").await,
        _ => Ok(()),
    }
}

/// Goes on in the background with promised joinings that nobody shows a sign of life at, because their replica died or
/// a store was away, and answers how many. Any number of replicas may do so at once.
///
/// # Errors
/// Failures of the database.
pub async fn take_up(app: &Arc<App>) -> Result<usize, Error> {
    let left = app.uploads.forsaken(TAKEN_UP).await?;
    let count = left.len();
    for (id, partials) in left {
        app.background.spawn(go_on(Arc::clone(app), id, partials));
    }
    Ok(count)
}

/// What can never be done fails. Anything else is taken up again until the upload expires.
async fn go_on(app: Arc<App>, id: FileId, partials: Vec<FileId>) {
    let outcome = match find_waiting(&app, &partials).await {
        Ok(partials) => run(&app, &id, &partials).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => tracing::info!(upload = %id, "a joining that was left is done"),
        // Another replica is at it.
        Err(Error::UploadHeld) => {}
        Err(error) => {
            tracing::warn!(%error, upload = %id, "a joining that was left is not done");
            if matches!(error, Error::UploadGone)
                && let Err(error) = fail(&app, &id).await
            {
                tracing::warn!(%error, upload = %id, "nor is it given up");
            }
        }
    }
}

async fn find_waiting(app: &App, ids: &[FileId]) -> Result<Vec<UploadRecord>, Error> {
    let mut partials = Vec::with_capacity(ids.len());
    for id in ids {
        let partial = app.uploads.find(id).await?;
        let waiting = partial.filter(|it| it.state == UploadState::Finished);
        partials.push(waiting.ok_or(Error::UploadGone)?);
    }
    Ok(partials)
}

async fn run(app: &Arc<App>, id: &FileId, partials: &[UploadRecord]) -> Result<(), Error> {
    let hold::Taken::Held(held) = hold::hold(app, id).await? else {
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
        Err(error) => Err(gone_or(app, partials, error).await?),
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
