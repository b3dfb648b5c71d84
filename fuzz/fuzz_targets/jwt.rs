//! JWTs of guests and users, and published key sets: what is accepted must be what a second, plain reading accepts,
//! with the signature computed by hand, and the other way round.
#![no_main]

use std::{collections::BTreeSet, fmt, sync::LazyLock};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cloakroom_domain::{Principal, PrincipalKind, TokenHash};
use cloakroom_infrastructure::jwt::{GuestTokens, Key, KeySet, MAX_TOKEN, UserRules};
use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;
use sha2::{Sha256, Sha384, Sha512};

const NOW: f64 = 1_700_000_000.0;
const GUESTS: &[u8] = b"the secret of the backend";
const USERS: &[u8] = b"the secret of the identity provider";

static GUEST: LazyLock<GuestTokens> = LazyLock::new(|| GuestTokens::new(GUESTS).unwrap());
static KEY: LazyLock<Key> = LazyLock::new(|| Key::secret(USERS).unwrap());
static RULES: LazyLock<UserRules> = LazyLock::new(|| UserRules {
    issuer: Some("us".to_owned()),
    audience: Some("files".to_owned()),
    user_claim: "sub".to_owned(),
    account_claim: "account_id".to_owned(),
});

/// The members of an object in their order, with those that occur twice.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = map.next_entry()? {
                    all.push(member);
                }
                Ok(Members(all))
            }
        }

        deserializer.deserialize_map(All)
    }
}

impl Members {
    fn read(json: &[u8]) -> Option<Self> {
        let members: Self = serde_json::from_slice(json).ok()?;
        let names: BTreeSet<&str> = members.0.iter().map(|(name, _)| name.as_str()).collect();
        (names.len() == members.0.len()).then_some(members)
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// A number as it is written, or a text.
    fn id(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            Value::Number(number) => {
                let digits = number.to_string();
                let whole = digits.chars().all(|c| c.is_ascii_digit());
                (whole && digits != "0" && digits.parse::<i64>().is_ok()).then_some(digits)
            }
            Value::String(text) => {
                let fits = (1..=255).contains(&text.len()) && !text.contains('\0');
                fits.then(|| text.clone())
            }
            _ => None,
        }
    }

    fn is_timely(&self) -> bool {
        let number = |name: &str| self.get(name).map(Value::as_f64);
        let lives = number("exp").flatten().is_some_and(|end| end > NOW);
        let began = number("nbf").is_none_or(|begin| begin.is_some_and(|begin| begin <= NOW));
        lives && began
    }
}

fn mac<M: Mac + KeyInit>(secret: &[u8], signed: &str) -> String {
    let mut mac = <M as KeyInit>::new_from_slice(secret).unwrap();
    mac.update(signed.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

fn sign(secret: &[u8], algorithm: &str, signed: &str) -> Option<String> {
    match algorithm {
        "HS256" => Some(mac::<Hmac<Sha256>>(secret, signed)),
        "HS384" => Some(mac::<Hmac<Sha384>>(secret, signed)),
        "HS512" => Some(mac::<Hmac<Sha512>>(secret, signed)),
        _ => None,
    }
}

/// The claims of a token that is signed with the secret by one of the algorithms.
fn signed_claims(token: &str, secret: &[u8], algorithms: &[&str]) -> Option<Members> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        return None;
    };
    let read = Members::read(&URL_SAFE_NO_PAD.decode(header).ok()?)?;
    let algorithm = read.text("alg").filter(|name| algorithms.contains(name))?;
    let plain = read.get("crit").is_none() && read.get("kid").is_none_or(Value::is_string);
    let right = sign(secret, algorithm, &format!("{header}.{claims}"))?;
    if !plain || signature != right || token.len() > MAX_TOKEN {
        return None;
    }
    Members::read(&URL_SAFE_NO_PAD.decode(claims).ok()?)
}

/// Kind, account, user and whether it is known by its token.
type Who = (PrincipalKind, String, Option<String>, bool);

fn guest(token: &str) -> Option<Who> {
    let claims = signed_claims(token, GUESTS, &["HS256"])?;
    let user = match claims.get("user_id") {
        None | Some(Value::Null) => None,
        Some(_) => Some(claims.id("user_id")?),
    };
    let is_guest = claims.text("token_type") == Some("guest") && claims.get("aud").is_none();
    let by_token = user.is_none();
    (is_guest && claims.is_timely())
        .then_some((PrincipalKind::Guest, claims.id("account_id")?, user, by_token))
}

fn user(token: &str) -> Option<Who> {
    let claims = signed_claims(token, USERS, &["HS256", "HS384", "HS512"])?;
    let audience = match claims.get("aud")? {
        Value::String(one) => one == "files",
        Value::Array(several) => several.contains(&Value::from("files")),
        _ => false,
    };
    let other = ["guest", "refresh"].contains(&claims.text("token_type").unwrap_or_default());
    let good = audience && claims.text("iss") == Some("us") && !other && claims.is_timely();
    let user = claims.id("sub")?;
    good.then_some((PrincipalKind::User, claims.id("account_id")?, Some(user), false))
}

fn who(principal: &Principal, token: &str) -> Who {
    if let Some(hash) = principal.token {
        assert!(hash == TokenHash::of(token));
    }
    (
        principal.kind,
        principal.account.as_ref().unwrap().to_string(),
        principal.user.as_ref().map(ToString::to_string),
        principal.token.is_some(),
    )
}

fn judge(token: &str) {
    let found = GUEST.verify(token, NOW).ok();
    assert_eq!(found.map(|principal| who(&principal, token)), guest(token), "{token}");
    let found = RULES.verify(token, &[&KEY], NOW).ok();
    assert_eq!(found.map(|principal| who(&principal, token)), user(token), "{token}");
    assert!(RULES.verify(token, &[], NOW).is_err());
}

/// A first byte that says how, then a token, a set of keys, or a header and claims (a line each) to be signed.
fuzz_target!(|data: &[u8]| {
    let Some((how, rest)) = data.split_first() else {
        return;
    };
    if how % 4 == 0 {
        if let Ok(token) = std::str::from_utf8(rest) {
            judge(token);
        }
        return;
    }
    if how % 4 == 1 {
        let _ = KeySet::read(rest, None);
        return;
    }
    let Some(line) = rest.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(&rest[..line]),
        URL_SAFE_NO_PAD.encode(&rest[line + 1..])
    );
    let secret = if how % 4 == 2 { GUESTS } else { USERS };
    let algorithm = ["HS256", "HS384", "HS512"][usize::from(how / 4) % 3];
    if let Some(signature) = sign(secret, algorithm, &signed) {
        judge(&format!("{signed}.{signature}"));
    }
});
