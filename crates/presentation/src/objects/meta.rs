//! `X-Meta-*`: what a service says of its object, kept and given back.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use cloakroom_application::Error;
use cloakroom_domain::Metadata;
use serde_json::{Map, Value};

pub(crate) const PREFIX: &str = "x-meta-";

/// The fields of a request as metadata. Names are told apart without case; several fields of a name count as one list.
///
/// # Errors
/// [`Error::BadValue`] for a field without a name, a value that is no text, or more than fits.
pub(crate) fn read(headers: &HeaderMap) -> Result<Metadata, Error> {
    let mut fields: Map<String, Value> = Map::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(PREFIX) else {
            continue;
        };
        let text = std::str::from_utf8(value.as_bytes()).ok();
        let text = text.filter(|text| !name.is_empty() && !text.chars().any(char::is_control));
        let text = text.ok_or_else(|| {
            let good =
                "an X-Meta- field has a name, and a value of UTF-8 without control characters";
            Error::BadValue(good.to_owned())
        })?;
        let list = match fields.get(name).and_then(Value::as_str) {
            Some(before) => format!("{before}, {text}"),
            None => text.to_owned(),
        };
        fields.insert(name.to_owned(), Value::String(list));
    }
    Metadata::from_json(Value::Object(fields).to_string()).map_err(|_| {
        let most = Metadata::MAX_BYTES / 1024;
        Error::BadValue(format!("the X-Meta- fields take more than {most} KiB"))
    })
}

/// Metadata as fields of an answer. What an admin wrote into it that is no field is left out.
pub(crate) fn fields(metadata: &Metadata) -> Vec<(HeaderName, HeaderValue)> {
    let object: Map<String, Value> = serde_json::from_str(metadata.as_json()).unwrap_or_default();
    let field = |(name, value): (String, Value)| {
        let name = HeaderName::try_from(format!("{PREFIX}{name}")).ok()?;
        let value = HeaderValue::from_bytes(value.as_str()?.as_bytes()).ok()?;
        Some((name, value))
    };
    object.into_iter().filter_map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &[u8])]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::try_from(*name).unwrap();
            map.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        map
    }

    #[test]
    fn fields_come_back_as_they_were_and_others_are_not_looked_at() {
        let sent = headers(&[
            ("X-Meta-Owner", "Петров".as_bytes()),
            ("x-meta-tags", b"a"),
            ("X-META-TAGS", b"b, c"),
            ("x-meta-empty", b""),
            ("x-metal", b"no"),
        ]);
        let metadata = read(&sent).unwrap();
        let mut back: Vec<(String, String)> = fields(&metadata)
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8(value.as_bytes().to_vec()).unwrap();
                (name.to_string(), value)
            })
            .collect();
        back.sort();
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            back,
            [
                field("x-meta-empty", ""),
                field("x-meta-owner", "Петров"),
                field("x-meta-tags", "a, b, c"),
            ]
        );
    }

    #[test]
    fn what_is_no_text_or_too_much_is_refused() {
        let long = vec![b'x'; Metadata::MAX_BYTES];
        for bad in [
            ("x-meta-", &b"a"[..]),
            ("x-meta-a", b"\xff"),
            ("x-meta-a", b"a\tb"),
            ("x-meta-a", "a\u{85}b".as_bytes()),
            ("x-meta-a", &long),
        ] {
            assert!(matches!(read(&headers(&[bad])), Err(Error::BadValue(_))));
        }
    }

    #[test]
    fn metadata_that_is_no_field_is_left_out() {
        let text = r#"{"a b": "1", "ok": "2", "n": 3, "split": "a\r\nSet-Cookie: b"}"#;
        let metadata = Metadata::from_json(text.to_owned()).unwrap();
        let names: Vec<String> = fields(&metadata)
            .iter()
            .map(|(name, _)| name.to_string())
            .collect();
        assert_eq!(names, ["x-meta-ok"]);
    }
}
