//! The rows of migrations, and what they are for the mover.

use cloakroom_application::ports::{
    Amount, Migration, MigrationState, Movable, MoveFailure, RepositoryError,
};
use cloakroom_domain::{AccountId, FileId, Location, Sha256Digest, Timestamp};

use crate::metadata::{
    error::broken,
    rows::{Read, digest, location, migration_id, seal, store_id, unsigned, version_id},
};

#[derive(sqlx::FromRow)]
pub(super) struct MigrationRow {
    migration_id: String,
    store_id: String,
    cleanup: bool,
    state: String,
    failure: Option<String>,
    generation: i64,
    started_at: i64,
    finished_at: Option<i64>,
    objects: i64,
    bytes: i64,
    failures: i64,
}

impl TryFrom<MigrationRow> for Migration {
    type Error = RepositoryError;

    fn try_from(row: MigrationRow) -> Result<Self, RepositoryError> {
        let state = MigrationState::parse(&row.state);
        Ok(Self {
            id: migration_id(&row.migration_id)?,
            target: store_id(&row.store_id)?,
            cleanup: row.cleanup,
            state: state.ok_or_else(|| broken("a migration's state cannot be read"))?,
            moved: Amount {
                objects: unsigned(row.objects, "a count is negative")?,
                bytes: unsigned(row.bytes, "a count is negative")?,
            },
            failures: unsigned(row.failures, "a count is negative")?,
            started_at: Timestamp::from_micros(row.started_at),
            finished_at: row.finished_at.map(Timestamp::from_micros),
            failure: row.failure,
            generation: unsigned(row.generation, "a generation is negative")?,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct MovableRow {
    version_id: String,
    file_id: String,
    account_id: String,
    store_id: String,
    bucket: String,
    key: String,
    size: i64,
    encoding: Option<String>,
    wrapped_key: Option<Vec<u8>>,
    sha256: Option<Vec<u8>>,
}

impl TryFrom<MovableRow> for Movable {
    type Error = RepositoryError;

    fn try_from(row: MovableRow) -> Result<Self, RepositoryError> {
        let version = version_id(&row.version_id)?;
        let size = unsigned(row.size, "a size is negative")?;
        Ok(Self {
            version,
            file: FileId::parse(row.file_id).or_broken("a file's id cannot be read")?,
            account: AccountId::parse(row.account_id).or_broken("an account cannot be read")?,
            location: Location {
                seal: seal(version, row.encoding, row.wrapped_key, Some(size)),
                ..location(&row.store_id, &row.bucket, &row.key)?
            },
            size,
            sha256: row.sha256.map(digest).transpose()?.map(Sha256Digest::new),
        })
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct FailureRow {
    version_id: String,
    file_id: String,
    attempts: i64,
    reason: String,
    failed_at: i64,
}

impl TryFrom<FailureRow> for MoveFailure {
    type Error = RepositoryError;

    fn try_from(row: FailureRow) -> Result<Self, RepositoryError> {
        Ok(Self {
            version: version_id(&row.version_id)?,
            file: FileId::parse(row.file_id).or_broken("a file's id cannot be read")?,
            attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
            reason: row.reason,
            at: Timestamp::from_micros(row.failed_at),
        })
    }
}
