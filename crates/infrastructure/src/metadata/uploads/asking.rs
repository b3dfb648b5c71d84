//! Asking for an upload: who holds it, and who comes next.

use cloakroom_application::ports::{
    Ask, Asked, Lease, NUMBERS_AT_A_TIME, RepositoryError, Stretch, UploadRecord,
};
use cloakroom_domain::FileId;

use super::{
    lease,
    rows::{StretchRow, TAIL, UploadRow, part_number},
};
use crate::metadata::{
    changes::UPLOADS_CHANNEL,
    rows::{into, into_all, signed, unsigned},
    session::{Session, args},
    sql::{Sql, sql},
};

const LOOK: Sql = sql! {
    "SELECT ", UPLOAD, ", uploads.turn, uploads.loose_below, ", COMPLETING, " AS is_completing FROM uploads WHERE \
     uploads.upload_id = $2", FOR_UPDATE
};

const RAISE_TURN: Sql = sql!("UPDATE uploads SET turn = $2 WHERE upload_id = $1");

/// Whoever is overtaken may still be writing parts with the numbers that were given so far.
const TAKE: Sql = sql! {
    "UPDATE uploads SET loose_below = CASE WHEN held THEN next_number ELSE loose_below END, held = TRUE, generation = \
     generation + 1, turn = $2, free_number = next_number, next_number = next_number + $3, touched_at = ", NOW,
    " WHERE upload_id = $1"
};

#[derive(Debug, sqlx::FromRow)]
struct AskedRow {
    #[sqlx(flatten)]
    upload: UploadRow,
    turn: i64,
    loose_below: i64,
    is_completing: bool,
}

/// `Ours` and `Held` are changes, to be committed.
pub(super) async fn ask(
    session: &mut Session,
    id: &FileId,
    ask: Ask,
) -> Result<Asked, RepositoryError> {
    let row: Option<AskedRow> = session.optional(LOOK, args![lease(), id.as_str()]).await?;
    let Some(row) = row else {
        return Ok(Asked::Missing);
    };
    let record: UploadRecord = into(row.upload)?;
    if !record.state.is_live() {
        return Ok(Asked::Ended(Box::new(record)));
    }
    if row.is_completing {
        return Ok(Asked::Completing);
    }
    let turn = unsigned(row.turn, "a turn is negative")?;
    let insists = matches!(ask, Ask::Insist(_));
    let turn = match ask {
        Ask::First => turn + 1,
        Ask::Again(mine) | Ask::Insist(mine) if mine == turn => turn,
        Ask::Again(_) | Ask::Insist(_) => return Ok(Asked::Superseded),
    };
    if record.is_held && !insists {
        if matches!(ask, Ask::First) {
            let args = args![id.as_str(), signed(turn)?];
            session.run(RAISE_TURN, args).await?;
            let asked = format!("{turn} {id}");
            session.notify(UPLOADS_CHANNEL, &asked).await?;
        }
        return Ok(Asked::Held(turn));
    }
    take(session, record, turn, part_number(row.loose_below)?).await
}

async fn take(
    session: &mut Session,
    record: UploadRecord,
    turn: u64,
    loose_below: u32,
) -> Result<Asked, RepositoryError> {
    let id = record.id.as_str();
    let args = args![id, signed(turn)?, NUMBERS_AT_A_TIME];
    session.run(TAKE, args).await?;
    let tail: Vec<StretchRow> = session.all(TAIL, args![id]).await?;
    let tail: Vec<Stretch> = into_all(tail)?;
    let last_part = tail.iter().find_map(Stretch::as_part);
    let is_settled = last_part.map_or(loose_below <= 1, |part| part.number >= loose_below);
    Ok(Asked::Ours(Box::new(Lease {
        is_alone: !record.is_held && is_settled,
        tail,
        turn,
        record: UploadRecord {
            is_held: true,
            generation: record.generation + 1,
            ..record
        },
    })))
}
