//! What was found, for people as it comes, for scripts as one document at the end.

use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use super::finding::{Finding, Level};
use crate::{
    cli::Output,
    failure::Failure,
    output::{say, say_json},
};

/// A finding with the check that made it.
#[derive(Debug, Serialize)]
struct Entry {
    check: &'static str,
    #[serde(flatten)]
    finding: Finding,
}

/// Tells what is going on: findings on standard output, progress on standard error.
#[derive(Debug)]
pub(crate) struct Report {
    url: String,
    output: Output,
    /// On a terminal.
    bar: Option<ProgressBar>,
    entries: Vec<Entry>,
    failed: Option<Failure>,
}

impl Report {
    /// Begins one about that address.
    pub(crate) fn new(url: &str, output: Output) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(100));
            match ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        let mut report = Self {
            url: url.to_owned(),
            output,
            bar,
            entries: Vec::new(),
            failed: None,
        };
        report.line(&format!("looking at {url}"));
        report
    }

    /// Says what is being looked at.
    pub(crate) fn progress(&self, title: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(title.to_owned());
        }
    }

    /// Says what was found.
    pub(crate) fn found(&mut self, check: &'static str, findings: Vec<Finding>) {
        for finding in findings {
            let level = finding.level.as_str();
            // What the other side said may be in it.
            let what: String = finding.what.chars().map(printable).collect();
            self.line(&format!("{check:<12}  {level:<14}  {what}"));
            if let Some(mend) = &finding.mend {
                let line: String = mend.line.chars().map(printable).collect();
                self.line(&format!("{:<28}  -> {}: {line}", "", mend.place.as_str()));
            }
            self.entries.push(Entry { check, finding });
        }
    }

    /// Says what it comes to. Whether there are no faults.
    ///
    /// # Errors
    /// Not everything could be looked at, and nothing else is wrong; or standard output cannot be written to.
    pub(crate) fn end(mut self, left: &[String]) -> Result<bool, Failure> {
        let left_over = left
            .iter()
            .map(|what| Finding::warning(format!("left behind: {what}")));
        self.found("cleanup", left_over.collect());
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let count = |level| {
            self.entries
                .iter()
                .filter(|entry| entry.finding.level == level)
                .count()
        };
        let (ok, skipped, warnings) = (
            count(Level::Ok),
            count(Level::Skipped),
            count(Level::Warning),
        );
        let (faults, unseen) = (count(Level::Fault), count(Level::CouldNotLook));
        if self.output.json {
            say_json(&json!({
                "url": self.url, "findings": self.entries,
                "summary": {
                    "ok": ok, "skipped": skipped, "warning": warnings, "fault": faults, "could_not_look": unseen,
                },
            }))?;
        } else {
            self.line(&format!(
                "{faults} faults, {warnings} warnings, {ok} ok, {skipped} skipped, {unseen} could not be looked at"
            ));
        }
        self.failed.map_or(Ok(()), Err)?;
        match (faults, unseen) {
            (0, 0) => Ok(true),
            (0, _) => Err(Failure::usage(format!("{unseen} could not be looked at"))),
            _ => Ok(false),
        }
    }

    fn line(&mut self, text: &str) {
        if self.output.json {
            return;
        }
        let told = match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        };
        if let Err(failure) = told {
            self.failed.get_or_insert(failure);
        }
    }
}

/// A terminal is told nothing but text by what others said.
fn printable(c: char) -> char {
    if c.is_control() { '\u{fffd}' } else { c }
}
