//! The tokens that this service issues.

use async_trait::async_trait;
use cloakroom_application::ports::{NewToken, RepositoryError, ServiceToken, TokenRepository};
use cloakroom_domain::{AccountId, TokenHash, TokenId, UserId};

use super::{
    Database,
    changes::TOKENS_CHANNEL,
    rows::{TokenRow, into, into_all},
    session::args,
    sql::{Sql, sql},
};

const CREATE: Sql = sql! {
    "INSERT INTO service_tokens (token_id, name, kind, account_id, user_id, token_hash, created_at) VALUES ($1, \
     $2, $3, $4, $5, $6, ", NOW, ") RETURNING ", TOKEN
};

const BY_HASH: Sql = sql! {
    "SELECT ", TOKEN, " FROM service_tokens WHERE token_hash = $1 AND revoked_at IS NULL"
};

const ALL: Sql = sql! {
    "SELECT ", TOKEN, " FROM service_tokens ORDER BY created_at DESC, token_id DESC"
};

const REVOKE: Sql = sql! {
    "UPDATE service_tokens SET revoked_at = ", NOW, " WHERE token_id = $1 AND revoked_at IS NULL"
};

#[async_trait]
impl TokenRepository for Database {
    async fn create(&self, token: NewToken) -> Result<ServiceToken, RepositoryError> {
        let args = args![
            token.id.to_string(),
            token.name,
            token.kind.as_str(),
            token.account.as_ref().map(AccountId::as_str),
            token.user.as_ref().map(UserId::as_str),
            token.hash.bytes().as_slice(),
        ];
        let row: TokenRow = self.writer().await?.one(CREATE, args).await?;
        into(row)
    }

    async fn by_hash(&self, hash: &TokenHash) -> Result<Option<ServiceToken>, RepositoryError> {
        let args = args![hash.bytes().as_slice()];
        let row: Option<TokenRow> = self.reader().await?.optional(BY_HASH, args).await?;
        row.map(into).transpose()
    }

    async fn list(&self) -> Result<Vec<ServiceToken>, RepositoryError> {
        let rows: Vec<TokenRow> = self.reader().await?.all(ALL, args![]).await?;
        into_all(rows)
    }

    async fn revoke(&self, id: TokenId) -> Result<bool, RepositoryError> {
        let id = id.to_string();
        let mut session = self.transaction().await?;
        if session.run(REVOKE, args![id.as_str()]).await? == 0 {
            return session.leave(Ok(false)).await;
        }
        session.notify(TOKENS_CHANNEL, &id).await?;
        session.commit().await?;
        Ok(true)
    }
}
