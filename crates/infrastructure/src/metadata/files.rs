//! Files as things: look-ups, changes of a row, the trash, versions.

use std::time::Duration;

use async_trait::async_trait;
use cloakroom_application::ports::{
    Commit, CommitError, FileChanges, FileFilter, FileRepository, Purged, RepositoryError,
    VersionError,
};
use cloakroom_domain::{File, FileId, Version};

use super::{
    Database,
    changes::FILES_CHANNEL,
    ledger::micros,
    rows::{FileRow, FullRow, VersionRow, into, into_all, signed, version_id},
    session::{Arg, Session, Statement, args},
    sql::{Sql, sql},
};

pub(super) const FIND: Sql = sql! {
    "SELECT ", FILE, ", ", VERSION, " FROM files JOIN file_versions ON file_versions.version_id = \
     files.current_version_id WHERE files.file_id = $1"
};

const LOCK: Sql = sql! { "SELECT ", FILE, " FROM files WHERE files.file_id = $1", FOR_UPDATE };

const VERSION_BY_ID: Sql = sql! { "SELECT ", VERSION, " FROM file_versions WHERE version_id = $1" };

const VERSION_BY_NUMBER: Sql = sql! {
    "SELECT ", VERSION, " FROM file_versions WHERE file_id = $1 AND number = $2 AND state = 'stored'"
};

const VERSIONS: Sql = sql! {
    "SELECT ", VERSION, " FROM file_versions WHERE file_id = $1 AND number < $2 AND state = 'stored' ORDER BY \
     number DESC LIMIT $3"
};

const UPDATE: Sql = sql! {
    "UPDATE files SET filename = COALESCE($3, filename), visibility = COALESCE($4, visibility), metadata = \
     COALESCE($5, metadata), revision = revision + 1, updated_at = ", NOW, " WHERE file_id = $1 AND revision = $2 \
     AND deleted_at IS NULL RETURNING ", FILE
};

const TRASH: Sql = sql! {
    "UPDATE files SET deleted_at = ", NOW, ", revision = revision + 1, updated_at = ", NOW, " WHERE file_id = $1 \
     AND revision = $2 AND deleted_at IS NULL RETURNING ", FILE
};

const UNTRASH: Sql = sql! {
    "UPDATE files SET deleted_at = NULL, unclaimed = FALSE, claim_by = CASE WHEN claim_by IS NULL THEN NULL ELSE ",
    NOW, " + $2 END, revision = revision + 1, updated_at = ", NOW, " WHERE file_id = $1 AND deleted_at IS NOT NULL \
     RETURNING ", FILE
};

/// Also what a deleted version left behind for readers; bodies that never became a version are the sweeper's.
const DOOM_ALL: Sql = sql! {
    "UPDATE file_versions SET state = 'deleting', delete_after = ", NOW, " WHERE file_id = $1 AND number IS NOT \
     NULL RETURNING version_id"
};

const REMOVE: Sql = sql!("DELETE FROM files WHERE file_id = $1");

const MAKE_CURRENT: Sql = sql! {
    "UPDATE files SET current_version_id = $2, media_type = $3, media_family = $4, current_since = ", NOW, ", \
     revision = revision + 1, updated_at = ", NOW, " WHERE file_id = $1 RETURNING ", FILE
};

const DOOM_ONE: Sql = sql! {
    "UPDATE file_versions SET state = 'deleting', delete_after = ", NOW, " + $2 WHERE version_id = $1 AND state = \
     'stored'"
};

#[async_trait]
impl FileRepository for Database {
    async fn find(&self, id: &FileId) -> Result<Option<File>, RepositoryError> {
        let mut session = self.reader().await?;
        let row: Option<FullRow> = session.optional(FIND, args![id.as_str()]).await?;
        row.map(into).transpose()
    }

    async fn find_fresh(&self, id: &FileId) -> Result<Option<File>, RepositoryError> {
        self.find(id).await
    }

    async fn version(&self, id: &FileId, number: u64) -> Result<Option<Version>, RepositoryError> {
        let Ok(number) = signed(number) else {
            return Ok(None);
        };
        let mut session = self.reader().await?;
        let row: Option<VersionRow> = session
            .optional(VERSION_BY_NUMBER, args![id.as_str(), number])
            .await?;
        row.map(into).transpose()
    }

