//! `cloakroom fsck`: compares rows and objects both ways.

use cloakroom_application::{Finding, FsckEvent, FsckOptions, FsckSummary, fsck};
use serde_json::json;

use crate::{
    cli::Output,
    config::Config,
    failure::Failure,
    output::{say, say_json},
    progress::Progress,
    wiring,
};

/// Runs the check. Whether nothing was found.
///
/// # Errors
/// It could not look.
pub(crate) async fn run(
    config: &Config,
    options: FsckOptions,
    output: Output,
) -> Result<bool, Failure> {
    look(config, options, output)
        .await
        .map(|summary| summary.findings == 0)
        .map_err(Failure::into_wrong)
}

async fn look(
    config: &Config,
    options: FsckOptions,
    output: Output,
) -> Result<FsckSummary, Failure> {
    let (app, database) = wiring::for_commands(config).await?;
    let mut report = Report::new(output);
    let looked = fsck(&app, options, &mut |event| report.hear(event)).await;
    report.progress.end();
    app.background.idle().await;
    database.close().await;
    let summary = looked.map_err(|error| Failure::because("could not look", &error))?;
    report.failed.map_or(Ok(()), Err)?;
    let FsckSummary {
        rows,
        objects,
        findings,
        repaired,
    } = summary;
    if output.json {
        say_json(&json!({
            "event": "summary", "rows": rows, "objects": objects, "findings": findings, "repaired": repaired,
        }))?;
    } else {
        say(&format!(
            "looked at {rows} rows and {objects} objects: {findings} findings, {repaired} repaired"
        ))?;
    }
    Ok(summary)
}

/// Tells what is going on: findings on standard output, progress on standard error.
struct Report {
    output: Output,
    progress: Progress,
    rows: u64,
    objects: u64,
    failed: Option<Failure>,
}

impl Report {
    fn new(output: Output) -> Self {
        Self {
            output,
            progress: Progress::new("{spinner} {msg} ({elapsed})"),
            rows: 0,
            objects: 0,
            failed: None,
        }
    }

    fn hear(&mut self, event: FsckEvent) {
        match event {
            FsckEvent::Rows(rows) => self.rows = rows,
            FsckEvent::Objects(objects) => self.objects = objects,
            FsckEvent::Found(finding, repaired) => return self.found(&finding, repaired),
        }
        let told = format!("{} rows, {} objects", self.rows, self.objects);
        let line = told.clone();
        self.progress.show(|bar| bar.set_message(told), || line);
    }

    fn found(&mut self, finding: &Finding, repaired: bool) {
        let json = self.output.json;
        let tell = || {
            if json {
                say_json(&as_json(finding, repaired))
            } else {
                say(&as_text(finding, repaired))
            }
        };
        if let Err(failure) = self.progress.beside(tell) {
            self.failed.get_or_insert(failure);
        }
    }
}

fn as_text(finding: &Finding, repaired: bool) -> String {
    let repaired = if repaired { "  repaired" } else { "" };
    let kind = finding.kind();
    match finding {
        Finding::MissingObject(at)
        | Finding::OrphanObject(at)
        | Finding::ForeignObject(at)
        | Finding::WrongSize(at)
        | Finding::WrongHash(at)
        | Finding::KeyMissing(at)
        | Finding::OrphanRow(at) => format!(
            "{kind}  store {}  {}/{}{repaired}",
            at.store,
            at.bucket,
            at.key.as_str().escape_debug()
        ),
        Finding::UnfinishedWrites(store, bucket, count) => {
            format!("{kind}  store {store}  {bucket}  {count}{repaired}")
        }
    }
}

fn as_json(finding: &Finding, repaired: bool) -> serde_json::Value {
    let kind = finding.kind();
    match finding {
        Finding::MissingObject(at)
        | Finding::OrphanObject(at)
        | Finding::ForeignObject(at)
        | Finding::WrongSize(at)
        | Finding::WrongHash(at)
        | Finding::KeyMissing(at)
        | Finding::OrphanRow(at) => json!({
            "event": "found", "kind": kind, "store": at.store.to_string(), "bucket": at.bucket.as_str(),
            "key": at.key.as_str(), "repaired": repaired,
        }),
        Finding::UnfinishedWrites(store, bucket, count) => json!({
            "event": "found", "kind": kind, "store": store.to_string(), "bucket": bucket.as_str(),
            "count": count, "repaired": repaired,
        }),
    }
}
