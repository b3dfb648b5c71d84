//! Authenticators that need no network of their own: configured tokens, and tokens that this service issued.

use std::sync::Arc;

use async_trait::async_trait;
use cloakroom_domain::{Principal, PrincipalKind, TokenHash};
use subtle::ConstantTimeEq;

use crate::ports::{Authenticator, Credential, CredentialError, ServiceToken, TokenRepository};

/// What every token that this service issues begins with.
pub const ISSUED_PREFIX: &str = "ckr_";

/// A token that is known from the start.
#[derive(Debug, Clone)]
pub struct FixedToken {
    /// SHA-256 of the token.
    pub hash: TokenHash,
    /// Who comes with it.
    pub principal: Principal,
    /// Whether it is also taken from a cookie.
    pub in_cookie: bool,
}

/// Knows a few tokens from the start: the operator's, or those of development mode.
#[derive(Debug, Clone)]
pub struct FixedTokens(Vec<FixedToken>);

impl FixedTokens {
    /// Over these tokens.
    #[must_use]
    pub const fn new(tokens: Vec<FixedToken>) -> Self {
        Self(tokens)
    }
}

#[async_trait]
impl Authenticator for FixedTokens {
    async fn authenticate(
        &self,
        credential: &Credential,
    ) -> Result<Option<Principal>, CredentialError> {
        let (secret, in_cookie) = match credential {
            Credential::Bearer(secret) => (secret, false),
            Credential::Cookie(secret) => (secret, true),
            _ => return Ok(None),
        };
        let hash = TokenHash::of(secret.reveal());
        let mut found = None;
        // Every token is compared, in the same time whichever it is.
        for token in &self.0 {
            let same = bool::from(token.hash.bytes().ct_eq(hash.bytes()));
            if same && (token.in_cookie || !in_cookie) {
                found = Some(token.principal.clone());
            }
        }
        Ok(found)
    }
}

/// Knows the tokens in the database. They come as `Authorization`, and never in a cookie.
pub struct IssuedTokens(Arc<dyn TokenRepository>);

impl IssuedTokens {
    /// Over the tokens kept there.
    #[must_use]
    pub fn new(tokens: Arc<dyn TokenRepository>) -> Self {
        Self(tokens)
    }
}

#[async_trait]
impl Authenticator for IssuedTokens {
    async fn authenticate(
        &self,
        credential: &Credential,
    ) -> Result<Option<Principal>, CredentialError> {
        let Credential::Bearer(secret) = credential else {
            return Ok(None);
        };
        if !secret.reveal().starts_with(ISSUED_PREFIX) {
            return Ok(None);
        }
        let hash = TokenHash::of(secret.reveal());
        let token = self.0.by_hash(&hash).await?;
        Ok(token.and_then(|token| principal(token, hash)))
    }
}

/// The caller that a token makes; `None` for a kind that no token of ours can have.
fn principal(token: ServiceToken, hash: TokenHash) -> Option<Principal> {
    let token_hash = match token.kind {
        PrincipalKind::User => None,
        PrincipalKind::Service | PrincipalKind::Admin => Some(hash),
        PrincipalKind::Anonymous | PrincipalKind::Guest | PrincipalKind::Public => return None,
    };
    Some(Principal {
        kind: token.kind,
        account: token.account,
        user: token.user,
        token: token_hash,
    })
}

#[cfg(test)]
mod tests {
    use cloakroom_domain::{AccountId, TokenId, UserId};

    use super::*;
    use crate::ports::{NewToken, Presented, RepositoryError};

    fn bearer(text: &str) -> Credential {
        Credential::Bearer(Presented::new(text.to_owned()))
    }

    fn cookie(text: &str) -> Credential {
        Credential::Cookie(Presented::new(text.to_owned()))
    }

    fn admin() -> Principal {
        Principal {
            kind: PrincipalKind::Admin,
            account: None,
            user: None,
            token: None,
        }
    }

    fn fixed(in_cookie: bool) -> FixedTokens {
        FixedTokens::new(vec![FixedToken {
            hash: TokenHash::of("secret"),
            principal: admin(),
            in_cookie,
        }])
    }

    #[tokio::test]
    async fn a_fixed_token_is_taken_as_bearer_and_where_allowed_from_a_cookie() {
        let knows = |tokens: FixedTokens, credential: Credential| async move {
            tokens.authenticate(&credential).await.unwrap().is_some()
        };
        assert!(knows(fixed(false), bearer("secret")).await);
        assert!(!knows(fixed(false), cookie("secret")).await);
        assert!(knows(fixed(true), cookie("secret")).await);
        for wrong in [
            bearer("Secret"),
            bearer("secret2"),
            bearer("secre"),
            Credential::Malformed,
        ] {
            assert!(!knows(fixed(true), wrong).await);
        }
        let public = Credential::Public(Presented::new("secret".to_owned()));
        assert!(!knows(fixed(true), public).await);
    }

    /// Holds one token, and cannot be asked about any that this service cannot have issued.
    struct One(NewToken);

    #[async_trait]
    impl TokenRepository for One {
        async fn create(&self, _: NewToken) -> Result<ServiceToken, RepositoryError> {
            Err(RepositoryError::Failed("not here".into()))
        }

        async fn by_hash(&self, hash: &TokenHash) -> Result<Option<ServiceToken>, RepositoryError> {
            if *hash == TokenHash::of("foreign") {
                return Err(RepositoryError::Unavailable("asked".into()));
            }
            Ok((*hash == self.0.hash).then(|| ServiceToken {
                id: self.0.id,
                name: self.0.name.clone(),
                kind: self.0.kind,
                account: self.0.account.clone(),
                user: self.0.user.clone(),
                created_at: cloakroom_domain::Timestamp::from_micros(0),
                revoked_at: None,
            }))
        }

        async fn list(&self) -> Result<Vec<ServiceToken>, RepositoryError> {
            Ok(Vec::new())
        }

        async fn revoke(&self, _: TokenId) -> Result<bool, RepositoryError> {
            Ok(false)
        }
    }

    fn issued(kind: PrincipalKind) -> IssuedTokens {
        IssuedTokens::new(Arc::new(One(NewToken {
            id: TokenId::random(),
            name: "n".into(),
            kind,
            account: AccountId::parse("1").ok(),
            user: UserId::parse("7").ok(),
            hash: TokenHash::of("ckr_x"),
        })))
    }

    #[tokio::test]
    async fn an_issued_token_makes_the_caller_it_was_made_for() {
        let user = issued(PrincipalKind::User);
        let who = user.authenticate(&bearer("ckr_x")).await.unwrap().unwrap();
        assert_eq!((who.kind, who.token), (PrincipalKind::User, None));
        assert_eq!(who.user, UserId::parse("7").ok());
        assert!(user.authenticate(&bearer("ckr_y")).await.unwrap().is_none());
        assert!(user.authenticate(&cookie("ckr_x")).await.unwrap().is_none());
        let guest = issued(PrincipalKind::Guest);
        assert!(
            guest
                .authenticate(&bearer("ckr_x"))
                .await
                .unwrap()
                .is_none()
        );
    }

    #[tokio::test]
    async fn the_database_is_not_asked_about_tokens_of_others() {
        let tokens = issued(PrincipalKind::Service);
        assert!(
            tokens
                .authenticate(&bearer("foreign"))
                .await
                .unwrap()
                .is_none()
        );
    }
}
