//! Published keys, with all that an issuer may put beside them.

use serde_json::json;

use super::*;
use crate::jwt::testing::{ed25519, p256, published, rsa};

fn read(keys: &[Value]) -> Option<KeySet> {
    KeySet::read(
        json!({"keys": keys, "more": 1}).to_string().as_bytes(),
        None,
    )
}

fn changed(mut jwk: Value, name: &str, value: Value) -> Value {
    jwk[name] = value;
    jwk
}

fn ed(kid: &str) -> Value {
    published(&ed25519(1), Algorithm::EdDSA, kid)
}

#[test]
fn a_key_is_found_by_its_id_and_without_one_by_what_it_is_for() {
    let set = read(&[ed("a"), published(&p256(), Algorithm::ES256, "b"), ed("c")]).unwrap();
    let found = |kid, algorithm| set.suitable(kid, algorithm).len();
    assert_eq!(found(Some("a"), Algorithm::EdDSA), 1);
    assert_eq!(found(Some("a"), Algorithm::ES256), 0);
    assert_eq!(found(Some("x"), Algorithm::EdDSA), 0);
    assert_eq!(found(None, Algorithm::EdDSA), 2);
    assert_eq!(found(None, Algorithm::RS256), 0);
}

#[test]
fn what_is_not_for_checking_signatures_is_passed_over() {
    let good = ed("good");
    let bad = [
        changed(ed("k"), "use", json!("enc")),
        changed(ed("k"), "key_ops", json!(["sign"])),
        changed(ed("k"), "alg", json!("RS256")),
        changed(ed("k"), "alg", json!("RSA-OAEP")),
        changed(ed("k"), "kty", json!("oct")),
        changed(ed("k"), "crv", json!("X25519")),
        changed(ed("k"), "x", json!("AAAA")),
        changed(ed("k"), "x", json!(7)),
        changed(ed("k"), "kid", json!(7)),
        changed(
            published(&p256(), Algorithm::ES256, "k"),
            "y",
            json!("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"),
        ),
        changed(
            published(&p256(), Algorithm::ES256, "k"),
            "crv",
            json!("P-384"),
        ),
        changed(published(&rsa(), Algorithm::RS256, "k"), "n", json!("AQAB")),
        changed(published(&rsa(), Algorithm::RS256, "k"), "e", json!("AQ")),
        json!({"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "alg": "HS256", "kid": "k"}),
        json!({"kty": "unheard of"}),
        json!(7),
        Value::Null,
    ];
    for one in &bad {
        assert!(read(std::slice::from_ref(one)).is_none(), "{one}");
    }
    let set = read(&[&bad[..], &[good]].concat()).unwrap();
    assert_eq!(
        (set.count(), set.suitable(Some("k"), Algorithm::EdDSA).len()),
        (1, 0)
    );
}

#[test]
fn a_key_with_an_algorithm_is_for_that_one_and_settings_narrow_them() {
    let set = json!({"keys": [published(&rsa(), Algorithm::RS256, "k")]}).to_string();
    let read = |allowed: Option<&[Algorithm]>| KeySet::read(set.as_bytes(), allowed);
    assert_eq!(
        read(None).unwrap().suitable(None, Algorithm::RS512).len(),
        0
    );
    assert_eq!(read(Some(&[Algorithm::RS256])).unwrap().count(), 1);
    assert!(read(Some(&[Algorithm::RS512])).is_none());
}

#[test]
fn what_is_no_set_is_none_and_a_set_is_bounded() {
    for bad in ["", "{}", "[]", "{\"keys\": {}}", "{\"keys\": []}", "<html>"] {
        assert!(KeySet::read(bad.as_bytes(), None).is_none(), "{bad}");
    }
    let many: Vec<Value> = (0..100).map(|n| ed(&n.to_string())).collect();
    let set = read(&many).unwrap();
    assert_eq!(set.count(), MAX_KEYS);
    assert_eq!(set.suitable(None, Algorithm::EdDSA).len(), MAX_TRIED);
}
