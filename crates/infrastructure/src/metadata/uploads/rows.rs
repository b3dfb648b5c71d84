//! The rows of uploads and of their stretches, and what they are in the domain.

use cloakroom_application::ports::{
    RepositoryError, Stretch, StretchAt, UploadRecord, UploadTarget,
};
use cloakroom_domain::{
    ContentType, FileId, FileName, Location, Metadata, Sha256Digest, Timestamp, UploadKind,
    UploadProgress, UploadState, Visibility,
};

use crate::metadata::{
    error::broken,
    rows::{Read, digest, location, owner, seal, unsigned, version_id},
    sql::{Sql, sql},
};

pub(super) const STRETCHES_OF: Sql = sql! { STRETCH, "ORDER BY start" };

/// From the last part on, or everything where there is none.
pub(in crate::metadata) const TAIL: Sql = sql! {
    STRETCH, "AND start >= COALESCE((SELECT p.start FROM upload_stretches AS p WHERE p.upload_id = $1 AND p.number IS \
     NOT NULL ORDER BY p.start DESC LIMIT 1), 0) ORDER BY start"
};

/// Columns of `uploads`; the piece `UPLOAD` selects them.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct UploadRow {
    upload_id: String,
    creator: String,
    kind: String,
    state: String,
    received: i64,
    length: Option<i64>,
    account_id: String,
    user_id: Option<String>,
    owner_token_hash: Option<Vec<u8>>,
    filename: String,
    declared_type: Option<String>,
    visibility: String,
    metadata: String,
    digest: Option<Vec<u8>>,
    described: Option<String>,
    version_id: String,
    store_id: String,
    bucket: String,
    key: String,
    write_id: Option<String>,
    next_number: i64,
    hashes: Option<Vec<u8>>,
    held: bool,
    generation: i64,
    expires_at: i64,
    failure: Option<String>,
    used_by: Option<String>,
    // Of its body's row.
    encoding: Option<String>,
    wrapped_key: Option<Vec<u8>>,
}

impl TryFrom<UploadRow> for UploadRecord {
    type Error = RepositoryError;

    fn try_from(row: UploadRow) -> Result<Self, RepositoryError> {
        let received = unsigned(row.received, "an offset is negative")?;
        let length = row
            .length
            .map(|length| unsigned(length, "a length is negative"))
            .transpose()?;
        let declared_type = match row.declared_type {
            Some(declared) => {
                Some(ContentType::parse(&declared).or_broken("a content type cannot be read")?)
            }
            None => None,
        };
        let target = UploadTarget {
            owner: owner(row.account_id, row.user_id, row.owner_token_hash)?,
            name: FileName::clean(&row.filename),
            declared_type,
            visibility: Visibility::parse(&row.visibility)
                .or_broken("a visibility cannot be read")?,
            metadata: Metadata::from_json(row.metadata).or_broken("metadata cannot be read")?,
            digest: row.digest.map(digest).transpose()?.map(Sha256Digest::new),
            described: row.described,
        };
        let version = version_id(&row.version_id)?;
        let location = location(&row.store_id, &row.bucket, &row.key)?;
        Ok(Self {
            id: FileId::parse(row.upload_id).or_broken("an upload's id cannot be read")?,
            creator: row.creator,
            kind: UploadKind::parse(&row.kind).or_broken("an upload's kind cannot be read")?,
            state: UploadState::parse(&row.state).or_broken("an upload's state cannot be read")?,
            progress: UploadProgress::restore(received, length)
                .or_broken("an upload is longer than its length")?,
            target,
            version,
            location: Location {
                seal: seal(version, row.encoding, row.wrapped_key, None),
                ..location
            },
            write_id: row.write_id,
            next_number: part_number(row.next_number)?,
            hashes: row.hashes,
            is_held: row.held,
            generation: unsigned(row.generation, "a generation is negative")?,
            expires_at: Timestamp::from_micros(row.expires_at),
            failure: row.failure,
            used_by: row
                .used_by
                .map(|id| FileId::parse(id).or_broken("an upload's id cannot be read"))
                .transpose()?,
        })
    }
}

/// The number of a part.
pub(super) fn part_number(number: i64) -> Result<u32, RepositoryError> {
    u32::try_from(number).or_broken("the number of a part cannot be one")
}

/// A row of `upload_stretches`; the piece `STRETCH` selects it.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct StretchRow {
    start: i64,
    size: i64,
    number: Option<i64>,
    tag: Option<String>,
    version_id: Option<String>,
    store_id: Option<String>,
    bucket: Option<String>,
    key: Option<String>,
    // Of the piece's row.
    encoding: Option<String>,
    wrapped_key: Option<Vec<u8>>,
}

impl TryFrom<StretchRow> for Stretch {
    type Error = RepositoryError;

    fn try_from(row: StretchRow) -> Result<Self, RepositoryError> {
        let at = match (row.number, row.tag, row.version_id) {
            (Some(number), Some(tag), None) => StretchAt::Part {
                number: part_number(number)?,
                tag,
            },
            (None, None, Some(version)) => match (row.store_id, row.bucket, row.key) {
                (Some(store), Some(bucket), Some(key)) => {
                    let version = version_id(&version)?;
                    let location = Location {
                        seal: seal(version, row.encoding, row.wrapped_key, None),
                        ..location(&store, &bucket, &key)?
                    };
                    StretchAt::Piece { version, location }
                }
                _ => return Err(broken("a piece of an upload is nowhere")),
            },
            _ => return Err(broken("a stretch is neither a part nor a piece")),
        };
        Ok(Self {
            start: unsigned(row.start, "an offset is negative")?,
            size: unsigned(row.size, "a size is negative")?,
            at,
        })
    }
}

/// An upload that was promised, and the ids of its partial uploads in JSON.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct PromisedRow {
    upload_id: String,
    partials: String,
}

impl TryFrom<PromisedRow> for (FileId, Vec<FileId>) {
    type Error = RepositoryError;

    fn try_from(row: PromisedRow) -> Result<Self, RepositoryError> {
        let unreadable = "an upload's id cannot be read";
        let partials: Vec<String> =
            serde_json::from_str(&row.partials).or_broken("partial uploads cannot be read")?;
        let partials = partials.into_iter().map(FileId::parse);
        let partials: Result<Vec<FileId>, _> = partials.collect();
        let id = FileId::parse(row.upload_id).or_broken(unreadable)?;
        Ok((id, partials.or_broken(unreadable)?))
    }
}
