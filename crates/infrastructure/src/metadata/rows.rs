//! One struct for each table, and what it is in the domain.

use cloakroom_application::ports::{
    Doomed, LedgerRow, RepositoryError, RowState, ServiceToken, StoreRecord,
};
use cloakroom_domain::{
    AccountId, Bucket, BucketRule, ContentType, File, FileId, FileName, Location, Metadata,
    MigrationId, ObjectKey, Owner, PrincipalKind, Seal, Sha256Digest, StoreId, Timestamp,
    TokenHash, TokenId, UserId, Version, VersionId, Visibility,
};
use serde::{Deserialize, Serialize};

use super::error::broken;

/// Reads a value that only this service wrote; anything else means a damaged row.
pub(super) trait Read<T> {
    fn or_broken(self, what: &'static str) -> Result<T, RepositoryError>;
}

impl<T, E> Read<T> for Result<T, E> {
    fn or_broken(self, what: &'static str) -> Result<T, RepositoryError> {
        self.map_err(|_| broken(what))
    }
}

impl<T> Read<T> for Option<T> {
    fn or_broken(self, what: &'static str) -> Result<T, RepositoryError> {
        self.ok_or_else(|| broken(what))
    }
}

/// A count or size as the domain has it.
pub(super) fn unsigned(number: i64, what: &'static str) -> Result<u64, RepositoryError> {
    u64::try_from(number).or_broken(what)
}

/// A count or size as the database keeps it.
pub(super) fn signed(number: u64) -> Result<i64, RepositoryError> {
    i64::try_from(number).or_broken("a number is beyond what the database holds")
}

/// The bytes of a digest.
pub(super) fn digest(bytes: Vec<u8>) -> Result<[u8; 32], RepositoryError> {
    bytes.try_into().or_broken("a digest is not 32 bytes")
}

/// Columns of `files`; the piece `FILE` selects them.
#[derive(Debug, Clone, sqlx::FromRow, Serialize, Deserialize)]
pub(super) struct FileRow {
    pub(super) file_id: String,
    account_id: String,
    user_id: Option<String>,
    owner_token_hash: Option<Vec<u8>>,
    filename: String,
    visibility: String,
    metadata: String,
    pub(super) current_version_id: String,
    pub(super) last_number: i64,
    current_since: i64,
    pub(super) revision: i64,
    created_at: i64,
    updated_at: i64,
    pub(super) deleted_at: Option<i64>,
    // Absent from answers that were kept before there was such a thing.
    #[serde(default)]
    claim_by: Option<i64>,
}

/// Columns of `file_versions` for a stored version; the piece `VERSION` selects them.
#[derive(Debug, Clone, sqlx::FromRow, Serialize, Deserialize)]
pub(super) struct VersionRow {
    pub(super) version_id: String,
    number: i64,
    store_id: String,
    bucket: String,
    key: String,
    size: i64,
    stored_size: i64,
    encoding: Option<String>,
    // Answers that are kept for a while need none, and would keep it from being sealed again.
    #[serde(skip)]
    wrapped_key: Option<Vec<u8>>,
    sha256: Option<Vec<u8>>,
    crc64: Option<i64>,
    // Absent from answers that were kept before there was such a thing.
    #[serde(default)]
    tagged_by_id: bool,
    content_type: String,
    stored_at: i64,
}

impl VersionRow {
    /// What `files` keeps of the type, for its indexes.
    pub(super) fn media(&self) -> (&str, &str) {
        media(&self.content_type)
    }
}

/// A content type without its parameters, and its family with the slash.
pub(super) fn media(content_type: &str) -> (&str, &str) {
    let essence = content_type.split(';').next().unwrap_or_default();
    let family = essence.find('/').map_or(0, |slash| slash + 1);
    (essence, &essence[..family])
}

/// A file's row with its current version's: what an idempotency key keeps, too.
#[derive(Debug, Clone, sqlx::FromRow, Serialize, Deserialize)]
pub(super) struct FullRow {
    #[sqlx(flatten)]
    pub(super) file: FileRow,
    #[sqlx(flatten)]
    pub(super) version: VersionRow,
}

impl TryFrom<FullRow> for File {
    type Error = RepositoryError;

