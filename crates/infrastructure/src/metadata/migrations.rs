//! Migrations to another store.

mod rows;
pub(super) mod switching;

use async_trait::async_trait;
use cloakroom_application::ports::{
    Amount, MIGRATION_LEASE, Migration, MigrationRepository, MigrationState, Movable, MoveFailure,
    RepositoryError, StoreRecord, Switch, Switched, VALIDATION_LEASE,
};
use cloakroom_domain::{BucketRule, FileId, Location, MigrationId, StoreId, VersionId};

use self::rows::{FailureRow, MigrationRow, MovableRow};
use super::{
    Database,
    changes::STORES_CHANNEL,
    ledger::micros,
    rows::{into_all, signed, unsigned},
    session::{Session, args},
    sql::{Sql, sql},
};

/// The longest reason that is kept, in bytes.
const MAX_REASON: usize = 500;

const BEGIN: Sql = sql! {
    "INSERT INTO migrations (migration_id, store_id, cleanup, state, holder, held_until, generation, started_at) SELECT \
     $1, $2, $3 = 1, 'validating', $4, ", NOW, " + $5, 1, ", NOW, " WHERE NOT EXISTS (SELECT 1 FROM migrations WHERE ",
    MIGRATING, ") ON CONFLICT DO NOTHING"
};

const LAST: Sql = sql! { MIGRATION, " ORDER BY m.started_at DESC, m.migration_id DESC LIMIT 1" };

const ONE: Sql = sql! { MIGRATION, " WHERE m.migration_id = $1" };

const LEAVE_CURRENT: Sql = sql! {
    "UPDATE stores SET state = 'active', revision = revision + 1 WHERE state = 'current' AND store_id <> $1"
};

const ENTER: Sql = sql! {
    "INSERT INTO stores (store_id, name, driver, bucket, bucket_prefix, config, revision, state, created_at) VALUES \
     ($1, $2, $2, $3, $4, $5, 0, 'current', ", NOW, ") ON CONFLICT (store_id) DO UPDATE SET state = 'current', config = \
     COALESCE(EXCLUDED.config, stores.config), revision = stores.revision + 1"
};

const START: Sql = sql! {
    "UPDATE migrations SET state = 'copying', holder = NULL, held_until = NULL WHERE migration_id = $1 AND generation = \
     $2 AND state = 'validating'"
};

const TAKE: Sql = sql! {
    "UPDATE migrations SET holder = $1, held_until = ", NOW, " + $2, generation = generation + 1 WHERE ", MIGRATING,
    " AND (held_until IS NULL OR held_until <= ", NOW, ") RETURNING migration_id"
};

const RENEW: Sql = sql! {
    "UPDATE migrations SET held_until = ", NOW, " + $3 WHERE migration_id = $1 AND generation = $2 AND ", MIGRATING
};

const ADVANCE: Sql = sql! {
    "UPDATE migrations SET state = $3, failure = $4, finished_at = CASE WHEN $5 = 1 THEN NULL ELSE ", NOW,
    " END WHERE migration_id = $1 AND generation = $2 AND ", MIGRATING
};

const RELEASE: Sql = sql! {
    "UPDATE migrations SET holder = NULL, held_until = NULL WHERE migration_id = $1 AND generation = $2"
};

const CANCEL: Sql = sql! {
    "UPDATE migrations SET state = 'cancelled', finished_at = ", NOW, " WHERE ", MIGRATING, " RETURNING migration_id"
};

pub(super) const MOVABLE: Sql = sql! {
    "SELECT version_id, file_id, account_id, store_id, bucket, key, size, encoding, wrapped_key, sha256 FROM \
     file_versions WHERE store_id = $1 AND (bucket, key) > ($2, $3) AND state = 'stored' ORDER BY \
     bucket, key LIMIT $4"
};

const STORED_IN: Sql = sql! {
    "SELECT count(*), CAST(COALESCE(sum(size), 0) AS BIGINT) FROM file_versions WHERE store_id = $1 AND state = \
     'stored'"
};

pub(super) const PENDING_IN: Sql = sql! {
    "SELECT count(*) FROM file_versions WHERE store_id = $1 AND state = 'pending'"
};

