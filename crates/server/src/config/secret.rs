//! A text that does not print.

use std::fmt;

/// What is shown instead of a secret.
pub(crate) const MASK: &str = "****";

/// A password, a token, a key. Only [`Secret::reveal`] gives it away.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub(crate) const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one who needs it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}
