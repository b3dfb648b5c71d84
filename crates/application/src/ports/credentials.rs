//! Recognising callers: a chain of authenticators, each for the credentials it knows.

use std::fmt;

use async_trait::async_trait;
use cloakroom_domain::Principal;

use super::{RepositoryError, Source};

/// A secret that a caller presented. It does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Presented(String);

impl Presented {
    /// Wraps the text of a credential.
    #[must_use]
    pub const fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret, for the one who checks it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented(..)")
    }
}

/// A credential, by the place it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// `Authorization: Bearer T` or `Token T`.
    Bearer(Presented),
    /// `X-Guest-Authorization`.
    Guest(Presented),
    /// `X-Public-Authorization`.
    Public(Presented),
    /// A cookie that may hold a user's token.
    Cookie(Presented),
    /// The cookie `guest-token`.
    GuestCookie(Presented),
    /// The cookie `public-token`.
    PublicCookie(Presented),
    /// A header that ought to hold a credential but cannot be read as one.
    Malformed,
}

impl Credential {
    /// Whether a refusal is final. A refused cookie is passed over for the next credential.
    #[must_use]
    pub const fn is_explicit(&self) -> bool {
        !matches!(
            self,
            Self::Cookie(_) | Self::GuestCookie(_) | Self::PublicCookie(_)
        )
    }
}

/// Why a credential could not be judged. It is not a refusal.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The database that knows the tokens failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The token service did not answer.
    #[error("the token service cannot be reached")]
    Unavailable(#[source] Source),
    /// The token service answered nonsense.
    #[error("the token service answered nonsense")]
    Nonsense(#[source] Source),
}

/// Judges the credentials it knows.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// The caller, or `None` if the credential is not one of this authenticator's.
    async fn authenticate(
        &self,
        credential: &Credential,
    ) -> Result<Option<Principal>, CredentialError>;
}
