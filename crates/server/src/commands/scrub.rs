//! `cloakroom scrub`: how the reading of stored bytes stands, or a round of it now.

use std::time::Duration;

use cloakroom_application::{
    App, ScrubEvent, ScrubFault, ScrubReport, Scrubbed, ports::ScrubFinding, scrub, scrub_report,
};
use cloakroom_domain::{FileId, Timestamp, VersionId};
use indicatif::HumanBytes;
use serde_json::json;

use crate::{
    cli::Output,
    config::Config,
    failure::Failure,
    output::{say, say_json},
    progress::Progress,
    wiring,
};

/// Findings asked for at a time.
const PAGE: u32 = 1000;

/// Tells how the scrub stands, after a round if asked. Whether there are no findings.
///
/// # Errors
/// It could not look.
pub(crate) async fn run(config: &Config, once: bool, output: Output) -> Result<bool, Failure> {
    let looked = async {
        let (app, database) = wiring::for_commands(config).await?;
        if once {
            // Without its key a body that is as it should be would be found unreadable.
            wiring::sealing::check(config, database.as_ref()).await?;
        }
        let looked = look(&app, once, output).await;
        app.background.idle().await;
        database.close().await;
        looked
    };
    looked.await.map_err(Failure::into_wrong)
}

async fn look(app: &App, once: bool, output: Output) -> Result<bool, Failure> {
    if once {
        round(app, output).await?;
    }
    let mut report = page(app, None).await?;
    tell_state(&report, output)?;
    let is_clean = report.counts.is_empty();
    loop {
        for finding in &report.findings {
            tell_finding(finding, output)?;
        }
        let Some(next) = report.next else {
            return Ok(is_clean);
        };
        report = page(app, Some(next)).await?;
    }
}

async fn page(app: &App, after: Option<VersionId>) -> Result<ScrubReport, Failure> {
    let report = scrub_report(app, after, Some(PAGE)).await;
    report.map_err(|error| Failure::because("could not look", &error))
}

/// A round, or what is left of one.
async fn round(app: &App, output: Output) -> Result<(), Failure> {
    let mut progress = Progress::new("{spinner} {msg} ({elapsed})");
    let (mut objects, mut bytes, mut failed) = (0_u64, 0_u64, None);
    let mut hear = |event: ScrubEvent| {
        let told = match event {
            ScrubEvent::Looked(more) => {
                (objects, bytes) = (objects + 1, bytes + more);
                let far = || format!("{objects} objects, {}", HumanBytes(bytes));
                return progress.show(|bar| bar.set_message(far()), far);
            }
            ScrubEvent::Found(fault) => progress.beside(|| tell_fault(&fault, output)),
            ScrubEvent::Mended(file, version) => {
                progress.beside(|| tell_mended(&file, version, output))
            }
        };
        if let Err(failure) = told {
            failed.get_or_insert(failure);
        }
    };
    let scrubbed = scrub(app, Duration::ZERO, &mut hear).await;
    progress.end();
    failed.map_or(Ok(()), Err)?;
    match scrubbed.map_err(|error| Failure::because("the scrub was cut short", &error))? {
        Scrubbed::Round(_) => Ok(()),
        Scrubbed::Elsewhere | Scrubbed::NotDue(_) => Err(Failure::new(
            "the service scrubs at this moment; `cloakroom scrub` says how far it is",
        )),
    }
}

fn tell_mended(file: &FileId, version: VersionId, output: Output) -> Result<(), Failure> {
    if output.json {
        return say_json(&json!({
            "event": "mended", "file_id": file.as_str(), "version_id": version.to_string(),
        }));
    }
    say(&format!("mended  {}", file.as_str().escape_debug()))
}

fn tell_fault(fault: &ScrubFault, output: Output) -> Result<(), Failure> {
    let kind = fault.damage.as_str();
    if output.json {
        return say_json(&json!({
            "event": "found", "kind": kind, "file_id": fault.file.as_str(), "version": fault.number,
            "version_id": fault.version.to_string(), "store_id": fault.store.to_string(), "is_new": fault.is_new,
        }));
    }
    let file = fault.file.as_str().escape_debug();
    let news = if fault.is_new { "  new" } else { "" };
    say(&format!(
        "found {kind}  {file}  version {}{news}",
        fault.number
    ))
}

fn tell_state(report: &ScrubReport, output: Output) -> Result<(), Failure> {
    let state = &report.state;
    let count: u64 = report.counts.iter().map(|(_, count)| count).sum();
    if output.json {
        let seconds = |at: Option<Timestamp>| at.map(|at| at.micros() / 1_000_000);
        return say_json(&json!({
            "event": "state", "round": state.round, "is_under_way": state.is_under_way, "is_held": state.is_held,
            "started_at": seconds(state.started_at), "completed_at": seconds(state.completed_at),
            "progress": report.progress, "objects_done": state.objects, "bytes_done": state.bytes, "findings": count,
        }));
    }
    let how = match (state.round, state.is_under_way) {
        (0, _) => "no round has begun".to_owned(),
        (round, true) => format!("round {round} is {:.0} % done", report.progress * 100.0),
        (round, false) => format!("round {round} is complete"),
    };
    say(&format!(
        "{how}: {} objects, {} bytes; {count} findings",
        state.objects, state.bytes
    ))
}

fn tell_finding(finding: &ScrubFinding, output: Output) -> Result<(), Failure> {
    let kind = finding.damage.as_str();
    if output.json {
        return say_json(&json!({
            "event": "finding", "kind": kind, "file_id": finding.file.as_str(), "version": finding.number,
            "version_id": finding.version.to_string(), "store_id": finding.store.to_string(),
            "since": finding.since.micros() / 1_000_000, "seen_at": finding.seen_at.micros() / 1_000_000,
        }));
    }
    let file = finding.file.as_str().escape_debug();
    say(&format!(
        "{kind}  {file}  version {}  store {}",
        finding.number, finding.store
    ))
}
