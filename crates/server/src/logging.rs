//! The log, on standard error.

use std::io::{BufWriter, IsTerminal, stderr};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, Logging, Problem};

/// How many lines may wait for a reader of the log that is slow; more are dropped, and requests go on.
const WAITING_LINES: usize = 16 * 1024;

/// Bytes of lines that are written at once at most.
const BATCH: usize = 64 * 1024;

/// Starts logging. What is left to write is written when the guard is dropped.
///
/// Lines are written by a thread of their own: a reader that stalls must not stall the service.
///
/// # Errors
/// The filter cannot be read, which reading the configuration would have found.
pub(crate) fn start(settings: &Logging) -> Result<WorkerGuard, Vec<Problem>> {
    let directives = directives(&settings.filter);
    let filter = EnvFilter::builder()
        .parse(directives)
        .map_err(|error| vec![Problem::new(&format!("CLOAKROOM_LOG: {error}"))])?;
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .lossy(true)
        // The thread flushes whenever no line waits, so that under load many lines are one write.
        .finish(BufWriter::with_capacity(BATCH, stderr()));
    let log = fmt().with_env_filter(filter).with_writer(writer);
    match settings.format {
        LogFormat::Text => log.with_ansi(stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).init(),
    }
    Ok(guard)
}

/// A mere level is meant for what we say. The server underneath tells of its threads at `info`, and the database of
/// what it skips; drivers at the finest levels say more than a log should hold.
fn directives(filter: &str) -> String {
    match filter {
        "info" => "info,actix_server=warn,sqlx=warn".to_owned(),
        "debug" | "trace" => format!("info,actix_server=warn,sqlx=warn,cloakroom={filter}"),
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
            "info,actix_server=warn,sqlx=warn,cloakroom=debug"
        );
        assert_eq!(directives("warn"), "warn");
        assert_eq!(directives("debug,x=info"), "debug,x=info");
    }
}
