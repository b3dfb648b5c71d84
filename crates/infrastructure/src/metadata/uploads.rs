//! Uploads that take several requests.
//!
//! Whoever changes an upload locks its row before anything else; the rows of its body and pieces come after it.

mod asking;
mod ending;
mod rows;
mod saving;

use std::time::Duration;

use async_trait::async_trait;
use cloakroom_application::ports::{
    Ask, Asked, COMPLETING_LEASE, NewPiece, NewUploadRow, NewVersion, RepositoryError, Saved,
    Stretch, UploadRecord, UploadRepository,
};
use cloakroom_domain::{ContentType, FileId, Location, Sha256Digest, UploadState, UserId};
use serde_json::json;

#[cfg(test)]
pub(super) use ending::{DOOM, FORGET, STALE};
pub(super) use ending::{finish, use_up};
#[cfg(test)]
pub(super) use rows::TAIL;

use self::{
    rows::{PromisedRow, STRETCHES_OF, StretchRow, UploadRow},
    saving::Hold,
};
use super::{
    Database,
    error::broken,
    ledger::{self, Address, micros},
    rows::{into, into_all, signed},
    session::{Session, Statement, args},
    sql::{Sql, sql},
};

const CREATE: Sql = sql! {
    "INSERT INTO uploads (upload_id, creator, kind, state, received, length, account_id, user_id, owner_token_hash, \
     filename, declared_type, visibility, metadata, digest, described, version_id, store_id, bucket, key, \
     next_number, free_number, loose_below, held, generation, turn, created_at, touched_at, expires_at) VALUES ($2, \
     $3, $4, 'open', 0, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, 1, 1, 1, FALSE, 0, 0, ",
    NOW, ", ", NOW, ", ", NOW, " + $19) RETURNING ", UPLOAD
};

pub(super) const FIND: Sql =
    sql! { "SELECT ", UPLOAD, " FROM uploads WHERE uploads.upload_id = $2" };

/// In the store and bucket of the body. The lock keeps the upload from ending before the piece has a row.
const BEGIN_PIECE: Sql = sql! {
    "INSERT INTO file_versions (version_id, file_id, account_id, store_id, bucket, key, upload_id, encoding, \
     wrapped_key, state, created_at, touched_at) SELECT $4, uploads.upload_id, uploads.account_id, uploads.store_id, \
     uploads.bucket, $5, uploads.upload_id, $6, $7, 'pending', ", NOW, ", ", NOW, " FROM uploads WHERE uploads.upload_id = $3 AND ", HELD,
    FOR_UPDATE, " RETURNING store_id, bucket, key"
};

const COMPLETING: Sql = sql! {
    "UPDATE uploads SET state = 'completing', touched_at = ", NOW, " WHERE uploads.upload_id = $3 AND ", HELD
};

const EXPECT_DIGEST: Sql = sql! {
    "UPDATE uploads SET digest = COALESCE(digest, $4) WHERE uploads.upload_id = $3 AND ", HELD
};

const LOOSEN: Sql = sql! {
    "UPDATE uploads SET loose_below = next_number WHERE uploads.upload_id = $3 AND ", HELD
};

const PROLONG: Sql = sql! {
    "UPDATE uploads SET expires_at = ", NOW, " + $2 WHERE uploads.kind = 'partial' AND uploads.state = 'finished' AND \
     uploads.expires_at > ", NOW, " AND uploads.expires_at < ", NOW, " + $2 AND uploads.upload_id ", EACH
};

const PROMISE: Sql = sql! {
    "UPDATE uploads SET partials = $3 WHERE uploads.upload_id = $2 AND uploads.state IN ('open', 'completing') AND \
     (uploads.expires_at > ", NOW, " OR ", COMPLETING, ")"
};

pub(super) const FORSAKEN: Sql = sql! {
    "SELECT upload_id, partials FROM uploads WHERE partials IS NOT NULL AND state IN ('open', 'completing') AND \
     touched_at <= ", NOW, " - $1 AND expires_at > ", NOW, " ORDER BY touched_at LIMIT $2"
};

