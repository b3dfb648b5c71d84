//! What the value of a token says about who comes with it.

use std::fmt;

use cloakroom_domain::{AccountId, UserId};
use serde::{
    Deserialize,
    de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::pickle::{self, Entries, Refusal, Value};

/// The user and the account of a token. Whatever else stands there means nothing here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) user: Option<UserId>,
    pub(super) account: Option<AccountId>,
}

/// Why a value is not a token's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoToken {
    #[error("it is longer than a token's value")]
    TooLong,
    #[error("as a pickle it {0}")]
    Pickle(#[from] Refusal),
    #[error("it is neither a pickled dict nor a JSON object")]
    OtherShape,
    #[error("it names no account and user that could be some")]
    NoIds,
    #[error("it is of another type of Redis")]
    OtherType,
}

/// Reads a value as Django's cache writes it: a pickled dict, or a JSON object.
pub(super) fn read(value: &[u8]) -> Result<Claims, NoToken> {
    if value.len() > pickle::MAX_BYTES {
        return Err(NoToken::TooLong);
    }
    if value.trim_ascii_start().starts_with(b"{") {
        let fields: Fields = serde_json::from_slice(value).map_err(|_| NoToken::OtherShape)?;
        return Ok(Claims {
            user: fields.user_id.0.and_then(|id| UserId::parse(id).ok()),
            account: fields.account_id.0.and_then(|id| AccountId::parse(id).ok()),
        });
    }
    let read = pickle::read(value)?;
    let Value::Dict(entries) = read.root().value() else {
        return Err(NoToken::OtherShape);
    };
    Ok(Claims {
        user: id(entries, "user_id").and_then(|id| UserId::parse(id).ok()),
        account: id(entries, "account_id").and_then(|id| AccountId::parse(id).ok()),
    })
}

fn id(entries: Entries<'_>, key: &str) -> Option<String> {
    match entries.get(key)? {
        Value::Int(number) => i64::try_from(number).ok().and_then(positive),
        Value::Text(text) => std::str::from_utf8(text).ok().map(str::to_owned),
        _ => None,
    }
}

fn positive(number: i64) -> Option<String> {
    (number > 0).then(|| number.to_string())
}

/// The members of a JSON object that matter. Others are read over, a member that stands twice is refused.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    user_id: Id,
    #[serde(default)]
    account_id: Id,
}

/// The text of an id; nothing for what cannot be one.
#[derive(Default)]
struct Id(Option<String>);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(IdVisitor).map(Self)
    }
}

struct IdVisitor;

impl<'de> Visitor<'de> for IdVisitor {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).ok().and_then(positive))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(value: &[u8]) -> Result<(Option<String>, Option<String>), NoToken> {
        let text = |id: &dyn fmt::Display| id.to_string();
        read(value).map(|claims| {
            (
                claims.user.as_ref().map(|id| text(id)),
                claims.account.as_ref().map(|id| text(id)),
            )
        })
    }

    fn some(user: &str, account: &str) -> Result<(Option<String>, Option<String>), NoToken> {
        Ok((Some(user.to_owned()), Some(account.to_owned())))
    }

    #[test]
    fn the_ids_of_dicts_and_objects_are_found_among_the_rest() {
        let json = br#" {"user_agent": [1, {"user_id": 9}], "user_id": 3685, "account_id": "acme", "is_superuser": true}"#;
        assert_eq!(ids(json), some("3685", "acme"));
        let pickled =
            b"(dS'user_id'\nI3685\nsV\\u0061ccount_id\nM\x98\x06sS'is_superuser'\nI01\ns.";
        assert_eq!(ids(pickled), some("3685", "1688"));
        // The last counts, as in Python.
        assert_eq!(
            ids(b"}(U\x07user_idK\x01U\x0aaccount_idK\x02U\x07user_idK\x03u."),
            some("3", "2")
        );
        assert_eq!(
            ids(br#"{"account_id": 5}"#),
            Ok((None, Some("5".to_owned())))
        );
    }

    #[test]
    fn what_cannot_be_an_id_is_none() {
        let bad = [
            "true",
            "0",
            "-1",
            "1.0",
            "1e3",
            "9223372036854775808",
            "1e400",
            "\"\"",
            "null",
            "[1]",
            "{}",
            "\"a\\u0000b\"",
        ];
        for id in bad {
            let json = format!("{{\"user_id\": {id}}}");
            assert!(
                ids(json.as_bytes()).is_err() || ids(json.as_bytes()) == Ok((None, None)),
                "{id}"
            );
        }
        let bad: [&[u8]; 8] = [
            b"\x88",
            b"K\x00",
            b"J\xff\xff\xff\xff",
            b"G\x3f\xf0\x00\x00\x00\x00\x00\x00",
            b"N",
            b"]",
            b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80",
            b"C\x011",
        ];
        for id in bad {
            let pickled = [b"}U\x07user_id".as_slice(), id, b"s."].concat();
            assert_eq!(ids(&pickled), Ok((None, None)), "{id:?}");
        }
    }

    #[test]
    fn what_is_no_dict_is_no_token() {
        let bad: [&[u8]; 9] = [
            b"",
            b"5",
            b"null",
            b"[1]",
            b"{",
            b"]U\x01aa.",
            b"K\x05.",
            b"{\"user_id\": 1}x",
            b"{\"user_id\": 1, \"user_id\": 2}",
        ];
        for value in bad {
            assert!(read(value).is_err(), "{value:?}");
        }
        assert_eq!(
            read(&vec![b'{'; pickle::MAX_BYTES]),
            Err(NoToken::OtherShape)
        );
        assert_eq!(
            read(&vec![b'{'; pickle::MAX_BYTES + 1]),
            Err(NoToken::TooLong)
        );
        let deep = "{\"a\":".repeat(10_000);
        assert_eq!(read(deep.as_bytes()), Err(NoToken::OtherShape));
    }
}
