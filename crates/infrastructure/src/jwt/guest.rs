//! Guests: tokens that the backend makes for visitors, signed with its own secret.

use async_trait::async_trait;
use cloakroom_application::ports::{Authenticator, Credential, CredentialError};
use cloakroom_domain::{Principal, PrincipalKind, TokenHash};
use serde_json::Value;

use super::{
    compact::{Compact, Refusal},
    key::Key,
    now,
};

/// What `token_type` says in a guest's token.
pub(super) const TOKEN_TYPE: &str = "guest";

/// Knows guests by HS256 with the backend's secret, and nothing else.
#[derive(Debug, Clone)]
pub struct GuestTokens(Key);

impl GuestTokens {
    /// With the backend's `SECRET_KEY`; `None` if it is empty, as then anybody could sign.
    #[must_use]
    pub fn new(secret: &[u8]) -> Option<Self> {
        (!secret.is_empty()).then(|| Self(Key::backend_secret(secret)))
    }

    /// The guest behind a token, at a time in seconds since 1970.
    ///
    /// `exp`, `token_type` = `guest` and `account_id` are needed, `nbf` and `user_id` count where they are. A guest
    /// without a user is told from others by its token. Whatever else the token says means nothing.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn verify(&self, token: &str, now: f64) -> Result<Principal, Refusal> {
        let compact = Compact::read(token)?;
        compact.check_signature(&self.0)?;
        let claims = &compact.claims;
        if claims.get("token_type").and_then(Value::as_str) != Some(TOKEN_TYPE) {
            return Err(Refusal::Claim("token_type"));
        }
        // A token for somebody else (RFC 7519 §4.1.3), since guests' tokens name no audience.
        if claims.get("aud").is_some() {
            return Err(Refusal::Claim("aud"));
        }
        claims.check_times(now)?;
        let account = claims.account("account_id")?;
        let user = claims.user("user_id")?;
        Ok(Principal {
            kind: PrincipalKind::Guest,
            account: Some(account),
            token: user.is_none().then(|| TokenHash::of(token)),
            user,
        })
    }
}

#[async_trait]
impl Authenticator for GuestTokens {
    async fn authenticate(
        &self,
        credential: &Credential,
    ) -> Result<Option<Principal>, CredentialError> {
        let (Credential::Guest(token) | Credential::GuestCookie(token)) = credential else {
            return Ok(None);
        };
        let verified = self.verify(token.reveal(), now());
        Ok(verified
            .inspect_err(|reason| tracing::debug!(%reason, "a guest's token is refused"))
            .ok())
    }
}

#[cfg(test)]
mod tests;
