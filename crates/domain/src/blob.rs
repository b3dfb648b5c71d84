//! Where a body lies in a store. `ObjectKey` alone knows how a path in a store looks.

use std::fmt;

use uuid::Uuid;

use crate::{AccountId, FileId, FileName, Seal, Sha256Digest, StoreId};

/// Why a text cannot name a bucket or an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a usable {0}")]
pub struct InvalidKey(&'static str);

/// A bucket of a store, 1–255 bytes; an adapter may demand more of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket(Box<str>);

impl Bucket {
    /// Accepts any text of 1–255 bytes without NUL and without a slash.
    ///
    /// # Errors
    /// The text is empty, too long or has one of those characters.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        if text.is_empty() || text.len() > 255 || text.contains(['\0', '/']) {
            return Err(InvalidKey("bucket"));
        }
        Ok(Self(text.into()))
    }

    /// The bucket's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a store finds the bucket for an account's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BucketRule {
    /// One bucket for the whole service.
    Fixed(Bucket),
    /// `{prefix}-{account}`, a bucket for each account.
    PerAccount(String),
}

impl BucketRule {
    /// The account as the tail of a bucket's name: itself where it is 1–24 of `[a-z0-9]`, else 20 digits of its hash.
    #[must_use]
    pub fn account_part(account: &AccountId) -> String {
        let text = account.as_str();
        let plain = text.len() <= 24
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if plain { text.to_owned() } else { hashed(text) }
    }
}

/// The key of an object within its bucket.
///
/// Keys that we make are `{account}/{file}/{uuid}{.ext}`; keys of imported objects are whatever they were.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(Box<str>);

const MAX_SEGMENT: usize = 64;
const MAX_EXTENSION: usize = 16;

impl ObjectKey {
    /// A fresh key for one body of a file. No part of it is a file name, bar a short plain extension.
    #[must_use]
    pub fn mint(account: &AccountId, file: &FileId, name: &FileName) -> Self {
        let mut key = format!(
            "{}/{}/{}",
            segment(account.as_str()),
            segment(file.as_str()),
            Uuid::new_v4()
        );
        if let Some(extension) = plain_extension(name) {
            key.push('.');
            key.push_str(&extension);
        }
        Self(key.into_boxed_str())
    }

    /// A fresh key for a copy of the body under this one. It has the extension of a key that we made.
    #[must_use]
    pub fn mint_copy(&self, account: &AccountId, file: &FileId) -> Self {
        let leaf = self.minted_parts().map_or("", |[_, _, leaf]| leaf);
        let extension = leaf.split_once('.').map_or("", |(_, extension)| extension);
        Self::mint(account, file, &FileName::clean(&format!("_.{extension}")))
    }

    /// A key as a row holds it: 1–1024 bytes without NUL.
    ///
    /// # Errors
    /// The text is empty, too long or has NUL.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        if text.is_empty() || text.len() > 1024 || text.contains('\0') {
            return Err(InvalidKey("object key"));
        }
        Ok(Self(text.into()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The three parts `account`, `file`, `uuid{.ext}` of a key that [`ObjectKey::mint`] could have made.
    ///
    /// A store whose keys become paths serves no other key.
    #[must_use]
    pub fn minted_parts(&self) -> Option<[&str; 3]> {
        let mut parts = self.0.split('/');
        let (account, file, leaf) = (parts.next()?, parts.next()?, parts.next()?);
        let (uuid, extension) = leaf
            .split_once('.')
            .map_or((leaf, None), |(u, e)| (u, Some(e)));
        let minted = parts.next().is_none()
            && is_segment(account)
            && is_segment(file)
            && uuid.len() == 36
            && uuid
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b) || b == b'-')
            && Uuid::try_parse(uuid).is_ok()
            && extension.is_none_or(is_extension);
        minted.then_some([account, file, leaf])
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A body's full address: store, bucket, key, and what its bytes there are sealed with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    /// The entry in the registry of stores.
    pub store: StoreId,
    /// The bucket in it.
    pub bucket: Bucket,
    /// The key in that bucket.
    pub key: ObjectKey,
    /// How to read the bytes where they are sealed; `None` where they are as they are, or nobody is going to read them.
    pub seal: Option<Seal>,
}

impl Location {
    /// An address of bytes that are as they are.
    #[must_use]
    pub const fn plain(store: StoreId, bucket: Bucket, key: ObjectKey) -> Self {
        Self {
            store,
            bucket,
            key,
            seal: None,
        }
    }

    /// Whether the other is the same place, whatever the bytes there are sealed with.
    #[must_use]
    pub fn is_at(&self, other: &Self) -> bool {
        (self.store, &self.bucket, &self.key) == (other.store, &other.bucket, &other.key)
    }
}

fn segment(id: &str) -> String {
    if is_segment(id) {
        id.to_owned()
    } else {
        hashed(id)
    }
}

fn hashed(text: &str) -> String {
    let mut hex = Sha256Digest::of(text.as_bytes()).hex();
    hex.truncate(20);
    hex
}

fn is_segment(text: &str) -> bool {
    (1..=MAX_SEGMENT).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_extension(text: &str) -> bool {
    (1..=MAX_EXTENSION).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn plain_extension(name: &FileName) -> Option<String> {
    let extension = name.extension()?.to_ascii_lowercase();
    is_extension(&extension).then_some(extension)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mint(account: &str, file: &str, name: &str) -> ObjectKey {
        ObjectKey::mint(
            &AccountId::parse(account).unwrap(),
            &FileId::parse(file).unwrap(),
            &FileName::clean(name),
        )
    }

    #[test]
    fn plain_ids_stand_in_the_key_and_others_are_hashed() {
        let key = mint("7", "abc-1", "Report.PDF");
        assert!(key.as_str().starts_with("7/abc-1/"));
        assert!(key.as_str().ends_with(".pdf"));
        let key = mint("7", "a1b2_Отчёт 2024.pdf", "x.t~r");
        assert!(key.as_str().is_ascii() && !key.as_str().contains(['.', ' ']));
    }

    #[test]
    fn only_keys_of_our_own_making_have_parts() {
        for bad in ["a", "a/b", "../b/c", "a/b/c", "a//b", "/a/b/c", "a/b/c/d"] {
            assert_eq!(ObjectKey::parse(bad).unwrap().minted_parts(), None, "{bad}");
        }
        let upper = mint("1", "2", "x").as_str().to_uppercase();
        assert_eq!(ObjectKey::parse(&upper).unwrap().minted_parts(), None);
    }

    #[test]
    fn an_account_that_no_bucket_could_be_named_after_is_hashed() {
        let part = |a: &str| BucketRule::account_part(&AccountId::parse(a).unwrap());
        assert_eq!(part("1688"), "1688");
        assert_eq!(part("Ä").len(), 20);
        assert_ne!(part("A"), part("a"));
    }

    proptest! {
        #[test]
        fn every_minted_key_is_recognised(a in "[^\0]{1,40}", f in "[^\0]{1,100}", n in ".{0,300}") {
            let key = mint(&a, &f, &n);
            prop_assert!(key.minted_parts().is_some(), "{}", key);
            prop_assert!(key.as_str().len() <= 200);
        }
    }
}
