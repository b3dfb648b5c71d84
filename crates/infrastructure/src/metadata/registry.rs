//! The registry of stores.

use std::time::Duration;

use async_trait::async_trait;
use cloakroom_application::ports::{RepositoryError, StoreRecord, StoreRegistry};
use cloakroom_domain::{BucketRule, StoreId};

use super::{
    Database,
    changes::STORES_CHANNEL,
    error::Stake,
    rows::{StoreRow, into_all, signed},
    session::args,
    sql::{Sql, sql},
};

/// A look whether the database answers gives up after this.
const PING_TIMEOUT: Duration = Duration::from_millis(1_800);

/// Of several at once, the index over the current one lets one in.
const SEED: Sql = sql! {
    "INSERT INTO stores (store_id, name, driver, bucket, bucket_prefix, state, created_at) SELECT $1, $2, $2, $3, \
     $4, 'current', ", NOW, " WHERE NOT EXISTS (SELECT 1 FROM stores) ON CONFLICT DO NOTHING"
};

const ALL: Sql = sql! {
    "SELECT store_id, driver, bucket, bucket_prefix, config, revision, state FROM stores ORDER BY created_at, store_id"
};

const RECONFIGURE: Sql = sql! {
    "UPDATE stores SET config = $3, revision = revision + 1 WHERE store_id = $1 AND revision = $2"
};

#[async_trait]
impl StoreRegistry for Database {
    async fn seed(&self, record: StoreRecord) -> Result<Vec<StoreRecord>, RepositoryError> {
        let (bucket, prefix) = match &record.buckets {
            BucketRule::Fixed(bucket) => (Some(bucket.as_str()), None),
            BucketRule::PerAccount(prefix) => (None, Some(prefix.as_str())),
        };
        let args = args![record.id.to_string(), record.driver, bucket, prefix];
        self.writer().await?.run(SEED, args).await?;
        self.all().await
    }

    async fn all(&self) -> Result<Vec<StoreRecord>, RepositoryError> {
        let rows: Vec<StoreRow> = self.reader().await?.all(ALL, args![]).await?;
        into_all(rows)
    }

    async fn reconfigure(
        &self,
        id: StoreId,
        expected: u64,
        config: &[u8],
    ) -> Result<bool, RepositoryError> {
        let mut session = self.transaction().await?;
        let id = id.to_string();
        let args = args![id.as_str(), signed(expected)?, config];
        if session.run(RECONFIGURE, args).await? != 1 {
            return session.leave(Ok(false)).await;
        }
        session.notify(STORES_CHANNEL, &id).await?;
        session.commit().await?;
        Ok(true)
    }

    async fn ping(&self) -> Result<(), RepositoryError> {
        let mut session = self.session(false, PING_TIMEOUT, Stake::Nothing).await?;
        session.run(sql!("SELECT 1"), args![]).await.map(drop)
    }
}
