//! What takes another service's files over.

use std::sync::Arc;

use cloakroom_application::{
    ImportTarget,
    ports::{FileImport, ObjectStore, StoreRecord, StoreRegistry},
};
use cloakroom_domain::BucketRule;
use cloakroom_infrastructure::metadata::{Database, PneumaticFiles, SchemaState};

use super::{database, stores};
use crate::{
    cli::PneumaticArgs,
    config::{Config, Driver, check_bucket_prefix},
    failure::Failure,
};

/// Both ends of an import, and the database to close after it.
pub(crate) struct Import {
    pub(crate) source: PneumaticFiles,
    pub(crate) target: ImportTarget,
    pub(crate) database: Arc<Database>,
}

/// Opens both ends. Unless it is a dry run the database is migrated and the store entered into an empty registry, as
/// the first start of the service would do.
///
/// # Errors
/// The command line makes no sense, the database cannot be used, or there is no S3 store.
pub(crate) async fn pneumatic(config: &Config, args: &PneumaticArgs) -> Result<Import, Failure> {
    let source = source(config, args)?;
    if let Some(prefix) = &args.bucket_prefix {
        check_bucket_prefix(prefix).map_err(|expected| {
            Failure::usage(format!(
                "--bucket-prefix is {prefix:?}; expected {expected}"
            ))
        })?;
    }
    let database = if args.dry_run {
        database::connect(config, false)?
    } else {
        database::open(config, false).await?
    };
    let database = Arc::new(database);
    let is_made = database::state(&database).await? == SchemaState::Current;
    let records = if is_made {
        let known = database.all().await;
        known.map_err(|error| Failure::because("the registry of stores", &error))?
    } else {
        Vec::new()
    };
    let (record, store) = if records.is_empty() {
        first_store(config, &database, args.dry_run).await?
    } else {
        registered_store(config, &database, &records).await?
    };
    let files: Arc<dyn FileImport> = database.clone();
    let target = ImportTarget {
        files: is_made.then_some(files),
        store,
        store_id: record.id,
        bucket_prefix: prefix(config, args, record.buckets)?,
        dry_run: args.dry_run,
    };
    Ok(Import {
        source,
        target,
        database,
    })
}

fn source(config: &Config, args: &PneumaticArgs) -> Result<PneumaticFiles, Failure> {
    let configured = config.import_database_url();
    let url = args.database_url.as_deref();
    PneumaticFiles::at(url.unwrap_or_else(|| configured.reveal())).map_err(|_| {
        Failure::usage(
            "the FastAPI service's rows are in PostgreSQL; expected CLOAKROOM_IMPORT_DATABASE_URL, or --database-url, \
             to be postgres://user:password@host/database",
        )
    })
}

type Opened = (StoreRecord, Arc<dyn ObjectStore>);

/// The configured store, where the registry has none yet.
async fn first_store(
    config: &Config,
    database: &Arc<Database>,
    dry_run: bool,
) -> Result<Opened, Failure> {
    if config.store.driver != Driver::S3 {
        return Err(no_s3());
    }
    if dry_run {
        return stores::configured_s3(config);
    }
    stores::for_service(config, database).await?;
    let records = database.all().await;
    let records = records.map_err(|error| Failure::because("the registry of stores", &error))?;
    registered_store(config, database, &records).await
}

/// The registry's S3 store; the one that takes new bodies, if there are several.
async fn registered_store(
    config: &Config,
    database: &Arc<Database>,
    records: &[StoreRecord],
) -> Result<Opened, Failure> {
    let s3 = |record: &&StoreRecord| record.driver == Driver::S3.as_str();
    let record = records.iter().filter(s3).max_by_key(|r| r.is_current);
    let record = record.ok_or_else(no_s3)?;
    let opened = stores::as_registered(config, database).await?;
    let store = opened.named(record.id).await.map_err(|_| no_s3())?;
    Ok((record.clone(), store))
}

/// As given, as configured, or as the store has it.
fn prefix(config: &Config, args: &PneumaticArgs, rule: BucketRule) -> Result<String, Failure> {
    let registered = match rule {
        BucketRule::PerAccount(prefix) => Some(prefix),
        BucketRule::Fixed(_) => None,
    };
    let given = args.bucket_prefix.clone();
    given
        .or_else(|| config.store.s3_bucket_prefix.clone())
        .or(registered)
        .ok_or_else(|| {
            Failure::usage(
                "the FastAPI service has a bucket for each account; expected --bucket-prefix, its BUCKET_PREFIX",
            )
        })
}

fn no_s3() -> Failure {
    Failure::usage(
        "the FastAPI service's objects are in S3, which is not a store of this service; expected CLOAKROOM_STORE=s3 \
         and its settings at the first start",
    )
}
