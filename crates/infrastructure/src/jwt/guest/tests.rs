//! Guests' tokens, each wrong in one way.

use cloakroom_application::ports::Presented;
use jsonwebtoken::Algorithm;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::jwt::{
    MAX_TOKEN,
    testing::{LATER, NOW, encode, secret, sign, sign_raw},
};

const SECRET: &[u8] = b"the secret of the backend";

fn guests() -> GuestTokens {
    GuestTokens::new(SECRET).unwrap()
}

fn claims() -> Value {
    json!({"exp": LATER, "token_type": "guest", "account_id": 1688, "user_id": null})
}

/// The usual claims with one of them as given, or without it.
fn with(name: &str, value: Value) -> Value {
    let mut all = claims();
    all[name] = value;
    all
}

fn without(name: &str) -> Value {
    let mut all = claims();
    all.as_object_mut().unwrap().remove(name);
    all
}

fn verified(claims: &Value) -> Result<Principal, Refusal> {
    let token = sign(claims, &secret(SECRET), Algorithm::HS256, None);
    guests().verify(&token, NOW)
}

fn headed(header: &str) -> Result<Principal, Refusal> {
    let token = sign_raw(
        header,
        &claims().to_string(),
        &secret(SECRET),
        Algorithm::HS256,
    );
    guests().verify(&token, NOW)
}

#[test]
fn a_guest_without_a_user_is_known_by_its_token_and_one_with_a_user_by_that() {
    let token = sign(&claims(), &secret(SECRET), Algorithm::HS256, None);
    let guest = guests().verify(&token, NOW).unwrap();
    assert_eq!(guest.kind, PrincipalKind::Guest);
    assert_eq!(guest.account.unwrap().as_str(), "1688");
    assert_eq!(
        (guest.user, guest.token),
        (None, Some(TokenHash::of(&token)))
    );
    assert_eq!(verified(&without("user_id")).unwrap().user, None);

    let named = verified(&with("user_id", json!(3685))).unwrap();
    assert_eq!(named.user.unwrap().as_str(), "3685");
    assert_eq!(named.token, None);
}

#[test]
fn exp_is_needed_and_a_number_and_in_the_future_without_leeway() {
    for good in [
        json!(LATER),
        json!(NOW + 0.5),
        json!(1e300),
        json!(u64::MAX),
    ] {
        assert!(verified(&with("exp", good.clone())).is_ok(), "{good}");
    }
    for past in [
        json!(NOW),
        json!(NOW - 1.0),
        json!(0),
        json!(-1),
        json!(-1e300),
    ] {
        assert_eq!(verified(&with("exp", past)), Err(Refusal::Expired));
    }
    for bad in [
        json!("4102444800"),
        json!(true),
        Value::Null,
        json!([LATER]),
        json!({}),
    ] {
        assert_eq!(verified(&with("exp", bad)), Err(Refusal::Claim("exp")));
    }
    assert_eq!(verified(&without("exp")), Err(Refusal::Claim("exp")));
}

#[test]
fn nbf_is_honoured_where_it_is() {
    assert!(verified(&with("nbf", json!(NOW))).is_ok());
    assert_eq!(
        verified(&with("nbf", json!(NOW + 1.0))),
        Err(Refusal::NotYet)
    );
    for bad in [json!("0"), Value::Null, json!(false)] {
        assert_eq!(verified(&with("nbf", bad)), Err(Refusal::Claim("nbf")));
    }
}

#[test]
fn token_type_is_guest_and_nothing_else() {
    for bad in [
        json!("user"),
        json!("Guest"),
        json!("guest "),
        Value::Null,
        json!(1),
        json!(["guest"]),
    ] {
        assert_eq!(
            verified(&with("token_type", bad)),
            Err(Refusal::Claim("token_type"))
        );
    }
    assert!(verified(&without("token_type")).is_err());
}

