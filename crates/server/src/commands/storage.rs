//! `cloakroom storage`: the store that takes new files, and moving everything to another.

use std::{
    fs::File,
    io::{Read, stdin},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use cloakroom_application::{
    App, Error, MigrationRequest, MigrationStatus, Pace, cancel_migration, migrate,
    migration_status, move_bodies,
    ports::{MigrationState, StoreConfig},
    preview, probe_backend,
};
use indicatif::{HumanBytes, HumanDuration, ProgressBar};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    cli::{MigrateArgs, Output, StorageCommand},
    config::Config,
    failure::Failure,
    output::{say, say_json},
    progress::Progress,
    wiring,
};

/// The largest file of settings, in bytes.
const MAX_SETTINGS: u64 = 64 * 1024;

/// How often it is looked how far a migration is.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long the database may be away while a migration goes on.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a command. Whether everything is as it should be.
///
/// # Errors
/// The database or a store cannot be used, or the settings cannot be read.
pub(crate) async fn run(command: &StorageCommand, config: &Config) -> Result<bool, Failure> {
    let (app, database) = wiring::for_commands(config)
        .await
        .map_err(Failure::into_wrong)?;
    if matches!(command, StorageCommand::Migrate(_)) {
        wiring::sealing::check(config, database.as_ref()).await?;
    }
    let app = Arc::new(app);
    let done = act(command, config, &app).await;
    app.background.idle().await;
    database.close().await;
    done
}

async fn act(command: &StorageCommand, config: &Config, app: &Arc<App>) -> Result<bool, Failure> {
    match command {
        StorageCommand::Probe { output } => probe(app, *output).await,
        StorageCommand::Status { output } => {
            let status = migration_status(app)
                .await
                .map_err(|error| could_not(&error))?;
            tell_status(status.as_ref(), *output)
        }
        StorageCommand::Cancel { output } => {
            let status = cancel_migration(app)
                .await
                .map_err(|error| could_not(&error))?;
            tell_status(Some(&status), *output)
        }
        StorageCommand::Migrate(args) => move_everything(args, config, app).await,
    }
}

fn could_not(error: &Error) -> Failure {
    Failure::because("not done", error)
}

async fn probe(app: &Arc<App>, output: Output) -> Result<bool, Failure> {
    let driver = app.stores.current().map(|store| store.driver);
    let tried = probe_backend(app).await;
    let why = tried.as_ref().err().map(ToString::to_string);
    if output.json {
        say_json(&json!({ "driver": driver, "works": why.is_none(), "reason": why }))?;
    } else {
        let driver = driver.unwrap_or_default();
        let said = why.as_deref().unwrap_or("writes, reads, lists and deletes");
        say(&format!("{driver}: {said}"))?;
    }
    Ok(tried.is_ok())
}

/// Begins, takes part in the moving, and tells how far it is until it is over.
async fn move_everything(
    args: &MigrateArgs,
    config: &Config,
    app: &Arc<App>,
) -> Result<bool, Failure> {
    let request = MigrationRequest {
        driver: args.driver.clone(),
        config: settings(&args.settings)?,
        cleanup: !args.keep,
    };
    let output = args.output;
    if args.dry_run {
        let amount = preview(app, &request)
            .await
            .map_err(|error| could_not(&error))?;
        let (objects, bytes) = (amount.objects, amount.bytes);
        if output.json {
            say_json(&json!({ "would_move": { "objects": objects, "bytes": bytes } }))?;
        } else {
            let bytes = HumanBytes(bytes);
            say(&format!(
                "the store works; {objects} objects of {bytes} would move"
            ))?;
        }
        return Ok(true);
    }
    let owner = Uuid::new_v4().to_string();
    let begun = migrate(app, &owner, &request).await;
    begun.map_err(|error| could_not(&error))?;
    let mover = move_bodies(
        Arc::clone(app),
        owner,
        config.migration.concurrency,
        Pace::of(config.migration.rate),
        std::future::pending(),
    );
    tokio::select! {
        () = mover => Ok(false),
        over = watch(app, output) => over,
    }
}

