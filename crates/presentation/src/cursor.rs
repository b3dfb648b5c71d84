//! The cursors of lists: where the next page begins, in a form that nobody is tempted to put together.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cloakroom_application::Error;

/// The cursor of a place in a list.
pub(crate) fn of(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

/// The place that a cursor names, if the query has one.
///
/// # Errors
/// [`Error::BadValue`] for one that was not given out for this list.
pub(crate) fn read<T>(
    cursor: Option<&str>,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Error> {
    let Some(cursor) = cursor else {
        return Ok(None);
    };
    let text = URL_SAFE_NO_PAD.decode(cursor).ok();
    let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
    let place = text.and_then(|text| parse(&text));
    place.map(Some).ok_or_else(not_ours)
}

/// What a cursor is told that was made up.
pub(crate) fn not_ours() -> Error {
    Error::BadValue("the cursor is not one of ours".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_rubbish_is_refused() {
        let whole = |text: &str| Some(text.to_owned());
        for place in ["", "a b", "\u{416}\0x"] {
            let back = read(Some(&of(place)), whole).unwrap();
            assert_eq!(back.as_deref(), Some(place));
        }
        assert_eq!(read(None, whole).unwrap(), None);
        for rubbish in ["!", "_w", "a==", "\u{416}"] {
            assert!(read(Some(rubbish), whole).is_err(), "{rubbish}");
        }
        assert!(read::<()>(Some(&of("x")), |_| None).is_err());
    }
}
