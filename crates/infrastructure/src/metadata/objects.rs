//! Names in buckets: where they lead, and how a commit and a removal change that.
//!
//! Whoever changes where a name leads holds the row of the file that it leads to; a name that leads nowhere is taken by
//! its row. So locks are taken in the order of every commit: pending rows, file, stored rows.

use std::time::Duration;

use cloakroom_application::ports::{
    Commit, CommitError, Expected, ObjectEntry, ObjectFilter, ObjectTarget, RepositoryError,
};
use cloakroom_domain::{
    BucketKey, BucketName, ContentType, EntityTag, File, FileId, Metadata, Sha256Digest, Timestamp,
    VersionId, Visibility,
};

use super::{
    Database,
    changes::FILES_CHANNEL,
    commit::{LOCK_PENDING, NewFileRow, new_file, store},
    ledger::micros,
    list::after_prefix,
    rows::{FileRow, FullRow, Read, digest, into, into_all, media, unsigned, version_id},
    session::{Arg, Session, Statement, args},
    sql::{Sql, sql},
};

/// How often a name may change hands between two looks at it.
const ATTEMPTS: usize = 20;

pub(super) const FIND: Sql = sql! {
    "SELECT ", FILE, ", ", VERSION, " FROM objects JOIN files ON files.file_id = objects.file_id JOIN file_versions ON \
     file_versions.version_id = files.current_version_id WHERE objects.bucket = $1 AND objects.key = $2 AND \
     files.deleted_at IS NULL"
};

/// The file alone is locked. If its name leads elsewhere by the time that it can be, it is gone, or in the trash.
pub(super) const LOCK: Sql = sql! {
    "SELECT ", FILE, " FROM objects JOIN files ON files.file_id = objects.file_id WHERE objects.bucket = $1 AND \
     objects.key = $2", FOR_UPDATE_OF_FILES
};

const BUCKET_EXISTS: Sql = sql!("SELECT bucket FROM buckets WHERE bucket = $1");

const TAKE: Sql = sql! {
    "INSERT INTO objects (bucket, key, file_id) VALUES ($1, $2, $3) ON CONFLICT (bucket, key) DO NOTHING"
};

const TAKE_FROM_TRASH: Sql = sql! {
    "UPDATE objects SET file_id = $3 WHERE bucket = $1 AND key = $2 AND file_id = $4"
};

const ADOPT: Sql = sql! {
    "UPDATE file_versions SET file_id = $2 WHERE version_id = $1 AND state = 'pending'"
};

const NEXT_VERSION: Sql = sql! {
    "UPDATE files SET current_version_id = $2, last_number = $3, media_type = $4, media_family = $5, metadata = $6, \
     current_since = ", NOW, ", revision = revision + 1, updated_at = ", NOW, " WHERE file_id = $1 RETURNING ", FILE
};

/// What is to be removed already keeps its time.
const DOOM: Sql = sql! {
    "UPDATE file_versions SET state = 'deleting', delete_after = ", NOW, " + $2 WHERE file_id = $1 AND state = 'stored'"
};

const REMOVE: Sql = sql!("DELETE FROM files WHERE file_id = $1");

/// What a list shows of an object.
#[derive(sqlx::FromRow)]
struct EntryRow {
    key: String,
    version_id: String,
    size: i64,
    sha256: Option<Vec<u8>>,
    content_type: String,
    current_since: i64,
}

impl TryFrom<EntryRow> for ObjectEntry {
    type Error = RepositoryError;

    fn try_from(row: EntryRow) -> Result<Self, RepositoryError> {
        let version = version_id(&row.version_id)?;
        let sha256 = row.sha256.map(digest).transpose()?.map(Sha256Digest::new);
        Ok(Self {
            key: BucketKey::parse(row.key).or_broken("a key cannot be read")?,
            size: unsigned(row.size, "a size is negative")?,
            etag: EntityTag::of_body(sha256, version),
            content_type: ContentType::parse(&row.content_type)
                .or_broken("a content type cannot be read")?,
            modified_at: Timestamp::from_micros(row.current_since),
        })
    }
}

/// The file that a name leads to.
pub(super) async fn find(
    database: &Database,
    bucket: &BucketName,
    key: &BucketKey,
) -> Result<Option<File>, RepositoryError> {
    let mut session = database.reader().await?;
    let row: Option<FullRow> = session
        .optional(FIND, args![bucket.as_str(), key.as_str()])
        .await?;
    row.map(into).transpose()
}

/// A page by key.
pub(super) async fn list(
    database: &Database,
    filter: &ObjectFilter,
) -> Result<Vec<ObjectEntry>, RepositoryError> {
    let (text, args) = page(filter);
    let mut session = database.reader().await?;
    let rows: Vec<EntryRow> = session.all(Statement::Composed(text), args).await?;
    into_all(rows)
}

