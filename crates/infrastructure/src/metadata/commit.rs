//! A stored body becomes a file, or a file's next version.

use cloakroom_application::ports::{Commit, CommitError, CommitTarget};
use std::time::Duration;

use cloakroom_domain::{
    File, FileName, Metadata, Owner, UserId, VersionId, Visibility, sealed_size,
};

use super::{
    Database,
    changes::FILES_CHANNEL,
    claims,
    files::lock_live,
    ledger::micros,
    objects,
    rows::{FullRow, VersionRow, into, media, signed},
    session::{Session, args},
    sql::{Sql, sql},
    uploads,
};

pub(super) const LOCK_PENDING: Sql = sql! {
    "SELECT file_id FROM file_versions WHERE version_id = $1 AND state = 'pending'", FOR_UPDATE
};

const STORE: Sql = sql! {
    "UPDATE file_versions SET state = 'stored', number = $2, size = $3, stored_size = CASE WHEN encoding IS NULL \
     THEN $3 ELSE $7 END, sha256 = $4, crc64 = $5, content_type = $6, created_at = ", NOW, ", touched_at = ", NOW, " WHERE version_id = $1 AND state = \
     'pending' RETURNING ", VERSION
};

const NEW_FILE: Sql = sql! {
    "INSERT INTO files (file_id, account_id, user_id, owner_token_hash, filename, visibility, metadata, \
     media_type, media_family, current_version_id, last_number, current_since, revision, created_at, updated_at, \
     claim_by) SELECT file_id, $2, $3, $4, $5, $6, $7, $8, $9, version_id, number, created_at, 1, created_at, \
     created_at, created_at + $10 \
     FROM file_versions WHERE version_id = $1 RETURNING ", FILE
};

const NEW_VERSION: Sql = sql! {
    "UPDATE files SET current_version_id = $2, last_number = $3, media_type = $4, media_family = $5, filename = \
     COALESCE($6, filename), current_since = ", NOW, ", revision = revision + 1, updated_at = ", NOW, " WHERE \
     file_id = $1 RETURNING ", FILE
};

impl Database {
    /// Locks are taken in one order, here as everywhere: upload, idempotency key, pending rows, file, stored rows.
    pub(super) async fn commit_version(&self, commit: &Commit) -> Result<File, CommitError> {
        let mut session = self.transaction().await?;
        match settle(&mut session, commit).await {
            Ok(row) => {
                // The event's row belongs here, in the same transaction.
                session.commit().await?;
                Ok(into(row)?)
            }
            Err(refusal) => session.leave(Err(refusal)).await,
        }
    }
}

async fn settle(session: &mut Session, commit: &Commit) -> Result<FullRow, CommitError> {
    if let Some(generation) = commit.upload
        && !uploads::finish(session, commit.version, generation, commit.size).await?
    {
        return Err(CommitError::Lost);
    }
    if !commit.partials.is_empty()
        && !uploads::use_up(session, &commit.partials, commit.version).await?
    {
        return Err(CommitError::Lost);
    }
    if let Some(claim) = &commit.claim
        && !claims::holds(session, claim, commit.version).await?
    {
        return Err(CommitError::Lost);
    }
    let row = match &commit.target {
        CommitTarget::NewFile {
            owner,
            name,
            visibility,
            metadata,
            claim_within,
        } => {
            let new = NewFileRow {
                owner,
                name,
                visibility: *visibility,
                metadata,
                claim_within: *claim_within,
            };
            new_file(session, commit, new).await?
        }
        CommitTarget::NewVersion { expected, name } => {
            let name = name.as_ref().map(FileName::as_str);
            new_version(session, commit, *expected, name).await?
        }
        CommitTarget::Object(target) => objects::settle(session, commit, target).await?,
    };
    if let Some(claim) = &commit.claim {
        claims::answer(session, claim, &row).await?;
    }
    Ok(row)
}

/// What a new row of `files` says besides what its version does.
pub(super) struct NewFileRow<'a> {
    pub(super) owner: &'a Owner,
    pub(super) name: &'a FileName,
    pub(super) visibility: Visibility,
    pub(super) metadata: &'a Metadata,
    pub(super) claim_within: Option<Duration>,
}

/// Makes the pending row the first version of a file.
pub(super) async fn new_file(
    session: &mut Session,
    commit: &Commit,
    new: NewFileRow<'_>,
) -> Result<FullRow, CommitError> {
    let version = store(session, commit, 1).await?;
    let (media_type, family) = media(commit.content_type.as_str());
    let args = args![
        commit.version.to_string(),
        new.owner.account.as_str(),
        new.owner.user.as_ref().map(UserId::as_str),
        new.owner
            .token
            .as_ref()
            .map(|token| token.bytes().as_slice()),
        new.name.as_str(),
        new.visibility.as_str(),
        new.metadata.as_json(),
        media_type,
        family,
        new.claim_within.map(micros),
    ];
    let file = session.one(NEW_FILE, args).await?;
    Ok(FullRow { file, version })
}

/// Makes the pending row a stored version.
pub(super) async fn store(
    session: &mut Session,
    commit: &Commit,
    number: i64,
) -> Result<VersionRow, CommitError> {
    let args = args![
        commit.version.to_string(),
        number,
        signed(commit.size)?,
        commit.sha256.bytes().as_slice(),
        commit.crc64.cast_signed(),
        commit.content_type.as_str(),
        signed(sealed_size(commit.size))?,
    ];
    let stored: Option<VersionRow> = session.optional(STORE, args).await?;
    stored.ok_or(CommitError::Lost)
}

async fn new_version(
    session: &mut Session,
    commit: &Commit,
    expected: Option<VersionId>,
    name: Option<&str>,
) -> Result<FullRow, CommitError> {
    let pending = args![commit.version.to_string()];
    let pending: Option<(String,)> = session.optional(LOCK_PENDING, pending).await?;
    let (file_id,) = pending.ok_or(CommitError::Lost)?;
    let file = lock_live(session, &file_id).await?;
    let file = file.ok_or(CommitError::FileGone)?;
    if expected.is_some_and(|expected| expected.to_string() != file.current_version_id) {
        return Err(CommitError::Changed);
    }
    let number = file.last_number + 1;
    let version = store(session, commit, number).await?;
    let (media_type, family) = media(commit.content_type.as_str());
    let args = args![
        file_id.as_str(),
        commit.version.to_string(),
        number,
        media_type,
        family,
        name,
    ];
    let file = session.one(NEW_VERSION, args).await?;
    session.notify(FILES_CHANNEL, &file_id).await?;
    Ok(FullRow { file, version })
}
