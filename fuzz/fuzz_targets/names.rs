//! File names as they are cleaned, and `Content-Disposition` as it goes out and is read back.
#![no_main]

use cloakroom_domain::{FileName, MAX_NAME_BYTES};
use cloakroom_presentation::{Disposition, content_disposition};
use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode_str;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Marks that change the direction or the lines of a text, by their code points.
const UNSEEN: [u32; 16] = [
    0x061c, 0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069,
    0x2028, 0x2029, 0xfeff, 0x7f,
];

fn is_unsafe(c: char) -> bool {
    c == '/' || c == '\\' || c.is_control() || UNSEEN.contains(&u32::from(c))
}

fuzz_target!(|data: &[u8]| {
    let raw = String::from_utf8_lossy(data);
    let cleaned = FileName::clean(&raw);
    let name = cleaned.as_str();

    assert!((1..=MAX_NAME_BYTES).contains(&name.len()), "{name:?}");
    assert!(!name.chars().any(is_unsafe), "{name:?}");
    assert!(is_nfc(name), "{name:?}");
    assert!(!name.starts_with('.'), "{name:?}");
    assert!(!name.ends_with('.') && name.trim_end() == name, "{name:?}");
    assert_eq!(FileName::clean(name).as_str(), name, "cleaning is done once");

    // Letters are kept, in their order.
    let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    let kept: String = raw.chars().filter(|c| !is_unsafe(*c)).nfc().collect();
    if kept.len() <= MAX_NAME_BYTES && !letters(&kept).is_empty() {
        assert_eq!(letters(name), letters(&kept));
    }
    // An extension survives the cut.
    let trimmed = kept.trim_end_matches(|c: char| c == '.' || c.is_whitespace());
    let trimmed = trimmed.trim_start_matches('.');
    if let Some((stem, extension)) = trimmed.rsplit_once('.')
        && !stem.is_empty()
        && (1..=32).contains(&extension.len())
    {
        assert_eq!(cleaned.extension(), Some(extension), "{name:?}");
    }

    for (disposition, kind) in [(Disposition::Inline, "inline"), (Disposition::Attachment, "attachment")] {
        let field = content_disposition(disposition, &cleaned);
        assert!(field.bytes().all(|b| (0x20..0x7f).contains(&b)), "{field}");
        let rest = field.strip_prefix(kind).unwrap();
        let rest = rest.strip_prefix("; filename=\"").unwrap();
        let (fallback, rest) = rest.split_once('"').unwrap();
        assert!(!fallback.is_empty() && !fallback.contains(['\\', '%']), "{field}");
        assert_eq!(fallback.chars().count(), name.chars().count());
        let exact = rest.strip_prefix("; filename*=UTF-8''").unwrap();
        // RFC 8187 §3.2.1: attr-char or a percent-encoded byte.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$&+-.^_`|~%".contains(&b);
        assert!(exact.bytes().all(plain), "{field}");
        assert_eq!(percent_decode_str(exact).decode_utf8().unwrap(), name);
    }
});
