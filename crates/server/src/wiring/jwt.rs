//! Who recognises JWTs, in the order in which they are asked.

use std::sync::Arc;

use cloakroom_application::ports::Authenticator;
use cloakroom_infrastructure::jwt::{GuestTokens, RemoteKeys, UserKeys, UserTokens};

use crate::{config::Config, failure::Failure};

/// The authenticators of JWTs, and the published keys that are to be kept fresh for them.
pub(crate) struct Jwts {
    pub(crate) authenticators: Vec<Arc<dyn Authenticator>>,
    pub(crate) keys: Option<Arc<RemoteKeys>>,
}

/// Those that the configuration has a key for.
///
/// # Errors
/// A key or the address of the keys cannot be used.
pub(crate) fn of(config: &Config) -> Result<Jwts, Failure> {
    let mut authenticators: Vec<Arc<dyn Authenticator>> = Vec::new();
    let jwt = &config.jwt;
    let key = jwt
        .configured_key()
        .map_err(|error| Failure::because("CLOAKROOM_JWT_KEY", &error))?;
    let keys = jwt
        .jwks_url
        .as_deref()
        .map(|url| RemoteKeys::new(url, jwt.algorithms.clone()).map(Arc::new))
        .transpose()
        .map_err(|error| Failure::because("CLOAKROOM_JWT_JWKS_URL", &error))?;
    let of_users = match (key, &keys) {
        (Some(key), _) => Some(UserKeys::Configured(key)),
        (None, Some(keys)) => Some(UserKeys::Published(keys.clone())),
        (None, None) => None,
    };
    if let Some(of_users) = of_users {
        authenticators.push(Arc::new(UserTokens::new(jwt.rules(), of_users)));
    }
    let secret = config.access.auth_secret_key.as_ref();
    if let Some(guests) = secret.and_then(|secret| GuestTokens::new(secret.reveal().as_bytes())) {
        authenticators.push(Arc::new(guests));
    }
    Ok(Jwts {
        authenticators,
        keys,
    })
}
