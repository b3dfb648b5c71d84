//! The header fields of resumable uploads, against a plain reading of what tus 1.0.0 and RFC 9651 say.
#![no_main]

use base64::{Engine, engine::general_purpose::STANDARD};
use cloakroom_application::uploads::Checksum;
use cloakroom_presentation::upload_fields::{Concat, boolean, bytes, checksum, concat, integer, metadata};
use libfuzzer_sys::fuzz_target;

fn number(text: &str, most: u128) -> Option<u64> {
    let mut value = 0_u128;
    for byte in text.bytes() {
        let digit = byte.is_ascii_digit().then(|| u128::from(byte - b'0'))?;
        value = value.saturating_mul(10).saturating_add(digit);
    }
    (!text.is_empty() && value <= most).then(|| value.try_into().unwrap())
}

fn numbers(text: &str) {
    assert_eq!(bytes(text), number(text, u64::MAX.into()), "{text:?}");
    let item = text.split(';').next().unwrap().trim();
    assert_eq!(integer(text), number(item, 999_999_999_999_999), "{text:?}");
    let flag = [("?0", false), ("?1", true)];
    let flag = flag.iter().find(|(name, _)| *name == item);
    assert_eq!(boolean(text), flag.map(|(_, value)| *value), "{text:?}");
}

fn pairs(text: &str) {
    let Ok(pairs) = metadata(text) else { return };
    // It is given back as it came, in a header.
    assert!(text.is_ascii() && text.len() <= 16 * 1024);
    for (at, (key, _)) in pairs.iter().enumerate() {
        assert!(!key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
        assert!(!pairs[..at].iter().any(|(other, _)| other == key), "{key} twice");
    }
    let again: Vec<String> = pairs.iter().map(|(key, value)| format!("{key} {}", STANDARD.encode(value))).collect();
    let again = again.join(",");
    // Base64 with spaces cut off may become longer; nothing else is lost.
    if again.len() <= 16 * 1024 {
        assert_eq!(metadata(&again).unwrap(), pairs, "{text:?}");
    }
}

fn digests(text: &str) {
    let Ok(found) = checksum(text) else { return };
    let (name, value) = text.trim().split_once(' ').unwrap();
    let value = STANDARD.decode(value.trim()).unwrap();
    let expected = match name {
        "sha1" => Checksum::Sha1(value.try_into().unwrap()),
        "md5" => Checksum::Md5(value.try_into().unwrap()),
        "sha256" => Checksum::Sha256(cloakroom_domain::Sha256Digest::new(value.try_into().unwrap())),
        other => panic!("{other:?} is no algorithm"),
    };
    assert_eq!(found, expected);
}

fn lists(text: &str) {
    match concat(text) {
        Ok(Concat::Partial) => assert_eq!(text.trim(), "partial"),
        Ok(Concat::Final(list)) => {
            assert!(!list.is_empty() && text.is_ascii());
            assert!(list.iter().all(|url| !url.is_empty() && !url.contains([' ', '\t'])));
            assert_eq!(concat(&format!("final;{}", list.join(" "))).unwrap(), Concat::Final(list));
        }
        Err(_) => {}
    }
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    numbers(&text);
    pairs(&text);
    digests(&text);
    lists(&text);
});
