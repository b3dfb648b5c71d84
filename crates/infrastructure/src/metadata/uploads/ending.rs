//! How uploads end, and what is to be removed then.

use std::time::Duration;

use cloakroom_application::ports::RepositoryError;
use cloakroom_domain::{FileId, UploadState, VersionId};
use serde_json::json;

use super::lease;
use crate::metadata::{
    claims::ABANDONED_MICROS,
    ledger::{POSTPONE, micros},
    rows::signed,
    session::{Session, Statement, args},
    sql::{Sql, sql},
};

/// The upload is found by the row that becomes the file's: its body's, or that of the one piece that holds everything.
const FINISH: Sql = sql! {
    "UPDATE uploads SET state = 'finished', held = FALSE, received = $4, length = $4, hashes = NULL, touched_at = ", NOW,
    " WHERE uploads.upload_id = (SELECT v.upload_id FROM file_versions AS v WHERE v.version_id = $3) AND ", HELD,
    " RETURNING upload_id"
};

const FINISH_PARTIAL: Sql = sql! {
    "UPDATE uploads SET state = 'finished', held = FALSE, hashes = NULL, touched_at = ", NOW, ", expires_at = ", NOW,
    " + $4 WHERE uploads.upload_id = $3 AND uploads.kind = 'partial' AND ", HELD, " RETURNING version_id"
};

const END: Sql = sql! {
    "UPDATE uploads SET state = $4, failure = $5, held = FALSE, hashes = NULL, touched_at = ", NOW, " WHERE \
     uploads.upload_id = $3 AND ((uploads.state = 'finished' AND uploads.kind = 'partial' AND uploads.generation = $2) \
     OR (", HELD, "))"
};

/// Other replicas take others.
pub(in crate::metadata) const STALE: Sql = sql! {
    "SELECT uploads.upload_id, uploads.held FROM uploads WHERE ", EXPIRING, " AND uploads.expires_at <= ", NOW,
    " AND NOT ", COMPLETING, " ORDER BY uploads.expires_at LIMIT $2", SKIP_LOCKED
};

const EXPIRE: Sql = sql! {
    "UPDATE uploads SET state = 'expired', held = FALSE, hashes = NULL, touched_at = ", NOW, " WHERE upload_id ", EACH
};

pub(in crate::metadata) const FORGET: Sql = sql! {
    "WITH stale AS MATERIALIZED (SELECT upload_id FROM uploads WHERE ", ENDED, " AND touched_at <= ", NOW,
    " - $1 ORDER BY touched_at LIMIT $2", SKIP_LOCKED, ") DELETE FROM uploads WHERE upload_id IN (SELECT upload_id \
     FROM stale)"
};

/// Finished partial uploads that nobody holds, as they become part of a file.
const USE_UP: Sql = sql! {
    "UPDATE uploads SET state = 'terminated', used_by = (SELECT v.file_id FROM file_versions AS v WHERE v.version_id = \
     $2), touched_at = ", NOW, " WHERE uploads.kind = 'partial' AND uploads.state \
     = 'finished' AND uploads.upload_id ", EACH
};

/// Whatever is pending for these uploads.
pub(in crate::metadata) const DOOM: Sql = sql! {
    "UPDATE file_versions SET state = 'deleting', delete_after = ", NOW, " + $2 WHERE state = 'pending' AND upload_id ",
    EACH
};

/// What is pending for an upload besides its body. Pieces that no stretch names are those of requests that were
/// overtaken or failed, and may still be on their way.
const DOOM_REST: Sql = sql! {
    "UPDATE file_versions SET state = 'deleting', delete_after = ", NOW, " + CASE WHEN version_id IN (SELECT \
     s.version_id FROM upload_stretches AS s WHERE s.upload_id = $1) OR version_id = (SELECT u.version_id FROM uploads AS u \
     WHERE u.upload_id = $1) THEN 0 ELSE $3 END WHERE state = 'pending' AND \
     upload_id = $1 AND version_id <> $2"
};

const FORGET_STRETCHES: Sql = sql! {
    "DELETE FROM upload_stretches WHERE upload_id ", EACH, " RETURNING version_id"
};

const BODIES: Sql = sql! { "SELECT version_id FROM uploads WHERE upload_id ", EACH };

