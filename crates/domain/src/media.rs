//! Media types: which are believed, which run in a browser, which may be shown in place.

use std::fmt;

use crate::FileName;

/// How many leading bytes of a body [`ContentType::settle`] looks at.
pub const SNIFF_LEN: usize = 8192;

const OCTET_STREAM: &str = "application/octet-stream";
const MAX_TYPE_BYTES: usize = 255;

/// Types that a browser would run or render with script in the site's origin.
const ACTIVE: &[&str] = &[
    "text/html",
    "application/xhtml+xml",
    "image/svg+xml",
    "text/xml",
    "application/xml",
    "text/xsl",
    "application/xslt+xml",
    "application/javascript",
    "application/x-javascript",
    "application/ecmascript",
    "text/javascript",
    "text/ecmascript",
    "text/jscript",
    "application/mathml+xml",
    "application/rdf+xml",
    "application/rss+xml",
    "application/atom+xml",
    "multipart/x-mixed-replace",
    "message/rfc822",
    "application/x-shockwave-flash",
    "text/cache-manifest",
];

/// Types that a browser shows without running anything.
const INLINE: &[&str] = &[
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/avif",
    "image/bmp",
    "image/heic",
    "image/heif",
    "image/tiff",
    "image/x-icon",
    "image/vnd.microsoft.icon",
    "image/apng",
    "image/jxl",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "video/x-m4v",
    "video/x-matroska",
    "video/mpeg",
    "video/3gpp",
    "audio/mpeg",
    "audio/mp4",
    "audio/aac",
    "audio/ogg",
    "audio/opus",
    "audio/wav",
    "audio/x-wav",
    "audio/wave",
    "audio/webm",
    "audio/flac",
    "audio/x-flac",
    "audio/x-m4a",
    "application/pdf",
    "application/json",
    "text/plain",
    "text/csv",
    "text/markdown",
];

/// Further types that are believed when declared; they are only ever downloaded.
const DOWNLOADED: &[&str] = &[
    "application/zip",
    "application/gzip",
    "application/x-gzip",
    "application/x-tar",
    "application/x-bzip2",
    "application/x-xz",
    "application/zstd",
    "application/x-7z-compressed",
    "application/vnd.rar",
    "application/x-rar-compressed",
    "application/msword",
    "application/rtf",
    "application/epub+zip",
    "application/x-ndjson",
    "application/ld+json",
    "application/geo+json",
    "application/yaml",
    "application/toml",
    "application/sql",
    "application/wasm",
    "application/vnd.sqlite3",
    "application/x-sqlite3",
    "application/x-parquet",
    "application/vnd.apache.parquet",
    "application/postscript",
    "application/dicom",
    "application/vnd.android.package-archive",
    "text/tab-separated-values",
    "text/calendar",
    "text/vcard",
    "text/rtf",
    "text/yaml",
    "text/css",
    "image/vnd.adobe.photoshop",
    "image/vnd.dxf",
    "image/vnd.dwg",
];

/// Families whose members are all inert documents or fonts.
const DOWNLOADED_PREFIXES: &[&str] = &[
    "application/vnd.openxmlformats-officedocument.",
    "application/vnd.oasis.opendocument.",
    "application/vnd.ms-",
    "audio/",
    "video/",
    "font/",
    "model/",
];

/// A media type: lower-case essence, with parameters only on `text/*` (RFC 9110 §8.3.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContentType(Box<str>);

impl ContentType {
    /// Reads `type/subtype` with optional parameters; `None` if it is not well formed.
    ///
    /// Parameters stay on text only; one that is not `token=token` is dropped.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let essence = parts.next()?.trim().to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        if essence.len() > MAX_TYPE_BYTES || !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let mut full = essence.clone();
        if kind == "text" {
            for parameter in parts.filter_map(plain_parameter) {
                if full.len() + parameter.len() + 2 <= MAX_TYPE_BYTES {
                    full.push_str("; ");
                    full.push_str(&parameter);
                }
            }
        }
        Some(Self(full.into_boxed_str()))
    }

    /// `application/octet-stream`.
    #[must_use]
    pub fn octet_stream() -> Self {
        Self(OCTET_STREAM.into())
    }

    /// The type that a body is kept under.
    ///
    /// The declared one if it is known, else one guessed from the name; then the first bytes
    /// (up to [`SNIFF_LEN`]) may contradict it.
    #[must_use]
    pub fn settle(declared: Option<&Self>, name: &FileName, head: &[u8]) -> Self {
        let claimed = declared
            .filter(|t| t.is_known())
            .cloned()
            .unwrap_or_else(|| guess(name));
        match sniff(head) {
            Some(found) if claimed.contradicted_by(found) => Self(found.into()),
            _ => claimed,
        }
    }

    /// The type and its parameters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The type without parameters.
    #[must_use]
    pub fn essence(&self) -> &str {
        self.0.split(';').next().unwrap_or_default()
    }

    /// The type to send: what a browser would run goes out as `application/octet-stream`.
    #[must_use]
    pub fn served(&self) -> &str {
        if self.is_active() {
            OCTET_STREAM
        } else {
            &self.0
        }
    }

    /// Whether a browser may show it in place.
    #[must_use]
    pub fn is_inline_safe(&self) -> bool {
        INLINE.contains(&self.essence())
    }

    /// Whether a browser would run it.
    #[must_use]
    pub fn is_active(&self) -> bool {
        let essence = self.essence();
        ACTIVE.contains(&essence) || essence.ends_with("+xml")
    }

    fn is_known(&self) -> bool {
        let essence = self.essence();
        self.is_inline_safe()
            || self.is_active()
            || DOWNLOADED.contains(&essence)
            || DOWNLOADED_PREFIXES
                .iter()
                .any(|prefix| essence.starts_with(prefix))
    }

    /// Whether `found` in the first bytes rules this type out.
    ///
    /// Text stays text, since `nosniff` keeps a browser from reading it otherwise. Container formats
    /// (a ZIP that is a document, an MP4 that is a sound) are no contradiction.
    fn contradicted_by(&self, found: &str) -> bool {
        let essence = self.essence();
        if essence == found {
            return false;
        }
        if essence == OCTET_STREAM {
            return true;
        }
        if self.is_active() || essence.starts_with("text/") {
            return false;
        }
        let family = |t: &str| t.split('/').next().unwrap_or_default().to_owned();
        let claims_picture = matches!(family(essence).as_str(), "image" | "audio" | "video")
            || matches!(essence, "application/pdf" | "application/json");
        let same_family = family(essence) == family(found) && family(found) != "application";
        let both_media = [essence, found]
            .iter()
            .all(|t| t.starts_with("audio/") || t.starts_with("video/") || *t == "application/ogg");
        if found == "text/html" || found == "text/xml" || found == "image/svg+xml" {
            return true;
        }
        claims_picture && !same_family && !both_media
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn guess(name: &FileName) -> ContentType {
    name.extension()
        .and_then(|extension| mime_guess::from_ext(extension).first_raw())
        .and_then(ContentType::parse)
        .unwrap_or_else(ContentType::octet_stream)
}

fn sniff(head: &[u8]) -> Option<&'static str> {
    let head = &head[..head.len().min(SNIFF_LEN)];
    infer::get(head)
        .map(|kind| kind.mime_type())
        .or_else(|| looks_like_svg(head))
}

