//! Uploads that take several requests: created, appended to, asked about, given up, made a file.
//!
//! A request that changes an upload holds it by a lease; a newer request takes it over, on whatever replica. What is
//! durable is kept with the offset, so nothing that was acknowledged is asked for again.

mod append;
mod assemble;
mod body;
mod checksum;
mod direct;
mod finish;
mod hold;
mod join;
mod kept;
mod part_sizes;
mod sink;

use std::{sync::Arc, time::Duration};

use cloakroom_domain::{
    AccountId, ContentType, FileId, FileName, Metadata, ObjectKey, Principal, Sha256Digest,
    Timestamp, UploadKind, UploadProgress, UploadState, VersionId, Visibility,
};

pub use self::{
    append::{Append, Appended, Appending, End, append},
    checksum::Checksum,
    direct::{
        DirectPart, DirectStatus, DirectUpload, SentPart, abandon_direct, begin_direct,
        complete_direct, direct_status,
    },
    join::{join, take_up},
};
use crate::{
    App, Error,
    ports::{NewUploadRow, UploadRecord, UploadTarget},
    upload::caller_key,
};

/// What an upload is to become.
#[derive(Debug, Clone)]
pub struct NewResumable {
    /// What it is for.
    pub kind: UploadKind,
    /// The account to upload into, for callers that name one.
    pub account: Option<AccountId>,
    /// The name of the file.
    pub name: Option<FileName>,
    /// The type it was declared as.
    pub declared_type: Option<ContentType>,
    /// Who else may read it.
    pub visibility: Visibility,
    /// Key-value metadata.
    pub metadata: Metadata,
    /// The digest that the bytes must have.
    pub digest: Option<Sha256Digest>,
    /// Its length in bytes, where it is known.
    pub length: Option<u64>,
    /// What the client said of it, in its protocol's words, to be given back as it came.
    pub described: Option<String>,
}

/// An upload as its creator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadStatus {
    /// Its id, and the file's once it is one.
    pub id: FileId,
    /// What it is for.
    pub kind: UploadKind,
    /// Where it is in its life.
    pub state: UploadState,
    /// How far it is.
    pub progress: UploadProgress,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// What the client said of it, as it came.
    pub described: Option<String>,
}

impl From<UploadRecord> for UploadStatus {
    fn from(record: UploadRecord) -> Self {
        Self {
            id: record.id,
            kind: record.kind,
            state: record.state,
            progress: record.progress,
            expires_at: record.expires_at,
            described: record.target.described,
        }
    }
}

/// How a caller says that an upload has every byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// By its length: the last byte completes it (tus 1.0.0).
    ByLength,
    /// By saying so (draft-ietf-httpbis-resumable-upload).
    ByWord,
}

/// Creates an upload without bytes.
///
/// # Errors
/// [`Error::Unauthenticated`] or [`Error::MissingField`] if the caller cannot upload or names no account;
/// [`Error::TooLarge`]; failures of the database.
pub async fn create(app: &App, who: &Principal, new: NewResumable) -> Result<UploadStatus, Error> {
    let row = new_row(app, who, new)?;
    Ok(app.uploads.create(row).await?.into())
}

fn new_row(app: &App, who: &Principal, new: NewResumable) -> Result<NewUploadRow, Error> {
    if !who.may_upload() {
        return Err(Error::Unauthenticated);
    }
    UploadProgress::begin(new.length, app.limits.max_file_size)?;
    let named = new.account.filter(|_| who.names_account());
    let account = named.or_else(|| who.account.clone());
    let account = account.ok_or(Error::MissingField("account_id"))?;
    let name = new.name.unwrap_or_else(|| FileName::clean(""));
    let (id, version) = (FileId::random(), VersionId::random());
    Ok(NewUploadRow {
        version,
        seal: app.stores.new_seal(version)?,
        key: ObjectKey::mint(&account, &id, &name),
        creator: caller_key(who),
        kind: new.kind,
        length: new.length,
        target: UploadTarget {
            owner: who.owner_in(account.clone()),
            name,
            declared_type: new.declared_type,
            visibility: new.visibility,
            metadata: new.metadata,
            digest: new.digest,
            described: new.described,
        },
        lifetime: app.limits.upload_expiry,
        id,
        account,
    })
}

/// Whether bytes may be sent for the caller's upload, as far as that can be told without asking for it. They are judged
/// again when they come.
///
/// # Errors
/// As [`append`].
pub async fn admit(
    app: &App,
    who: &Principal,
    id: &FileId,
    offset: u64,
    body: Option<u64>,
) -> Result<(), Error> {
    let record = find_own(app, who, id).await?;
    if is_gone(app, &record).await? {
        return Err(Error::UploadGone);
    }
    // Whoever holds it may be about to move it there.
    if record.is_held || record.state != UploadState::Open {
        return Ok(());
    }
    let limit = app.limits.max_file_size;
    let placed = record.progress.place(offset, body, limit);
    placed.map_err(|error| body::refusal(error, offset))
}

