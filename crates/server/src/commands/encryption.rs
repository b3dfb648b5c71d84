//! `cloakroom encryption`: master keys, and what is sealed under them.

use cloakroom_application::{
    ResealProgress, ResealSummary,
    ports::{MOST_COUNTED, SealLedger, Sealing},
    reseal,
};
use cloakroom_infrastructure::{metadata::Database, sealing};
use indicatif::ProgressBar;
use serde_json::json;

use crate::{
    cli::{EncryptionCommand, Output},
    config::Config,
    failure::Failure,
    output::{say, say_json},
    progress::Progress,
    wiring::{database, sealing as wired},
};

/// Runs a command. Whether everything is as it should be.
///
/// # Errors
/// The database cannot be asked, or no key is configured.
pub(crate) async fn run(command: &EncryptionCommand, config: &Config) -> Result<bool, Failure> {
    let output = match command {
        EncryptionCommand::NewKey { output } => return new_key(*output).map(|()| true),
        EncryptionCommand::Keys { output } | EncryptionCommand::Rotate { output } => *output,
    };
    let database = database::open_as_it_is(config).await;
    let database = database.map_err(Failure::into_wrong)?;
    let done = match command {
        EncryptionCommand::Rotate { .. } => rotate(config, &database, output).await,
        _ => keys(config, &database, output).await,
    };
    database.close().await;
    done.map_err(Failure::into_wrong)
}

/// Prints a new key. It needs no configuration, which may name a file that is to be made of it.
///
/// # Errors
/// The system has no random bytes.
pub(crate) fn new_key(output: Output) -> Result<(), Failure> {
    let made = sealing::new_key();
    let (key, id) = made.map_err(|error| Failure::because("a new key", &error))?;
    if output.json {
        return say_json(&json!({ "key": key.as_str(), "id": id.to_string() }));
    }
    say(&format!("{} # {id}", key.as_str()))
}

/// Tells every key that is configured or in use. Whether none is missing.
async fn keys(config: &Config, database: &Database, output: Output) -> Result<bool, Failure> {
    let keys = wired::keys(config);
    let in_use = database.keys_in_use().await;
    let in_use = in_use.map_err(|error| wired::unreadable(&error))?;
    let mut ids = keys.ids();
    for id in in_use.iter().flatten() {
        if !ids.contains(id) {
            ids.push(*id);
        }
    }
    let mut is_whole = !in_use.contains(&None);
    for id in ids {
        let bodies = database.count_under(id).await;
        let bodies = bodies.map_err(|error| wired::unreadable(&error))?;
        let state = match keys.knows(id) {
            _ if keys.current() == Some(id) => "current",
            true => "old",
            false => "missing",
        };
        is_whole &= state != "missing";
        if output.json {
            let told = json!({ "id": id.to_string(), "state": state, "bodies": bodies });
            say_json(&told)?;
        } else {
            say(&format!("{id}  {state}  {} bodies", counted(bodies)))?;
        }
    }
    Ok(is_whole)
}

/// Seals the keys of bodies again. Whether all are under the current key now.
async fn rotate(config: &Config, database: &Database, output: Output) -> Result<bool, Failure> {
    let keys = wired::keys(config);
    if keys.current().is_none() {
        return Err(Failure::usage(
            "there is no key to seal under; expected CLOAKROOM_ENCRYPTION_KEY to be set, the new key first and the old \
             ones behind it",
        ));
    }
    let mut progress = Progress::new("{bar:30} {human_pos}/{human_len} bodies, {eta} left");
    let mut hear = |resealed| show(&mut progress, resealed);
    let done = reseal(database, keys.as_ref(), &mut hear).await;
    progress.end();
    let summary = done.map_err(|error| {
        let what = "stopped; the next run goes on from there";
        Failure::because(what, &error)
    })?;
    tell(&summary, output)?;
    Ok(summary.is_complete())
}

fn tell(summary: &ResealSummary, output: Output) -> Result<(), Failure> {
    let ResealSummary {
        resealed,
        missing,
        forged,
        skipped,
        has_unreadable,
    } = summary;
    if output.json {
        let missing: Vec<_> = missing
            .iter()
            .map(|(id, bodies)| json!({ "id": id.to_string(), "bodies": bodies }))
            .collect();
        return say_json(&json!({
            "event": "summary", "resealed": resealed, "missing": missing, "forged": forged, "skipped": skipped,
            "unreadable": has_unreadable, "complete": summary.is_complete(),
        }));
    }
    for (id, bodies) in missing {
        let bodies = counted(*bodies);
        say(&format!(
            "{id}  missing  {bodies} bodies are sealed under it; configure it, and run this again"
        ))?;
    }
    if *has_unreadable {
        say("some bodies are sealed in a way that this version does not know")?;
    }
    if *forged > 0 {
        say(&format!(
            "{forged} keys of bodies do not open: they were changed in the database"
        ))?;
    }
    if *skipped > 0 {
        say(&format!(
            "{skipped} bodies were in use all the time; run this again"
        ))?;
    }
    say(&format!(
        "{resealed} bodies are sealed under the current key that were not before"
    ))
}

fn counted(bodies: u64) -> String {
    if bodies < u64::from(MOST_COUNTED) {
        bodies.to_string()
    } else {
        format!("{MOST_COUNTED} or more")
    }
}

fn show(progress: &mut Progress, resealed: ResealProgress) {
    let ResealProgress { done, total } = resealed;
    let bar = |bar: &ProgressBar| {
        bar.set_length(total);
        bar.set_position(done);
    };
    progress.show(bar, || format!("{done} of {total} bodies"));
}
