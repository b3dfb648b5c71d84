//! Uploads straight to the store: the client sends parts to presigned addresses, and what arrived is read and hashed
//! before it is a file.

use std::{collections::HashMap, sync::Arc, time::Duration};

use cloakroom_domain::{
    File, FileId, Principal, Timestamp, UploadKind, UploadProgress, UploadState,
};

use super::{
    NewResumable,
    finish::finish,
    hold::{Held, Taken, hold},
    part_sizes::part_sizes,
    sink::unfinished,
};
use crate::{
    App, Error, StoreOperation,
    ports::{NewUploadRow, Saved, SignedRequest, StoreError, StoredPart, Stretch, UploadRecord},
};

/// An address is never valid for longer: no S3 store signs for more.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a caller waits while what it sent is read.
const PATIENCE: Duration = Duration::from_secs(20);

/// A part that the client sends by itself.
#[derive(Debug, Clone)]
pub struct DirectPart {
    /// Its number, from 1 on.
    pub number: u32,
    /// Its length in bytes, no more and no less.
    pub size: u64,
    /// How to send it.
    pub request: SignedRequest,
}

/// An upload that a client sends straight to the store.
#[derive(Debug, Clone)]
pub struct DirectUpload {
    /// Its id, and the file's once it is one.
    pub id: FileId,
    /// All parts, in order.
    pub parts: Vec<DirectPart>,
    /// When the addresses and the upload end.
    pub expires_at: Timestamp,
}

/// A part that the client says it has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentPart {
    /// Its number.
    pub number: u32,
    /// The ETag that the store answered, with or without quotes.
    pub tag: String,
}

/// How far a direct upload is.
#[derive(Debug)]
pub enum DirectStatus {
    /// Parts may be sent.
    Open {
        /// Bytes that there will be.
        size: u64,
        /// When it ends by itself.
        expires_at: Timestamp,
    },
    /// What was sent is being read.
    Verifying,
    /// It is a file.
    File(Box<File>),
}

/// Creates an upload and signs an address for each of its parts.
///
/// # Errors
/// As [`create`](super::create); [`Error::BadValue`] for no bytes at all; [`Error::Conflict`] where the store cannot sign
/// addresses; failures of database and store.
pub async fn begin_direct(
    app: &Arc<App>,
    who: &Principal,
    new: NewResumable,
) -> Result<DirectUpload, Error> {
    let size = new.length.filter(|size| *size > 0);
    let size = size.ok_or_else(|| Error::BadValue("size must be 1 or more".to_owned()))?;
    let new = NewResumable {
        kind: UploadKind::Direct,
        ..new
    };
    let row = super::new_row(app, who, new)?;
    let opening = open(Arc::clone(app), row, size);
    app.background.finish(opening).await
}

async fn open(app: Arc<App>, row: NewUploadRow, size: u64) -> Result<DirectUpload, Error> {
    let record = app.uploads.create(row).await?;
    let Taken::Held(held) = hold(&app, &record.id).await? else {
        return Err(Error::UploadGone);
    };
    match sign(&held, size).await {
        Ok((parts, write_id)) => {
            let id = held.id().clone();
            let expires_at = usable_until(&held);
            held.let_go(Some(opened(&held, write_id))).await?;
            Ok(DirectUpload {
                id,
                parts,
                expires_at,
            })
        }
        Err(error) => {
            held.terminate_after(&error).await?;
            Err(error)
        }
    }
}

