//! The log, on standard error.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, Logging, Problem};

/// Starts logging.
///
/// # Errors
/// The filter cannot be read, which reading the configuration would have found.
pub(crate) fn start(settings: &Logging) -> Result<(), Vec<Problem>> {
    let directives = directives(&settings.filter);
    let filter = EnvFilter::builder()
        .parse(directives)
        .map_err(|error| vec![Problem::new(&format!("CLOAKROOM_LOG: {error}"))])?;
    let log = fmt().with_env_filter(filter).with_writer(stderr);
    match settings.format {
        LogFormat::Text => log.with_ansi(stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).init(),
    }
    Ok(())
}

/// A mere level is meant for what we say. The server underneath tells of its threads at `info`, and drivers at the
/// finest levels say more than a log should hold.
fn directives(filter: &str) -> String {
    match filter {
        "info" => "info,actix_server=warn".to_owned(),
        "debug" | "trace" => format!("info,actix_server=warn,cloakroom={filter}"),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_finest_levels_are_for_the_service_and_not_for_its_drivers() {
        assert_eq!(
            directives("debug"),
            "info,actix_server=warn,cloakroom=debug"
        );
        assert_eq!(directives("warn"), "warn");
        assert_eq!(directives("debug,x=info"), "debug,x=info");
    }
}
