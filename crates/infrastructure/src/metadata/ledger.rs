//! The ledger of bodies: pending, stored, deleting.

use std::time::Duration;

use async_trait::async_trait;
use cloakroom_application::ports::{
    Begun, Doomed, LedgerRow, NewVersion, RepositoryError, VersionLedger,
};
use cloakroom_domain::{Bucket, BucketRule, FileId, Location, StoreId, Timestamp, VersionId};

use super::{
    Database, claims,
    error::broken,
    rows::{AnyVersionRow, DoomedRow, into, into_all, location, store_id},
    session::{Session, Statement, args},
    sql::{Sql, sql},
};

/// The store is whichever is current in the registry at this very moment.
const BEGIN: Sql = sql! {
    "INSERT INTO file_versions (version_id, file_id, account_id, store_id, bucket, key, upload_id, encoding, \
     wrapped_key, state, created_at, touched_at) SELECT $1, $2, $3, s.store_id, COALESCE(s.bucket_prefix || '-' || $4, \
     s.bucket), $5, $6, $7, $8, 'pending', ", NOW, ", ", NOW, " FROM stores AS s WHERE s.state = 'current' RETURNING store_id, bucket, key"
};

const RENEW: Sql = sql! {
    "UPDATE file_versions SET touched_at = ", NOW, " WHERE version_id = $1 AND state = 'pending'"
};

const GIVE_UP: Sql = sql! {
    "UPDATE file_versions SET state = 'deleting', delete_after = ", NOW, " + $2 WHERE version_id = $1 AND state = \
     'pending'"
};

/// Rows of uploads live as long as their upload does.
///
/// Materialised, for a plan that asked for the stale rows again would skip those it had locked and find others.
pub(super) const EXPIRE: Sql = sql! {
    "WITH stale AS MATERIALIZED (SELECT version_id FROM file_versions WHERE state = 'pending' AND upload_id IS \
     NULL AND touched_at <= ", NOW, " - $1 ORDER BY touched_at LIMIT $2", SKIP_LOCKED, ") UPDATE file_versions SET \
     state = 'deleting', delete_after = ", NOW, " + $3 WHERE state = 'pending' AND version_id IN (SELECT version_id FROM stale)"
};

pub(super) const DUE: Sql = sql! {
    "SELECT version_id, store_id, bucket, key FROM file_versions WHERE state = 'deleting' AND delete_after <= ",
    NOW, " ORDER BY delete_after, version_id LIMIT $1"
};

const DOOMED: Sql = sql! {
    "SELECT version_id, store_id, bucket, key FROM file_versions WHERE state = 'deleting' AND version_id ", EACH
};

const FORGET: Sql = sql! {
    "DELETE FROM file_versions WHERE state = 'deleting' AND version_id ", EACH
};

/// Changes when what is to be removed is due.
pub(super) const POSTPONE: Sql = sql! {
    "UPDATE file_versions SET delete_after = ", NOW, " + $2 WHERE state = 'deleting' AND version_id ", EACH
};

pub(super) const EXPIRE_KEYS: Sql = sql! {
    "WITH stale AS MATERIALIZED (SELECT principal, key FROM idempotency_keys WHERE expires_at <= ", NOW,
    " AND (answer IS NOT NULL OR locked_until <= ", NOW, ") ORDER BY expires_at LIMIT $1", SKIP_LOCKED,
    ") DELETE FROM idempotency_keys WHERE (principal, key) IN (SELECT principal, key FROM stale)"
};

const SCAN: Sql = sql! { ANY_VERSION, "WHERE v.version_id > $1 ORDER BY v.version_id LIMIT $2" };

const AT: Sql = sql! { ANY_VERSION, "WHERE v.store_id = $1 AND v.bucket = $2 AND v.key = $3" };

/// Steps over an index: however many rows a bucket has, it costs one look-up.
pub(super) const NEXT_BUCKET: Sql = sql! {
    "SELECT store_id, bucket FROM file_versions WHERE (store_id, bucket) > ($1, $2) ORDER BY store_id, bucket \
     LIMIT 1"
};

/// An address as a statement returns it.
#[derive(sqlx::FromRow)]
pub(super) struct Address {
    store_id: String,
    bucket: String,
    key: String,
}

impl TryFrom<Address> for Location {
    type Error = RepositoryError;

    fn try_from(row: Address) -> Result<Self, RepositoryError> {
        location(&row.store_id, &row.bucket, &row.key)
    }
}

#[async_trait]
impl VersionLedger for Database {
    async fn begin(&self, new: NewVersion) -> Result<Begun, RepositoryError> {
        let Some(claim) = &new.claim else {
            let mut session = self.writer().await?;
            return Ok(Begun::Pending(insert(&mut session, &new, None).await?));
        };
        let mut session = self.transaction().await?;
        if let Some(begun) = claims::claim(&mut session, claim, new.id).await? {
            return session.leave(Ok(begun)).await;
        }
        let location = insert(&mut session, &new, None).await?;
        session.commit().await?;
        Ok(Begun::Pending(location))
    }

    async fn begin_copies(&self, copies: &[NewVersion]) -> Result<Vec<Location>, RepositoryError> {
        let mut session = self.transaction().await?;
        let mut locations = Vec::with_capacity(copies.len());
        for copy in copies {
            locations.push(insert(&mut session, copy, None).await?);
        }
        session.commit().await?;
        Ok(locations)
    }

