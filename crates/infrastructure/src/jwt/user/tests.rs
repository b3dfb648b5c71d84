//! Users' tokens by every kind of key.

use cloakroom_application::ports::Presented;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::*;
use crate::jwt::{
    KeyError, KeySet,
    testing::{LATER, NOW, ed25519, p256, p384, published, rsa, secret, sign, sign_raw},
};

const SECRET: &[u8] = b"the secret of the identity provider";
const RSA_PUBLIC: &str = include_str!("../testing/rsa-public.pem");

fn rules() -> UserRules {
    UserRules {
        issuer: None,
        audience: None,
        user_claim: "sub".to_owned(),
        account_claim: "account_id".to_owned(),
    }
}

fn claims() -> Value {
    json!({"exp": LATER, "sub": "7", "account_id": 1})
}

fn judged(rules: &UserRules, claims: &Value) -> Result<Principal, Refusal> {
    let key = Key::secret(SECRET).unwrap();
    let token = sign(claims, &secret(SECRET), Algorithm::HS256, None);
    rules.verify(&token, &[&key], NOW)
}

fn with(name: &str, value: Value) -> Value {
    let mut all = claims();
    all[name] = value;
    all
}

/// Every kind of public key, with what signs for it and how.
fn pairs() -> Vec<(Arc<Key>, EncodingKey, Vec<Algorithm>)> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let signers = [
        (rsa(), vec![RS256, RS384, RS512, PS256, PS384, PS512]),
        (p256(), vec![ES256]),
        (p384(), vec![ES384]),
        (ed25519(1), vec![EdDSA]),
    ];
    signers
        .into_iter()
        .map(|(signer, how)| {
            let mut jwk = published(&signer, how[0], "k");
            jwk.as_object_mut().unwrap().remove("alg");
            let set = json!({"keys": [jwk]}).to_string();
            let set = KeySet::read(set.as_bytes(), None).unwrap();
            let key = set.suitable(Some("k"), how[0]).remove(0);
            (key, signer, how)
        })
        .collect()
}

#[test]
fn a_user_has_account_and_user_and_a_superuser_is_a_user() {
    let user = judged(&rules(), &with("is_superuser", json!(true))).unwrap();
    assert_eq!((user.kind, user.token), (PrincipalKind::User, None));
    assert_eq!(user.account.unwrap().as_str(), "1");
    assert_eq!(user.user.unwrap().as_str(), "7");
    for (name, bad) in [
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!(true)),
        ("account_id", Value::Null),
        ("account_id", json!(-1)),
        ("account_id", json!(1e30)),
        ("exp", json!("4102444800")),
        ("exp", json!(NOW)),
        ("nbf", json!(NOW + 1.0)),
    ] {
        assert!(
            judged(&rules(), &with(name, bad.clone())).is_err(),
            "{name} {bad}"
        );
    }
}

#[test]
fn the_names_of_the_claims_are_as_configured() {
    let named = UserRules {
        user_claim: "https://example.com/user".to_owned(),
        account_claim: "tenant".to_owned(),
        ..rules()
    };
    let claims = json!({"exp": LATER, "https://example.com/user": 9, "tenant": "acme", "sub": "x"});
    let user = judged(&named, &claims).unwrap();
    assert_eq!(user.user.unwrap().as_str(), "9");
    assert_eq!(user.account.unwrap().as_str(), "acme");
    assert!(judged(&named, &self::claims()).is_err());
}

#[test]
fn a_configured_issuer_and_audience_must_be_there_and_match() {
    let strict = UserRules {
        issuer: Some("us".to_owned()),
        audience: Some("files".to_owned()),
        ..rules()
    };
    let mut right = with("iss", json!("us"));
    for audience in [
        json!("files"),
        json!(["files"]),
        json!(["mail", "files", 7]),
    ] {
        right["aud"] = audience;
        assert!(judged(&strict, &right).is_ok(), "{right}");
    }
    for (name, value) in [
        ("iss", json!("them")),
        ("iss", json!(["us"])),
        ("iss", json!("us ")),
        ("iss", Value::Null),
        ("aud", json!("mail")),
        ("aud", json!(["mail"])),
        ("aud", json!([])),
        ("aud", json!([["files"]])),
        ("aud", json!({"files": true})),
        ("aud", Value::Null),
    ] {
        let mut wrong = right.clone();
        wrong[name] = value;
        assert_eq!(
            judged(&strict, &wrong),
            Err(Refusal::Claim(if name == "iss" { "iss" } else { "aud" }))
        );
    }
    for name in ["iss", "aud"] {
        let mut wrong = right.clone();
        wrong.as_object_mut().unwrap().remove(name);
        assert!(judged(&strict, &wrong).is_err(), "no {name}");
    }
    assert!(
        judged(&rules(), &with("aud", json!("mail"))).is_err(),
        "for somebody else"
    );
    assert!(judged(&rules(), &with("iss", json!("anybody"))).is_ok());
}