/// The lease of whoever makes a file of an upload, as the statements take it.
const fn lease() -> i64 {
    COMPLETING_LEASE.as_micros() as i64
}

#[async_trait]
impl UploadRepository for Database {
    async fn create(&self, new: NewUploadRow) -> Result<UploadRecord, RepositoryError> {
        let mut session = self.transaction().await?;
        match create(&mut session, new).await {
            Ok(row) => {
                session.commit().await?;
                into(row)
            }
            Err(error) => session.leave(Err(error)).await,
        }
    }

    async fn find(&self, id: &FileId) -> Result<Option<UploadRecord>, RepositoryError> {
        let mut session = self.reader().await?;
        let row: Option<UploadRow> = session.optional(FIND, args![lease(), id.as_str()]).await?;
        row.map(into).transpose()
    }

    async fn stretches(&self, id: &FileId) -> Result<Vec<Stretch>, RepositoryError> {
        let mut session = self.reader().await?;
        let rows: Vec<StretchRow> = session.all(STRETCHES_OF, args![id.as_str()]).await?;
        into_all(rows)
    }

    async fn ask(&self, id: &FileId, ask: Ask) -> Result<Asked, RepositoryError> {
        let mut session = self.transaction().await?;
        match asking::ask(&mut session, id, ask).await {
            Ok(asked @ (Asked::Ours(_) | Asked::Held(_))) => {
                session.commit().await?;
                Ok(asked)
            }
            unchanged => session.leave(unchanged).await,
        }
    }

    async fn begin_piece(
        &self,
        id: &FileId,
        generation: u64,
        piece: NewPiece,
    ) -> Result<Option<Location>, RepositoryError> {
        let args = args![
            lease(),
            signed(generation)?,
            id.as_str(),
            piece.version.to_string(),
            piece.key.as_str(),
            piece.seal.as_ref().map(|seal| seal.encoding.as_str()),
            piece.seal.as_ref().map(|seal| seal.wrapped_key.as_slice()),
        ];
        let mut session = self.writer().await?;
        let address: Option<Address> = session.optional(BEGIN_PIECE, args).await?;
        let location: Option<Location> = address.map(into).transpose()?;
        Ok(location.map(|location| Location {
            seal: piece.seal,
            ..location
        }))
    }

    async fn save(
        &self,
        id: &FileId,
        generation: u64,
        saved: Saved,
    ) -> Result<bool, RepositoryError> {
        let mut session = self.transaction().await?;
        let kept = saving::keep(&mut session, id, generation, &saved, Hold::Kept).await;
        settle(session, kept).await
    }

    async fn release(
        &self,
        id: &FileId,
        generation: u64,
        saved: Option<Saved>,
    ) -> Result<bool, RepositoryError> {
        let Some(saved) = saved else {
            let mut session = self.writer().await?;
            return saving::let_go(&mut session, id, generation).await;
        };
        let mut session = self.transaction().await?;
        let kept = saving::keep(&mut session, id, generation, &saved, Hold::LetGo).await;
        settle(session, kept).await
    }

    async fn completing(&self, id: &FileId, generation: u64) -> Result<bool, RepositoryError> {
        let mut session = self.writer().await?;
        let args = args![lease(), signed(generation)?, id.as_str()];
        Ok(session.run(COMPLETING, args).await? == 1)
    }

    async fn expect_digest(
        &self,
        id: &FileId,
        generation: u64,
        digest: Sha256Digest,
    ) -> Result<bool, RepositoryError> {
        let mut session = self.writer().await?;
        let digest = digest.bytes();
        let args = args![lease(), signed(generation)?, id.as_str(), digest.as_slice()];
        Ok(session.run(EXPECT_DIGEST, args).await? == 1)
    }

    async fn loosen(&self, id: &FileId, generation: u64) -> Result<bool, RepositoryError> {
        let mut session = self.writer().await?;
        let args = args![lease(), signed(generation)?, id.as_str()];
        Ok(session.run(LOOSEN, args).await? == 1)
    }

