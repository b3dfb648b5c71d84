//! JSON Web Tokens (RFC 7519): of guests by the backend's secret, of users by a configured key or a published key set.
//!
//! The cryptography is `jsonwebtoken`'s. What a token says is read here, since the contract is stricter than any
//! library's defaults: the key decides which algorithms count, names that occur twice are refused, and identifiers
//! and times have one type.

mod claims;
mod compact;
mod guest;
mod jwks;
mod key;
mod key_set;
#[cfg(test)]
mod testing;
mod user;

pub use self::{
    compact::{MAX_TOKEN, Refusal},
    guest::GuestTokens,
    jwks::{RemoteKeys, RemoteKeysError},
    key::{Key, KeyError},
    key_set::KeySet,
    user::{UserKeys, UserRules, UserTokens},
};
pub use jsonwebtoken::Algorithm;

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in seconds since 1970. A clock that stands before that makes every token an expired one.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(f64::INFINITY, |since| since.as_secs_f64())
}
