//! Objects by bucket and key: what a bucket and a key are called, and who may do what in a bucket.

use std::fmt;

use crate::{AccountId, ContentType, Timestamp};

/// Why a text cannot name a bucket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 63 of a-z, 0-9, \".\", \"_\" and \"-\", with a letter or digit at both ends")]
pub struct InvalidBucketName;

/// A bucket of objects: a name of ours, which no store ever sees.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketName(Box<str>);

impl BucketName {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 63;

    /// Reads a name.
    ///
    /// # Errors
    /// It has other characters than a-z, 0-9, `.`, `_` and `-`, another length, or no letter or digit at an end.
    pub fn parse(text: &str) -> Result<Self, InvalidBucketName> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let ends = [bytes.first(), bytes.last()];
        let good = bytes.len() <= Self::MAX_BYTES
            && ends.iter().all(|end| end.is_some_and(|byte| plain(*byte)))
            && bytes
                .iter()
                .all(|byte| plain(*byte) || b"._-".contains(byte));
        good.then(|| Self(text.into())).ok_or(InvalidBucketName)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text cannot be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBucketKey {
    /// No bytes at all.
    #[error("is empty")]
    Empty,
    /// More bytes than a key may have.
    #[error("is longer than {} bytes", BucketKey::MAX_BYTES)]
    TooLong,
    /// A NUL byte.
    #[error("contains a NUL byte")]
    Nul,
    /// A segment that a client or a proxy on the way may take for a step through folders.
    #[error("has a segment \".\" or \"..\"")]
    Dots,
}

/// The key of an object within its bucket: 1–1024 bytes of UTF-8 without NUL, and without segments `.` and `..`.
///
/// Two keys are the same if their bytes are. No store ever sees one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketKey(Box<str>);

impl BucketKey {
    /// The longest key, in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// Reads a key.
    ///
    /// # Errors
    /// Says what no key can have.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidBucketKey> {
        let text = text.into();
        if text.is_empty() {
            return Err(InvalidBucketKey::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(InvalidBucketKey::TooLong);
        }
        if text.contains('\0') {
            return Err(InvalidBucketKey::Nul);
        }
        if text.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(InvalidBucketKey::Dots);
        }
        Ok(Self(text.into_boxed_str()))
    }

    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the last slash: what a download is called. Empty behind a slash at the end.
    #[must_use]
    pub fn last_segment(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for BucketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What may be done in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BucketRight {
    /// Get objects.
    Read,
    /// Put objects.
    Write,
    /// Remove objects.
    Delete,
    /// See which keys there are.
    List,
}

impl BucketRight {
    /// Every right.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Delete, Self::List];

    /// The name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::List => "list",
        }
    }

    /// Reads the name; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.as_str() == text)
    }
}

/// What one service may do in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketGrant {
    /// The name that its tokens were made with.
    pub service: String,
    /// What it may do.
    pub rights: Vec<BucketRight>,
}

/// A media type, or a family of them as `type/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeRule(Box<str>);

impl TypeRule {
    /// Reads `type/subtype` or `type/*`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let essence = ContentType::parse(text)?.essence().to_owned();
        let is_known = !essence.starts_with('*') && !text.contains(';');
        is_known.then(|| Self(essence.into_boxed_str()))
    }

    /// The rule as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a type is the one, or of the family.
    #[must_use]
    pub fn covers(&self, content_type: &ContentType) -> bool {
        let essence = content_type.essence();
        match self.0.strip_suffix('*') {
            Some(family) if family.ends_with('/') => essence.starts_with(family),
            _ => essence == &*self.0,
        }
    }
}

/// Why something cannot be a bucket's policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// More entries than a policy may have.
    #[error(
        "a policy has at most {} services and {} types",
        BucketPolicy::MAX_ENTRIES,
        BucketPolicy::MAX_ENTRIES
    )]
    TooMany,
    /// Two grants for one service.
    #[error("the service \"{0}\" is named twice")]
    Twice(String),
    /// A name that no token can have.
    #[error("the name of a service is 1 to 200 bytes without control characters")]
    Name,
}

/// Who may do what in a bucket, and what it takes. Made by [`BucketPolicy::new`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BucketPolicy {
    grants: Vec<BucketGrant>,
    types: Vec<TypeRule>,
    /// Whether anybody may get objects, without a credential too.
    pub public_read: bool,
    /// The largest object, in bytes; `None`: as large as a file.
    pub max_size: Option<u64>,
}

impl BucketPolicy {
    /// At most so many grants, and so many types.
    pub const MAX_ENTRIES: usize = 100;
    /// The longest name of a service, in bytes.
    pub const MAX_NAME: usize = 200;

    /// Grants, and the types that are taken; no type: every one is.
    ///
    /// # Errors
    /// There are too many, a service is named twice, or its name is none.
    pub fn new(grants: Vec<BucketGrant>, types: Vec<TypeRule>) -> Result<Self, InvalidPolicy> {
        if grants.len() > Self::MAX_ENTRIES || types.len() > Self::MAX_ENTRIES {
            return Err(InvalidPolicy::TooMany);
        }
        for (at, grant) in grants.iter().enumerate() {
            let name = &grant.service;
            let length = (1..=Self::MAX_NAME).contains(&name.len());
            if !length || name.trim().is_empty() || name.chars().any(char::is_control) {
                return Err(InvalidPolicy::Name);
            }
            if grants[..at].iter().any(|other| other.service == *name) {
                return Err(InvalidPolicy::Twice(name.clone()));
            }
        }
        Ok(Self {
            grants,
            types,
            ..Self::default()
        })
    }

