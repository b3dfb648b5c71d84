//! The header fields of resumable uploads, as text and as values.

use base64::{Engine, engine::general_purpose::STANDARD};
use cloakroom_application::{Error, uploads::Checksum};
use cloakroom_domain::Sha256Digest;

/// The longest `Upload-Metadata`, in bytes.
const MAX_METADATA: usize = 16 * 1024;

/// The largest Integer of a structured field (RFC 9651 §3.3.1).
const MAX_INTEGER: u64 = 999_999_999_999_999;

/// A number of bytes: decimal digits and nothing else.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A Boolean item (RFC 9651 §3.3.6); parameters are passed over.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match item(text) {
        "?1" => Some(true),
        "?0" => Some(false),
        _ => None,
    }
}

/// A non-negative Integer item (RFC 9651 §3.3.1); parameters are passed over.
#[must_use]
pub fn integer(text: &str) -> Option<u64> {
    bytes(item(text)).filter(|number| *number <= MAX_INTEGER)
}

fn item(text: &str) -> &str {
    text.split(';').next().unwrap_or_default().trim()
}

/// The pairs of an `Upload-Metadata` (tus 1.0.0, creation), in their order.
///
/// # Errors
/// [`Error::Malformed`] for a field that is too long, a key without letters or twice, a value that is not Base64.
pub fn metadata(text: &str) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let malformed = |why: &str| Error::Malformed(format!("Upload-Metadata: {why}"));
    if text.len() > MAX_METADATA {
        return Err(malformed("longer than 16384 bytes"));
    }
    if !text.is_ascii() {
        // It is given back as it came, and a field holds nothing else.
        return Err(malformed("not plain text"));
    }
    let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
    for pair in text.split(',').map(str::trim) {
        if pair.is_empty() && text.trim().is_empty() {
            continue;
        }
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(malformed("a key is not plain text"));
        }
        if pairs.iter().any(|(known, _)| known == key) {
            return Err(malformed("a key comes twice"));
        }
        let value = STANDARD
            .decode(value.trim())
            .map_err(|_| malformed("a value is not Base64"))?;
        pairs.push((key.to_owned(), value));
    }
    Ok(pairs)
}

/// An `Upload-Checksum` (tus 1.0.0, checksum).
///
/// # Errors
/// [`Error::Malformed`] for another algorithm than those announced, or a value that is none of its.
pub fn checksum(text: &str) -> Result<Checksum, Error> {
    let malformed = || Error::Malformed("Upload-Checksum cannot be read".to_owned());
    let (algorithm, value) = text.trim().split_once(' ').ok_or_else(malformed)?;
    let value = STANDARD.decode(value.trim()).map_err(|_| malformed())?;
    let fits = |_| malformed();
    Ok(match algorithm {
        "sha1" => Checksum::Sha1(value.try_into().map_err(fits)?),
        "sha256" => Checksum::Sha256(Sha256Digest::new(value.try_into().map_err(fits)?)),
        "md5" => Checksum::Md5(value.try_into().map_err(fits)?),
        _ => {
            let known = "Upload-Checksum: the algorithms are sha1, sha256 and md5";
            return Err(Error::Malformed(known.to_owned()));
        }
    })
}

/// What an `Upload-Concat` asks for (tus 1.0.0, concatenation).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concat {
    /// An upload that will be a stretch of another.
    Partial,
    /// One made of these, by their addresses.
    Final(Vec<String>),
}

/// Reads an `Upload-Concat`.
///
/// # Errors
/// [`Error::Malformed`].
pub fn concat(text: &str) -> Result<Concat, Error> {
    let text = text.trim_ascii();
    if text == "partial" {
        return Ok(Concat::Partial);
    }
    let list = text.strip_prefix("final;");
    let list: Option<Vec<String>> =
        list.map(|list| list.split_ascii_whitespace().map(str::to_owned).collect());
    match list {
        Some(list) if !list.is_empty() && text.is_ascii() => Ok(Concat::Final(list)),
        _ => {
            let forms = "Upload-Concat is `partial`, or `final;` and the addresses of uploads";
            Err(Error::Malformed(forms.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn structured_items_are_read_and_everything_else_is_none() {
        for (text, value) in [("?1", true), ("?0", false), (" ?1;a=b ", true)] {
            assert_eq!(boolean(text), Some(value), "{text}");
        }
        for text in ["", "1", "true", "?2", "?11", "? 1", "\"?1\""] {
            assert_eq!(boolean(text), None, "{text}");
        }
        assert_eq!(integer("0"), Some(0));
        assert_eq!(integer("999999999999999"), Some(MAX_INTEGER));
        for text in [
            "",
            "-1",
            "+1",
            "1.0",
            "1e3",
            "1000000000000000",
            "0x1",
            "1 2",
            "\"1\"",
        ] {
            assert_eq!(integer(text), None, "{text}");
        }
        for text in ["", "-1", "+1", " 1", "1.5", "18446744073709551616", "٣"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn metadata_is_pairs_of_a_key_and_base64() {
        let pairs = metadata("filename d29ybGQ=,empty,also  ").unwrap();
        let expected = [
            ("filename", b"world".as_slice()),
            ("empty", b""),
            ("also", b""),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_vec()));
        assert_eq!(pairs, expected);
        assert_eq!(metadata("").unwrap(), Vec::new());
        let long = format!("a {}", "A".repeat(MAX_METADATA));
        for bad in [
            "filename w*rld",
            "a YQ==,a YQ==",
            "a YQ==,,b YQ==",
            ",",
            "naïve YQ==",
            "\u{3000}a YQ==",
            "a YQ==\u{a0}",
            "a YQ",
            long.as_str(),
        ] {
            assert!(
                matches!(metadata(bad), Err(Error::Malformed(_))),
                "{bad:.20}"
            );
        }
    }

    #[test]
    fn a_checksum_has_a_known_algorithm_and_its_length() {
        assert!(checksum("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=").is_ok());
        assert!(checksum("md5 1B2M2Y8AsgTpgAmY7PhCfg==").is_ok());
        assert!(checksum("sha256 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=").is_ok());
        for bad in [
            "",
            "sha1",
            "sha1 ",
            "sha1 AA==",
            "crc32 AAAAAA==",
            "md5 %%%",
            "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        ] {
            assert!(checksum(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_concatenation_is_partial_or_names_its_parts() {
        assert_eq!(concat("partial").unwrap(), Concat::Partial);
        let both = vec!["/a".to_owned(), "http://h/b".to_owned()];
        assert_eq!(concat("final;/a http://h/b").unwrap(), Concat::Final(both));
        for bad in [
            "",
            "final",
            "final;",
            "final; ",
            "Partial",
            "partial;/a",
            "partial\u{a0}",
            "final;/a\u{a0}",
        ] {
            assert!(concat(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in "\\PC{0,200}") {
            let _ = (boolean(&text), integer(&text), bytes(&text), metadata(&text), checksum(&text), concat(&text));
        }

        #[test]
        fn metadata_comes_back(pairs in proptest::collection::btree_map("[!-+\\--~]{1,8}", proptest::collection::vec(any::<u8>(), 0..40), 1..8)) {
            let text: Vec<String> = pairs.iter().map(|(key, value)| format!("{key} {}", STANDARD.encode(value))).collect();
            let read = metadata(&text.join(",")).unwrap();
            prop_assert_eq!(read, pairs.into_iter().collect::<Vec<_>>());
        }
    }
}
