//! Making a file of an upload that has every byte.

use std::time::Duration;

use cloakroom_domain::{ByteRange, ContentType, File, Location, SNIFF_LEN, UploadKind};
use futures_util::StreamExt;
use tokio::time::sleep;

use super::{
    assemble::{self, Made},
    hold::Held,
};
use crate::{
    App, Error, StoreOperation,
    hashes::Hashes,
    ports::{COMPLETING_LEASE, Commit, CommitError, CommitTarget, NUMBERS_AT_A_TIME, StoreError},
};

/// How often whoever makes a file shows a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(COMPLETING_LEASE.as_secs() / 4);

/// Makes a file of the upload, or a finished partial upload, which is no file. The hashes, if they are there, are of
/// all its bytes.
///
/// # Errors
/// [`Error::DigestMismatch`], after which the upload has failed; [`Error::UploadHeld`] if another request took it;
/// failures of database and store, after which it can be tried again.
pub(super) async fn finish(held: Held, hashes: Option<Hashes>) -> Result<Option<Box<File>>, Error> {
    watched(held, async |held: &Held| {
        let body = assemble::gather(held).await?;
        let hashes = match hashes.clone().or_else(|| kept(held)) {
            Some(hashes) => hashes,
            None => assemble::rehash(&held.app, &body.location).await?,
        };
        Ok(Made {
            body,
            hashes,
            partials: Vec::new(),
        })
    })
    .await
}

/// Does the work that makes a body, showing signs of life, and commits what came of it.
///
/// # Errors
/// As [`finish`].
pub(super) async fn watched(
    held: Held,
    work: impl AsyncFnOnce(&Held) -> Result<Made, Error>,
) -> Result<Option<Box<File>>, Error> {
    let uploads = &held.app.uploads;
    match uploads.completing(held.id(), held.generation()).await {
        Ok(true) => {}
        Ok(false) => return Err(Error::UploadHeld),
        Err(error) => {
            let _ = held.let_go(None).await;
            return Err(error.into());
        }
    }
    let outcome = tokio::select! {
        outcome = work(&held) => outcome,
        () = lost(&held) => return Err(Error::UploadHeld),
    };
    let made = match outcome {
        Ok(made) => made,
        Err(error) => {
            if let Error::Store {
                source: StoreError::Unavailable(_),
                ..
            } = error
            {
                // What was sent last may still arrive.
                uploads.loosen(held.id(), held.generation()).await?;
            }
            // Parts may have been begun.
            let numbers = held.record().next_number + NUMBERS_AT_A_TIME;
            held.let_go(Some(held.unchanged(numbers))).await?;
            return Err(error);
        }
    };
    let digest = held.record().target.digest;
    if Some(made.hashes.size()) != held.record().progress.length() {
        let error = "the stored bytes are not as many as were received";
        held.fail(error).await?;
        return Err(Error::Internal(error.into()));
    }
    if digest.is_some_and(|expected| expected != made.hashes.sha256()) {
        held.fail("the bytes do not match the digest").await?;
        return Err(Error::DigestMismatch);
    }
    let committed = commit(&held, made).await;
    if committed.is_err() {
        // Whoever asks next tries again. Under an old generation, or after a commit that did happen, it has no effect.
        let _ = held.let_go(None).await;
    }
    committed
}

/// Shows signs of life until the upload is another's.
async fn lost(held: &Held) {
    loop {
        sleep(SIGN_OF_LIFE).await;
        let uploads = &held.app.uploads;
        if let Ok(false) = uploads.completing(held.id(), held.generation()).await {
            return;
        }
    }
}

/// The hashes that are kept with the offset, if they are of all bytes.
fn kept(held: &Held) -> Option<Hashes> {
    let record = held.record();
    let hashes = match &record.hashes {
        Some(state) => Hashes::restore(state)?,
        None if record.progress.offset() == 0 => Hashes::new(),
        None => return None,
    };
    (Some(hashes.size()) == record.progress.length()).then_some(hashes)
}

async fn commit(held: &Held, made: Made) -> Result<Option<Box<File>>, Error> {
    let (app, record) = (&held.app, held.record());
    let Made { body, hashes, .. } = made;
    if record.kind == UploadKind::Partial {
        let lifetime = app.limits.upload_expiry;
        let finished = app
            .uploads
            .finish_partial(&record.id, held.generation(), lifetime)
            .await?;
        return if finished {
            Ok(None)
        } else {
            Err(Error::UploadHeld)
        };
    }
    let target = record.target.clone();
    let head = match hashes.head() {
        Some(head) => head.to_vec(),
        None => first_bytes(app, &body.location, hashes.size()).await?,
    };
    let content_type = ContentType::settle(target.declared_type.as_ref(), &target.name, &head);
    let commit = Commit {
        version: body.version,
        size: hashes.size(),
        sha256: hashes.sha256(),
        crc64: hashes.crc64(),
        content_type,
        target: CommitTarget::NewFile {
            claim_within: app.claims.within(&target.owner),
            owner: target.owner,
            name: target.name,
            visibility: target.visibility,
            metadata: target.metadata,
        },
        claim: None,
        upload: Some(held.generation()),
        partials: made.partials,
    };
    // Nothing is removed after an error: the upload is there, and whoever asks next finishes it.
    match app.files.commit(commit).await {
        Ok(file) => Ok(Some(Box::new(file))),
        Err(CommitError::Repository(error)) => Err(error.into()),
        Err(CommitError::Lost | CommitError::FileGone | CommitError::Changed) => {
            Err(Error::UploadHeld)
        }
    }
}

/// What a type is settled by, where the first bytes went by in another request.
async fn first_bytes(app: &App, location: &Location, size: u64) -> Result<Vec<u8>, Error> {
    let failed = Error::store(StoreOperation::Upload);
    let end = size.min(SNIFF_LEN as u64);
    if end == 0 {
        return Ok(Vec::new());
    }
    let store = app.stores.at(location).await?;
    let range = ByteRange { start: 0, end };
    let read = store.read(&location.bucket, &location.key, Some(range));
    let mut bytes = read.await.map_err(failed)?.into_stream();
    let mut head = Vec::with_capacity(SNIFF_LEN);
    while let Some(chunk) = bytes.next().await {
        head.extend_from_slice(&chunk.map_err(failed)?);
    }
    Ok(head)
}