    /// Which services may do what.
    #[must_use]
    pub fn grants(&self) -> &[BucketGrant] {
        &self.grants
    }

    /// The types that are taken; none: every one is.
    #[must_use]
    pub fn types(&self) -> &[TypeRule] {
        &self.types
    }

    /// What the tokens of that name may do.
    #[must_use]
    pub fn rights_of(&self, service: &str) -> &[BucketRight] {
        let grant = self.grants.iter().find(|grant| grant.service == service);
        grant.map_or(&[], |grant| &grant.rights)
    }

    /// Whether it takes objects of that type.
    #[must_use]
    pub fn takes(&self, content_type: &ContentType) -> bool {
        self.types.is_empty() || self.types.iter().any(|rule| rule.covers(content_type))
    }
}

/// A bucket of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectBucket {
    /// What it is called.
    pub name: BucketName,
    /// The account that its objects are stored for. It never changes.
    pub account: AccountId,
    /// Who may do what in it.
    pub policy: BucketPolicy,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its policy was set last.
    pub updated_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bucket_may_be_called_like_a_route_and_never_like_a_path() {
        let longest = "a".repeat(63);
        for good in [
            "a", "files", "objects", "health", "docs", "x.y_z-0", &longest,
        ] {
            assert!(BucketName::parse(good).is_ok(), "{good}");
        }
        let long = "a".repeat(64);
        for bad in [
            "", ".", "..", "-a", "a.", "A", "a/b", "a b", "ä", "a\0", &long,
        ] {
            assert_eq!(BucketName::parse(bad), Err(InvalidBucketName), "{bad}");
        }
    }

    #[test]
    fn a_key_is_any_text_without_nul_that_no_path_is_walked_by() {
        let longest = "é".repeat(512);
        for good in [
            "a", "/", "//", "a/", "/a", "...", "a/.../b", ".a", "a..", "%2F", " ", &longest,
        ] {
            assert_eq!(BucketKey::parse(good).unwrap().as_str(), good);
        }
        for dots in [".", "..", "a/..", "../a", "a/./b", "/.."] {
            assert_eq!(
                BucketKey::parse(dots),
                Err(InvalidBucketKey::Dots),
                "{dots}"
            );
        }
        assert_eq!(BucketKey::parse(""), Err(InvalidBucketKey::Empty));
        assert_eq!(BucketKey::parse("a\0"), Err(InvalidBucketKey::Nul));
        let long = "a".repeat(1025);
        assert_eq!(BucketKey::parse(long), Err(InvalidBucketKey::TooLong));
    }

    #[test]
    fn a_rule_covers_its_type_or_family_whatever_the_parameters() {
        let covers = |rule: &str, kind: &str| {
            let kind = ContentType::parse(kind).unwrap();
            TypeRule::parse(rule).unwrap().covers(&kind)
        };
        assert!(covers("image/*", "image/png"));
        assert!(covers("Text/Plain", "text/plain; charset=utf-8"));
        assert!(!covers("image/*", "imagery/png") && !covers("image/png", "image/pngx"));
        for bad in ["image", "*/*", "*", "text/plain; a=b", ""] {
            assert_eq!(TypeRule::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_policy_gives_each_service_what_it_was_granted_and_no_other_anything() {
        let grant = |service: &str, rights: &[BucketRight]| BucketGrant {
            service: service.to_owned(),
            rights: rights.to_vec(),
        };
        let grants = vec![
            grant("a", &[BucketRight::Read]),
            grant("b", &BucketRight::ALL),
        ];
        let policy = BucketPolicy::new(grants, Vec::new()).unwrap();
        assert_eq!(policy.rights_of("a"), [BucketRight::Read]);
        assert_eq!(policy.rights_of("b").len(), 4);
        assert!(policy.rights_of("A").is_empty() && policy.rights_of("").is_empty());
        let twice = vec![grant("a", &[]), grant("a", &[])];
        assert!(BucketPolicy::new(twice, Vec::new()).is_err());
        for name in ["", " ", "a\n", &"x".repeat(201)] {
            let named = BucketPolicy::new(vec![grant(name, &[])], Vec::new());
            assert_eq!(named, Err(InvalidPolicy::Name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_no_key_says_so_and_what_is_stays_as_it_was(text in ".{0,1100}") {
            match BucketKey::parse(text.clone()) {
                Ok(key) => {
                    prop_assert_eq!(key.as_str(), text.as_str());
                    prop_assert!(text.split('/').all(|segment| segment != "." && segment != ".."));
                }
                Err(_) => prop_assert!(
                    text.is_empty() || text.len() > 1024 || text.contains('\0')
                        || text.split('/').any(|segment| segment == "." || segment == "..")
                ),
            }
        }
    }
}
