//! `Content-Disposition` of a download (RFC 6266, RFC 8187).

use cloakroom_domain::{Disposition, FileName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// RFC 8187 `attr-char` stays.
const EXT_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The field: an ASCII fallback, and the name itself.
#[must_use]
pub fn content_disposition(disposition: Disposition, name: &FileName) -> String {
    let kind = disposition.as_str();
    let fallback: String = name
        .as_str()
        .chars()
        .map(|c| {
            if c == ' ' || (c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%')) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let exact = utf8_percent_encode(name.as_str(), EXT_VALUE);
    format!("{kind}; filename=\"{fallback}\"; filename*=UTF-8''{exact}")
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{ContentDisposition, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_goes_out_as_a_fallback_and_as_itself() {
        let field =
            content_disposition(Disposition::Attachment, &FileName::clean("Отчёт \"1\".pdf"));
        assert_eq!(
            field,
            "attachment; filename=\"_____ _1_.pdf\"; \
             filename*=UTF-8''%D0%9E%D1%82%D1%87%D1%91%D1%82%20%221%22.pdf"
        );
    }

    proptest! {
        #[test]
        fn every_name_makes_one_safe_field_that_reads_back(raw in ".{0,300}") {
            let name = FileName::clean(&raw);
            let field = content_disposition(Disposition::Inline, &name);
            prop_assert!(field.bytes().all(|b| (0x20..0x7f).contains(&b)));
            let value = HeaderValue::from_str(&field).unwrap();
            let parsed = ContentDisposition::from_raw(&value).unwrap();
            let exact = String::from_utf8(parsed.get_filename_ext().unwrap().value.clone()).unwrap();
            prop_assert_eq!(exact, name.as_str());
        }
    }
}