const LEAVING: Sql = sql! {
    "SELECT count(*) FROM migrations AS m WHERE NOT m.cleanup AND m.store_id <> $1 AND EXISTS (SELECT 1 FROM \
     migration_counts AS c WHERE c.migration_id = m.migration_id)"
};

const NOTE: Sql = sql! {
    "INSERT INTO migration_failures (migration_id, version_id, file_id, attempts, reason, failed_at) VALUES ($1, $2, \
     $3, 1, $4, ", NOW, ") ON CONFLICT (migration_id, version_id) DO UPDATE SET attempts = migration_failures.attempts \
     + 1, reason = EXCLUDED.reason, failed_at = EXCLUDED.failed_at"
};

const FORGET: Sql = sql! {
    "DELETE FROM migration_failures WHERE migration_id = $1 AND NOT EXISTS (SELECT 1 FROM file_versions AS v WHERE \
     v.version_id = migration_failures.version_id AND v.state = 'stored' AND v.store_id <> (SELECT m.store_id FROM \
     migrations AS m WHERE m.migration_id = $1))"
};

const FAILURES: Sql = sql! {
    "SELECT version_id, file_id, attempts, reason, failed_at FROM migration_failures WHERE migration_id = $1 \
     ORDER BY version_id LIMIT $2"
};

/// The migration, once it has been changed.
async fn read(session: &mut Session, id: &str) -> Result<Migration, RepositoryError> {
    let row: MigrationRow = session.one(ONE, args![id]).await?;
    row.try_into()
}

async fn make_current(session: &mut Session, target: &StoreRecord) -> Result<(), RepositoryError> {
    let id = target.id.to_string();
    session.run(LEAVE_CURRENT, args![id.as_str()]).await?;
    let (bucket, prefix) = match &target.buckets {
        BucketRule::Fixed(bucket) => (Some(bucket.as_str()), None),
        BucketRule::PerAccount(prefix) => (None, Some(prefix.as_str())),
    };
    let config = target.config.as_deref();
    let args = args![id.as_str(), target.driver.as_str(), bucket, prefix, config];
    session.run(ENTER, args).await?;
    session.notify(STORES_CHANNEL, &id).await
}

#[async_trait]
impl MigrationRepository for Database {
    async fn begin(
        &self,
        id: MigrationId,
        target: StoreId,
        cleanup: bool,
        owner: &str,
    ) -> Result<Option<Migration>, RepositoryError> {
        let mut session = self.transaction().await?;
        let id = id.to_string();
        let args = args![
            id.as_str(),
            target.to_string(),
            i64::from(cleanup),
            owner,
            micros(VALIDATION_LEASE),
        ];
        if session.run(BEGIN, args).await? != 1 {
            return session.leave(Ok(None)).await;
        }
        let begun = read(&mut session, &id).await?;
        session.commit().await?;
        Ok(Some(begun))
    }

    async fn start(
        &self,
        id: MigrationId,
        generation: u64,
        target: &StoreRecord,
    ) -> Result<bool, RepositoryError> {
        let mut session = self.transaction().await?;
        let args = args![id.to_string(), signed(generation)?];
        if session.run(START, args).await? != 1 {
            return session.leave(Ok(false)).await;
        }
        make_current(&mut session, target).await?;
        session.commit().await?;
        Ok(true)
    }

    async fn last(&self) -> Result<Option<Migration>, RepositoryError> {
        let row: Option<MigrationRow> = self.reader().await?.optional(LAST, args![]).await?;
        row.map(TryInto::try_into).transpose()
    }

    async fn take(&self, owner: &str) -> Result<Option<Migration>, RepositoryError> {
        let mut session = self.transaction().await?;
        let taken: Option<(String,)> = session
            .optional(TAKE, args![owner, micros(MIGRATION_LEASE)])
            .await?;
        let Some((id,)) = taken else {
            return session.leave(Ok(None)).await;
        };
        let migration = read(&mut session, &id).await?;
        session.commit().await?;
        Ok(Some(migration))
    }