    fn try_from(row: FullRow) -> Result<Self, RepositoryError> {
        let FullRow { file, version } = row;
        Ok(Self {
            id: FileId::parse(file.file_id).or_broken("a file id cannot be read")?,
            owner: owner(file.account_id, file.user_id, file.owner_token_hash)?,
            name: FileName::clean(&file.filename),
            visibility: Visibility::parse(&file.visibility)
                .or_broken("a visibility cannot be read")?,
            metadata: Metadata::from_json(file.metadata).or_broken("metadata cannot be read")?,
            revision: unsigned(file.revision, "a revision is negative")?,
            created_at: Timestamp::from_micros(file.created_at),
            updated_at: Timestamp::from_micros(file.updated_at),
            deleted_at: file.deleted_at.map(Timestamp::from_micros),
            current: version.try_into()?,
            current_since: Timestamp::from_micros(file.current_since),
            claim_by: file.claim_by.map(Timestamp::from_micros),
        })
    }
}

impl TryFrom<VersionRow> for Version {
    type Error = RepositoryError;

    fn try_from(row: VersionRow) -> Result<Self, RepositoryError> {
        let id = version_id(&row.version_id)?;
        let size = unsigned(row.size, "a size is negative")?;
        let location = location(&row.store_id, &row.bucket, &row.key)?;
        Ok(Self {
            id,
            number: unsigned(row.number, "a version's number is negative")?,
            location: Location {
                seal: seal(id, row.encoding, row.wrapped_key, Some(size)),
                ..location
            },
            size,
            stored_size: unsigned(row.stored_size, "a size is negative")?,
            sha256: row.sha256.map(digest).transpose()?.map(Sha256Digest::new),
            crc64: row.crc64.map(i64::cast_unsigned),
            tagged_by_id: row.tagged_by_id,
            content_type: ContentType::parse(&row.content_type)
                .or_broken("a content type cannot be read")?,
            created_at: Timestamp::from_micros(row.stored_at),
        })
    }
}

/// Reads whose something is.
pub(super) fn owner(
    account: String,
    user_id: Option<String>,
    token: Option<Vec<u8>>,
) -> Result<Owner, RepositoryError> {
    Ok(Owner {
        account: AccountId::parse(account).or_broken("an account cannot be read")?,
        user: user(user_id)?,
        token: token.map(digest).transpose()?.map(TokenHash::from_bytes),
    })
}

fn user(id: Option<String>) -> Result<Option<UserId>, RepositoryError> {
    id.map(UserId::parse)
        .transpose()
        .or_broken("a user cannot be read")
}

/// Reads the id of a version.
pub(super) fn version_id(text: &str) -> Result<VersionId, RepositoryError> {
    VersionId::parse(text).or_broken("a version id cannot be read")
}

/// Reads an address, without what its bytes are sealed with.
pub(super) fn location(store: &str, bucket: &str, key: &str) -> Result<Location, RepositoryError> {
    Ok(Location::plain(
        store_id(store)?,
        Bucket::parse(bucket).or_broken("a bucket cannot be read")?,
        ObjectKey::parse(key).or_broken("an object key cannot be read")?,
    ))
}

/// What the bytes of a row are sealed with, if they are. Half a seal is one that does not open.
pub(super) fn seal(
    version: VersionId,
    encoding: Option<String>,
    wrapped_key: Option<Vec<u8>>,
    size: Option<u64>,
) -> Option<Seal> {
    (encoding.is_some() || wrapped_key.is_some()).then(|| Seal {
        version,
        encoding: encoding.unwrap_or_default(),
        wrapped_key: wrapped_key.unwrap_or_default(),
        size,
    })
}

/// Reads the id of a migration.
pub(super) fn migration_id(text: &str) -> Result<MigrationId, RepositoryError> {
    MigrationId::parse(text).or_broken("a migration's id cannot be read")
}

/// Reads the id of a store.
pub(super) fn store_id(text: &str) -> Result<StoreId, RepositoryError> {
    StoreId::parse(text).or_broken("a store id cannot be read")
}

/// An address of `file_versions` and whose it is.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct DoomedRow {
    version_id: String,
    store_id: String,
    bucket: String,
    key: String,
}

impl TryFrom<DoomedRow> for Doomed {
    type Error = RepositoryError;

    fn try_from(row: DoomedRow) -> Result<Self, RepositoryError> {
        Ok(Self {
            version: version_id(&row.version_id)?,
            location: location(&row.store_id, &row.bucket, &row.key)?,
        })
    }
}