/// The statement for a page and its values: a walk along the primary key.
pub(super) fn page(filter: &ObjectFilter) -> (String, Vec<Arg>) {
    let mut args = args![filter.bucket.as_str(), filter.limit];
    let mut conditions = String::from("o.bucket = $1");
    let mut bound = |comparison: &str, value: &str| {
        args.push(value.into());
        conditions.push_str(&format!(" AND o.key {comparison} ${}", args.len()));
    };
    let prefix = filter.prefix.as_str();
    // Of two lower bounds SQLite would use either, so there is one.
    match filter.after.as_deref() {
        Some(after) if after >= prefix => bound(">", after),
        _ => bound(">=", prefix),
    }
    if let Some(end) = after_prefix(prefix) {
        bound("<", &end);
    }
    let text = format!(
        "SELECT o.key, v.version_id, v.size, v.sha256, v.content_type, f.current_since FROM objects AS o JOIN files AS \
         f ON f.file_id = o.file_id JOIN file_versions AS v ON v.version_id = f.current_version_id WHERE {conditions} \
         AND f.deleted_at IS NULL ORDER BY o.key LIMIT $2"
    );
    (text, args)
}

/// Removes the name with its file.
pub(super) async fn remove(
    database: &Database,
    bucket: &BucketName,
    key: &BucketKey,
    expected: VersionId,
    delay: Duration,
) -> Result<Option<FileId>, RepositoryError> {
    let mut session = database.transaction().await?;
    let file = locked(&mut session, bucket, key).await?;
    let expected = expected.to_string();
    let file = file.filter(|file| file.deleted_at.is_none() && file.current_version_id == expected);
    let Some(file) = file else {
        return session.leave(Ok(None)).await;
    };
    let id = file.file_id.as_str();
    session.run(DOOM, args![id, micros(delay)]).await?;
    // The name goes with it.
    session.run(REMOVE, args![id]).await?;
    session.notify(FILES_CHANNEL, id).await?;
    session.commit().await?;
    FileId::parse(id)
        .map(Some)
        .or_broken("a file id cannot be read")
}

async fn locked(
    session: &mut Session,
    bucket: &BucketName,
    key: &BucketKey,
) -> Result<Option<FileRow>, RepositoryError> {
    session
        .optional(LOCK, args![bucket.as_str(), key.as_str()])
        .await
}

/// Turns the pending row into a version of whatever file the name leads to, or into a file that it leads to.
pub(super) async fn settle(
    session: &mut Session,
    commit: &Commit,
    target: &ObjectTarget,
) -> Result<FullRow, CommitError> {
    let pending = args![commit.version.to_string()];
    let pending: Option<(String,)> = session.optional(LOCK_PENDING, pending).await?;
    pending.ok_or(CommitError::Lost)?;
    let bucket: Option<(String,)> = session
        .optional(BUCKET_EXISTS, args![target.bucket.as_str()])
        .await?;
    bucket.ok_or(CommitError::FileGone)?;
    for _ in 0..ATTEMPTS {
        let found = locked(session, &target.bucket, &target.key).await?;
        let live = found.as_ref().filter(|file| file.deleted_at.is_none());
        let as_expected = match (target.expected, live) {
            (Expected::Anything, _) | (Expected::Nothing, None) => true,
            (Expected::Version(version), Some(file)) => {
                file.current_version_id == version.to_string()
            }
            (Expected::Nothing, Some(_)) | (Expected::Version(_), None) => false,
        };
        if !as_expected {
            return Err(CommitError::Changed);
        }
        if let Some(file) = live {
            return next_version(session, commit, target, file).await;
        }
        if take(session, target, found.as_ref()).await? {
            return first_version(session, commit, target).await;
        }
    }
    Err(RepositoryError::Conflict("a name kept changing hands".into()).into())
}

/// Takes the name for a new file, from nobody or from a file in the trash. `false`: somebody else was faster.
async fn take(
    session: &mut Session,
    target: &ObjectTarget,
    trashed: Option<&FileRow>,
) -> Result<bool, RepositoryError> {
    let mut args = args![
        target.bucket.as_str(),
        target.key.as_str(),
        target.fresh.as_str()
    ];
    let statement = match trashed {
        None => TAKE,
        Some(file) => {
            args.push(file.file_id.as_str().into());
            TAKE_FROM_TRASH
        }
    };
    Ok(session.run(statement, args).await? == 1)
}

async fn first_version(
    session: &mut Session,
    commit: &Commit,
    target: &ObjectTarget,
) -> Result<FullRow, CommitError> {
    let version = commit.version.to_string();
    session
        .run(ADOPT, args![version, target.fresh.as_str()])
        .await?;
    let new = NewFileRow {
        owner: &target.owner,
        name: &target.name,
        visibility: Visibility::Private,
        metadata: &target.metadata,
        claim_within: None,
    };
    new_file(session, commit, new).await
}

async fn next_version(
    session: &mut Session,
    commit: &Commit,
    target: &ObjectTarget,
    file: &FileRow,
) -> Result<FullRow, CommitError> {
    let (id, version) = (file.file_id.as_str(), commit.version.to_string());
    session.run(ADOPT, args![version.as_str(), id]).await?;
    let number = file.last_number + 1;
    let stored = store(session, commit, number).await?;
    let (media_type, family) = media(commit.content_type.as_str());
    let args = args![
        id,
        version,
        number,
        media_type,
        family,
        Metadata::as_json(&target.metadata),
    ];
    let row = session.one(NEXT_VERSION, args).await?;
    session.notify(FILES_CHANNEL, id).await?;
    Ok(FullRow {
        file: row,
        version: stored,
    })
}
