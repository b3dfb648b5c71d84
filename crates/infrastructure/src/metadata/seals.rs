//! Which bodies are sealed under which master key, and keys that were sealed again.

use async_trait::async_trait;
use cloakroom_application::ports::{MOST_COUNTED, RepositoryError, Resealed, SealLedger};
use cloakroom_domain::{KeyId, SEALED_FORM, Seal, VersionId};
use serde_json::{Value, json};

use super::{
    Database,
    rows::{into_all, unsigned, version_id},
    session::{Statement, args},
    sql::{Sql, sql},
};

/// Steps over an index: however many bodies a key has, it costs one look-up.
pub(super) const NEXT_KEY: Sql = sql! {
    "SELECT substr(wrapped_key, 1, 9) AS head FROM file_versions WHERE wrapped_key IS NOT NULL AND substr(wrapped_key, 1, \
     9) > $1 ORDER BY substr(wrapped_key, 1, 9) LIMIT 1"
};

const COUNT: Sql = sql! {
    "SELECT count(*) FROM (SELECT 1 AS one FROM file_versions WHERE wrapped_key IS NOT NULL AND substr(wrapped_key, 1, \
     9) = $1 LIMIT $2) AS counted"
};

pub(super) const UNDER: Sql = sql! {
    "SELECT version_id, encoding, wrapped_key, size FROM file_versions WHERE wrapped_key IS NOT NULL AND \
     substr(wrapped_key, 1, 9) = $1 AND version_id > $2 ORDER BY version_id LIMIT $3"
};

/// What somebody else has locked is left out, so that nobody waits for anybody in a circle.
pub(super) const KEEP: Sql = sql! {
    "WITH free AS MATERIALIZED (SELECT version_id FROM file_versions WHERE version_id IN (SELECT r.version_id FROM ",
    RESEALED, ")", SKIP_LOCKED, ") UPDATE file_versions SET wrapped_key = r.becomes FROM ", RESEALED,
    " WHERE file_versions.version_id = r.version_id AND file_versions.wrapped_key = r.was AND file_versions.version_id \
     IN (SELECT version_id FROM free)"
};

/// What of a row seals its body.
#[derive(Debug, sqlx::FromRow)]
struct SealRow {
    version_id: String,
    encoding: Option<String>,
    wrapped_key: Vec<u8>,
    size: Option<i64>,
}

impl TryFrom<SealRow> for Seal {
    type Error = RepositoryError;

    fn try_from(row: SealRow) -> Result<Self, RepositoryError> {
        let size = row.size.map(|size| unsigned(size, "a size is negative"));
        Ok(Self {
            version: version_id(&row.version_id)?,
            encoding: row.encoding.unwrap_or_default(),
            wrapped_key: row.wrapped_key,
            size: size.transpose()?,
        })
    }
}

#[async_trait]
impl SealLedger for Database {
    async fn keys_in_use(&self) -> Result<Vec<Option<KeyId>>, RepositoryError> {
        let mut found = Vec::new();
        let mut head = Vec::new();
        loop {
            // A step is an operation of its own, with its own limit of time.
            let mut session = self.reader().await?;
            let next: Option<(Vec<u8>,)> = session
                .optional(Statement::Fresh(NEXT_KEY), args![head.as_slice()])
                .await?;
            let Some((next,)) = next else {
                return Ok(found);
            };
            let key = KeyId::of_sealed(&next);
            if key.is_some() || !found.contains(&None) {
                found.push(key);
            }
            head = next;
        }
    }

    async fn count_under(&self, key: KeyId) -> Result<u64, RepositoryError> {
        let mut session = self.reader().await?;
        let args = args![head_of(key).as_slice(), MOST_COUNTED];
        let (count,): (i64,) = session.one(Statement::Fresh(COUNT), args).await?;
        unsigned(count, "a count is negative")
    }

    async fn sealed_under(
        &self,
        key: KeyId,
        after: Option<VersionId>,
        limit: u32,
    ) -> Result<Vec<Seal>, RepositoryError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let mut session = self.reader().await?;
        let args = args![head_of(key).as_slice(), after, limit];
        let rows: Vec<SealRow> = session.all(Statement::Fresh(UNDER), args).await?;
        into_all(rows)
    }

    async fn keep_resealed(&self, keys: &[Resealed]) -> Result<u64, RepositoryError> {
        if keys.is_empty() {
            return Ok(0);
        }
        let rows = keys.iter().map(|change| {
            json!({
                "version_id": change.before.version.to_string(),
                "was": hex::encode(&change.before.wrapped_key),
                "becomes": hex::encode(&change.wrapped_key),
            })
        });
        let rows = Value::Array(rows.collect()).to_string();
        let mut session = self.writer().await?;
        session.run(KEEP, args![rows]).await
    }
}

/// What keys that are sealed under this one begin with.
fn head_of(key: KeyId) -> Vec<u8> {
    let mut head = vec![SEALED_FORM];
    head.extend_from_slice(key.bytes());
    head
}
