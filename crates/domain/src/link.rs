//! Signed links: what one allows, for how long and how often.

use crate::{FileId, LinkId, Timestamp};

/// How a browser is to take a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// In place.
    Inline,
    /// As a file to keep.
    Attachment,
}

impl Disposition {
    /// The name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Attachment => "attachment",
        }
    }

    /// Reads the name; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Inline, Self::Attachment]
            .into_iter()
            .find(|disposition| disposition.as_str() == text)
    }
}

/// The most uses that a link may be limited to.
pub const MAX_LINK_USES: u32 = 1_000_000;

/// A number of uses that a link may be limited to: 1 to [`MAX_LINK_USES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkUses(u32);

impl LinkUses {
    /// `None` for a number outside the bounds.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        let number = u32::try_from(number).ok()?;
        (1..=MAX_LINK_USES)
            .contains(&number)
            .then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A link that lets whoever has it read one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its handle.
    pub id: LinkId,
    /// The file that it opens.
    pub file: FileId,
    /// The version that it opens; `None` is the current one at each use.
    pub version: Option<u64>,
    /// How browsers are to take the file, as far as its type may be shown.
    pub disposition: Disposition,
    /// How often it may be used; `None` as often as one likes.
    pub max_uses: Option<LinkUses>,
    /// How often it was used.
    pub uses: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_may_be_used_once_to_a_million_times() {
        for good in [1, 2, 1_000_000] {
            assert_eq!(
                LinkUses::new(good).map(|uses| u64::from(uses.get())),
                Some(good)
            );
        }
        for bad in [0, 1_000_001, u64::MAX] {
            assert_eq!(LinkUses::new(bad), None);
        }
    }
}
