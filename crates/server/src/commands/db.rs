//! `cloakroom db migrate`.

use cloakroom_infrastructure::metadata::SchemaState;

use crate::{
    cli::{DbCommand, Output},
    config::Config,
    failure::Failure,
    output::{say, say_json},
    wiring::database,
};

/// Runs the command.
///
/// # Errors
/// The database cannot be reached, or a migration failed.
pub(crate) async fn run(command: &DbCommand, config: &Config) -> Result<(), Failure> {
    let DbCommand::Migrate { output } = command;
    migrate(config, *output).await
}

async fn migrate(config: &Config, output: Output) -> Result<(), Failure> {
    let database = database::connect(config, false)?;
    let before = database::state(&database).await?;
    database::migrate(&database).await?;
    database.close().await;
    let ran = match before {
        SchemaState::Current | SchemaState::Occupied => 0,
        SchemaState::Pending(count) => count,
    };
    if output.json {
        return say_json(&serde_json::json!({ "migrations": ran }));
    }
    say(&match ran {
        0 => "the schema was up to date".to_owned(),
        1 => "the schema is up to date now; 1 migration ran".to_owned(),
        some => format!("the schema is up to date now; {some} migrations ran"),
    })
}
