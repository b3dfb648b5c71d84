//! File names as people gave them, made safe to keep and to send.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// The longest file name, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 255;

const UNNAMED: &str = "unnamed_file";
const MAX_KEPT_EXTENSION: usize = 32;

/// A cleaned file name: NFC, 1–255 bytes, no separator, control or bidirectional formatting character.
///
/// Letters of every script and spaces inside stay. It is for people and headers; no path is ever made of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileName(Box<str>);

impl FileName {
    /// Cleans any text; what has nothing left becomes `unnamed_file`.
    #[must_use]
    pub fn clean(raw: &str) -> Self {
        let kept: String = raw.chars().filter(|c| !is_dropped(*c)).nfc().collect();
        let trimmed = trim(&kept);
        let mut name = shorten(trimmed);
        if name.is_empty() {
            name.push_str(UNNAMED);
        }
        Self(name.into_boxed_str())
    }

    /// A beginning of names, composed as they are (NFC).
    #[must_use]
    pub fn prefix(raw: &str) -> String {
        raw.nfc().collect()
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the last dot, if something stands on both sides of it.
    #[must_use]
    pub fn extension(&self) -> Option<&str> {
        split(&self.0).map(|(_, extension)| extension)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Joiners (U+200C, U+200D) stay: Persian, Devanagari and emoji are spelt with them.
fn is_dropped(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '/' | '\\'
            | '\u{061C}' | '\u{200E}' | '\u{200F}'
            | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
            | '\u{2028}' | '\u{2029}' | '\u{FEFF}')
}

fn trim(name: &str) -> &str {
    name.trim_start_matches('.')
        .trim_end_matches(|c: char| c == '.' || c.is_whitespace())
}

fn split(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('.')
        .filter(|(stem, extension)| !stem.is_empty() && !extension.is_empty())
}

fn shorten(name: &str) -> String {
    if name.len() <= MAX_NAME_BYTES {
        return name.to_owned();
    }
    match split(name).filter(|(_, extension)| extension.len() <= MAX_KEPT_EXTENSION) {
        Some((stem, extension)) => {
            let room = MAX_NAME_BYTES - extension.len() - 1;
            format!("{}.{extension}", &stem[..stem.floor_char_boundary(room)])
        }
        None => trim(&name[..name.floor_char_boundary(MAX_NAME_BYTES)]).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clean(raw: &str) -> String {
        FileName::clean(raw).as_str().to_owned()
    }

    #[test]
    fn letters_of_every_script_and_spaces_stay() {
        for name in [
            "Отчёт 2024.pdf",
            "हिन्दी.txt",
            "日本語 ファイル.md",
            "👩‍👩‍👧.png",
            "a \"b\".txt",
        ] {
            assert_eq!(clean(name), name);
        }
    }

    #[test]
    fn separators_controls_and_bidi_marks_go() {
        assert_eq!(clean("../../etc/passwd"), "etcpasswd");
        assert_eq!(clean("a\\b\r\nc\0.txt"), "abc.txt");
        assert_eq!(clean("evil\u{202E}gpj.exe"), "evilgpj.exe");
    }

    #[test]
    fn leading_dots_and_trailing_dots_and_spaces_go() {
        assert_eq!(clean("...bashrc"), "bashrc");
        assert_eq!(clean("report. . "), "report");
        assert_eq!(clean("archive.tar.gz"), "archive.tar.gz");
        for empty in ["", ".", " . ", "///", "\u{202E}"] {
            assert_eq!(clean(empty), "unnamed_file", "{empty:?}");
        }
    }

    #[test]
    fn decomposed_letters_are_composed() {
        assert_eq!(clean("Cafe\u{301}.txt"), "Café.txt");
    }

    #[test]
    fn a_long_name_is_cut_between_letters_and_keeps_its_extension() {
        let name = clean(&format!("{}.pdf", "я".repeat(5_000)));
        assert!(name.len() <= MAX_NAME_BYTES && name.ends_with("я.pdf"));
        assert_eq!(clean(&"x".repeat(10_000)).len(), MAX_NAME_BYTES);
    }

    proptest! {
        #[test]
        fn a_cleaned_name_is_safe_and_stable(raw in ".{0,400}") {
            let name = clean(&raw);
            prop_assert!((1..=MAX_NAME_BYTES).contains(&name.len()));
            prop_assert!(!name.chars().any(is_dropped));
            prop_assert!(!name.starts_with('.') && !name.ends_with(['.', ' ']));
            prop_assert_eq!(clean(&name), name);
        }
    }
}
