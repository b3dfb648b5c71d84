//! Copies take the places of bodies, in one transaction.

use std::collections::HashMap;

use cloakroom_application::ports::{RepositoryError, Switch, Switched};
use cloakroom_domain::{MigrationId, sealed_size};
use serde_json::{Value, json};

use crate::metadata::{
    changes::FILES_CHANNEL,
    ledger::{each, micros},
    rows::signed,
    session::{Session, args},
    sql::{Sql, sql},
    unclaimed::ids,
};

/// So many rows count what was moved, for movers that work in parallel.
const LANES: i64 = 16;

/// Locks it against whoever would take it, cancel it or end it.
const CARRY: Sql = sql! {
    "SELECT migration_id FROM migrations WHERE migration_id = $1 AND generation = $2 AND ", MIGRATING, FOR_SHARE
};

const TAKE_COPIES: Sql = sql! {
    "DELETE FROM file_versions WHERE state = 'pending' AND version_id ", EACH, " RETURNING version_id, file_id, \
     account_id, store_id, bucket, key, encoding, wrapped_key"
};

pub(in crate::metadata) const POINT: Sql = sql! {
    "UPDATE file_versions SET store_id = r.store_id, bucket = r.bucket, key = r.key, encoding = r.encoding, wrapped_key \
     = r.wrapped_key, stored_size = r.stored_size FROM ", SWITCHES, " WHERE file_versions.version_id ", TO_SWITCH, " AND \
     file_versions.version_id = r.version_id AND file_versions.state = 'stored' AND file_versions.store_id = \
     r.from_store AND file_versions.bucket = r.from_bucket AND file_versions.key = r.from_key AND file_versions.size = \
     r.size RETURNING file_versions.file_id"
};

/// Under the ids of the copies, whose rows are gone.
const DOOM_OLD: Sql = sql! {
    "INSERT INTO file_versions (version_id, file_id, account_id, store_id, bucket, key, state, created_at, touched_at, \
     delete_after) SELECT r.copy_id, r.file_id, r.account_id, r.from_store, r.from_bucket, r.from_key, 'deleting', ", NOW,
    ", ", NOW, ", ", NOW, " + r.delay FROM ", SWITCHES, " WHERE r.delay IS NOT NULL"
};

const COUNT: Sql = sql! {
    "INSERT INTO migration_counts (migration_id, lane, objects, bytes) VALUES ($1, $2, $3, $4) ON CONFLICT \
     (migration_id, lane) DO UPDATE SET objects = migration_counts.objects + EXCLUDED.objects, bytes = migration_counts.bytes + \
     EXCLUDED.bytes"
};

const MOVED_AFTER_ALL: Sql = sql! {
    "DELETE FROM migration_failures WHERE migration_id = $2 AND version_id ", EACH
};

#[derive(sqlx::FromRow)]
struct CopyRow {
    version_id: String,
    file_id: String,
    account_id: String,
    store_id: String,
    bucket: String,
    key: String,
    encoding: Option<String>,
    wrapped_key: Option<Vec<u8>>,
}

/// Only [`Switched::Done`] is to be committed.
pub(super) async fn put_in_place(
    session: &mut Session,
    id: MigrationId,
    generation: u64,
    switches: &[Switch],
) -> Result<Switched, RepositoryError> {
    let id = id.to_string();
    let args = args![id.as_str(), signed(generation)?];
    let carried: Option<(String,)> = session.optional(CARRY, args).await?;
    if carried.is_none() {
        return Ok(Switched::Lost);
    }
    let Some(moves) = take_copies(session, switches).await? else {
        return Ok(Switched::Lost);
    };
    let pointed: Vec<(String,)> = session.all(POINT, args![moves.as_str()]).await?;
    if pointed.len() != switches.len() {
        return Ok(Switched::Changed);
    }
    session.run(DOOM_OLD, args![moves]).await?;
    let bodies = each(switches.iter().map(|switch| &switch.version));
    session
        .run(MOVED_AFTER_ALL, args![bodies, id.as_str()])
        .await?;
    count(session, &id, switches).await?;
    session.notify_all(FILES_CHANNEL, &ids(pointed)?).await?;
    Ok(Switched::Done)
}

/// Takes the rows of the copies; `None` if one of them is not there any more. What is known of each move then, as the
/// piece `SWITCHES` takes it.
async fn take_copies(
    session: &mut Session,
    switches: &[Switch],
) -> Result<Option<String>, RepositoryError> {
    let copies = each(switches.iter().map(|switch| &switch.copy));
    let rows: Vec<CopyRow> = session.all(TAKE_COPIES, args![copies]).await?;
    let rows: HashMap<String, CopyRow> = rows
        .into_iter()
        .map(|row| (row.version_id.clone(), row))
        .collect();
    let mut moves = Vec::with_capacity(switches.len());
    for switch in switches {
        let copy = switch.copy.to_string();
        let Some(to) = rows.get(&copy) else {
            return Ok(None);
        };
        let from = &switch.from;
        let stored_size = match to.encoding {
            Some(_) => sealed_size(switch.size),
            None => switch.size,
        };
        moves.push(json!({
            "version_id": switch.version.to_string(), "copy_id": copy, "file_id": to.file_id, "account_id": to.account_id,
            "from_store": from.store.to_string(), "from_bucket": from.bucket.as_str(), "from_key": from.key.as_str(),
            "size": signed(switch.size)?, "stored_size": signed(stored_size)?, "store_id": to.store_id,
            "bucket": to.bucket, "key": to.key, "encoding": to.encoding,
            "wrapped_key": to.wrapped_key.as_ref().map(hex::encode), "delay": switch.remove_after.map(micros),
        }));
    }
    Ok(Some(Value::from(moves).to_string()))
}

async fn count(
    session: &mut Session,
    id: &str,
    switches: &[Switch],
) -> Result<(), RepositoryError> {
    let lane = switches.last().map_or(0, |last| {
        i64::from(last.version.uuid().as_bytes()[15]) % LANES
    });
    let (objects, bytes) = (
        switches.len() as u64,
        switches.iter().map(|switch| switch.size).sum(),
    );
    let args = args![id, lane, signed(objects)?, signed(bytes)?];
    session.run(COUNT, args).await.map(drop)
}
