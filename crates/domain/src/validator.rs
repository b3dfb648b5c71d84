//! Validators and preconditions (RFC 9110 §8.8 and §13).

use std::fmt;

use crate::{Sha256Digest, VersionId};

/// An entity tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityTag {
    weak: bool,
    opaque: String,
}

impl EntityTag {
    /// A strong tag over an opaque text without quotes.
    #[must_use]
    pub const fn strong(opaque: String) -> Self {
        Self {
            weak: false,
            opaque,
        }
    }

    /// The strong validator of a stored body: its SHA-256, else the version's id.
    #[must_use]
    pub fn of_body(sha256: Option<Sha256Digest>, version: VersionId) -> Self {
        Self::strong(sha256.map_or_else(|| format!("v-{version}"), |digest| digest.hex()))
    }

    /// Reads one `W/"…"` or `"…"`; `None` if anything else is there.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (tag, rest) = Self::take(text.trim())?;
        rest.is_empty().then_some(tag)
    }

    fn take(text: &str) -> Option<(Self, &str)> {
        let (weak, quoted) = text
            .strip_prefix("W/")
            .map_or((false, text), |rest| (true, rest));
        let (opaque, rest) = quoted.strip_prefix('"')?.split_once('"')?;
        let well_formed = opaque
            .chars()
            .all(|c| c == '!' || ('#'..='~').contains(&c) || c >= '\u{80}');
        well_formed.then(|| {
            (
                Self {
                    weak,
                    opaque: opaque.to_owned(),
                },
                rest,
            )
        })
    }

    /// Both strong and the same (RFC 9110 §8.8.3.2).
    #[must_use]
    pub fn matches_strongly(&self, other: &Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// The same but for weakness.
    #[must_use]
    pub fn matches_weakly(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\"{}\"",
            if self.weak { "W/" } else { "" },
            self.opaque
        )
    }
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntityTags {
    /// `*`: any current representation.
    Any,
    /// A list; a malformed field is an empty one and matches nothing.
    List(Vec<EntityTag>),
}

impl EntityTags {
    /// Reads the field.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut rest = text.trim();
        if rest == "*" {
            return Self::Any;
        }
        let mut tags = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix(',') {
                rest = after.trim_start();
                continue;
            }
            let Some((tag, after)) = EntityTag::take(rest) else {
                return Self::List(Vec::new());
            };
            tags.push(tag);
            rest = after.trim_start();
        }
        Self::List(tags)
    }

    fn matches(&self, current: &EntityTag, same: fn(&EntityTag, &EntityTag) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => tags.iter().any(|tag| same(tag, current)),
        }
    }
}

/// The value of `If-Range`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfRange {
    /// An entity tag.
    Tag(EntityTag),
    /// A date, in whole seconds since the epoch.
    Date(i64),
    /// Neither: no match.
    Unreadable,
}

/// The conditional fields of a request. Dates are whole seconds since the epoch; an unreadable date is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// `If-Match`.
    pub if_match: Option<EntityTags>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<i64>,
    /// `If-None-Match`.
    pub if_none_match: Option<EntityTags>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<i64>,
    /// `If-Range`.
    pub if_range: Option<IfRange>,
}

/// The validators of what is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators {
    /// The entity tag.
    pub etag: EntityTag,
    /// Whole seconds since the epoch.
    pub last_modified: i64,
}

/// What the preconditions say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Proceed,
    /// 304, to GET and HEAD only.
    NotModified,
    /// 412.
    Failed,
}