    async fn renew(&self, version: VersionId) -> Result<bool, RepositoryError> {
        let mut session = self.writer().await?;
        claims::renew(&mut session, version).await?;
        let renewed = session.run(RENEW, args![version.to_string()]).await?;
        Ok(renewed == 1)
    }

    async fn give_up(&self, version: VersionId, delay: Duration) -> Result<bool, RepositoryError> {
        let mut session = self.transaction().await?;
        claims::release(&mut session, version).await?;
        let args = args![version.to_string(), micros(delay)];
        let given_up = session.run(GIVE_UP, args).await?;
        session.commit().await?;
        Ok(given_up == 1)
    }

    async fn expire_pending(
        &self,
        age: Duration,
        delay: Duration,
        limit: u32,
    ) -> Result<u64, RepositoryError> {
        let args = args![micros(age), limit, micros(delay)];
        let mut session = self.writer().await?;
        session.run(Statement::Fresh(EXPIRE), args).await
    }

    async fn due(&self, limit: u32) -> Result<Vec<Doomed>, RepositoryError> {
        let mut session = self.reader().await?;
        let rows: Vec<DoomedRow> = session.all(Statement::Fresh(DUE), args![limit]).await?;
        into_all(rows)
    }

    async fn doomed(&self, versions: &[VersionId]) -> Result<Vec<Doomed>, RepositoryError> {
        let mut session = self.reader().await?;
        let rows: Vec<DoomedRow> = session.all(DOOMED, args![each(versions)]).await?;
        into_all(rows)
    }

    async fn forget(&self, versions: &[VersionId]) -> Result<(), RepositoryError> {
        let mut session = self.writer().await?;
        session.run(FORGET, args![each(versions)]).await.map(drop)
    }

    async fn postpone(
        &self,
        versions: &[VersionId],
        delay: Duration,
    ) -> Result<(), RepositoryError> {
        let mut session = self.writer().await?;
        let args = args![each(versions), micros(delay)];
        session.run(POSTPONE, args).await.map(drop)
    }

    async fn expire_keys(&self, limit: u32) -> Result<u64, RepositoryError> {
        let mut session = self.writer().await?;
        session
            .run(Statement::Fresh(EXPIRE_KEYS), args![limit])
            .await
    }

    async fn scan(
        &self,
        after: Option<VersionId>,
        limit: u32,
    ) -> Result<Vec<LedgerRow>, RepositoryError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let mut session = self.reader().await?;
        let rows: Vec<AnyVersionRow> = session
            .all(Statement::Fresh(SCAN), args![after, limit])
            .await?;
        into_all(rows)
    }

    async fn at(&self, location: &Location) -> Result<Option<LedgerRow>, RepositoryError> {
        let args = args![
            location.store.to_string(),
            location.bucket.as_str(),
            location.key.as_str(),
        ];
        let mut session = self.reader().await?;
        let row: Option<AnyVersionRow> = session.optional(AT, args).await?;
        row.map(into).transpose()
    }

    async fn buckets(&self) -> Result<Vec<(StoreId, Bucket)>, RepositoryError> {
        let mut found = Vec::new();
        let (mut store, mut bucket) = (String::new(), String::new());
        loop {
            // A step is an operation of its own, with its own limit of time.
            let mut session = self.reader().await?;
            let args = args![store.as_str(), bucket.as_str()];
            let next: Option<(String, String)> = session.optional(NEXT_BUCKET, args).await?;
            let Some(next) = next else {
                return Ok(found);
            };
            (store, bucket) = next;
            let name = Bucket::parse(&bucket).map_err(|_| broken("a bucket cannot be read"))?;
            found.push((store_id(&store)?, name));
        }
    }

    async fn now(&self) -> Result<Timestamp, RepositoryError> {
        let mut session = self.reader().await?;
        let (now,): (i64,) = session.one(sql!("SELECT ", NOW), args![]).await?;
        Ok(Timestamp::from_micros(now))
    }
}

/// Enters the pending row of a body, which is `upload`'s or stands on its own.
pub(super) async fn insert(
    session: &mut Session,
    new: &NewVersion,
    upload: Option<&FileId>,
) -> Result<Location, RepositoryError> {
    let args = args![
        new.id.to_string(),
        new.file.as_str(),
        new.account.as_str(),
        BucketRule::account_part(&new.account),
        new.key.as_str(),
        upload.map(FileId::as_str),
        new.seal.as_ref().map(|seal| seal.encoding.as_str()),
        new.seal.as_ref().map(|seal| seal.wrapped_key.as_slice()),
    ];
    let address: Option<Address> = session.optional(BEGIN, args).await?;
    let address = address.ok_or_else(|| broken("the registry has no current store"))?;
    let location: Location = into(address)?;
    Ok(Location {
        seal: new.seal.clone(),
        ..location
    })
}

/// As the database keeps times.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

/// A list as the piece `EACH` takes it.
pub(super) fn each<'a>(versions: impl IntoIterator<Item = &'a VersionId>) -> String {
    let ids = versions.into_iter().map(|id| format!("\"{id}\""));
    let ids: Vec<String> = ids.collect();
    format!("[{}]", ids.join(","))
}
