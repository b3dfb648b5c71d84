//! `cloakroom openapi`.

use crate::{config::Config, failure::Failure, output::say};

/// Prints the API's description for the configured mount.
///
/// # Errors
/// Standard output cannot be written to.
pub(crate) fn run(config: &Config) -> Result<(), Failure> {
    let document = cloakroom_presentation::openapi(&config.http.mount);
    let text = serde_json::to_string_pretty(&document)
        .map_err(|error| Failure::because("the description cannot be written as JSON", &error))?;
    say(&text)
}
