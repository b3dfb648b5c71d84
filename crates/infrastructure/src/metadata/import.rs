//! Files of another service, entered as they are.

use async_trait::async_trait;
use cloakroom_application::ports::{FileImport, ImportedFile, RepositoryError};
use cloakroom_domain::{AccountId, FileId, UserId};
use serde_json::json;

use super::{
    Database,
    error::broken,
    rows::{media, signed},
    session::args,
    sql::{Sql, sql},
};

const ACCOUNTS: Sql = sql! { "SELECT file_id, account_id FROM files WHERE file_id ", EACH };

/// The bodies first: what has the address of another, or of one that is being removed, is left out as a whole.
const ENTER_VERSIONS: Sql = sql! {
    "INSERT INTO file_versions (version_id, file_id, account_id, number, store_id, bucket, key, size, stored_size, \
     content_type, state, created_at, touched_at) SELECT r.version_id, r.file_id, r.account_id, 1, r.store_id, \
     r.bucket, r.key, r.size, r.size, r.content_type, 'stored', r.created_at, r.created_at FROM ", IMPORTED,
    "WHERE NOT EXISTS (SELECT 1 FROM files AS f WHERE f.file_id = r.file_id) ON CONFLICT DO NOTHING"
};

const ENTER_FILES: Sql = sql! {
    "INSERT INTO files (file_id, account_id, user_id, owner_token_hash, filename, visibility, metadata, media_type, \
     media_family, current_version_id, last_number, current_since, revision, created_at, updated_at) SELECT \
     r.file_id, r.account_id, r.user_id, ", TOKEN_HASH, ", r.filename, 'private', '{}', r.media_type, \
     r.media_family, r.version_id, 1, r.created_at, 1, r.created_at, r.created_at FROM ", IMPORTED,
    "WHERE EXISTS (SELECT 1 FROM file_versions AS v WHERE v.version_id = r.version_id) ON CONFLICT DO NOTHING \
     RETURNING file_id"
};

#[async_trait]
impl FileImport for Database {
    async fn accounts_of(
        &self,
        ids: &[FileId],
    ) -> Result<Vec<(FileId, AccountId)>, RepositoryError> {
        let ids: Vec<&str> = ids.iter().map(FileId::as_str).collect();
        let mut session = self.reader().await?;
        let rows: Vec<(String, String)> =
            session.all(ACCOUNTS, args![json!(ids).to_string()]).await?;
        rows.into_iter()
            .map(|(file, account)| {
                let file = FileId::parse(file).map_err(|_| broken("a file id cannot be read"))?;
                let account = AccountId::parse(account);
                Ok((
                    file,
                    account.map_err(|_| broken("an account cannot be read"))?,
                ))
            })
            .collect()
    }

    async fn take_over(&self, files: &[ImportedFile]) -> Result<Vec<FileId>, RepositoryError> {
        let rows: Result<Vec<_>, _> = files.iter().map(as_json).collect();
        let rows = serde_json::Value::Array(rows?).to_string();
        let mut session = self.transaction().await?;
        let entered = async {
            let versions = session.run(ENTER_VERSIONS, args![rows.as_str()]).await?;
            let files: Vec<(String,)> = session.all(ENTER_FILES, args![rows.as_str()]).await?;
            Ok((versions, files))
        };
        let (versions, files) = match entered.await {
            Ok(entered) => entered,
            Err(error) => return session.leave(Err(error)).await,
        };
        if files.len() as u64 != versions {
            // A file of that id was made in between.
            let raced = RepositoryError::Conflict("a file was made meanwhile".into());
            return session.leave(Err(raced)).await;
        }
        session.commit().await?;
        files
            .into_iter()
            .map(|(id,)| FileId::parse(id).map_err(|_| broken("a file id cannot be read")))
            .collect()
    }
}

/// The file as the piece `IMPORTED` takes it.
fn as_json(file: &ImportedFile) -> Result<serde_json::Value, RepositoryError> {
    let (owner, at) = (&file.owner, &file.location);
    let (media_type, media_family) = media(file.content_type.as_str());
    Ok(json!({
        "version_id": file.version.to_string(),
        "file_id": file.id.as_str(),
        "account_id": owner.account.as_str(),
        "user_id": owner.user.as_ref().map(UserId::as_str),
        "token": owner.token.as_ref().map(|token| hex::encode(token.bytes())),
        "filename": file.name.as_str(),
        "store_id": at.store.to_string(),
        "bucket": at.bucket.as_str(),
        "key": at.key.as_str(),
        "size": signed(file.size)?,
        "content_type": file.content_type.as_str(),
        "media_type": media_type,
        "media_family": media_family,
        "created_at": file.created_at.micros(),
    }))
}
