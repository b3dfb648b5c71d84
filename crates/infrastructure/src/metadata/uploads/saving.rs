//! Keeping what a holder has achieved, and letting go.

use std::collections::HashSet;

use cloakroom_application::ports::{NUMBERS_AT_A_TIME, RepositoryError, Saved, Stretch, StretchAt};
use cloakroom_domain::FileId;
use serde_json::{Value, json};

use super::lease;
use crate::metadata::{
    ledger::micros,
    rows::signed,
    session::{Session, args},
    sql::{Sql, sql},
};

/// Numbers that were given are not taken back while the holder may use them.
const KEEP: Sql = sql! {
    "UPDATE uploads SET received = $4, length = $5, hashes = $6, write_id = $7, next_number = CASE WHEN next_number < \
     $8 THEN $8 ELSE next_number END, free_number = CASE WHEN next_number < $8 THEN $8 ELSE next_number END, \
     touched_at = ", NOW, ", expires_at = COALESCE(", NOW, " + $9, expires_at) WHERE uploads.upload_id = $3 AND ", HELD
};

const KEEP_AND_LET_GO: Sql = sql! {
    "UPDATE uploads SET received = $4, length = $5, hashes = $6, write_id = $7, next_number = $8, free_number = $8, \
     state = 'open', held = FALSE, touched_at = ", NOW, ", expires_at = COALESCE(", NOW, " + $9, expires_at) WHERE uploads.upload_id = $3 AND ", HELD
};

const LET_GO: Sql = sql! {
    "UPDATE uploads SET state = 'open', held = FALSE, next_number = free_number, touched_at = ", NOW, " WHERE uploads.upload_id = $3 \
     AND ", HELD
};

const FORGET_FROM: Sql = sql! {
    "DELETE FROM upload_stretches WHERE upload_id = $1 AND start >= $2 RETURNING version_id"
};

const ENTER: Sql = sql! {
    "INSERT INTO upload_stretches (upload_id, start, size, number, tag, version_id, store_id, bucket, key) SELECT $2, \
     r.start, r.size, r.number, r.tag, r.version_id, r.store_id, r.bucket, r.key FROM ", STRETCHES
};

/// Pieces that nothing names any more; whoever wrote them is done with them.
const DOOM_PIECES: Sql = sql! {
    "UPDATE file_versions SET state = 'deleting', delete_after = ", NOW, " WHERE state = 'pending' AND upload_id = $2 \
     AND version_id ", EACH
};

/// What becomes of the hold on an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    Kept,
    LetGo,
}

/// Keeps what was achieved. `false`: the upload is another's by now.
pub(super) async fn keep(
    session: &mut Session,
    id: &FileId,
    generation: u64,
    saved: &Saved,
    hold: Hold,
) -> Result<bool, RepositoryError> {
    let (statement, next_number) = match hold {
        Hold::Kept => (KEEP, saved.next_number.saturating_add(NUMBERS_AT_A_TIME)),
        Hold::LetGo => (KEEP_AND_LET_GO, saved.next_number),
    };
    let args = args![
        lease(),
        signed(generation)?,
        id.as_str(),
        signed(saved.progress.offset())?,
        saved.progress.length().map(signed).transpose()?,
        saved.hashes.as_deref(),
        saved.write_id.as_deref(),
        next_number,
        saved.lifetime.map(micros),
    ];
    if session.run(statement, args).await? != 1 {
        return Ok(false);
    }
    replace(session, id, saved).await?;
    Ok(true)
}

/// Lets go of an upload as it is.
pub(super) async fn let_go(
    session: &mut Session,
    id: &FileId,
    generation: u64,
) -> Result<bool, RepositoryError> {
    let args = args![lease(), signed(generation)?, id.as_str()];
    Ok(session.run(LET_GO, args).await? == 1)
}

async fn replace(session: &mut Session, id: &FileId, saved: &Saved) -> Result<(), RepositoryError> {
    let from = args![id.as_str(), signed(saved.changed_from)?];
    let gone: Vec<(Option<String>,)> = session.all(FORGET_FROM, from).await?;
    let mut pieces: HashSet<String> = gone.into_iter().filter_map(|(piece,)| piece).collect();
    for stretch in &saved.stretches {
        if let StretchAt::Piece { version, .. } = &stretch.at {
            pieces.remove(&version.to_string());
        }
    }
    if !saved.stretches.is_empty() {
        let rows: Result<Vec<Value>, _> = saved.stretches.iter().map(as_json).collect();
        let args = args![Value::Array(rows?).to_string(), id.as_str()];
        session.run(ENTER, args).await?;
    }
    if !pieces.is_empty() {
        let args = args![json!(pieces).to_string(), id.as_str()];
        session.run(DOOM_PIECES, args).await?;
    }
    Ok(())
}

/// The stretch as the piece `STRETCHES` takes it.
fn as_json(stretch: &Stretch) -> Result<Value, RepositoryError> {
    let (start, size) = (signed(stretch.start)?, signed(stretch.size)?);
    Ok(match &stretch.at {
        StretchAt::Part { number, tag } => json!({
            "start": start,
            "size": size,
            "number": number,
            "tag": tag,
        }),
        StretchAt::Piece { version, location } => json!({
            "start": start,
            "size": size,
            "version_id": version.to_string(),
            "store_id": location.store.to_string(),
            "bucket": location.bucket.as_str(),
            "key": location.key.as_str(),
        }),
    })
}