/// Finishes the upload whose body is about to be stored, if this generation holds it.
pub(in crate::metadata) async fn finish(
    session: &mut Session,
    version: VersionId,
    generation: u64,
    size: u64,
) -> Result<bool, RepositoryError> {
    let version = version.to_string();
    let args = args![
        lease(),
        signed(generation)?,
        version.as_str(),
        signed(size)?,
    ];
    let finished: Option<(String,)> = session.optional(FINISH, args).await?;
    let Some((id,)) = finished else {
        return Ok(false);
    };
    clear(session, &id, &version).await?;
    Ok(true)
}

/// Ends a partial upload whose object is whole.
pub(super) async fn finish_partial(
    session: &mut Session,
    id: &FileId,
    generation: u64,
    lifetime: Duration,
) -> Result<bool, RepositoryError> {
    let args = args![lease(), signed(generation)?, id.as_str(), micros(lifetime),];
    let finished: Option<(String,)> = session.optional(FINISH_PARTIAL, args).await?;
    let Some((body,)) = finished else {
        return Ok(false);
    };
    clear(session, id.as_str(), &body).await?;
    Ok(true)
}

/// Ends an upload that will not be a file, be it a finished partial one that nobody holds.
pub(super) async fn end(
    session: &mut Session,
    id: &FileId,
    generation: u64,
    state: UploadState,
    failure: Option<&str>,
    delay: Duration,
) -> Result<bool, RepositoryError> {
    let args = args![
        lease(),
        signed(generation)?,
        id.as_str(),
        state.as_str(),
        failure,
    ];
    if session.run(END, args).await? != 1 {
        return Ok(false);
    }
    doom(session, &[id.as_str()], micros(delay)).await?;
    Ok(true)
}

/// Ends uploads whose time is over, and says how many.
pub(super) async fn expire(session: &mut Session, limit: u32) -> Result<u64, RepositoryError> {
    let stale: Vec<(String, bool)> = session
        .all(Statement::Fresh(STALE), args![lease(), limit])
        .await?;
    let ids = |held: bool| -> Vec<&str> {
        let some = stale.iter().filter(|(_, is_held)| *is_held == held);
        some.map(|(id, _)| id.as_str()).collect()
    };
    for (ids, delay) in [(ids(false), 0), (ids(true), ABANDONED_MICROS)] {
        if !ids.is_empty() {
            session.run(EXPIRE, args![json!(ids).to_string()]).await?;
            doom(session, &ids, delay).await?;
        }
    }
    Ok(stale.len() as u64)
}

/// Ends finished partial uploads, whose bytes the body of another upload has by now. `false`: not all of them were there.
pub(in crate::metadata) async fn use_up(
    session: &mut Session,
    partials: &[FileId],
    body: VersionId,
) -> Result<bool, RepositoryError> {
    let ids: Vec<&str> = partials.iter().map(FileId::as_str).collect();
    let args = args![json!(ids).to_string(), body.to_string()];
    let ended = session.run(USE_UP, args).await?;
    if ended != ids.len() as u64 {
        return Ok(false);
    }
    doom(session, &ids, 0).await?;
    Ok(true)
}

/// Leaves nothing of an upload but its body.
async fn clear(session: &mut Session, id: &str, body: &str) -> Result<(), RepositoryError> {
    let args = args![id, body, ABANDONED_MICROS];
    session.run(DOOM_REST, args).await?;
    let args = args![json!([id]).to_string()];
    session.run(FORGET_STRETCHES, args).await.map(drop)
}

/// Leaves nothing of uploads. What no stretch names may still be on its way, and goes later.
async fn doom(session: &mut Session, ids: &[&str], delay: i64) -> Result<(), RepositoryError> {
    let ids = json!(ids).to_string();
    let later = args![ids.as_str(), delay.max(ABANDONED_MICROS)];
    session.run(DOOM, later).await?;
    let ids = || args![ids.as_str()];
    let pieces: Vec<(Option<String>,)> = session.all(FORGET_STRETCHES, ids()).await?;
    if delay >= ABANDONED_MICROS {
        return Ok(());
    }
    let bodies: Vec<(String,)> = session.all(BODIES, ids()).await?;
    let pieces = pieces.into_iter().filter_map(|(piece,)| piece);
    let named: Vec<String> = bodies
        .into_iter()
        .map(|(body,)| body)
        .chain(pieces)
        .collect();
    let args = args![json!(named).to_string(), delay];
    session.run(POSTPONE, args).await.map(drop)
}