#[test]
fn ids_are_positive_64_bit_integers_or_texts() {
    for good in [
        json!(1),
        json!(i64::MAX),
        json!("7"),
        json!("acme"),
        json!("счёт"),
    ] {
        assert!(
            verified(&with("account_id", good.clone())).is_ok(),
            "{good}"
        );
        assert!(verified(&with("user_id", good.clone())).is_ok(), "{good}");
    }
    let huge: Value = serde_json::from_str("1000000000000000000000000000000").unwrap();
    for bad in [
        json!(0),
        json!(-1),
        json!(1.0),
        json!(1.5),
        json!(1e30),
        huge,
        json!(u64::MAX),
        json!(i64::MAX as u64 + 1),
        json!(true),
        json!(false),
        json!(""),
        json!("a\0b"),
        json!("x".repeat(256)),
        json!([1]),
        json!({"id": 1}),
    ] {
        assert!(verified(&with("account_id", bad.clone())).is_err(), "{bad}");
        assert!(verified(&with("user_id", bad.clone())).is_err(), "{bad}");
    }
    assert!(verified(&with("account_id", Value::Null)).is_err());
    assert!(verified(&without("account_id")).is_err());
}

#[test]
fn a_number_and_its_digits_are_the_same_account() {
    let number = verified(&claims()).unwrap();
    let text = verified(&with("account_id", json!("1688"))).unwrap();
    assert_eq!(number.account, text.account);
}

#[test]
fn being_a_superuser_means_nothing_and_a_token_for_another_audience_is_refused() {
    let guest = verified(&with("is_superuser", json!(true))).unwrap();
    assert_eq!(guest.kind, PrincipalKind::Guest);
    assert_eq!(
        verified(&with("aud", json!("other"))),
        Err(Refusal::Claim("aud"))
    );
}

#[test]
fn only_hs256_with_the_secret_is_accepted() {
    let claims = claims();
    for how in [Algorithm::HS384, Algorithm::HS512] {
        let token = sign(&claims, &secret(SECRET), how, None);
        assert_eq!(guests().verify(&token, NOW), Err(Refusal::Algorithm));
    }
    let token = sign(&claims, &secret(b"another secret"), Algorithm::HS256, None);
    assert_eq!(guests().verify(&token, NOW), Err(Refusal::Signature));
    // A right signature under a header that says something else.
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":""}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"typ":"JWT"}"#,
    ] {
        assert_eq!(headed(header), Err(Refusal::Algorithm), "{header}");
    }
    for tail in ["", "."] {
        let unsigned = format!(
            "{}.{}{tail}",
            encode(r#"{"alg":"none"}"#),
            encode(claims.to_string())
        );
        assert!(guests().verify(&unsigned, NOW).is_err(), "{unsigned}");
    }
    assert!(
        GuestTokens::new(b"").is_none(),
        "anybody could sign with nothing"
    );
}

#[test]
fn a_header_may_bring_keys_along_and_they_are_not_looked_at() {
    let harmless = r#"{"alg":"HS256","typ":"at+jwt","jku":"http://evil.example/","kid":"../../dev/null","b64":false,
        "x5u":"http://evil.example/","x5c":["AAAA"],"jwk":{"kty":"oct","k":"AAAA"}}"#;
    assert!(headed(harmless).is_ok());
    let own = sign_raw(
        r#"{"alg":"HS256","jwk":{"kty":"oct","k":"YXR0YWNrZXI"}}"#,
        &claims().to_string(),
        &secret(b"attacker"),
        Algorithm::HS256,
    );
    assert_eq!(guests().verify(&own, NOW), Err(Refusal::Signature));
}