    async fn prolong(
        &self,
        partials: &[FileId],
        lifetime: Duration,
    ) -> Result<(), RepositoryError> {
        let partials: Vec<&str> = partials.iter().map(FileId::as_str).collect();
        let mut session = self.writer().await?;
        let args = args![json!(partials).to_string(), micros(lifetime)];
        session.run(PROLONG, args).await.map(drop)
    }

    async fn finish_partial(
        &self,
        id: &FileId,
        generation: u64,
        lifetime: Duration,
    ) -> Result<bool, RepositoryError> {
        let mut session = self.transaction().await?;
        let finished = ending::finish_partial(&mut session, id, generation, lifetime).await;
        settle(session, finished).await
    }

    async fn end(
        &self,
        id: &FileId,
        generation: u64,
        state: UploadState,
        failure: Option<&str>,
        delay: Duration,
    ) -> Result<bool, RepositoryError> {
        if !matches!(state, UploadState::Failed | UploadState::Terminated) {
            return Err(broken("an upload does not end so"));
        }
        let mut session = self.transaction().await?;
        let ended = ending::end(&mut session, id, generation, state, failure, delay).await;
        settle(session, ended).await
    }

    async fn promise(&self, id: &FileId, partials: &[FileId]) -> Result<bool, RepositoryError> {
        let partials: Vec<&str> = partials.iter().map(FileId::as_str).collect();
        let mut session = self.writer().await?;
        let args = args![lease(), id.as_str(), json!(partials).to_string()];
        Ok(session.run(PROMISE, args).await? == 1)
    }

    async fn forsaken(&self, limit: u32) -> Result<Vec<(FileId, Vec<FileId>)>, RepositoryError> {
        let mut session = self.reader().await?;
        let rows: Vec<PromisedRow> = session.all(FORSAKEN, args![lease(), limit]).await?;
        into_all(rows)
    }

    async fn expire(&self, limit: u32) -> Result<u64, RepositoryError> {
        let mut session = self.transaction().await?;
        match ending::expire(&mut session, limit).await {
            Ok(0) => session.leave(Ok(0)).await,
            Ok(expired) => {
                session.commit().await?;
                Ok(expired)
            }
            Err(error) => session.leave(Err(error)).await,
        }
    }

    async fn forget(&self, age: Duration, limit: u32) -> Result<u64, RepositoryError> {
        let mut session = self.writer().await?;
        session
            .run(Statement::Fresh(ending::FORGET), args![micros(age), limit])
            .await
    }
}

async fn create(session: &mut Session, new: NewUploadRow) -> Result<UploadRow, RepositoryError> {
    let NewUploadRow {
        id,
        version,
        target,
        ..
    } = new;
    let body = NewVersion {
        id: version,
        file: id.clone(),
        account: new.account,
        key: new.key,
        claim: None,
        seal: new.seal,
    };
    let location = ledger::insert(session, &body, Some(&id)).await?;
    let args = args![
        lease(),
        id.as_str(),
        new.creator,
        new.kind.as_str(),
        new.length.map(signed).transpose()?,
        target.owner.account.as_str(),
        target.owner.user.as_ref().map(UserId::as_str),
        target
            .owner
            .token
            .as_ref()
            .map(|token| token.bytes().as_slice()),
        target.name.as_str(),
        target.declared_type.as_ref().map(ContentType::as_str),
        target.visibility.as_str(),
        target.metadata.as_json(),
        target
            .digest
            .as_ref()
            .map(|digest| digest.bytes().as_slice()),
        target.described,
        version.to_string(),
        location.store.to_string(),
        location.bucket.as_str(),
        location.key.as_str(),
        micros(new.lifetime),
    ];
    session.one(CREATE, args).await
}

/// Commits a change that had an effect, and undoes one that had none.
async fn settle(
    session: Session,
    changed: Result<bool, RepositoryError>,
) -> Result<bool, RepositoryError> {
    if matches!(changed, Ok(true)) {
        session.commit().await?;
        return changed;
    }
    session.leave(changed).await
}