#[test]
fn a_guests_and_a_refresh_token_of_the_same_key_are_no_user() {
    for kind in ["guest", "refresh"] {
        assert_eq!(
            judged(&rules(), &with("token_type", json!(kind))),
            Err(Refusal::Claim("token_type"))
        );
    }
    assert!(judged(&rules(), &with("token_type", json!("access"))).is_ok());
}

#[test]
fn every_kind_of_public_key_checks_its_own_algorithms_and_no_other() {
    let pairs = pairs();
    for (at, (key, signer, how)) in pairs.iter().enumerate() {
        for algorithm in how {
            let token = sign(&claims(), signer, *algorithm, None);
            assert!(rules().verify(&token, &[key], NOW).is_ok(), "{algorithm:?}");
            for (other, (wrong, _, _)) in pairs.iter().enumerate() {
                let accepted = rules().verify(&token, &[wrong], NOW).is_ok();
                assert_eq!(accepted, at == other, "{algorithm:?}");
            }
            let (signed, signature) = token.rsplit_once('.').unwrap();
            let broken = format!("{signed}.{}", signature.replace(['A', 'b', '1'], "Z"));
            assert!(
                rules().verify(&broken, &[key], NOW).is_err(),
                "{algorithm:?}"
            );
        }
    }
}

#[test]
fn a_public_key_is_no_secret_and_a_secret_no_public_key() {
    let public = Key::public_pem(RSA_PUBLIC).unwrap();
    // The classic: HMAC with what everybody knows, under a header that says so.
    for known in [RSA_PUBLIC, RSA_PUBLIC.trim()] {
        for how in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let token = sign(&claims(), &secret(known.as_bytes()), how, None);
            assert_eq!(
                rules().verify(&token, &[&public], NOW),
                Err(Refusal::Algorithm)
            );
            let lying = sign_raw(
                r#"{"alg":"RS256"}"#,
                &claims().to_string(),
                &secret(known.as_bytes()),
                how,
            );
            assert_eq!(
                rules().verify(&lying, &[&public], NOW),
                Err(Refusal::Signature)
            );
        }
    }
    let shared = Key::secret(SECRET).unwrap();
    let token = sign(&claims(), &rsa(), Algorithm::RS256, None);
    assert_eq!(
        rules().verify(&token, &[&shared], NOW),
        Err(Refusal::Algorithm)
    );
    assert!(rules().verify(&token, &[&public], NOW).is_ok());
}

#[test]
fn keys_are_public_strong_and_limited_to_what_is_allowed() {
    assert_eq!(
        Key::secret(&SECRET[..31]).unwrap_err(),
        KeyError::ShortSecret
    );
    let private = include_str!("../testing/rsa.pem");
    for bad in [
        "",
        "x",
        private,
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
    ] {
        assert_eq!(Key::public_pem(bad).unwrap_err(), KeyError::NotPublic);
    }
    // 1024 bits, an even modulus, exponents of 1 and of 2.
    assert!(Key::rsa(&[0xff; 128], &[1, 0, 1]).is_none());
    assert!(Key::rsa(&[0xfe; 256], &[1, 0, 1]).is_none());
    assert!(Key::rsa(&[0xff; 256], &[1]).is_none() && Key::rsa(&[0xff; 256], &[2]).is_none());
    assert!(Key::rsa(&[0xff; 256], &[0, 1, 0, 1]).is_some());

    let public = Key::public_pem(RSA_PUBLIC).unwrap();
    let limited = public
        .clone()
        .limited_to(&[Algorithm::RS512, Algorithm::ES256])
        .unwrap();
    let token = |how| sign(&claims(), &rsa(), how, None);
    assert!(
        rules()
            .verify(&token(Algorithm::RS512), &[&limited], NOW)
            .is_ok()
    );
    assert_eq!(
        rules().verify(&token(Algorithm::RS256), &[&limited], NOW),
        Err(Refusal::Algorithm)
    );
    assert!(matches!(
        public.limited_to(&[Algorithm::HS256]),
        Err(KeyError::NoAlgorithm(_))
    ));
    assert!(!format!("{:?}", Key::secret(SECRET).unwrap()).contains("identity"));
}

#[tokio::test]
async fn a_user_comes_as_bearer_and_nowhere_else() {
    let users = UserTokens::new(rules(), UserKeys::Configured(Key::secret(SECRET).unwrap()));
    let token = || Presented::new(sign(&claims(), &secret(SECRET), Algorithm::HS256, None));
    assert!(
        users
            .authenticate(&Credential::Bearer(token()))
            .await
            .unwrap()
            .is_some()
    );
    for other in [
        Credential::Guest(token()),
        Credential::Public(token()),
        Credential::Cookie(token()),
        Credential::GuestCookie(token()),
        Credential::Bearer(Presented::new("ckr_x".to_owned())),
        Credential::Bearer(Presented::new("a.b.c".to_owned())),
        Credential::Malformed,
    ] {
        assert!(users.authenticate(&other).await.unwrap().is_none());
    }
}
