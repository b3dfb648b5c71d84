//! How far a command is, on standard error: a bar on a terminal, a line from time to time in a log.

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a log hears of it.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How often a bar moves that nothing is told of.
const TICK: Duration = Duration::from_millis(100);

/// A bar, or lines.
pub(crate) struct Progress {
    /// On a terminal.
    bar: Option<ProgressBar>,
    last_line: Option<Instant>,
}

impl Progress {
    /// A bar by one of indicatif's templates.
    pub(crate) fn new(template: &str) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            bar.enable_steady_tick(TICK);
            match ProgressStyle::with_template(template) {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self {
            bar,
            last_line: Some(Instant::now()),
        }
    }

    /// With the first line at once.
    pub(crate) fn at_once(self) -> Self {
        Self {
            last_line: None,
            ..self
        }
    }

    /// Moves the bar, or writes a line if the last one was long ago.
    pub(crate) fn show(&mut self, bar: impl FnOnce(&ProgressBar), line: impl FnOnce() -> String) {
        if let Some(shown) = &self.bar {
            bar(shown);
        } else if self.last_line.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
            self.last_line = Some(Instant::now());
            eprintln!("{}", line());
        }
    }

    /// Does something that writes to the terminal, too.
    pub(crate) fn beside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