/// How far the caller's upload is. A request that still sends bytes for it is ended first, so the offset stands;
/// an upload that has every byte and was not made a file, because a replica died over it, is made one now.
///
/// # Errors
/// [`Error::UploadMissing`] for one that is not the caller's, too; [`Error::UploadGone`]; [`Error::UploadHeld`] if
/// another request would not yield; what finishing answers; failures of the database.
pub async fn status(
    app: &Arc<App>,
    who: &Principal,
    id: &FileId,
    completion: Completion,
) -> Result<UploadStatus, Error> {
    let record = find_own(app, who, id).await?;
    if !record.state.is_live() || record.kind == UploadKind::Direct {
        return settled(app, record).await;
    }
    let left_over = record.progress.is_whole() && completion == Completion::ByLength;
    if !record.is_held && !left_over && record.state == UploadState::Open {
        return Ok(record.into());
    }
    if record.kind == UploadKind::Joined {
        return Ok(record.into());
    }
    let settling = settle(Arc::clone(app), id.clone(), completion);
    app.background.finish(settling).await?;
    settled(app, find_own(app, who, id).await?).await
}

/// Ends whatever request holds the upload, and makes a file of one that is whole.
async fn settle(app: Arc<App>, id: FileId, completion: Completion) -> Result<(), Error> {
    let hold::Taken::Held(held) = hold::hold(&app, &id).await? else {
        return Ok(());
    };
    let record = held.record();
    let is_asked = completion == Completion::ByLength || record.state == UploadState::Completing;
    if record.progress.is_whole() && is_asked {
        finish::finish(held, None).await?;
        return Ok(());
    }
    held.let_go(None).await
}

async fn settled(app: &App, record: UploadRecord) -> Result<UploadStatus, Error> {
    if is_gone(app, &record).await? {
        return Err(Error::UploadGone);
    }
    Ok(record.into())
}

/// Whether there was such an upload and is not any more; that of a file that was deleted is gone with it.
async fn is_gone(app: &App, record: &UploadRecord) -> Result<bool, Error> {
    if record.state != UploadState::Finished || record.kind == UploadKind::Partial {
        return Ok(record.state.is_gone());
    }
    let file = app.files.find_fresh(&record.id).await?;
    Ok(file.is_none_or(|file| file.deleted_at.is_some()))
}

/// Gives the caller's upload up and removes its bytes. The file that a finished upload became goes to the trash,
/// unless it has changed since.
///
/// # Errors
/// As [`status`].
pub async fn terminate(app: &Arc<App>, who: &Principal, id: &FileId) -> Result<(), Error> {
    let record = find_own(app, who, id).await?;
    if record.kind == UploadKind::Direct {
        return Err(Error::UploadMissing);
    }
    give_up_to_the_end(app, record).await
}

async fn give_up_to_the_end(app: &Arc<App>, record: UploadRecord) -> Result<(), Error> {
    let app = Arc::clone(app);
    let background = app.background.clone();
    background
        .finish(async move { give_up(&app, record).await })
        .await
}

async fn give_up(app: &Arc<App>, record: UploadRecord) -> Result<(), Error> {
    if !record.state.is_live() {
        return give_up_ended(app, record).await;
    }
    match hold::hold(app, &record.id).await? {
        hold::Taken::Held(held) => held.terminate().await,
        hold::Taken::Ended(record) => give_up_ended(app, *record).await,
    }
}

async fn give_up_ended(app: &App, record: UploadRecord) -> Result<(), Error> {
    if record.state.is_gone() {
        return Err(Error::UploadGone);
    }
    if record.kind == UploadKind::Partial {
        let (uploads, generation) = (&app.uploads, record.generation);
        let end = uploads.end(
            &record.id,
            generation,
            UploadState::Terminated,
            None,
            Duration::ZERO,
        );
        return end.await?.then_some(()).ok_or(Error::UploadGone);
    }
    let file = app.files.find_fresh(&record.id).await?;
    let file = file.filter(|file| file.deleted_at.is_none());
    let file = file.ok_or(Error::UploadGone)?;
    if file.revision == 1 {
        app.files.trash(&record.id, file.revision).await?;
    }
    Ok(())
}

/// The caller's upload, whatever its state. Another's is as if it were not there.
async fn find_own(app: &App, who: &Principal, id: &FileId) -> Result<UploadRecord, Error> {
    if !who.may_upload() {
        return Err(Error::Unauthenticated);
    }
    let record = app.uploads.find(id).await?;
    record
        .filter(|record| record.creator == caller_key(who))
        .ok_or(Error::UploadMissing)
}
