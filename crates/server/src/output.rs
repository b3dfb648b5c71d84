//! What commands print on standard output.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Prints a line. Nobody reading on is no failure.
///
/// # Errors
/// Standard output cannot be written to.
pub(crate) fn say(line: &str) -> Result<(), Failure> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::because("standard output", &error))
        }
        _ => Ok(()),
    }
}

/// Prints a value as JSON on one line.
///
/// # Errors
/// Standard output cannot be written to.
pub(crate) fn say_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::because("the output cannot be written as JSON", &error))?;
    say(&text)
}