/// A row of `file_versions` in any state, and what its file says of it.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct AnyVersionRow {
    version_id: String,
    file_id: String,
    file_exists: bool,
    is_current: bool,
    state: String,
    store_id: String,
    bucket: String,
    key: String,
    size: Option<i64>,
    stored_size: Option<i64>,
    encoding: Option<String>,
    wrapped_key: Option<Vec<u8>>,
    sha256: Option<Vec<u8>>,
}

impl TryFrom<AnyVersionRow> for LedgerRow {
    type Error = RepositoryError;

    fn try_from(row: AnyVersionRow) -> Result<Self, RepositoryError> {
        let version = version_id(&row.version_id)?;
        let bytes = |size: Option<i64>| {
            let size = size.map(|size| unsigned(size, "a size is negative"));
            size.transpose()
        };
        let location = location(&row.store_id, &row.bucket, &row.key)?;
        Ok(Self {
            version,
            file: FileId::parse(row.file_id).or_broken("a file id cannot be read")?,
            file_exists: row.file_exists,
            is_current: row.is_current,
            state: RowState::parse(&row.state).or_broken("a state cannot be read")?,
            location: Location {
                seal: seal(version, row.encoding, row.wrapped_key, bytes(row.size)?),
                ..location
            },
            stored_size: bytes(row.stored_size)?,
            sha256: row.sha256.map(digest).transpose()?.map(Sha256Digest::new),
        })
    }
}

/// A row of `stores`.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct StoreRow {
    store_id: String,
    driver: String,
    bucket: Option<String>,
    bucket_prefix: Option<String>,
    config: Option<Vec<u8>>,
    revision: i64,
    state: String,
}

impl TryFrom<StoreRow> for StoreRecord {
    type Error = RepositoryError;

    fn try_from(row: StoreRow) -> Result<Self, RepositoryError> {
        let buckets = match (row.bucket, row.bucket_prefix) {
            (Some(bucket), None) => {
                BucketRule::Fixed(Bucket::parse(&bucket).or_broken("a bucket cannot be read")?)
            }
            (None, Some(prefix)) => BucketRule::PerAccount(prefix),
            _ => return Err(broken("a store has no rule for its buckets")),
        };
        Ok(Self {
            id: store_id(&row.store_id)?,
            driver: row.driver,
            buckets,
            config: row.config,
            revision: unsigned(row.revision, "a revision is negative")?,
            is_current: row.state == "current",
        })
    }
}

/// A row of `service_tokens`, without the hash.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct TokenRow {
    token_id: String,
    name: String,
    kind: String,
    account_id: Option<String>,
    user_id: Option<String>,
    created_at: i64,
    revoked_at: Option<i64>,
}

impl TryFrom<TokenRow> for ServiceToken {
    type Error = RepositoryError;

    fn try_from(row: TokenRow) -> Result<Self, RepositoryError> {
        Ok(Self {
            id: TokenId::parse(&row.token_id).or_broken("a token id cannot be read")?,
            name: row.name,
            kind: PrincipalKind::parse(&row.kind).or_broken("a token's kind cannot be read")?,
            account: row
                .account_id
                .map(AccountId::parse)
                .transpose()
                .or_broken("an account cannot be read")?,
            user: user(row.user_id)?,
            created_at: Timestamp::from_micros(row.created_at),
            revoked_at: row.revoked_at.map(Timestamp::from_micros),
        })
    }
}

/// The value of `files.owned_by` for an owner.
pub(super) fn owned_by(owner: &Owner) -> String {
    match (&owner.user, &owner.token) {
        (Some(user), _) => format!("u{user}"),
        (None, Some(token)) => format!("t{}", hex::encode(token.bytes())),
        (None, None) => "s".to_owned(),
    }
}

/// A row in terms of the domain.
pub(super) fn into<T, U>(row: T) -> Result<U, RepositoryError>
where
    U: TryFrom<T, Error = RepositoryError>,
{
    row.try_into()
}

/// Rows in terms of the domain.
pub(super) fn into_all<T, U>(rows: Vec<T>) -> Result<Vec<U>, RepositoryError>
where
    U: TryFrom<T, Error = RepositoryError>,
{
    rows.into_iter().map(U::try_from).collect()
}