/// `infer` knows HTML and XML declarations, but not an SVG without one.
fn looks_like_svg(head: &[u8]) -> Option<&'static str> {
    let start = head
        .strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(head)
        .trim_ascii_start();
    start
        .get(..4)
        .filter(|tag| tag.eq_ignore_ascii_case(b"<svg"))
        .map(|_| "image/svg+xml")
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn plain_parameter(text: &str) -> Option<String> {
    let (name, value) = text.trim().split_once('=')?;
    let value = value.trim().trim_matches('"');
    (is_token(name) && is_token(value)).then(|| format!("{}={value}", name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(declared: &str, name: &str, head: &[u8]) -> String {
        let declared = ContentType::parse(declared);
        ContentType::settle(declared.as_ref(), &FileName::clean(name), head).to_string()
    }

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

    #[test]
    fn a_known_declared_type_wins_over_the_name() {
        assert_eq!(settle("image/png", "a.txt", PNG), "image/png");
        assert_eq!(settle("application/pdf", "a", b"short"), "application/pdf");
    }

    #[test]
    fn an_unknown_or_generic_type_is_guessed_from_the_name() {
        assert_eq!(
            settle("application/octet-stream", "a.pdf", b"%PDF-1.7"),
            "application/pdf"
        );
        assert_eq!(settle("application/x-evil", "a.csv", b"a,b"), "text/csv");
        assert_eq!(settle("nonsense", "a.unknownext", b"x"), OCTET_STREAM);
        assert_eq!(settle("", "picture", PNG), "image/png");
    }

    #[test]
    fn first_bytes_that_run_in_a_browser_are_not_hidden_by_a_declared_type() {
        for (head, kept) in [
            (&b"<!DOCTYPE html><script>"[..], "text/html"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'>", "image/svg+xml"),
            (b"<?xml version='1.0'?>", "text/xml"),
        ] {
            let stored = settle("image/png", "a.png", head);
            assert_eq!(stored, kept);
            let stored = ContentType::parse(&stored).unwrap();
            assert_eq!(stored.served(), OCTET_STREAM);
            assert!(!stored.is_inline_safe());
        }
    }

    #[test]
    fn containers_are_no_contradiction() {
        let docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
        assert_eq!(settle(docx, "a.docx", b"PK\x03\x04rest"), docx);
        assert_eq!(
            settle("audio/mp4", "a.m4a", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"),
            "audio/mp4"
        );
    }

    #[test]
    fn parameters_stay_on_text_only() {
        let parsed = |t: &str| ContentType::parse(t).unwrap().to_string();
        assert_eq!(
            parsed("Text/Plain; Charset=\"UTF-8\""),
            "text/plain; charset=UTF-8"
        );
        assert_eq!(parsed("image/png; a=b"), "image/png");
        assert_eq!(parsed("text/plain; x=\"a\r\nSet-Cookie: b\""), "text/plain");
        assert!(ContentType::parse("text plain").is_none());
        assert!(ContentType::parse("a/b\r\n").is_some_and(|t| t.as_str() == "a/b"));
    }

    #[test]
    fn everything_a_browser_runs_is_served_as_bytes() {
        for active in [
            "text/html",
            "application/xhtml+xml",
            "image/svg+xml",
            "text/xml",
            "application/xml",
            "text/javascript",
            "application/javascript",
            "a/b+xml",
        ] {
            assert_eq!(
                ContentType::parse(active).unwrap().served(),
                OCTET_STREAM,
                "{active}"
            );
        }
    }
}
