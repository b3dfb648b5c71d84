//! Identifiers that cannot hold a bad value.

use std::fmt;

use uuid::Uuid;

use crate::Sha256Digest;

/// Why a text cannot be an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// No bytes at all.
    #[error("is empty")]
    Empty,
    /// More bytes than the type allows.
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// A NUL byte, which no database of ours can keep.
    #[error("contains a NUL byte")]
    Nul,
    /// A number that is zero or less.
    #[error("is not a positive number")]
    NotPositive,
    /// Not a UUID where one is required.
    #[error("is not a UUID")]
    NotUuid,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// The longest identifier, in bytes of UTF-8.
            pub const MAX_BYTES: usize = $max;

            /// Checks length and the absence of NUL.
            ///
            /// # Errors
            /// Says which of the two was broken.
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                if text.is_empty() {
                    return Err(InvalidId::Empty);
                }
                if text.len() > Self::MAX_BYTES {
                    return Err(InvalidId::TooLong(Self::MAX_BYTES));
                }
                if text.contains('\0') {
                    return Err(InvalidId::Nul);
                }
                Ok(Self(text.into_boxed_str()))
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A file's identifier: 1–512 bytes of UTF-8. New ones are UUIDs, imported ones arbitrary.
    FileId, 512
);
text_id!(
    /// The tenant that a file belongs to: 1–255 bytes.
    AccountId, 255
);
text_id!(
    /// A user within an account: 1–255 bytes.
    UserId, 255
);

impl FileId {
    /// A new random identifier.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_string().into_boxed_str())
    }
}

macro_rules! numbered {
    ($name:ident) => {
        impl $name {
            /// The identifier that another system writes as a number. It is the same as its decimal digits as text.
            ///
            /// This is the one rule for what tokens name: a positive signed 64-bit integer here, or a text by
            /// [`Self::parse`], and nothing else that a token's format may hold (no boolean, no float).
            ///
            /// # Errors
            /// [`InvalidId::NotPositive`].
            pub fn from_number(number: i64) -> Result<Self, InvalidId> {
                if number < 1 {
                    return Err(InvalidId::NotPositive);
                }
                Self::parse(number.to_string())
            }
        }
    };
}

numbered!(AccountId);
numbered!(UserId);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// A new random identifier.
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// Reads the hyphenated form.
            ///
            /// # Errors
            /// The text is not a UUID.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId::NotUuid)
            }

            /// The identifier that this UUID is.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id!(
    /// One stored body of a file. Stable for good, also while the version has no number yet.
    VersionId
);
uuid_id!(
    /// An entry of the registry of stores.
    StoreId
);
impl StoreId {
    /// The identifier that this text gives, the same each time.
    #[must_use]
    pub fn named(text: &str) -> Self {
        let digest = Sha256Digest::of(text.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.bytes()[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

uuid_id!(
    /// A service token's public handle, for listing and revoking it.
    TokenId
);
uuid_id!(
    /// A signed link's public handle, for listing and revoking it. It opens nothing without its signature.
    LinkId
);
uuid_id!(
    /// A migration of every body to another store.
    MigrationId
);
uuid_id!(
    /// A run in which an application tells which files it still refers to.
    ReconcileId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_id_is_any_text_of_1_to_512_bytes_without_nul() {
        assert_eq!(FileId::parse(""), Err(InvalidId::Empty));
        assert_eq!(FileId::parse("a\0b"), Err(InvalidId::Nul));
        assert_eq!(FileId::parse("é".repeat(257)), Err(InvalidId::TooLong(512)));
        assert!(FileId::parse("é".repeat(256)).is_ok());
        assert!(FileId::parse("a1b2_Отчёт 2024.pdf").is_ok());
    }

    #[test]
    fn an_account_or_a_user_is_a_positive_number_or_its_digits() {
        assert_eq!(AccountId::from_number(7), AccountId::parse("7"));
        let most = UserId::from_number(i64::MAX).unwrap();
        assert_eq!(most.as_str(), "9223372036854775807");
        for bad in [0, -1, i64::MIN] {
            assert_eq!(AccountId::from_number(bad), Err(InvalidId::NotPositive));
            assert_eq!(UserId::from_number(bad), Err(InvalidId::NotPositive));
        }
    }
}
