//! JSON objects in which no name occurs twice, and the claims that the contract knows.

use std::{collections::BTreeMap, fmt};

use cloakroom_domain::{AccountId, UserId};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use serde_json::Value;

use super::compact::Refusal;

/// A JSON object. One with a name that occurs twice is none: RFC 7515 §4 and RFC 7519 §4 let a reader refuse it, and
/// readers that differ in which of the two they take can be played against each other.
#[derive(Debug)]
pub(super) struct Object(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(de::Error::custom("a name occurs twice"));
                    }
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

impl Object {
    /// The member of that name.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

/// What a token says. Nothing of it is to be believed before its signature was checked.
#[derive(Debug)]
pub(super) struct Claims(Object);

impl Claims {
    pub(super) const fn new(object: Object) -> Self {
        Self(object)
    }

    /// The claim of that name.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Checks `exp`, which must be there, and `nbf`, which may be (RFC 7519 §4.1.4 and §4.1.5), both numbers and
    /// without leeway; `now` is in seconds since 1970.
    pub(super) fn check_times(&self, now: f64) -> Result<(), Refusal> {
        let expires = self.get("exp").and_then(Value::as_f64);
        if expires.ok_or(Refusal::Claim("exp"))? <= now {
            return Err(Refusal::Expired);
        }
        match self.get("nbf") {
            None => Ok(()),
            Some(begins) if begins.as_f64().ok_or(Refusal::Claim("nbf"))? > now => {
                Err(Refusal::NotYet)
            }
            Some(_) => Ok(()),
        }
    }

    /// The account that a claim names.
    pub(super) fn account(&self, name: &str) -> Result<AccountId, Refusal> {
        match self.get(name) {
            Some(Value::Number(number)) => number
                .as_i64()
                .and_then(|number| AccountId::from_number(number).ok()),
            Some(Value::String(text)) => AccountId::parse(text.as_str()).ok(),
            _ => None,
        }
        .ok_or(Refusal::Claim("the account"))
    }

    /// The user that a claim names, if it is there and not null.
    pub(super) fn user(&self, name: &str) -> Result<Option<UserId>, Refusal> {
        let user = match self.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number
                .as_i64()
                .and_then(|number| UserId::from_number(number).ok()),
            Some(Value::String(text)) => UserId::parse(text.as_str()).ok(),
            Some(_) => None,
        };
        user.map(Some).ok_or(Refusal::Claim("the user"))
    }
}
