//! A published set of public keys (RFC 7517 §5), read leniently: what is not for us is passed over.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::key::Key;

/// So many keys of a set are read, the rest is passed over.
const MAX_KEYS: usize = 64;
/// A token that does not say its key, or says one that several have, is held against so many keys at most.
const MAX_TRIED: usize = 4;

/// The keys that are for checking signatures, by their ids.
#[derive(Debug)]
pub struct KeySet(Vec<(Option<String>, Arc<Key>)>);

/// A key as it is published: the members that are read.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a set. `None` if it is none, or has no key that could be used.
    ///
    /// Keys of other uses, kinds and algorithms are passed over (RFC 7517 §5), shared secrets among them: what is
    /// published is no secret. `allowed` narrows the algorithms that the kinds of the keys give.
    #[must_use]
    pub fn read(json: &[u8], allowed: Option<&[Algorithm]>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Published {
            keys: Vec<Value>,
        }

        let published: Published = serde_json::from_slice(json).ok()?;
        let keys: Vec<_> = published
            .keys
            .into_iter()
            .take(MAX_KEYS)
            .filter_map(|entry| usable(entry, allowed))
            .collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// The keys that a token may be signed with: those of its `kid`, or any where it says none.
    pub(super) fn suitable(&self, kid: Option<&str>, algorithm: Algorithm) -> Vec<Arc<Key>> {
        self.0
            .iter()
            .filter(|(id, key)| key.suits(algorithm) && (kid.is_none() || id.as_deref() == kid))
            .take(MAX_TRIED)
            .map(|(_, key)| Arc::clone(key))
            .collect()
    }

    /// How many keys it has, at least one.
    pub(super) const fn count(&self) -> usize {
        self.0.len()
    }
}

fn usable(entry: Value, allowed: Option<&[Algorithm]>) -> Option<(Option<String>, Arc<Key>)> {
    let jwk: Jwk = serde_json::from_value(entry).ok()?;
    let for_signatures = jwk.usage.as_deref().is_none_or(|usage| usage == "sig");
    let verifies = |operations: &Vec<String>| operations.iter().any(|one| one == "verify");
    if !for_signatures || !jwk.key_ops.as_ref().is_none_or(verifies) {
        return None;
    }
    let mut key = key_of(&jwk)?;
    if let Some(own) = &jwk.alg {
        key = key.limited_to(&[own.parse().ok()?]).ok()?;
    }
    if let Some(allowed) = allowed {
        key = key.limited_to(allowed).ok()?;
    }
    Some((jwk.kid, Arc::new(key)))
}

/// RFC 7518 §6.2 and §6.3, RFC 8037 §2.
fn key_of(jwk: &Jwk) -> Option<Key> {
    let (x, y) = (jwk.x.as_deref(), jwk.y.as_deref());
    match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => {
            let decode = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
            Key::rsa(&decode(&jwk.n)?, &decode(&jwk.e)?)
        }
        ("EC", Some(curve)) => {
            let key = Key::curve(DecodingKey::from_ec_components(x?, y?).ok()?)?;
            let algorithm = match curve {
                "P-256" => Algorithm::ES256,
                "P-384" => Algorithm::ES384,
                _ => return None,
            };
            key.suits(algorithm).then_some(key)
        }
        ("OKP", Some("Ed25519")) => Key::edwards(DecodingKey::from_ed_components(x?).ok()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