    async fn renew(&self, id: MigrationId, generation: u64) -> Result<bool, RepositoryError> {
        let args = args![id.to_string(), signed(generation)?, micros(MIGRATION_LEASE)];
        Ok(self.writer().await?.run(RENEW, args).await? == 1)
    }

    async fn advance(
        &self,
        id: MigrationId,
        generation: u64,
        state: MigrationState,
        failure: Option<&str>,
    ) -> Result<bool, RepositoryError> {
        let id = id.to_string();
        let args = args![
            id.as_str(),
            signed(generation)?,
            state.as_str(),
            failure.map(|why| why[..why.floor_char_boundary(MAX_REASON)].to_owned()),
            i64::from(state.is_live()),
        ];
        let mut session = self.transaction().await?;
        if session.run(ADVANCE, args).await? != 1 {
            return session.leave(Ok(false)).await;
        }
        if !state.is_live() {
            session.run(FORGET, args![id]).await?;
        }
        session.commit().await?;
        Ok(true)
    }

    async fn release(&self, id: MigrationId, generation: u64) -> Result<(), RepositoryError> {
        let args = args![id.to_string(), signed(generation)?];
        self.writer().await?.run(RELEASE, args).await.map(drop)
    }

    async fn cancel(&self) -> Result<Option<Migration>, RepositoryError> {
        let mut session = self.transaction().await?;
        let cancelled: Option<(String,)> = session.optional(CANCEL, args![]).await?;
        let Some((id,)) = cancelled else {
            return session.leave(Ok(None)).await;
        };
        let migration = read(&mut session, &id).await?;
        session.commit().await?;
        Ok(Some(migration))
    }

    async fn movable(
        &self,
        store: StoreId,
        after: Option<&Location>,
        limit: u32,
    ) -> Result<Vec<Movable>, RepositoryError> {
        let (bucket, key) = after.map_or(("", ""), |at| (at.bucket.as_str(), at.key.as_str()));
        let args = args![store.to_string(), bucket, key, limit];
        let rows: Vec<MovableRow> = self.reader().await?.all(MOVABLE, args).await?;
        into_all(rows)
    }

    async fn stored_in(&self, store: StoreId) -> Result<Amount, RepositoryError> {
        let mut session = self.reader().await?;
        let (objects, bytes): (i64, i64) = session.one(STORED_IN, args![store.to_string()]).await?;
        Ok(Amount {
            objects: unsigned(objects, "a count is negative")?,
            bytes: unsigned(bytes, "a count is negative")?,
        })
    }

    async fn pending_in(&self, store: StoreId) -> Result<u64, RepositoryError> {
        let mut session = self.reader().await?;
        let (count,): (i64,) = session.one(PENDING_IN, args![store.to_string()]).await?;
        unsigned(count, "a count is negative")
    }

    async fn leaves_bytes_in(&self, store: StoreId) -> Result<bool, RepositoryError> {
        let mut session = self.reader().await?;
        let (count,): (i64,) = session.one(LEAVING, args![store.to_string()]).await?;
        Ok(count > 0)
    }

    async fn switch(
        &self,
        id: MigrationId,
        generation: u64,
        switches: &[Switch],
    ) -> Result<Switched, RepositoryError> {
        let mut session = self.transaction().await?;
        match switching::put_in_place(&mut session, id, generation, switches).await {
            Ok(Switched::Done) => {
                session.commit().await?;
                Ok(Switched::Done)
            }
            other => session.leave(other).await,
        }
    }

    async fn note_failure(
        &self,
        id: MigrationId,
        version: VersionId,
        file: &FileId,
        reason: &str,
    ) -> Result<(), RepositoryError> {
        let args = args![
            id.to_string(),
            version.to_string(),
            file.as_str(),
            &reason[..reason.floor_char_boundary(MAX_REASON)],
        ];
        self.writer().await?.run(NOTE, args).await.map(drop)
    }

    async fn failures(
        &self,
        id: MigrationId,
        limit: u32,
    ) -> Result<Vec<MoveFailure>, RepositoryError> {
        let args = args![id.to_string(), limit];
        let rows: Vec<FailureRow> = self.reader().await?.all(FAILURES, args).await?;
        into_all(rows)
    }
}
