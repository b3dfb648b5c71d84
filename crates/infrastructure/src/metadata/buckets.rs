//! Buckets of objects: what they are called, and who may do what in them.

use async_trait::async_trait;
use cloakroom_application::ports::{
    BucketRemoved, BucketRepository, BucketSet, NewBucket, ObjectEntry, ObjectFilter,
    RepositoryError,
};
use cloakroom_domain::{
    AccountId, BucketGrant, BucketKey, BucketName, BucketPolicy, BucketRight, File, FileId,
    ObjectBucket, Timestamp, TypeRule, VersionId,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::{
    Database, objects,
    rows::{Read, into, into_all, signed, unsigned},
    session::{Statement, args},
    sql::{Sql, sql},
};

const FIND: Sql = sql!("SELECT ", BUCKET, " FROM buckets WHERE bucket = $1");

const PAGE: Sql = sql! {
    "SELECT ", BUCKET, " FROM buckets WHERE bucket > $1 ORDER BY bucket LIMIT $2"
};

const CREATE: Sql = sql! {
    "INSERT INTO buckets (bucket, account_id, policy, created_at, updated_at) VALUES ($1, $2, $3, ", NOW, ", ", NOW,
    ") ON CONFLICT (bucket) DO NOTHING RETURNING ", BUCKET
};

const CHANGE: Sql = sql! {
    "UPDATE buckets SET policy = $3, updated_at = ", NOW, " WHERE bucket = $1 AND account_id = COALESCE($2, \
     account_id) RETURNING ", BUCKET
};

const REMOVE: Sql = sql! {
    "DELETE FROM buckets WHERE bucket = $1 AND NOT EXISTS (SELECT 1 FROM objects WHERE objects.bucket = $1)"
};

/// Columns of `buckets`; the piece `BUCKET` selects them.
#[derive(sqlx::FromRow)]
struct BucketRow {
    bucket: String,
    account_id: String,
    policy: String,
    created_at: i64,
    updated_at: i64,
}

/// What `policy` holds.
#[derive(Serialize, Deserialize)]
struct PolicyText {
    public_read: bool,
    max_size: Option<i64>,
    types: Vec<String>,
    grants: Vec<GrantText>,
}

#[derive(Serialize, Deserialize)]
struct GrantText {
    service: String,
    allow: Vec<String>,
}

impl PolicyText {
    fn of(policy: &BucketPolicy) -> Result<Self, RepositoryError> {
        let grant = |grant: &BucketGrant| GrantText {
            service: grant.service.clone(),
            allow: grant
                .rights
                .iter()
                .map(|right| right.as_str().to_owned())
                .collect(),
        };
        Ok(Self {
            public_read: policy.public_read,
            max_size: policy.max_size.map(signed).transpose()?,
            types: policy
                .types()
                .iter()
                .map(|rule| rule.as_str().to_owned())
                .collect(),
            grants: policy.grants().iter().map(grant).collect(),
        })
    }
}

impl TryFrom<PolicyText> for BucketPolicy {
    type Error = RepositoryError;

    fn try_from(text: PolicyText) -> Result<Self, RepositoryError> {
        let grants: Option<Vec<BucketGrant>> = text
            .grants
            .into_iter()
            .map(|grant| {
                let rights = grant.allow.iter().map(|right| BucketRight::parse(right));
                Some(BucketGrant {
                    rights: rights.collect::<Option<_>>()?,
                    service: grant.service,
                })
            })
            .collect();
        let types: Option<Vec<TypeRule>> = text
            .types
            .iter()
            .map(|rule| TypeRule::parse(rule))
            .collect();
        let unreadable = "a bucket's policy cannot be read";
        let mut policy = Self::new(grants.or_broken(unreadable)?, types.or_broken(unreadable)?)
            .or_broken(unreadable)?;
        policy.public_read = text.public_read;
        policy.max_size = text
            .max_size
            .map(|size| unsigned(size, unreadable))
            .transpose()?;
        Ok(policy)
    }
}

impl TryFrom<BucketRow> for ObjectBucket {
    type Error = RepositoryError;

    fn try_from(row: BucketRow) -> Result<Self, RepositoryError> {
        let policy: PolicyText =
            serde_json::from_str(&row.policy).or_broken("a bucket's policy cannot be read")?;
        Ok(Self {
            name: BucketName::parse(&row.bucket).or_broken("a bucket's name cannot be read")?,
            account: AccountId::parse(row.account_id).or_broken("an account cannot be read")?,
            policy: policy.try_into()?,
            created_at: Timestamp::from_micros(row.created_at),
            updated_at: Timestamp::from_micros(row.updated_at),
        })
    }
}

#[async_trait]
impl BucketRepository for Database {
    async fn set_bucket(&self, new: NewBucket) -> Result<BucketSet, RepositoryError> {
        let policy = serde_json::to_string(&PolicyText::of(&new.policy)?)
            .or_broken("a policy cannot be written")?;
        let account = new.account.as_ref().map(AccountId::as_str);
        let args = args![new.name.as_str(), account, policy];
        let mut session = self.transaction().await?;
        if account.is_some() {
            let made: Option<BucketRow> = session.optional(CREATE, args.clone()).await?;
            if let Some(row) = made {
                session.commit().await?;
                return into(row).map(BucketSet::Made);
            }
        }
        let changed: Option<BucketRow> = session.optional(CHANGE, args).await?;
        let Some(row) = changed else {
            let refused = match account {
                Some(_) => BucketSet::OtherAccount,
                None => BucketSet::NoAccount,
            };
            return session.leave(Ok(refused)).await;
        };
        session.commit().await?;
        into(row).map(BucketSet::Changed)
    }

    async fn bucket(&self, name: &BucketName) -> Result<Option<ObjectBucket>, RepositoryError> {
        let mut session = self.reader().await?;
        let row: Option<BucketRow> = session.optional(FIND, args![name.as_str()]).await?;
        row.map(into).transpose()
    }

    async fn buckets(
        &self,
        after: Option<&BucketName>,
        limit: u32,
    ) -> Result<Vec<ObjectBucket>, RepositoryError> {
        let after = after.map_or("", BucketName::as_str);
        let mut session = self.reader().await?;
        let rows: Vec<BucketRow> = session
            .all(Statement::Fresh(PAGE), args![after, limit])
            .await?;
        into_all(rows)
    }

    async fn remove_bucket(&self, name: &BucketName) -> Result<BucketRemoved, RepositoryError> {
        let removed = self.writer().await?.run(REMOVE, args![name.as_str()]).await;
        match removed {
            Ok(0) => {}
            Ok(_) => return Ok(BucketRemoved::Gone),
            // An object that was being put when this looked; its row holds on to the bucket's.
            Err(RepositoryError::Conflict(_)) => return Ok(BucketRemoved::NotEmpty),
            Err(error) => return Err(error),
        }
        Ok(match self.bucket(name).await? {
            Some(_) => BucketRemoved::NotEmpty,
            None => BucketRemoved::Missing,
        })
    }

    async fn object(
        &self,
        bucket: &BucketName,
        key: &BucketKey,
    ) -> Result<Option<File>, RepositoryError> {
        objects::find(self, bucket, key).await
    }

    async fn objects(&self, filter: &ObjectFilter) -> Result<Vec<ObjectEntry>, RepositoryError> {
        objects::list(self, filter).await
    }

    async fn remove_object(
        &self,
        bucket: &BucketName,
        key: &BucketKey,
        expected: VersionId,
        delay: Duration,
    ) -> Result<Option<FileId>, RepositoryError> {
        objects::remove(self, bucket, key, expected, delay).await
    }
}
