//! Values that come by the command line: written as settings are.

use std::time::Duration;

use super::{
    kinds::{self, Kind},
    secret::Secret,
};

fn read<T>(kind: &Kind<T>, text: &str) -> Result<T, String> {
    (kind.read)(text).ok_or_else(|| format!("expected {}", kind.expected))
}

/// The address of the files API.
///
/// # Errors
/// What was expected.
pub(crate) fn web_address(text: &str) -> Result<String, String> {
    read(&kinds::WEB_ADDRESS, text)
}

/// An origin as browsers write it.
///
/// # Errors
/// What was expected.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    let wanted = "a scheme, a host and perhaps a port, such as https://app.example.com";
    kinds::origin(text).ok_or_else(|| format!("expected {wanted}"))
}

/// The size of a body, in bytes.
///
/// # Errors
/// What was expected.
pub(crate) fn body_size(text: &str) -> Result<u64, String> {
    read(&kinds::BODY_SIZE, text)
}

/// The size of an object, in bytes.
///
/// # Errors
/// What was expected.
pub(crate) fn object_size(text: &str) -> Result<u64, String> {
    read(&kinds::FILE_SIZE, text)
}

/// A limit in time.
///
/// # Errors
/// What was expected.
pub(crate) fn time_limit(text: &str) -> Result<Duration, String> {
    read(&kinds::SECONDS_OR_MORE, text)
}

/// A credential, from a file or the environment.
///
/// # Errors
/// What was expected; never the text.
pub(crate) fn credential(text: &str) -> Result<Secret, String> {
    read(&kinds::SECRET, text)
}
