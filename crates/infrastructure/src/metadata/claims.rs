//! Idempotency keys: who runs under one, and what came of it.

use cloakroom_application::ports::{
    Begun, CLAIM_LEASE, IdempotencyClaim, KEY_LIFETIME, RepositoryError,
};
use cloakroom_domain::VersionId;

use super::{
    error::broken,
    rows::{FullRow, into},
    session::{Session, args},
    sql::{Sql, sql},
};

/// The body of a request that lost its key goes this much later, for the request may still be writing it.
pub(super) const ABANDONED_MICROS: i64 = 10 * 60 * 1_000_000;

/// How often a key may vanish between two looks at it.
const ATTEMPTS: usize = 5;

const CLAIM: Sql = sql! {
    "INSERT INTO idempotency_keys (principal, key, fingerprint, version_id, locked_until, expires_at) VALUES ($1, \
     $2, $3, $4, ", NOW, " + $5, ", NOW, " + $6) ON CONFLICT (principal, key) DO NOTHING"
};

const LOOK: Sql = sql! {
    "SELECT k.fingerprint, k.version_id, k.answer, k.expires_at <= ", NOW, " AS is_expired, k.locked_until > ", NOW, " \
     AS is_leased, EXISTS (SELECT 1 FROM file_versions AS v WHERE v.version_id = k.version_id AND v.state = \
     'pending') AS is_pending FROM idempotency_keys AS k WHERE k.principal = $1 AND k.key = $2", FOR_UPDATE
};

const TAKE_OVER: Sql = sql! {
    "UPDATE idempotency_keys SET fingerprint = $3, version_id = $4, answer = NULL, locked_until = ", NOW,
    " + $5, expires_at = ", NOW, " + $6 WHERE principal = $1 AND key = $2"
};

const ABANDON: Sql = sql! {
    "UPDATE file_versions SET state = 'deleting', delete_after = ", NOW, " + $2 WHERE version_id = $1 AND state = \
     'pending'"
};

const HOLD: Sql = sql! {
    "SELECT version_id FROM idempotency_keys WHERE principal = $1 AND key = $2 AND version_id = $3 AND answer IS \
     NULL", FOR_UPDATE
};

const ANSWER: Sql = sql! {
    "UPDATE idempotency_keys SET answer = $3, expires_at = ", NOW, " + $4 WHERE principal = $1 AND key = $2"
};

const RENEW: Sql = sql! {
    "UPDATE idempotency_keys SET locked_until = ", NOW, " + $2 WHERE version_id = $1 AND answer IS NULL"
};

const RELEASE: Sql = sql!("DELETE FROM idempotency_keys WHERE version_id = $1 AND answer IS NULL");

#[derive(Debug, sqlx::FromRow)]
struct KeyRow {
    fingerprint: String,
    version_id: String,
    answer: Option<String>,
    is_expired: bool,
    is_leased: bool,
    is_pending: bool,
}

const fn lease() -> i64 {
    CLAIM_LEASE.as_micros() as i64
}

const fn lifetime() -> i64 {
    KEY_LIFETIME.as_micros() as i64
}

/// Claims the key for `version`. `None`: it is ours, once the transaction commits.
pub(super) async fn claim(
    session: &mut Session,
    claim: &IdempotencyClaim,
    version: VersionId,
) -> Result<Option<Begun>, RepositoryError> {
    let mine = args![
        claim.principal.as_str(),
        claim.key.as_str(),
        claim.fingerprint.as_str(),
        version.to_string(),
        lease(),
        lifetime(),
    ];
    for _ in 0..ATTEMPTS {
        if session.run(CLAIM, mine.clone()).await? == 1 {
            return Ok(None);
        }
        let key = args![claim.principal.as_str(), claim.key.as_str()];
        let Some(row) = session.optional::<KeyRow>(LOOK, key).await? else {
            // Freed since the attempt.
            continue;
        };
        if let Some(begun) = judge(&row, claim)? {
            return Ok(Some(begun));
        }
        session.run(TAKE_OVER, mine).await?;
        session
            .run(ABANDON, args![row.version_id, ABANDONED_MICROS])
            .await?;
        return Ok(None);
    }
    Err(RepositoryError::Conflict(
        "an idempotency key kept changing hands".into(),
    ))
}

/// What a key says to another request that presents it; `None` if it is free to take over.
fn judge(row: &KeyRow, claim: &IdempotencyClaim) -> Result<Option<Begun>, RepositoryError> {
    let answer = row.answer.as_deref().filter(|_| !row.is_expired);
    let is_running = row.answer.is_none() && row.is_leased && row.is_pending;
    if answer.is_none() && !is_running {
        return Ok(None);
    }
    if row.fingerprint != claim.fingerprint {
        return Ok(Some(Begun::Mismatch));
    }
    let Some(answer) = answer else {
        return Ok(Some(Begun::InProgress));
    };
    let row: FullRow =
        serde_json::from_str(answer).map_err(|error| RepositoryError::Failed(error.into()))?;
    Ok(Some(Begun::Replay(Box::new(into(row)?))))
}

/// Locks the key if `version` still runs under it.
pub(super) async fn holds(
    session: &mut Session,
    claim: &IdempotencyClaim,
    version: VersionId,
) -> Result<bool, RepositoryError> {
    let args = args![
        claim.principal.as_str(),
        claim.key.as_str(),
        version.to_string(),
    ];
    let held: Option<(String,)> = session.optional(HOLD, args).await?;
    Ok(held.is_some())
}

/// Keeps what came of the request, for those who ask again.
pub(super) async fn answer(
    session: &mut Session,
    claim: &IdempotencyClaim,
    row: &FullRow,
) -> Result<(), RepositoryError> {
    let answer = serde_json::to_string(row).map_err(|_| broken("an answer cannot be written"))?;
    let args = args![
        claim.principal.as_str(),
        claim.key.as_str(),
        answer,
        lifetime(),
    ];
    session.run(ANSWER, args).await.map(drop)
}

/// Holds the key that `version` runs under, if any, for another lease.
pub(super) async fn renew(
    session: &mut Session,
    version: VersionId,
) -> Result<(), RepositoryError> {
    session
        .run(RENEW, args![version.to_string(), lease()])
        .await
        .map(drop)
}

/// Frees the key that `version` runs under, if any.
pub(super) async fn release(
    session: &mut Session,
    version: VersionId,
) -> Result<(), RepositoryError> {
    session
        .run(RELEASE, args![version.to_string()])
        .await
        .map(drop)
}