    async fn versions(
        &self,
        id: &FileId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Version>, RepositoryError> {
        let before = before.map_or(i64::MAX, |number| signed(number).unwrap_or(i64::MAX));
        let mut session = self.reader().await?;
        let rows: Vec<VersionRow> = session
            .all(
                Statement::Fresh(VERSIONS),
                args![id.as_str(), before, limit],
            )
            .await?;
        into_all(rows)
    }

    async fn list(&self, filter: &FileFilter) -> Result<Vec<File>, RepositoryError> {
        let Some((text, args)) = super::list::page(filter) else {
            return Ok(Vec::new());
        };
        let mut session = self.reader().await?;
        let rows: Vec<FullRow> = session.all(Statement::Composed(text), args).await?;
        into_all(rows)
    }

    async fn commit(&self, commit: Commit) -> Result<File, CommitError> {
        self.commit_version(&commit).await
    }

    async fn update(
        &self,
        id: &FileId,
        expected: u64,
        changes: FileChanges,
    ) -> Result<Option<File>, RepositoryError> {
        let Ok(expected) = signed(expected) else {
            return Ok(None);
        };
        let args = args![
            id.as_str(),
            expected,
            changes.name.as_ref().map(|name| name.as_str()),
            changes.visibility.map(|visibility| visibility.as_str()),
            changes.metadata.as_ref().map(|metadata| metadata.as_json()),
        ];
        self.change(UPDATE, args).await
    }

    async fn trash(&self, id: &FileId, expected: u64) -> Result<Option<File>, RepositoryError> {
        let Ok(expected) = signed(expected) else {
            return Ok(None);
        };
        self.change(TRASH, args![id.as_str(), expected]).await
    }

    async fn untrash(
        &self,
        id: &FileId,
        claim_within: Option<Duration>,
    ) -> Result<Option<File>, RepositoryError> {
        let args = args![id.as_str(), claim_within.map(micros)];
        self.change(UNTRASH, args).await
    }

    async fn purge(
        &self,
        id: &FileId,
        expected: Option<u64>,
    ) -> Result<Option<Purged>, RepositoryError> {
        let mut session = self.transaction().await?;
        let file: Option<FileRow> = session.optional(LOCK, args![id.as_str()]).await?;
        let as_expected = |file: &FileRow| {
            expected
                .is_none_or(|expected| u64::try_from(file.revision).is_ok_and(|r| r == expected))
        };
        if !file.as_ref().is_some_and(as_expected) {
            return session.leave(Ok(None)).await;
        }
        let doomed: Vec<(String,)> = session.all(DOOM_ALL, args![id.as_str()]).await?;
        session.run(REMOVE, args![id.as_str()]).await?;
        session.notify(FILES_CHANNEL, id.as_str()).await?;
        session.commit().await?;
        let versions: Result<Vec<_>, _> = doomed.iter().map(|(id,)| version_id(id)).collect();
        Ok(Some(Purged {
            versions: versions?,
        }))
    }

    async fn restore_version(&self, id: &FileId, number: u64) -> Result<File, VersionError> {
        let mut session = self.transaction().await?;
        let Some((file, version)) = locked(&mut session, id, number).await? else {
            return session.leave(Err(VersionError::NotFound)).await;
        };
        if file.current_version_id == version.version_id {
            return Ok(session.leave(into(FullRow { file, version })).await?);
        }
        let (media_type, family) = version.media();
        let args = args![id.as_str(), version.version_id.as_str(), media_type, family];
        let file: FileRow = session.one(MAKE_CURRENT, args).await?;
        session.notify(FILES_CHANNEL, id.as_str()).await?;
        session.commit().await?;
        Ok(into(FullRow { file, version })?)
    }

    async fn delete_version(
        &self,
        id: &FileId,
        number: u64,
        delay_micros: i64,
    ) -> Result<File, VersionError> {
        let mut session = self.transaction().await?;
        let Some((file, version)) = locked(&mut session, id, number).await? else {
            return session.leave(Err(VersionError::NotFound)).await;
        };
        if file.current_version_id == version.version_id {
            return session.leave(Err(VersionError::Current)).await;
        }
        session
            .run(DOOM_ONE, args![version.version_id, delay_micros])
            .await?;
        let current = args![file.current_version_id.as_str()];
        let version: VersionRow = session.one(VERSION_BY_ID, current).await?;
        session.notify(FILES_CHANNEL, id.as_str()).await?;
        session.commit().await?;
        Ok(into(FullRow { file, version })?)
    }

    /// Nothing is cached here.
    fn forget(&self, _ids: Option<&[FileId]>) {}
}

impl Database {
    /// Runs a change of one file's row that answers the row if it applied.
    pub(super) async fn change(
        &self,
        change: Sql,
        args: Vec<Arg>,
    ) -> Result<Option<File>, RepositoryError> {
        let mut session = self.transaction().await?;
        let Some(file) = session.optional::<FileRow>(change, args).await? else {
            return session.leave(Ok(None)).await;
        };
        let current = args![file.current_version_id.as_str()];
        let version: VersionRow = session.one(VERSION_BY_ID, current).await?;
        session.notify(FILES_CHANNEL, &file.file_id).await?;
        session.commit().await?;
        into(FullRow { file, version }).map(Some)
    }
}

/// Locks a file outside the trash.
pub(super) async fn lock_live(
    session: &mut Session,
    id: &str,
) -> Result<Option<FileRow>, RepositoryError> {
    let file: Option<FileRow> = session.optional(LOCK, args![id]).await?;
    Ok(file.filter(|file| file.deleted_at.is_none()))
}

/// Locks a file outside the trash, with one of its stored versions.
async fn locked(
    session: &mut Session,
    id: &FileId,
    number: u64,
) -> Result<Option<(FileRow, VersionRow)>, RepositoryError> {
    let Ok(number) = signed(number) else {
        return Ok(None);
    };
    let Some(file) = lock_live(session, id.as_str()).await? else {
        return Ok(None);
    };
    let version: Option<VersionRow> = session
        .optional(VERSION_BY_NUMBER, args![id.as_str(), number])
        .await?;
    Ok(version.map(|version| (file, version)))
}
