//! The compact form of a signed token (RFC 7515 §7.1), read before anything of it is believed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::{
    claims::{Claims, Object},
    key::Key,
};

/// The longest token, in bytes.
pub const MAX_TOKEN: usize = 8 * 1024;

/// Why a token is refused. It repeats nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not three parts of base64url with a JSON object in each of the first two, or one with a name that occurs twice.
    #[error("it is not a signed token in compact form")]
    Malformed,
    /// `none`, an algorithm that is not known, or one that the key is not for.
    #[error("its algorithm is not one that the key is for")]
    Algorithm,
    /// It has `crit`: an extension that must be understood (RFC 7515 §4.1.11), and none is.
    #[error("it has an extension that must be understood and is not")]
    Critical,
    /// No key made its signature.
    #[error("its signature is not one of ours")]
    Signature,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYet,
    /// A claim that is missing or not what it has to be.
    #[error("it does not say what it must: {0}")]
    Claim(&'static str),
}

/// A token taken apart.
#[derive(Debug)]
pub(super) struct Compact<'a> {
    /// How it says that it is signed.
    pub(super) algorithm: Algorithm,
    /// Which key it says that it is signed with.
    pub(super) kid: Option<String>,
    /// What it says.
    pub(super) claims: Claims,
    signed: &'a str,
    signature: &'a str,
}

impl<'a> Compact<'a> {
    /// Takes a token apart. Time and memory are bounded by [`MAX_TOKEN`].
    ///
    /// Of the header only `alg`, `kid` and `crit` count. Keys and addresses of keys that a token brings along (`jwk`,
    /// `jku`, `x5c`, `x5u`) are not looked at.
    pub(super) fn read(token: &'a str) -> Result<Self, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(Refusal::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Refusal::Malformed)?;
        if claims.contains('.') || signature.is_empty() {
            return Err(Refusal::Malformed);
        }
        let header = object(header)?;
        if header.get("crit").is_some() {
            return Err(Refusal::Critical);
        }
        let algorithm = header.get("alg").and_then(Value::as_str);
        let algorithm = algorithm.and_then(|name| name.parse().ok());
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err(Refusal::Malformed),
        };
        Ok(Self {
            algorithm: algorithm.ok_or(Refusal::Algorithm)?,
            kid,
            claims: Claims::new(object(claims)?),
            signed,
            signature,
        })
    }

    /// Checks that the key made the signature, by an algorithm that the key is for.
    pub(super) fn check_signature(&self, key: &Key) -> Result<(), Refusal> {
        if !key.suits(self.algorithm) {
            return Err(Refusal::Algorithm);
        }
        let signature = URL_SAFE_NO_PAD.decode(self.signature);
        let signature = signature.map_err(|_| Refusal::Malformed)?;
        if key.made(&signature, self.signed.as_bytes(), self.algorithm) {
            Ok(())
        } else {
            Err(Refusal::Signature)
        }
    }
}

fn object(part: &str) -> Result<Object, Refusal> {
    let json = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Refusal::Malformed)
}
