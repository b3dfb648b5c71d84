//! The database, opened.

use cloakroom_application::ports::StoreRegistry;
use cloakroom_infrastructure::metadata::{Database, DatabaseOptions, SchemaState};

use crate::{config::Config, data_folder, failure::Failure};

const UNREACHABLE: &str = "the database (CLOAKROOM_DATABASE_URL) cannot be used";

/// Opens the database and brings its schema up to date. `serve` wants a SQLite file for itself.
///
/// # Errors
/// The database cannot be reached or used, or another service has the file.
pub(crate) async fn open(config: &Config, serve: bool) -> Result<Database, Failure> {
    let database = connect(config, serve)?;
    // An answer first: migrating waits for long, on purpose.
    database
        .ping()
        .await
        .map_err(|error| Failure::because(UNREACHABLE, &error))?;
    state(&database).await?;
    migrate(&database).await?;
    Ok(database)
}

/// Opens the database for a command that only looks, or changes rows.
///
/// # Errors
/// The database cannot be reached or used, or its schema is older than this binary.
pub(crate) async fn open_as_it_is(config: &Config) -> Result<Database, Failure> {
    let database = connect(config, false)?;
    match state(&database).await? {
        SchemaState::Current => Ok(database),
        SchemaState::Pending(_) | SchemaState::Occupied => Err(Failure::new(
            "the database's schema is not up to date; run `cloakroom db migrate`, or start the service once",
        )),
    }
}

/// Connects, without a look at the schema.
///
/// # Errors
/// The address is wrong, or another service has the SQLite file.
pub(crate) fn connect(config: &Config, serve: bool) -> Result<Database, Failure> {
    if config.database.url.is_none() {
        data_folder::make(config)?;
    }
    let options = DatabaseOptions {
        pool_size: config.database.connections,
        exclusive: serve,
        schema: config.database.schema.clone(),
    };
    Database::connect(config.database_url().reveal(), &options)
        .map_err(|error| Failure::because(UNREACHABLE, &error))
}

/// How the schema stands.
///
/// # Errors
/// The database cannot be reached, or another application's table is where ours would be.
pub(crate) async fn state(database: &Database) -> Result<SchemaState, Failure> {
    let state = database
        .schema_state()
        .await
        .map_err(|error| Failure::because(UNREACHABLE, &error))?;
    match state {
        SchemaState::Occupied => Err(Failure::new(
            "the database (CLOAKROOM_DATABASE_URL) holds a table `files` of another application; give this service a \
             database of its own, or a schema with CLOAKROOM_DATABASE_SCHEMA=cloakroom",
        )),
        state => Ok(state),
    }
}

/// Brings the schema up to date.
///
/// # Errors
/// The database cannot be reached, or a migration failed.
pub(crate) async fn migrate(database: &Database) -> Result<(), Failure> {
    database.migrate().await.map_err(|error| {
        Failure::because("the database's schema cannot be brought up to date", &error)
    })
}
