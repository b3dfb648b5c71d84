//! What is sent: bodies, forms' parts, digests, percent-encoding.

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::multipart::Part;
use sha2::{Digest, Sha256};

use super::Seeded;

/// Bytes that look random and are the same for the same seed.
#[must_use]
pub fn sample(length: usize, seed: u64) -> Vec<u8> {
    Seeded::new(seed, length as u64).bytes().into()
}

/// A form's part with a file name and a media type.
///
/// # Panics
/// `kind` is no media type.
pub fn part(name: &str, kind: &str, body: impl Into<Vec<u8>>) -> Part {
    let part = Part::bytes(body.into()).file_name(name.to_owned());
    part.mime_str(kind).unwrap()
}

/// The SHA-256 in hexadecimal.
#[must_use]
pub fn sha256(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// The value of a digest field.
#[must_use]
pub fn digest_field(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

/// `/files/{id}`, the id percent-encoded.
#[must_use]
pub fn file_path(id: &str) -> String {
    format!("/files/{}", encoded(id))
}

/// The text percent-encoded, bar RFC 3986's unreserved characters.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            encoded.extend(["%", &hex::encode_upper([byte])]);
        }
    }
    encoded
}
