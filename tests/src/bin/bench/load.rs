//! Load by `wrk`, on a core of its own.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use cloakroom_tests::process::Launch;

/// The core of whoever serves.
pub(crate) const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;

/// What wrk asks for.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// The whole URL.
    pub(crate) url: String,
    /// The bearer token that goes with each request; nginx gets it too and does not care.
    pub(crate) token: String,
    /// Connections at once.
    pub(crate) connections: u32,
    /// A script that makes the requests.
    pub(crate) script: Option<PathBuf>,
}

/// What wrk saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    pub(crate) requests: f64,
    pub(crate) bytes: f64,
}

/// Asks again and again for a while.
pub(crate) async fn wrk(load: &Load, time: Duration) -> Rate {
    let mut launch = Launch::pinned(LOAD_CORE, "wrk").args([
        "--threads=1".to_owned(),
        format!("--connections={}", load.connections),
        format!("--duration={}s", time.as_secs().max(1)),
        "--timeout=30s".to_owned(),
        format!("--header=Authorization: Bearer {}", load.token),
    ]);
    if let Some(script) = &load.script {
        launch = launch.args([Path::new("--script"), script.as_path()]);
    }
    let launch = launch.args([&load.url]);
    let output = tokio::task::spawn_blocking(move || launch.run());
    read(&output.await.unwrap())
}

fn read(output: &str) -> Rate {
    for trouble in ["Non-2xx", "Socket errors"] {
        assert!(
            !output.contains(trouble),
            "not every request went well:\n{output}"
        );
    }
    let field = |name: &str| {
        let line = output.lines().find_map(|l| l.trim().strip_prefix(name));
        line.unwrap_or_else(|| panic!("wrk says no {name}:\n{output}"))
            .trim()
    };
    Rate {
        requests: field("Requests/sec:").parse().unwrap(),
        bytes: size(field("Transfer/sec:")),
    }
}

/// Reads `1.25GB`; wrk's units are powers of 1024.
fn size(text: &str) -> f64 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "B" => 0,
        "KB" => 1,
        "MB" => 2,
        "GB" => 3,
        unit => panic!("wrk counts in {unit:?}"),
    };
    digits.parse::<f64>().unwrap() * 1024_f64.powi(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rates_that_wrk_prints_are_understood() {
        let output = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 32 connections\n\
                      Requests/sec:  78561.42\nTransfer/sec:    1.50GB\n";
        let rate = read(output);
        assert!((rate.requests - 78_561.42).abs() < 1e-9);
        assert!((rate.bytes - 1.5 * 1024_f64.powi(3)).abs() < 1.0);
    }

    #[test]
    #[should_panic(expected = "not every request went well")]
    fn refusals_are_not_counted_as_speed() {
        read("  Non-2xx or 3xx responses: 3\nRequests/sec: 1.0\nTransfer/sec: 1.0B\n");
    }
}
