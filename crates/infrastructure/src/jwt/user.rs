//! Users: tokens of an identity provider, by a configured key or by the keys that it publishes.

use std::sync::Arc;

use async_trait::async_trait;
use cloakroom_application::ports::{Authenticator, Credential, CredentialError};
use cloakroom_domain::{Principal, PrincipalKind};
use serde_json::Value;

use super::{
    compact::{Compact, Refusal},
    guest,
    jwks::RemoteKeys,
    key::Key,
    now,
};

/// What a user's token has to say.
#[derive(Debug, Clone)]
pub struct UserRules {
    /// The issuer (`iss`) that it must name. `None`: any.
    pub issuer: Option<String>,
    /// The audience that it must name, alone or among others (`aud`). `None`: it must name none (RFC 7519 §4.1.3).
    pub audience: Option<String>,
    /// The claim that names the user.
    pub user_claim: String,
    /// The claim that names the account.
    pub account_claim: String,
}

impl UserRules {
    /// The user behind a token that one of these keys signed, at a time in seconds since 1970.
    ///
    /// `exp`, user and account are needed, `nbf` counts where it is. A `token_type` of `guest` or `refresh` is refused:
    /// such tokens may be signed with the same key and are not for this. Whatever else it says means nothing.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn verify(&self, token: &str, keys: &[&Key], now: f64) -> Result<Principal, Refusal> {
        let compact = Compact::read(token)?;
        let principal = self.believe(&compact, now)?;
        check_signature(&compact, keys.iter().copied())?;
        Ok(principal)
    }

    /// The user that a token names, if it is as it has to be but for its signature.
    fn believe(&self, token: &Compact<'_>, now: f64) -> Result<Principal, Refusal> {
        let claims = &token.claims;
        claims.check_times(now)?;
        let issuer = claims.get("iss").and_then(Value::as_str);
        if self.issuer.is_some() && self.issuer.as_deref() != issuer {
            return Err(Refusal::Claim("iss"));
        }
        if !self.is_for_us(claims.get("aud")) {
            return Err(Refusal::Claim("aud"));
        }
        let kind = claims.get("token_type").and_then(Value::as_str);
        if kind.is_some_and(|kind| [guest::TOKEN_TYPE, "refresh"].contains(&kind)) {
            return Err(Refusal::Claim("token_type"));
        }
        let account = claims.account(&self.account_claim)?;
        let user = claims.user(&self.user_claim)?;
        Ok(Principal {
            kind: PrincipalKind::User,
            account: Some(account),
            user: Some(user.ok_or(Refusal::Claim("the user"))?),
            token: None,
        })
    }

    fn is_for_us(&self, named: Option<&Value>) -> bool {
        match (&self.audience, named) {
            (None, named) => named.is_none(),
            (Some(own), Some(Value::String(one))) => own == one,
            (Some(own), Some(Value::Array(several))) => {
                several.iter().any(|one| one.as_str() == Some(own))
            }
            (Some(_), _) => false,
        }
    }
}

fn check_signature<'a>(
    token: &Compact<'_>,
    keys: impl Iterator<Item = &'a Key>,
) -> Result<(), Refusal> {
    let mut outcome = Err(Refusal::Signature);
    for key in keys {
        outcome = token.check_signature(key);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Where the keys of users' tokens come from.
#[derive(Debug)]
pub enum UserKeys {
    /// From the configuration.
    Configured(Key),
    /// From the issuer.
    Published(Arc<RemoteKeys>),
}

/// Knows users by their JWTs. They come as `Authorization`, and never in a cookie.
#[derive(Debug)]
pub struct UserTokens {
    rules: UserRules,
    keys: UserKeys,
}

impl UserTokens {
    /// By these rules and keys.
    #[must_use]
    pub const fn new(rules: UserRules, keys: UserKeys) -> Self {
        Self { rules, keys }
    }

    async fn verify(&self, token: &str) -> Result<Result<Principal, Refusal>, CredentialError> {
        // The issuer is asked only about what would be accepted but for its signature.
        let read = Compact::read(token)
            .and_then(|compact| Ok((self.rules.believe(&compact, now())?, compact)));
        let (principal, compact) = match read {
            Ok(read) => read,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let signed = match &self.keys {
            UserKeys::Configured(key) => compact.check_signature(key),
            UserKeys::Published(remote) => {
                let (kid, algorithm) = (compact.kid.as_deref(), compact.algorithm);
                let keys = remote.suitable(kid, algorithm).await?;
                check_signature(&compact, keys.iter().map(AsRef::as_ref))
            }
        };
        Ok(signed.map(|()| principal))
    }
}

#[async_trait]
impl Authenticator for UserTokens {
    async fn authenticate(
        &self,
        credential: &Credential,
    ) -> Result<Option<Principal>, CredentialError> {
        let Credential::Bearer(token) = credential else {
            return Ok(None);
        };
        let verified = self.verify(token.reveal()).await?;
        Ok(verified
            .inspect_err(|reason| tracing::debug!(%reason, "a bearer is no user's JWT"))
            .ok())
    }
}

#[cfg(test)]
mod tests;