impl Preconditions {
    /// Evaluates a GET or HEAD in the order of RFC 9110 §13.2.2.
    #[must_use]
    pub fn for_read(&self, now: &Validators) -> Verdict {
        if self.state_has_changed(now) {
            return Verdict::Failed;
        }
        let unchanged = match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) => tags.matches(&now.etag, EntityTag::matches_weakly),
            (None, Some(since)) => now.last_modified <= since,
            (None, None) => false,
        };
        if unchanged {
            Verdict::NotModified
        } else {
            Verdict::Proceed
        }
    }

    /// Evaluates a request that changes state: a match of `If-None-Match` is a failure there.
    #[must_use]
    pub fn for_write(&self, now: &Validators) -> Verdict {
        let none_match_fails = self
            .if_none_match
            .as_ref()
            .is_some_and(|tags| tags.matches(&now.etag, EntityTag::matches_weakly));
        if self.state_has_changed(now) || none_match_fails {
            Verdict::Failed
        } else {
            Verdict::Proceed
        }
    }

    /// Whether a `Range` may be honoured (RFC 9110 §13.1.5).
    #[must_use]
    pub fn range_applies(&self, now: &Validators) -> bool {
        match &self.if_range {
            None => true,
            Some(IfRange::Tag(tag)) => tag.matches_strongly(&now.etag),
            Some(IfRange::Date(date)) => *date == now.last_modified,
            Some(IfRange::Unreadable) => false,
        }
    }

    fn state_has_changed(&self, now: &Validators) -> bool {
        match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) => !tags.matches(&now.etag, EntityTag::matches_strongly),
            (None, Some(since)) => now.last_modified > since,
            (None, None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Validators {
        Validators {
            etag: EntityTag::strong("a".into()),
            last_modified: 1_000,
        }
    }

    fn tags(text: &str) -> Option<EntityTags> {
        Some(EntityTags::parse(text))
    }

    #[test]
    fn lists_of_tags_are_read_with_commas_inside_the_quotes() {
        let EntityTags::List(list) = EntityTags::parse(r#" "a,b" , W/"c",, "d" "#) else {
            panic!()
        };
        let texts: Vec<String> = list.iter().map(ToString::to_string).collect();
        assert_eq!(texts, [r#""a,b""#, r#"W/"c""#, r#""d""#]);
        for bad in ["a", "\"a", "\"a\" b", "w/\"a\"", "*, \"a\""] {
            assert_eq!(
                EntityTags::parse(bad),
                EntityTags::List(Vec::new()),
                "{bad}"
            );
        }
    }

    #[test]
    fn if_match_is_strong_and_comes_before_dates() {
        let check = |if_match: &str, since| {
            Preconditions {
                if_match: tags(if_match),
                if_unmodified_since: since,
                ..Default::default()
            }
            .for_read(&now())
        };
        assert_eq!(check("\"a\"", Some(0)), Verdict::Proceed);
        assert_eq!(check("*", None), Verdict::Proceed);
        assert_eq!(check("W/\"a\"", None), Verdict::Failed);
        assert_eq!(check("\"b\"", Some(9_999)), Verdict::Failed);
    }

    #[test]
    fn if_none_match_is_weak_and_hides_if_modified_since() {
        let check = |if_none_match: &str, since| {
            Preconditions {
                if_none_match: tags(if_none_match),
                if_modified_since: since,
                ..Default::default()
            }
            .for_read(&now())
        };
        assert_eq!(check("W/\"a\"", None), Verdict::NotModified);
        assert_eq!(check("\"b\"", Some(9_999)), Verdict::Proceed);
    }

    #[test]
    fn dates_compare_in_whole_seconds() {
        let modified = |since| {
            Preconditions {
                if_modified_since: Some(since),
                ..Default::default()
            }
            .for_read(&now())
        };
        assert_eq!(modified(1_000), Verdict::NotModified);
        assert_eq!(modified(999), Verdict::Proceed);
        let unmodified = |since| {
            Preconditions {
                if_unmodified_since: Some(since),
                ..Default::default()
            }
            .for_read(&now())
        };
        assert_eq!(unmodified(1_000), Verdict::Proceed);
        assert_eq!(unmodified(999), Verdict::Failed);
    }

    #[test]
    fn a_failed_if_match_comes_before_not_modified() {
        let both = Preconditions {
            if_match: tags("\"b\""),
            if_none_match: tags("\"a\""),
            ..Default::default()
        };
        assert_eq!(both.for_read(&now()), Verdict::Failed);
    }

    #[test]
    fn if_none_match_fails_a_write() {
        let any = Preconditions {
            if_none_match: tags("*"),
            ..Default::default()
        };
        assert_eq!(any.for_write(&now()), Verdict::Failed);
        assert_eq!(Preconditions::default().for_write(&now()), Verdict::Proceed);
    }

    #[test]
    fn if_range_needs_the_very_same_strong_tag_or_date() {
        let applies = |if_range| {
            Preconditions {
                if_range: Some(if_range),
                ..Default::default()
            }
            .range_applies(&now())
        };
        assert!(applies(IfRange::Tag(EntityTag::parse("\"a\"").unwrap())));
        assert!(!applies(IfRange::Tag(EntityTag::parse("W/\"a\"").unwrap())));
        assert!(applies(IfRange::Date(1_000)));
        assert!(!applies(IfRange::Date(1_001)));
        assert!(!applies(IfRange::Unreadable));
    }
}
