//! Files that go to the trash unless the application claims them.

use async_trait::async_trait;
use cloakroom_application::ports::{ClaimRepository, RepositoryError};
use cloakroom_domain::{File, FileId};

use super::{
    Database,
    changes::FILES_CHANNEL,
    error::broken,
    session::{Statement, args},
    sql::{Sql, sql},
};

const CLAIM: Sql = sql! {
    "UPDATE files SET claim_by = NULL, unclaimed = FALSE, deleted_at = NULL, revision = revision + 1, updated_at = ",
    NOW, " WHERE file_id = $1 AND claim_by IS NOT NULL AND (deleted_at IS NULL OR unclaimed) RETURNING ", FILE
};

/// Rows that somebody holds are passed over: a claim that is under way wins.
pub(super) const EXPIRE_UNCLAIMED: Sql = sql! {
    "WITH due AS MATERIALIZED (SELECT file_id FROM files WHERE claim_by <= ", NOW, " AND deleted_at IS NULL ORDER BY \
     claim_by, file_id LIMIT $1", SKIP_LOCKED, ") UPDATE files SET deleted_at = ", NOW, ", unclaimed = TRUE, \
     revision = revision + 1, updated_at = ", NOW, " WHERE claim_by <= ", NOW, " AND deleted_at IS NULL AND file_id \
     IN (SELECT file_id FROM due) RETURNING file_id"
};

#[async_trait]
impl ClaimRepository for Database {
    async fn claim(&self, id: &FileId) -> Result<Option<File>, RepositoryError> {
        self.change(CLAIM, args![id.as_str()]).await
    }

    async fn expire_unclaimed(&self, limit: u32) -> Result<Vec<FileId>, RepositoryError> {
        let mut session = self.transaction().await?;
        let expired: Vec<(String,)> = session
            .all(Statement::Fresh(EXPIRE_UNCLAIMED), args![limit])
            .await?;
        if expired.is_empty() {
            return session.leave(Ok(Vec::new())).await;
        }
        let expired = ids(expired)?;
        session.notify_all(FILES_CHANNEL, &expired).await?;
        session.commit().await?;
        Ok(expired)
    }
}

/// Rows of ids as ids.
pub(super) fn ids(rows: Vec<(String,)>) -> Result<Vec<FileId>, RepositoryError> {
    rows.into_iter()
        .map(|(id,)| FileId::parse(id).map_err(|_| broken("a file id cannot be read")))
        .collect()
}