/// Tells how far it is until it is over. A database that is away for a moment ends nothing.
async fn watch(app: &App, output: Output) -> Result<bool, Failure> {
    let mut progress = Progress::new("{wide_bar} {bytes}/{total_bytes} {msg}").at_once();
    let mut heard = Instant::now();
    loop {
        let status = match migration_status(app).await {
            Ok(status) => status,
            Err(error) if heard.elapsed() > PATIENCE => return Err(could_not(&error)),
            Err(_) => {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
        };
        heard = Instant::now();
        let live = status.as_ref().filter(|it| it.migration.state.is_live());
        let Some(live) = live else {
            progress.end();
            return tell_status(status.as_ref(), output);
        };
        show(&mut progress, live);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The settings of the new store, from a file or standard input: secrets have no place among arguments.
fn settings(path: &Path) -> Result<StoreConfig, Failure> {
    let what = format!("the settings in {}", path.display());
    let mut text = String::new();
    let read = if path == Path::new("-") {
        stdin().take(MAX_SETTINGS).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(MAX_SETTINGS).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::because(&what, &error))?;
    // The parser would quote what it read.
    serde_json::from_str(&text)
        .map_err(|_| Failure::usage(format!("{what}: expected a JSON object of at most 64 KiB")))
}

/// Prints a migration. Whether nothing is wrong with it.
fn tell_status(status: Option<&MigrationStatus>, output: Output) -> Result<bool, Failure> {
    let Some(status) = status else {
        if output.json {
            say_json(&Value::Null)?;
        } else {
            say("nothing was ever moved")?;
        }
        return Ok(true);
    };
    let migration = &status.migration;
    if output.json {
        let failed = status.failures.iter().map(|failure| {
            let (file, version) = (failure.file.as_str(), failure.version.to_string());
            json!({ "file_id": file, "version_id": version, "reason": failure.reason })
        });
        say_json(&json!({
            "migration_id": migration.id.to_string(), "state": migration.state.as_str(), "driver": status.driver,
            "done": { "objects": migration.moved.objects, "bytes": migration.moved.bytes },
            "left": { "objects": status.left.objects, "bytes": status.left.bytes },
            "rate": status.rate(), "seconds_left": status.seconds_left(),
            "failures": migration.failures, "failed": failed.collect::<Vec<Value>>(), "failure": migration.failure,
        }))?;
    } else {
        say(&line(status))?;
        for failure in &status.failures {
            say(&format!("{}  {}", failure.file, failure.reason))?;
        }
    }
    let ended_badly = matches!(
        migration.state,
        MigrationState::DoneWithFailures | MigrationState::Failed
    );
    Ok(!ended_badly)
}

fn line(status: &MigrationStatus) -> String {
    let migration = &status.migration;
    let (moved, left) = (migration.moved, status.left);
    let why = migration.failure.as_deref();
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    let time = time_left(status).map_or_else(String::new, |time| format!(", {time} to go"));
    format!(
        "{} to {}: {} objects of {} moved at {}/s, {} of {} left{time}, {} failed{why}",
        migration.state.as_str(),
        status.driver,
        moved.objects,
        HumanBytes(moved.bytes),
        HumanBytes(status.rate()),
        left.objects,
        HumanBytes(left.bytes),
        migration.failures,
    )
}

fn time_left(status: &MigrationStatus) -> Option<String> {
    let left = Duration::from_secs(status.seconds_left()?);
    Some(HumanDuration(left).to_string())
}

fn show(progress: &mut Progress, status: &MigrationStatus) {
    let moved = status.migration.moved.bytes;
    let bar = |bar: &ProgressBar| {
        bar.set_length(moved + status.left.bytes);
        bar.set_position(moved);
        bar.set_message(time_left(status).unwrap_or_default());
    };
    progress.show(bar, || line(status));
}
