//! `cloakroom import`: takes another service's files over.

use std::collections::BTreeMap;

use cloakroom_application::{ImportEvent, ImportSummary, NotTaken, import};
use indicatif::ProgressBar;
use serde_json::json;

use crate::{
    cli::{ImportCommand, Output, PneumaticArgs},
    config::Config,
    failure::Failure,
    output::{say, say_json},
    progress::Progress,
    wiring::import as wired,
};

/// So many rows of a kind are told one by one to a person; JSON has them all.
const TOLD: u64 = 100;
/// An id is told in so many characters at most.
const LONGEST_ID: usize = 600;

/// Runs the import. Whether every row is here now, or would be.
///
/// # Errors
/// It could not look.
pub(crate) async fn run(command: &ImportCommand, config: &Config) -> Result<bool, Failure> {
    let ImportCommand::Pneumatic { from, output } = command;
    let summary = pneumatic(config, from, *output).await;
    let summary = summary.map_err(Failure::into_wrong)?;
    Ok(summary.findings == 0)
}

async fn pneumatic(
    config: &Config,
    args: &PneumaticArgs,
    output: Output,
) -> Result<ImportSummary, Failure> {
    let mut wired = wired::pneumatic(config, args).await?;
    let mut report = Report::new(output);
    let mut hear = |event| report.hear(event);
    let ended = import(&wired.target, &mut wired.source, &mut hear).await;
    report.progress.end();
    wired.database.close().await;
    let summary = ended.map_err(|error| {
        let far = report.rows;
        let what = format!("stopped after {far} rows; the next run goes on from there");
        Failure::because(&what, &error)
    })?;
    report.failed.take().map_or(Ok(()), Err)?;
    report.summarise(&summary, args.dry_run)?;
    Ok(summary)
}

/// Tells what is going on: what was not taken on standard output, progress on standard error.
struct Report {
    output: Output,
    progress: Progress,
    rows: u64,
    total: u64,
    not_taken: BTreeMap<&'static str, u64>,
    failed: Option<Failure>,
}

impl Report {
    fn new(output: Output) -> Self {
        Self {
            output,
            progress: Progress::new("{bar:30} {human_pos}/{human_len} rows, {eta} left"),
            rows: 0,
            total: 0,
            not_taken: BTreeMap::new(),
            failed: None,
        }
    }

    fn hear(&mut self, event: ImportEvent) {
        match event {
            ImportEvent::Total(total) => self.total = total,
            ImportEvent::Rows(rows) => {
                self.rows = rows;
                let total = self.total;
                let bar = |bar: &ProgressBar| {
                    bar.set_length(total);
                    bar.set_position(rows);
                };
                self.progress
                    .show(bar, || format!("{rows} of {total} rows"));
            }
            ImportEvent::NotTaken(id, why) => self.tell(&id, &why),
        }
    }

    fn tell(&mut self, id: &str, why: &NotTaken) {
        let count = self.not_taken.entry(why.kind()).or_default();
        *count += 1;
        if *count > TOLD && !self.output.json {
            return;
        }
        let id: String = id.chars().take(LONGEST_ID).collect();
        let json = self.output.json;
        let tell = || {
            if json {
                say_json(&as_json(&id, why))
            } else {
                say(&as_text(&id, why))
            }
        };
        if let Err(failure) = self.progress.beside(tell) {
            self.failed.get_or_insert(failure);
        }
    }

    fn summarise(&self, summary: &ImportSummary, dry_run: bool) -> Result<(), Failure> {
        let ImportSummary {
            rows,
            taken,
            present,
            findings,
        } = *summary;
        if self.output.json {
            return say_json(&json!({
                "event": "summary", "dry_run": dry_run, "rows": rows, "taken": taken, "present": present,
                "not_taken": findings, "by_kind": self.not_taken,
            }));
        }
        for (kind, count) in self.not_taken.iter().filter(|(_, count)| **count > TOLD) {
            say(&format!(
                "{kind}  … and {} more; --json tells them all",
                count - TOLD
            ))?;
        }
        let verb = if dry_run { "would be taken" } else { "taken" };
        say(&format!(
            "{rows} rows: {taken} {verb}, {present} here already, {findings} not taken"
        ))
    }
}

fn as_text(id: &str, why: &NotTaken) -> String {
    let (kind, id) = (why.kind(), id.escape_debug());
    match why {
        NotTaken::WrongSize { row, object } => {
            format!("{kind}  {id}  the row says {row} bytes, the object has {object}")
        }
        NotTaken::BadRow(reason) => format!("{kind}  {id}  {reason}"),
        NotTaken::MissingObject | NotTaken::IdTaken | NotTaken::AddressTaken => {
            format!("{kind}  {id}")
        }
    }
}

fn as_json(id: &str, why: &NotTaken) -> serde_json::Value {
    let mut told = json!({ "event": "not_taken", "kind": why.kind(), "file_id": id });
    match why {
        NotTaken::WrongSize { row, object } => {
            told["row_size"] = (*row).into();
            told["object_size"] = (*object).into();
        }
        NotTaken::BadRow(reason) => told["reason"] = reason.as_str().into(),
        NotTaken::MissingObject | NotTaken::IdTaken | NotTaken::AddressTaken => {}
    }
    told
}
