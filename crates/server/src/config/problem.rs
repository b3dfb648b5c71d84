//! What is wrong with a configuration, in one line.

use std::fmt;

/// One line for the operator: which setting, what it is (masked if secret), what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem(String);

impl Problem {
    /// Keeps the text on one line, whatever is in it.
    pub(crate) fn new(text: &str) -> Self {
        let one_line = text
            .chars()
            .flat_map(|c| {
                let (kept, escaped) = if c.is_control() {
                    (None, Some(c.escape_default()))
                } else {
                    (Some(c), None)
                };
                kept.into_iter().chain(escaped.into_iter().flatten())
            })
            .collect();
        Self(one_line)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
