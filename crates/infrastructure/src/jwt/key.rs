//! Keys that signatures are checked with. What kind of key it is decides which algorithms count.

use std::fmt;

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, crypto::rust_crypto::DEFAULT_PROVIDER,
};

/// The shortest secret in bytes: as long as the shortest hash (RFC 7518 §3.2).
const MIN_SECRET: usize = 32;
/// A modulus has 2048 bits or more (RFC 7518 §3.3), and no more than can be computed with.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// Why something is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A secret that is too short.
    #[error("a secret needs at least {MIN_SECRET} bytes")]
    ShortSecret,
    /// No key in PEM that is supported.
    #[error(
        "not a public key in PEM (`PUBLIC KEY` or `RSA PUBLIC KEY`) for RSA of 2048 to 4096 bits, P-256, P-384 or Ed25519"
    )]
    NotPublic,
    /// None of the allowed algorithms is one of the key's.
    #[error("none of the allowed algorithms is for this kind of key, which is for {0}")]
    NoAlgorithm(String),
}

/// A key with the algorithms that it is for. A secret never checks what only a public key may, and the other way round.
#[derive(Clone)]
pub struct Key {
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

impl Key {
    /// A shared secret, for HS256, HS384 and HS512.
    ///
    /// # Errors
    /// [`KeyError::ShortSecret`]: fewer than 32 bytes.
    pub fn secret(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < MIN_SECRET {
            return Err(KeyError::ShortSecret);
        }
        let algorithms = AlgorithmFamily::Hmac.algorithms().to_vec();
        Ok(Self {
            key: DecodingKey::from_secret(secret),
            algorithms,
        })
    }

    /// The backend's secret as it is, of any length, for HS256 and nothing else.
    pub(super) fn backend_secret(secret: &[u8]) -> Self {
        Self {
            key: DecodingKey::from_secret(secret),
            algorithms: vec![Algorithm::HS256],
        }
    }

    /// A public key in PEM: RSA for RS* and PS*, P-256 for ES256, P-384 for ES384, Ed25519 for `EdDSA`.
    ///
    /// # Errors
    /// [`KeyError::NotPublic`], also for private keys and certificates: neither belongs here.
    pub fn public_pem(pem: &str) -> Result<Self, KeyError> {
        let pem = pem.trim();
        let public = [
            "-----BEGIN PUBLIC KEY-----",
            "-----BEGIN RSA PUBLIC KEY-----",
        ];
        if !public.iter().any(|label| pem.starts_with(label)) {
            return Err(KeyError::NotPublic);
        }
        let pem = pem.as_bytes();
        let rsa = || {
            let key = DecodingKey::from_rsa_pem(pem).ok()?;
            let components = DEFAULT_PROVIDER
                .key_utils
                .rsa_pub_components_from_public_key;
            let (modulus, exponent) = components(key.try_get_as_bytes().ok()?).ok()?;
            Self::rsa(&modulus, &exponent)
        };
        let curve = || Self::curve(DecodingKey::from_ec_pem(pem).ok()?);
        let edwards = || Self::edwards(DecodingKey::from_ed_pem(pem).ok()?);
        rsa()
            .or_else(curve)
            .or_else(edwards)
            .ok_or(KeyError::NotPublic)
    }

    /// An RSA key of a modulus and an exponent, both big-endian; `None` if it is too weak, too large or none.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
        let known = RSA_BYTES.contains(&modulus.len()) && odd(modulus);
        let sound = (1..=4).contains(&exponent.len()) && odd(exponent) && exponent != [1];
        (known && sound).then(|| Self {
            key: DecodingKey::from_rsa_raw_components(modulus, exponent),
            algorithms: AlgorithmFamily::Rsa.algorithms().to_vec(),
        })
    }

    /// A key on a curve, an uncompressed point (SEC 1 §2.3.3); `None` if it is not on P-256 or P-384.
    pub(super) fn curve(key: DecodingKey) -> Option<Self> {
        let algorithm = match key.try_get_as_bytes().ok()?.len() {
            65 => Algorithm::ES256,
            97 => Algorithm::ES384,
            _ => return None,
        };
        Self::checked(key, algorithm)
    }

    /// An Ed25519 key (RFC 8032); `None` if it is none.
    pub(super) fn edwards(key: DecodingKey) -> Option<Self> {
        // The library takes the first 32 bytes without a look whether there are so many.
        let right = key.try_get_as_bytes().ok()?.len() == 32;
        right.then(|| Self::checked(key, Algorithm::EdDSA))?
    }

    fn checked(key: DecodingKey, algorithm: Algorithm) -> Option<Self> {
        (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &key).ok()?;
        Some(Self {
            key,
            algorithms: vec![algorithm],
        })
    }

    /// The key, for those of its algorithms alone that are allowed.
    ///
    /// # Errors
    /// [`KeyError::NoAlgorithm`]: none is left.
    pub fn limited_to(mut self, allowed: &[Algorithm]) -> Result<Self, KeyError> {
        let own = self.algorithms.clone();
        self.algorithms.retain(|own| allowed.contains(own));
        if self.algorithms.is_empty() {
            let names: Vec<String> = own.iter().map(|own| format!("{own:?}")).collect();
            return Err(KeyError::NoAlgorithm(names.join(", ")));
        }
        Ok(self)
    }

    /// Whether an algorithm is one of public keys, and not of shared secrets.
    #[must_use]
    pub fn is_public(algorithm: Algorithm) -> bool {
        algorithm.family() != AlgorithmFamily::Hmac
    }

    /// Whether the key is for that algorithm.
    pub(super) fn suits(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Whether the key made the signature. Secrets are compared in constant time.
    pub(super) fn made(&self, signature: &[u8], signed: &[u8], algorithm: Algorithm) -> bool {
        self.suits(algorithm)
            && (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &self.key)
                .is_ok_and(|verifier| verifier.verify(signed, &signature.to_vec()).is_ok())
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}
