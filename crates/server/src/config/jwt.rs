//! What the settings of users' JWTs mean together.

use cloakroom_infrastructure::jwt::{Key, KeyError, UserRules};

use super::{kinds, table::Jwt};

impl Jwt {
    /// What a user's token has to say.
    pub(crate) fn rules(&self) -> UserRules {
        UserRules {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            user_claim: self.user_claim.clone(),
            account_claim: self.account_claim.clone(),
        }
    }

    /// The configured key, for the configured algorithms.
    ///
    /// # Errors
    /// It is none, or not for any of them.
    pub(crate) fn configured_key(&self) -> Result<Option<Key>, KeyError> {
        let Some(text) = self.key.as_ref().map(|key| key.reveal()) else {
            return Ok(None);
        };
        let key = if text.starts_with(kinds::PEM) {
            Key::public_pem(text)?
        } else {
            Key::secret(text.as_bytes())?
        };
        let allowed = self.algorithms.as_deref();
        allowed
            .map_or_else(
                || Ok(key.clone()),
                |allowed| key.clone().limited_to(allowed),
            )
            .map(Some)
    }

    /// What is right by itself but not together.
    pub(super) fn contradiction(&self) -> Option<String> {
        match (&self.key, &self.jwks_url) {
            (Some(_), Some(_)) => Some(
                "CLOAKROOM_JWT_KEY and CLOAKROOM_JWT_JWKS_URL are both set; expected a key, or where the keys are"
                    .to_owned(),
            ),
            (None, None) => {
                let alone = [
                    ("CLOAKROOM_JWT_ALGORITHMS", self.algorithms.is_some()),
                    ("CLOAKROOM_JWT_ISSUER", self.issuer.is_some()),
                    ("CLOAKROOM_JWT_AUDIENCE", self.audience.is_some()),
                ];
                let (name, _) = alone.into_iter().find(|(_, set)| *set)?;
                Some(format!(
                    "{name} is set, but no JWT of a user could be checked; expected CLOAKROOM_JWT_KEY or \
                     CLOAKROOM_JWT_JWKS_URL to be set as well"
                ))
            }
            (Some(_), None) => {
                let error = self.configured_key().err()?;
                Some(format!("CLOAKROOM_JWT_ALGORITHMS do not fit CLOAKROOM_JWT_KEY: {error}"))
            }
            (None, Some(_)) => {
                let algorithms = self.algorithms.as_deref()?;
                let public = |own: &_| Key::is_public(*own);
                (!algorithms.iter().all(public)).then(|| {
                    "CLOAKROOM_JWT_ALGORITHMS has HS256, HS384 or HS512, which need a shared secret, and \
                     CLOAKROOM_JWT_JWKS_URL publishes its keys; expected others, or CLOAKROOM_JWT_KEY instead"
                        .to_owned()
                })
            }
        }
    }
}