/// An upload may live for longer than any address.
fn usable_until(held: &Held) -> Timestamp {
    let beyond = held.app.limits.upload_expiry.saturating_sub(LONGEST);
    let beyond = i64::try_from(beyond.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(held.record().expires_at.micros().saturating_sub(beyond))
}

async fn sign(held: &Held, size: u64) -> Result<(Vec<DirectPart>, String), Error> {
    let record = held.record();
    let store = held.app.stores.at(&record.location).await?;
    let (Some(presign), Some(_)) = (store.presign(), store.resumable()) else {
        return Err(Error::Conflict(
            "this store takes no direct uploads; upload through the service, by tus for example",
        ));
    };
    let failed = Error::store(StoreOperation::Upload);
    let at = &record.location;
    let write_id = presign.open(&at.bucket, &at.key).await.map_err(failed)?;
    let object = unfinished(at, Some(write_id.clone()));
    let valid = held.app.limits.upload_expiry.min(LONGEST);
    let mut parts = Vec::new();
    for (number, size) in (1..).zip(part_sizes(size)) {
        // Signing takes the processor a while, and others wait for it.
        tokio::task::yield_now().await;
        let request = presign.put_part(&object, number, size, valid).await;
        parts.push(DirectPart {
            number,
            size,
            request: request.map_err(failed)?,
        });
    }
    Ok((parts, write_id))
}

fn opened(held: &Held, write_id: String) -> Saved {
    let record = held.record();
    Saved {
        progress: record.progress,
        hashes: None,
        write_id: Some(write_id),
        next_number: record.next_number,
        changed_from: 0,
        stretches: Vec::new(),
        lifetime: Some(held.app.limits.upload_expiry),
    }
}

/// Makes a file of what was sent, once it was read and is what was announced. Asked again, it answers the same.
///
/// # Errors
/// [`Error::UploadMissing`], [`Error::UploadGone`]; [`Error::BadValue`] for parts that are missing, named twice,
/// unknown, of another size or another tag than the store has, after which it can be tried again;
/// [`Error::DigestMismatch`], after which the upload has failed; failures of database and store.
pub async fn complete_direct(
    app: &Arc<App>,
    who: &Principal,
    id: &FileId,
    sent: &[SentPart],
) -> Result<DirectStatus, Error> {
    let record = find_direct(app, who, id).await?;
    if record.state != UploadState::Open || record.progress.is_whole() {
        return go_on(app, record).await;
    }
    let noting = note(Arc::clone(app), id.clone(), sent.to_vec());
    app.background.finish(noting).await?;
    go_on(app, find_direct(app, who, id).await?).await
}

/// Writes down the parts that were sent, so that any replica can make the file of them.
async fn note(app: Arc<App>, id: FileId, sent: Vec<SentPart>) -> Result<(), Error> {
    let Taken::Held(held) = hold(&app, &id).await? else {
        return Ok(());
    };
    if held.record().progress.is_whole() {
        return held.let_go(None).await;
    }
    match verify(&held, &sent).await {
        Ok(stretches) => {
            let saved = whole(&held, stretches);
            held.let_go(Some(saved)).await
        }
        Err(error) => {
            held.let_go(None).await?;
            Err(error)
        }
    }
}

/// How far the caller's direct upload is. One that broke off while it was read is read again.
///
/// # Errors
/// [`Error::UploadMissing`], [`Error::UploadGone`], [`Error::DigestMismatch`] for one that failed; failures of the
/// database.
pub async fn direct_status(
    app: &Arc<App>,
    who: &Principal,
    id: &FileId,
) -> Result<DirectStatus, Error> {
    let record = find_direct(app, who, id).await?;
    go_on(app, record).await
}

async fn find_direct(app: &App, who: &Principal, id: &FileId) -> Result<UploadRecord, Error> {
    let record = super::find_own(app, who, id).await?;
    if record.kind == UploadKind::Direct {
        return Ok(record);
    }
    Err(Error::UploadMissing)
}

async fn go_on(app: &Arc<App>, record: UploadRecord) -> Result<DirectStatus, Error> {
    match record.state {
        UploadState::Finished => {
            let file = app.files.find_fresh(&record.id).await?;
            let file = file.filter(|file| file.deleted_at.is_none());
            file.map(|file| DirectStatus::File(Box::new(file)))
                .ok_or(Error::UploadGone)
        }
        UploadState::Failed if record.target.digest.is_some() => Err(Error::DigestMismatch),
        UploadState::Failed => Err(Error::UploadGone),
        UploadState::Expired | UploadState::Terminated => Err(Error::UploadGone),
        UploadState::Open if !record.progress.is_whole() => Ok(DirectStatus::Open {
            size: record.progress.length().unwrap_or_default(),
            expires_at: record.expires_at,
        }),
        UploadState::Open | UploadState::Completing => read(app, record).await,
    }
}

/// Reads what was sent and makes the file of it; the caller waits for that a while.
async fn read(app: &Arc<App>, record: UploadRecord) -> Result<DirectStatus, Error> {
    let reading = app.background.spawn({
        let (app, id) = (Arc::clone(app), record.id.clone());
        async move {
            match hold(&app, &id).await? {
                Taken::Held(held) => match finish(held, None).await {
                    Err(error) if is_for_good(&error) => reopen(&app, &id, error).await,
                    outcome => outcome.map(drop),
                },
                Taken::Ended(_) => Ok(()),
            }
        }
    });
    match tokio::time::timeout(PATIENCE, reading).await {
        Err(_) | Ok(Ok(Err(Error::UploadHeld))) => return Ok(DirectStatus::Verifying),
        Ok(outcome) => outcome.map_err(|error| Error::Internal(error.into()))??,
    }
    match app.uploads.find(&record.id).await? {
        Some(record) if !record.state.is_live() => Box::pin(go_on(app, record)).await,
        _ => Ok(DirectStatus::Verifying),
    }
}

/// Whether the store will not join these parts however often it is asked, such as after one was begun anew.
const fn is_for_good(error: &Error) -> bool {
    matches!(
        error,
        Error::Store {
            source: StoreError::Refused(_) | StoreError::Broken(_),
            ..
        }
    )
}

/// Lets parts be sent again, unless they are joined already: then reading what they made has failed, and is tried again
/// when the client asks.
async fn reopen(app: &Arc<App>, id: &FileId, error: Error) -> Result<(), Error> {
    if let Taken::Held(held) = hold(app, id).await? {
        match is_joined(&held).await {
            Ok(false) => {}
            Ok(true) => {
                held.let_go(None).await?;
                return Err(error);
            }
            Err(unknown) => {
                held.let_go(None).await?;
                return Err(unknown);
            }
        }
        let none = UploadProgress::restore(0, held.record().progress.length());
        let saved = Saved {
            progress: none.unwrap_or(held.record().progress),
            changed_from: 0,
            ..held.unchanged(0)
        };
        held.let_go(Some(saved)).await?;
    }
    let why = "the store does not join these parts; send again what was sent twice or broke off";
    Err(Error::BadValue(why.to_owned()))
}

async fn is_joined(held: &Held) -> Result<bool, Error> {
    let at = &held.record().location;
    let store = held.app.stores.at(at).await?;
    match store.head(&at.bucket, &at.key).await {
        Ok(found) => Ok(Some(found.size) == held.record().progress.length()),
        Err(StoreError::NotFound) => Ok(false),
        Err(error) => Err(Error::store(StoreOperation::Upload)(error)),
    }
}

/// Compares what the client says with what the store has and with what was agreed.
async fn verify(held: &Held, sent: &[SentPart]) -> Result<Vec<Stretch>, Error> {
    let record = held.record();
    let store = held.app.stores.at(&record.location).await?;
    let Some(presign) = store.presign() else {
        return Err(Error::Conflict(
            "this store takes no direct uploads any more",
        ));
    };
    let object = unfinished(&record.location, record.write_id.clone());
    let parts = presign.parts(&object).await;
    let parts = parts.map_err(Error::store(StoreOperation::Upload))?;
    let sizes: Vec<u64> = part_sizes(record.progress.length().unwrap_or_default()).collect();
    let bad = |why: String| Err(Error::BadValue(why));
    let mut named = vec![false; sizes.len()];
    for part in sent {
        let at = usize::try_from(part.number)
            .ok()
            .and_then(|n| n.checked_sub(1));
        let Some(seen) = at.and_then(|at| named.get_mut(at)) else {
            return bad(format!("there is no part {}", part.number));
        };
        if std::mem::replace(seen, true) {
            return bad(format!("part {} is named twice", part.number));
        }
    }
    if let Some(missing) = named.iter().position(|seen| !seen) {
        return bad(format!("part {} is not named", missing + 1));
    }
    let parts: HashMap<u32, &StoredPart> = parts.iter().map(|part| (part.number, part)).collect();
    let tags: HashMap<u32, &str> = sent
        .iter()
        .map(|part| (part.number, bare(&part.tag)))
        .collect();
    let mut start = 0;
    let mut stretches = Vec::with_capacity(sizes.len());
    for (number, size) in (1..).zip(sizes) {
        let Some(part) = parts.get(&number) else {
            return bad(format!("part {number} has not arrived"));
        };
        let is_same = tags.get(&number).is_some_and(|tag| *tag == bare(&part.tag));
        if !is_same || part.size != size {
            return bad(format!(
                "part {number} is another than the one that arrived"
            ));
        }
        stretches.push(Stretch::part(start, (*part).clone()));
        start += size;
    }
    Ok(stretches)
}

/// A tag without its quotes.
fn bare(tag: &str) -> &str {
    tag.trim().trim_matches('"')
}

/// What keeps the parts of an upload that is whole.
fn whole(held: &Held, stretches: Vec<Stretch>) -> Saved {
    let record = held.record();
    let length = record.progress.length();
    let progress = UploadProgress::restore(length.unwrap_or_default(), length);
    let write_id = record.write_id.clone().unwrap_or_default();
    Saved {
        progress: progress.unwrap_or(record.progress),
        stretches,
        ..opened(held, write_id)
    }
}

/// Gives the caller's direct upload up.
///
/// # Errors
/// As [`terminate`](super::terminate).
pub async fn abandon_direct(app: &Arc<App>, who: &Principal, id: &FileId) -> Result<(), Error> {
    let record = find_direct(app, who, id).await?;
    super::give_up_to_the_end(app, record).await
}
