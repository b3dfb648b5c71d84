//! How buckets and keys become paths.
//!
//! An object lies at `{bucket}/{first two digits of its UUID}/{account}~{file}~{uuid}{.ext}`: one folder to flush
//! for an object, and no folder of millions. An unfinished write lies at `{bucket}/tmp/` under the same name, so that
//! deleting a key finds it, a listing does not see it and reaping reads one folder. An object that is written over several
//! requests has a folder of its own there, `{bucket}/tmp/{account}~{file}~{uuid}{.ext}~parts/`, with a file for each
//! part, named by its number. `~` and `tmp` occur in no minted key.

use cloakroom_application::ports::StoreError;
use cloakroom_domain::{Bucket, ObjectKey};

/// The folder of a bucket's unfinished writes.
pub(in crate::stores) const UNFINISHED: &str = "tmp";

const SEPARATOR: char = '~';

/// What the name of a folder of parts ends with.
const PARTS: &str = "~parts";

/// Where an object lies, relative to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stores) struct Address {
    /// `{bucket}`
    pub(in crate::stores) bucket: String,
    /// `{bucket}/{shard}`
    pub(in crate::stores) folder: String,
    /// `{bucket}/{shard}/{leaf}`
    pub(in crate::stores) path: String,
    /// `{bucket}/tmp/{leaf}`
    pub(in crate::stores) unfinished: String,
    /// `{bucket}/tmp/{leaf}~parts`
    pub(in crate::stores) parts: String,
}

impl Address {
    /// `{bucket}/tmp`
    pub(in crate::stores) fn unfinished_folder(&self) -> String {
        format!("{}/{UNFINISHED}", self.bucket)
    }

    /// The address of a key of our own making in a bucket with a plain name.
    pub(in crate::stores) fn of(bucket: &Bucket, key: &ObjectKey) -> Result<Self, StoreError> {
        let bucket = plain(bucket)?;
        let Some([account, file, object]) = key.minted_parts() else {
            return Err(StoreError::Refused(
                "a folder serves only keys that this service made".into(),
            ));
        };
        let folder = format!("{bucket}/{}", &object[..2]);
        let leaf = format!("{account}{SEPARATOR}{file}{SEPARATOR}{object}");
        Ok(Self {
            bucket: bucket.to_owned(),
            path: format!("{folder}/{leaf}"),
            unfinished: format!("{bucket}/{UNFINISHED}/{leaf}"),
            parts: format!("{bucket}/{UNFINISHED}/{leaf}{PARTS}"),
            folder,
        })
    }
}

/// The bucket's name, if it is a plain folder name: `[a-z0-9-]`.
pub(in crate::stores) fn plain(bucket: &Bucket) -> Result<&str, StoreError> {
    let name = bucket.as_str();
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if plain {
        Ok(name)
    } else {
        Err(StoreError::Refused(
            "a bucket in a folder has a name of a-z, 0-9 and hyphens".into(),
        ))
    }
}

/// What lies in a folder of unfinished writes: the key, where there is one, and whether it is a folder of parts.
pub(in crate::stores) fn unfinished(leaf: &str) -> (Option<String>, bool) {
    match leaf.strip_suffix(PARTS) {
        Some(leaf) => (key_of(leaf), true),
        None => (key_of(leaf), false),
    }
}

/// The names of all shards.
pub(in crate::stores) fn shards() -> impl Iterator<Item = String> {
    (0..=u8::MAX).map(|byte| format!("{byte:02x}"))
}

/// The key of a file in a shard, `None` for whatever else lies there.
pub(in crate::stores) fn key_of(leaf: &str) -> Option<String> {
    let mut parts = leaf.split(SEPARATOR);
    let (account, file, object) = (parts.next()?, parts.next()?, parts.next()?);
    parts
        .next()
        .is_none()
        .then(|| format!("{account}/{file}/{object}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_path() {
        let key = "7/f-1/0a2b7c3e-0f53-4a6c-9d6c-1f2e3d4c5b6a.pdf";
        let address = Address::of(
            &Bucket::parse("files").unwrap(),
            &ObjectKey::parse(key).unwrap(),
        );
        let address = address.unwrap();
        assert_eq!(
            address.path,
            "files/0a/7~f-1~0a2b7c3e-0f53-4a6c-9d6c-1f2e3d4c5b6a.pdf"
        );
        let leaf = address.path.rsplit('/').next().unwrap();
        assert_eq!(key_of(leaf).as_deref(), Some(key));
        assert_eq!(address.unfinished, format!("files/tmp/{leaf}"));
        assert_eq!(unfinished(leaf), (Some(key.to_owned()), false));
        assert_eq!(address.parts, format!("files/tmp/{leaf}~parts"));
        let folder = format!("{leaf}~parts");
        assert_eq!(unfinished(&folder), (Some(key.to_owned()), true));
    }

    #[test]
    fn foreign_keys_and_odd_buckets_are_refused() {
        let minted = "7/f/0a2b7c3e-0f53-4a6c-9d6c-1f2e3d4c5b6a";
        let cases = [
            ("files", "../../etc/passwd"),
            ("files", "report.pdf"),
            ("..", minted),
            (".", minted),
            ("Files", minted),
            ("a b", minted),
        ];
        for (bucket, key) in cases {
            let address = Address::of(
                &Bucket::parse(bucket).unwrap(),
                &ObjectKey::parse(key).unwrap(),
            );
            assert!(
                matches!(address, Err(StoreError::Refused(_))),
                "{bucket} {key}"
            );
        }
    }
}