#[test]
fn extensions_that_must_be_understood_are_refused() {
    for crit in [r#"["b64"]"#, "[]", "null", r#"["exp"]"#] {
        let header = format!(r#"{{"alg":"HS256","b64":true,"crit":{crit}}}"#);
        assert_eq!(headed(&header), Err(Refusal::Critical), "{crit}");
    }
}

#[test]
fn what_occurs_twice_or_is_no_object_is_refused() {
    let key = secret(SECRET);
    let twice = r#"{"exp":4102444800,"token_type":"guest","account_id":1,"account_id":2}"#;
    let same = r#"{"exp":4102444800,"exp":4102444800,"token_type":"guest","account_id":1}"#;
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(3000), "]".repeat(3000));
    for bad in [
        twice,
        same,
        "[]",
        "null",
        "",
        "{",
        r#"{"exp":1} x"#,
        deep.as_str(),
    ] {
        let token = sign_raw(r#"{"alg":"HS256"}"#, bad, &key, Algorithm::HS256);
        assert_eq!(
            guests().verify(&token, NOW),
            Err(Refusal::Malformed),
            "{bad:.40}"
        );
    }
    for header in [
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":1}"#,
        "[]",
        r#""HS256""#,
    ] {
        assert_eq!(headed(header), Err(Refusal::Malformed), "{header}");
    }
}

#[test]
fn only_the_one_way_to_write_a_token_is_read() {
    let token = sign(&claims(), &secret(SECRET), Algorithm::HS256, None);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    // The last character of 32 bytes in base64 has two bits that mean nothing.
    let last = signature.chars().last().unwrap();
    let others = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for other in others.chars().filter(|c| *c != last) {
        let near = format!("{signed}.{}{other}", &signature[..signature.len() - 1]);
        assert!(guests().verify(&near, NOW).is_err(), "{other}");
    }
    for bad in [
        format!("{token}="),
        format!("{token} "),
        format!(" {token}"),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!(".{token}"),
        format!("{signed}."),
        signed.to_owned(),
        signature.to_owned(),
        token.replace('.', ".."),
        String::new(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        "\0.\0.\0".to_owned(),
        "ü.ü.ü".to_owned(),
    ] {
        assert!(guests().verify(&bad, NOW).is_err(), "{bad}");
    }
    let long = with("more", json!("x".repeat(MAX_TOKEN)));
    assert_eq!(verified(&long), Err(Refusal::Malformed));
}

#[tokio::test]
async fn a_guest_comes_in_its_header_or_its_cookie_and_nowhere_else() {
    let token = || Presented::new(sign(&claims(), &secret(SECRET), Algorithm::HS256, None));
    let knows = |credential: Credential| async move {
        guests().authenticate(&credential).await.unwrap().is_some()
    };
    assert!(knows(Credential::Guest(token())).await);
    assert!(knows(Credential::GuestCookie(token())).await);
    for other in [
        Credential::Bearer(token()),
        Credential::Public(token()),
        Credential::Cookie(token()),
        Credential::PublicCookie(token()),
        Credential::Guest(Presented::new("a.b.c".to_owned())),
        Credential::Malformed,
    ] {
        assert!(!knows(other).await);
    }
}

proptest! {
    #[test]
    fn no_text_is_a_guest_and_none_makes_it_fail(token in ".{0,300}|[A-Za-z0-9_.-]{0,300}") {
        prop_assert!(guests().verify(&token, NOW).is_err());
    }

    #[test]
    fn one_changed_byte_is_enough_to_be_refused(at in any::<prop::sample::Index>(), other in any::<char>()) {
        let token = sign(&claims(), &secret(SECRET), Algorithm::HS256, None);
        let at = at.index(token.len());
        prop_assume!(!token[at..].starts_with(other));
        let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
        prop_assert!(guests().verify(&changed, NOW).is_err());
    }

    #[test]
    fn any_claims_that_are_signed_are_judged_as_a_plain_reading_does(
        account in prop_oneof![any::<i64>().prop_map(Value::from), any::<f64>().prop_map(Value::from),
            ".{0,4}".prop_map(Value::from), any::<bool>().prop_map(Value::from), Just(Value::Null)],
        exp in prop_oneof![any::<i64>().prop_map(Value::from), (1_000_000_000.0..3e9).prop_map(Value::from),
            "[0-9]{10}".prop_map(Value::from), Just(Value::Null)],
        kind in prop_oneof![Just("guest"), Just("user")],
    ) {
        let good_account = match &account {
            Value::Number(number) => number.to_string().parse::<i64>().is_ok_and(|n| n > 0),
            Value::String(text) => !text.is_empty() && !text.contains('\0'),
            _ => false,
        };
        let expected = good_account && kind == "guest" && exp.as_f64().is_some_and(|exp| exp > NOW);
        let claims = json!({"exp": exp, "token_type": kind, "account_id": account});
        prop_assert_eq!(verified(&claims).is_ok(), expected, "{}", claims);
    }
}
