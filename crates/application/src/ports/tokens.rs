//! Tokens that this service issues, kept as hashes.

use async_trait::async_trait;
use cloakroom_domain::{AccountId, PrincipalKind, Timestamp, TokenHash, TokenId, UserId};

use super::RepositoryError;

/// A token about to be kept.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its handle.
    pub id: TokenId,
    /// What people call it.
    pub name: String,
    /// The kind of caller it makes: service, user or admin.
    pub kind: PrincipalKind,
    /// The account it acts in.
    pub account: Option<AccountId>,
    /// The user it is.
    pub user: Option<UserId>,
    /// SHA-256 of the token.
    pub hash: TokenHash,
}

/// A token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceToken {
    /// Its handle.
    pub id: TokenId,
    /// What people call it.
    pub name: String,
    /// The kind of caller it makes.
    pub kind: PrincipalKind,
    /// The account it acts in.
    pub account: Option<AccountId>,
    /// The user it is.
    pub user: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is refused.
    pub revoked_at: Option<Timestamp>,
}

/// The tokens table.
#[async_trait]
pub trait TokenRepository: Send + Sync {
    /// Keeps a token.
    async fn create(&self, token: NewToken) -> Result<ServiceToken, RepositoryError>;

    /// The token with that hash, unless it is revoked.
    async fn by_hash(&self, hash: &TokenHash) -> Result<Option<ServiceToken>, RepositoryError>;

    /// Every token, newest first.
    async fn list(&self) -> Result<Vec<ServiceToken>, RepositoryError>;

    /// Revokes the token. `false`: there is none, or it was revoked before.
    async fn revoke(&self, id: TokenId) -> Result<bool, RepositoryError>;
}
