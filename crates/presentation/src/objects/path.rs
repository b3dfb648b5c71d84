//! The address of an object, from the path as the client wrote it.

use cloakroom_application::Error;
use cloakroom_domain::BucketKey;
use percent_encoding::percent_decode_str;

/// The bucket and the key that a path names. What is behind the slash after the bucket is the key, decoded once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ObjectPath {
    /// Which no bucket may be called.
    pub(crate) bucket: String,
    pub(crate) key: BucketKey,
}

impl ObjectPath {
    /// Reads `/objects/{bucket}/{key}` as it stands in the request.
    ///
    /// # Errors
    /// [`Error::BadValue`] if it cannot be decoded, or no key is like that.
    pub(crate) fn read(path: &str) -> Result<Self, Error> {
        let mut parts = path.splitn(4, '/').skip(2);
        let (bucket, key) = (parts.next(), parts.next());
        let key = decoded(key.unwrap_or_default())
            .ok_or_else(|| Error::BadValue("the key is not percent-encoded UTF-8".to_owned()))?;
        let key =
            BucketKey::parse(key).map_err(|error| Error::BadValue(format!("the key {error}")))?;
        Ok(Self {
            bucket: bucket.and_then(decoded).unwrap_or_default(),
            key,
        })
    }
}

/// Whether a path is that of an object, however it is spelled.
pub(crate) fn is_object(path: &str) -> bool {
    let mut parts = path.splitn(4, '/').skip(1);
    let first = parts.next().and_then(decoded);
    first.as_deref() == Some("objects") && parts.nth(1).is_some_and(|key| !key.is_empty())
}

/// A `%` that is none of an encoded byte is refused: two spellings would mean one key to some and two to others.
fn decoded(text: &str) -> Option<String> {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let digits = rest.get(at + 1..at + 3)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        rest = &rest[at + 3..];
    }
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_exactly_once_and_keeps_its_identity() {
        for (path, key) in [
            ("a", "a"),
            ("a/b", "a/b"),
            ("a%2Fb", "a/b"),
            ("a%252Fb", "a%2Fb"),
            ("a//b", "a//b"),
            ("/", "/"),
            ("a/", "a/"),
            ("a%20b+c", "a b+c"),
            ("%3F%23", "?#"),
            ("k%C3%B6ln", "k\u{f6}ln"),
            ("ko%CC%88ln", "ko\u{308}ln"),
            ("...", "..."),
            ("a%0Ab", "a\nb"),
        ] {
            let read = ObjectPath::read(&format!("/objects/b/{path}")).unwrap();
            assert_eq!((read.bucket.as_str(), read.key.as_str()), ("b", key));
            assert!(is_object(&format!("/%6Fbjects/b/{path}")));
        }
    }

    #[test]
    fn what_is_no_key_is_a_bad_value() {
        for path in [
            "", "..", "a/../b", "%2E%2e/a", ".", "%00", "%FF", "%", "%2", "%zz",
        ] {
            let read = ObjectPath::read(&format!("/objects/b/{path}"));
            assert!(matches!(read, Err(Error::BadValue(_))), "{path}");
        }
        for other in [
            "/objects/b",
            "/objects/b/",
            "/files/b/k",
            "/",
            "objects/b/k",
        ] {
            assert!(!is_object(other), "{other}");
        }
    }
}
