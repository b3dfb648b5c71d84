//! Master keys and what is sealed under them.

use cloakroom_application::ports::{SealError, Sealing, body_context};
use cloakroom_domain::{KeyId, Seal, VersionId};
use proptest::prelude::*;

use super::{
    super::{BadKeys, MasterKeys, new_key},
    keys,
};

fn several(count: usize) -> (Vec<String>, MasterKeys) {
    let texts: Vec<String> = (0..count)
        .map(|_| new_key().unwrap().0.to_string())
        .collect();
    let keys = MasterKeys::parse(&texts.join("\n")).unwrap();
    (texts, keys)
}

#[test]
fn what_was_sealed_opens_in_its_context_only() {
    let keys = keys();
    for secret in [&b""[..], b"a", &[7; 10_000]] {
        let sealed = keys.seal(secret, "store 1").unwrap();
        assert_eq!(sealed.len(), secret.len() + 57);
        assert_eq!(*keys.open(&sealed, "store 1").unwrap(), secret);
        let id = keys.current().unwrap();
        assert_eq!(keys.open(&sealed, "store 2"), Err(SealError::Forged(id)));
        assert_ne!(sealed, keys.seal(secret, "store 1").unwrap());
    }
}

#[test]
fn a_key_that_is_not_there_is_named() {
    let (sealing, opening) = (keys(), keys());
    let sealed = sealing.seal(b"secret", "c").unwrap();
    let id = sealing.current().unwrap();
    assert_eq!(opening.open(&sealed, "c"), Err(SealError::KeyMissing(id)));
    let told = opening.open(&sealed, "c").unwrap_err().to_string();
    assert!(told.contains(&id.to_string()), "{told}");
    let none = MasterKeys::none();
    assert_eq!(none.open(&sealed, "c"), Err(SealError::KeyMissing(id)));
    assert_eq!(none.seal(b"secret", "c"), Err(SealError::NoKey));
    assert_eq!(none.new_seal(VersionId::random()), Ok(None));
}

#[test]
fn the_first_key_seals_and_every_key_opens() {
    let (texts, old) = several(3);
    let sealed = old.seal(b"secret", "c").unwrap();
    assert_eq!(old.current(), KeyId::of_sealed(&sealed));
    let turned = MasterKeys::parse(&format!("{}, # new\n", texts[2]).replace(',', ""));
    assert!(matches!(
        turned.unwrap().open(&sealed, "c"),
        Err(SealError::KeyMissing(_))
    ));
    let turned = MasterKeys::parse(&format!("  {} # new\n\n{}", texts[2], texts[0])).unwrap();
    assert_eq!(*turned.open(&sealed, "c").unwrap(), b"secret");
    assert_ne!(turned.current(), old.current());

    let again = turned.reseal(&sealed, "c").unwrap().unwrap();
    assert_eq!(KeyId::of_sealed(&again), turned.current());
    assert_eq!(*turned.open(&again, "c").unwrap(), b"secret");
    assert_eq!(turned.reseal(&again, "c"), Ok(None));
}

#[test]
fn keys_are_read_in_every_spelling() {
    let bytes: Vec<u8> = (200..232).collect();
    let base64 = "yMnKy8zNzs/Q0dLT1NXW19jZ2tvc3d7f4OHi4+Tl5uc=";
    let url = base64.replace('/', "_").replace('+', "-");
    let spellings = [
        hex::encode(&bytes),
        hex::encode_upper(&bytes),
        base64.to_owned(),
        base64.trim_end_matches('=').to_owned(),
        url.trim_end_matches('=').to_owned(),
        url,
    ];
    let ids: Vec<_> = spellings
        .iter()
        .map(|text| MasterKeys::parse(text).unwrap().ids())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn what_is_no_key_is_refused_and_not_repeated() {
    let (texts, _) = several(1);
    let good = &texts[0];
    let refused = |text: &str| MasterKeys::parse(text).unwrap_err();
    assert_eq!(refused(""), BadKeys::None);
    assert_eq!(refused("# nothing\n"), BadKeys::None);
    assert_eq!(refused("correct horse"), BadKeys::NotAKey(1));
    assert_eq!(refused(&format!("{good} abcd")), BadKeys::NotAKey(2));
    assert_eq!(refused(&format!("{good}\n{good}")), BadKeys::Twice(2));
    assert_eq!(refused(&"00".repeat(32)), BadKeys::NotRandom(1));
    assert_eq!(refused(&"ab".repeat(31)), BadKeys::NotAKey(1));
    assert!(!refused("correct").to_string().contains("correct"));
}

#[test]
fn keys_do_not_print() {
    let (texts, keys) = several(1);
    let printed = format!("{keys:?}");
    assert!(!printed.contains(&texts[0]), "{printed}");
    assert!(printed.contains(&keys.ids()[0].to_string()), "{printed}");
}

#[test]
fn the_key_of_a_body_opens_for_its_version_only() {
    let keys = keys();
    let seal = keys.new_seal(VersionId::random()).unwrap().unwrap();
    assert_eq!(keys.body_key(&seal).unwrap().len(), 32);
    let id = keys.current().unwrap();
    let other = Seal {
        version: VersionId::random(),
        ..seal.clone()
    };
    assert_eq!(keys.body_key(&other), Err(SealError::Forged(id)));
    let encoding = Seal {
        encoding: "zstd".to_owned(),
        ..seal.clone()
    };
    assert_eq!(keys.body_key(&encoding), Err(SealError::Unreadable));
    let short = keys.seal(b"short", &body_context(seal.version)).unwrap();
    let short = Seal {
        wrapped_key: short,
        ..seal
    };
    assert_eq!(keys.body_key(&short), Err(SealError::Unreadable));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_secret_never_opens(secret: Vec<u8>, at: usize, flip in 1_u8..=255) {
        let keys = keys();
        let mut sealed = keys.seal(&secret, "c").unwrap();
        let at = at % sealed.len();
        sealed[at] ^= flip;
        prop_assert!(keys.open(&sealed, "c").is_err());
        sealed[at] ^= flip;
        sealed.truncate(at);
        prop_assert!(keys.open(&sealed, "c").is_err());
    }

    #[test]
    fn nonsense_never_opens(nonsense: Vec<u8>) {
        prop_assert!(keys().open(&nonsense, "c").is_err());
    }
}
