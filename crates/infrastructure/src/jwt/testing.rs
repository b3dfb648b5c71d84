//! Signers for tests: tokens that are wrong in one way at a time.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto, jwk::Jwk};
use serde_json::{Value, json};

/// 2026-01-01, as good as any.
pub(super) const NOW: f64 = 1_767_225_600.0;
/// Long after.
pub(super) const LATER: u64 = 4_102_444_800;

pub(super) fn encode(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// Signs a header and claims as they are written.
pub(super) fn sign_raw(header: &str, claims: &str, key: &EncodingKey, how: Algorithm) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = crypto::sign(signed.as_bytes(), key, how).unwrap();
    format!("{signed}.{signature}")
}

/// Signs claims with a header that says how.
pub(super) fn sign(claims: &Value, key: &EncodingKey, how: Algorithm, kid: Option<&str>) -> String {
    let mut header = json!({"alg": how, "typ": "JWT"});
    if let Some(kid) = kid {
        header["kid"] = json!(kid);
    }
    sign_raw(&header.to_string(), &claims.to_string(), key, how)
}

/// A secret's signer.
pub(super) fn secret(secret: &[u8]) -> EncodingKey {
    EncodingKey::from_secret(secret)
}

/// An Ed25519 signer of that seed (RFC 8410 §7).
pub(super) fn ed25519(seed: u8) -> EncodingKey {
    let prefix = [
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    EncodingKey::from_ed_der(&[&prefix[..], &[seed; 32]].concat())
}

/// A P-256 signer (RFC 5915).
pub(super) fn p256() -> EncodingKey {
    let prefix = [
        0x30, 0x41, 2, 1, 0, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a,
        0x86, 0x48, 0xce, 0x3d, 3, 1, 7, 4, 0x27, 0x30, 0x25, 2, 1, 1, 4, 0x20,
    ];
    EncodingKey::from_ec_der(&[&prefix[..], &[7; 32]].concat())
}

/// A P-384 signer.
pub(super) fn p384() -> EncodingKey {
    let prefix = [
        0x30, 0x4e, 2, 1, 0, 0x30, 0x10, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b,
        0x81, 4, 0, 0x22, 4, 0x37, 0x30, 0x35, 2, 1, 1, 4, 0x30,
    ];
    EncodingKey::from_ec_der(&[&prefix[..], &[7; 48]].concat())
}

/// An RSA signer of 2048 bits. The key is for these tests and for nothing else.
pub(super) fn rsa() -> EncodingKey {
    EncodingKey::from_rsa_pem(include_bytes!("testing/rsa.pem")).unwrap()
}

/// What an issuer would publish of a signer.
pub(super) fn published(key: &EncodingKey, how: Algorithm, kid: &str) -> Value {
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(key, how).unwrap()).unwrap();
    jwk["kid"] = json!(kid);
    jwk["use"] = json!("sig");
    jwk
}
