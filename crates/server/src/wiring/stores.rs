//! The stores of the registry, opened; and the registry seeded at the first start.

use std::{
    fs,
    path::{self, PathBuf},
    sync::Arc,
};

use cloakroom_application::{
    Stores,
    ports::{ObjectStore, RepositoryError, StoreConfig, StoreError, StoreRecord, StoreRegistry},
};
use cloakroom_domain::{Bucket, BucketRule, StoreId};
use cloakroom_infrastructure::{
    metadata::Database,
    stores::{
        ReadBudget, WriteBudget,
        drivers::{Budgets, DEFAULT_BUCKET, off_the_loop, open_folder},
        fs::FsStore,
        s3::S3Store,
    },
};
use serde_json::json;

use crate::{
    config::{Config, Driver},
    data_folder,
    failure::{Failure, with_causes},
    wiring::{
        browsers, config_keys,
        opener::{Environment, RegistryOpener},
        sealing,
    },
};

/// Enters the configured store into an empty registry, and opens what the registry then says.
///
/// # Errors
/// The registry cannot be read, a store cannot be opened, or the folder is not the one that the registry means.
pub(crate) async fn for_service(
    config: &Config,
    database: &Arc<Database>,
) -> Result<Stores, Failure> {
    let budgets = budgets(config);
    let (record, marked) = match config.store.driver {
        Driver::Fs => folder_record(config, &budgets).await?,
        Driver::S3 => (s3_record(config)?, false),
    };
    let (configured, marker) = (record.clone(), record.id);
    let records = database
        .seed(record)
        .await
        .map_err(|error| unreadable(&error))?;
    if marked && !records.iter().any(|known| known.id == marker) {
        // The folder is another store's, or none; nothing of this start must stay in it.
        with_folder(config, &budgets, move |folder| folder.unmark(marker)).await?;
    }
    let stores = opened(config, budgets, database).await?;
    say_what_differs(config, &configured, &records);
    Ok(stores)
}

/// Opens what the registry says, which may be nothing.
///
/// # Errors
/// The registry cannot be read, a store cannot be opened, or the folder is not the one that the registry means.
pub(crate) async fn as_registered(
    config: &Config,
    database: &Arc<Database>,
) -> Result<Stores, Failure> {
    opened(config, budgets(config), database).await
}

async fn opened(
    config: &Config,
    budgets: Budgets,
    database: &Arc<Database>,
) -> Result<Stores, Failure> {
    let environment = Environment {
        folder: whole(folder(config)),
        s3: config.s3().map(|s3| (s3, s3_by_name(config))),
    };
    let origins = browsers::store_origins(config);
    let keys = config_keys::of(config)?;
    let opener = RegistryOpener::new(environment, budgets, keys, origins);
    let sealing = sealing::keys(config);
    let stores = Stores::of(database.clone(), Arc::new(opener), sealing);
    let unopened = stores.refresh().await;
    let unopened =
        unopened.map_err(|error| Failure::because("the stores of the registry", &error))?;
    if unopened.is_empty() {
        return Ok(stores);
    }
    let records = database.all().await.map_err(|error| unreadable(&error))?;
    let current = records.iter().find(|record| record.is_current);
    if current.is_some_and(|current| needs_s3(config, current)) {
        return Err(s3_missing());
    }
    for (id, error) in &unopened {
        if current.is_none_or(|current| current.id == *id) {
            return Err(Failure::because(&format!("the store {id}"), error));
        }
        // What everything was moved away from may be gone.
        tracing::warn!(
            store = %id,
            error = with_causes(error),
            "a store that takes no new files cannot be opened; what is still in it cannot be read"
        );
    }
    Ok(stores)
}

fn needs_s3(config: &Config, record: &StoreRecord) -> bool {
    record.config.is_none() && record.driver == Driver::S3.as_str() && config.s3().is_none()
}

/// The configured S3 store, opened, as it would be entered into an empty registry.
///
/// # Errors
/// It is not configured.
pub(crate) fn configured_s3(
    config: &Config,
) -> Result<(StoreRecord, Arc<dyn ObjectStore>), Failure> {
    let mut settings = config.s3().ok_or_else(s3_missing)?;
    settings.cors_origins = browsers::store_origins(config);
    let store = S3Store::new(&settings, budgets(config).write);
    let store = store.map_err(|error| Failure::because("the S3 store", &error))?;
    Ok((s3_record(config)?, Arc::new(store)))
}

fn unreadable(error: &RepositoryError) -> Failure {
    Failure::because("the registry of stores", error)
}

/// The memory for bodies on their way, which all stores share.
fn budgets(config: &Config) -> Budgets {
    Budgets {
        read: ReadBudget::new(config.limits.read_buffer),
        write: WriteBudget::new(config.limits.upload_buffer),
    }
}

fn folder(config: &Config) -> PathBuf {
    config.store.data_dir.join("objects")
}

/// The path from the root on: an entry of the registry has no other.
fn whole(folder: PathBuf) -> PathBuf {
    let whole = fs::canonicalize(&folder).or_else(|_| path::absolute(&folder));
    whole.unwrap_or(folder)
}

/// Does something with the folder on a thread that may wait for the disk.
async fn with_folder<T: Send + 'static>(
    config: &Config,
    budgets: &Budgets,
    work: impl FnOnce(&FsStore) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Failure> {
    data_folder::make(config)?;
    let path = folder(config);
    let what = format!("the folder {}", path.display());
    let done = async {
        let folder = open_folder(path, budgets).await?;
        off_the_loop(move || work(&folder)).await
    };
    done.await.map_err(|error| Failure::because(&what, &error))
}

/// The folder as a store for the registry, marked with its id; whether the marker is new.
async fn folder_record(config: &Config, budgets: &Budgets) -> Result<(StoreRecord, bool), Failure> {
    let mark = |folder: &FsStore| match folder.marker()? {
        Some(id) => Ok((id, false)),
        None => {
            let new = StoreId::random();
            folder.mark(new).map(|id| (id, id == new))
        }
    };
    let (id, is_new) = with_folder(config, budgets, mark).await?;
    let bucket = Bucket::parse(DEFAULT_BUCKET)
        .map_err(|error| Failure::because("the bucket of the folder", &error))?;
    let record = configured_record(id, Driver::Fs, BucketRule::Fixed(bucket));
    Ok((record, is_new))
}

fn s3_record(config: &Config) -> Result<StoreRecord, Failure> {
    let buckets = config.s3_buckets().ok_or_else(s3_missing)?;
    Ok(configured_record(StoreId::random(), Driver::S3, buckets))
}

fn configured_record(id: StoreId, driver: Driver, buckets: BucketRule) -> StoreRecord {
    StoreRecord {
        id,
        driver: driver.as_str().to_owned(),
        buckets,
        config: None,
        revision: 0,
        is_current: true,
    }
}

/// The settings of the configured S3 store, by the names that the driver has for them.
fn s3_by_name(config: &Config) -> StoreConfig {
    let store = &config.store;
    let settings = config.s3();
    let endpoint = settings.as_ref().map(|s3| s3.endpoint.clone());
    let values = [
        ("endpoint", json!(endpoint)),
        ("region", json!(store.s3_region)),
        (
            "access_key_id",
            json!(settings.as_ref().map(|s3| s3.access_key_id.clone())),
        ),
        (
            "secret_access_key",
            json!(store.s3_secret_access_key.as_ref().map(|it| it.reveal())),
        ),
        (
            "path_style",
            json!(settings.as_ref().map(|s3| s3.path_style)),
        ),
        ("public_endpoint", json!(store.s3_public_endpoint)),
        (
            "bucket",
            json!(store.s3_bucket.as_ref().map(Bucket::as_str)),
        ),
        ("bucket_prefix", json!(store.s3_bucket_prefix)),
    ];
    let given = values.into_iter().filter(|(_, value)| !value.is_null());
    let mut config: StoreConfig = given
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    // One bucket comes before a prefix.
    if config.contains_key("bucket") {
        config.remove("bucket_prefix");
    }
    config
}

fn s3_missing() -> Failure {
    Failure::usage(
        "the database says that bytes are in S3, which is not configured; expected CLOAKROOM_S3_ACCESS_KEY_ID and \
         CLOAKROOM_S3_SECRET_ACCESS_KEY to be set, and CLOAKROOM_S3_ENDPOINT unless it is Amazon's",
    )
}

/// The registry wins over the configuration, and the operator is told.
fn say_what_differs(config: &Config, configured: &StoreRecord, records: &[StoreRecord]) {
    let Some(current) = records.iter().find(|record| record.is_current) else {
        return;
    };
    if current.driver != configured.driver {
        tracing::warn!(
            configured = configured.driver,
            in_use = current.driver,
            "CLOAKROOM_STORE differs from the database, which wins: new files go where the database says"
        );
    } else if config.store.driver == Driver::S3 && current.config.is_some() {
        tracing::warn!(
            "the S3 settings in use are those of the database, changed by PATCH /backend-config or POST /migrate; \
             CLOAKROOM_S3_* are not looked at"
        );
    } else if config.store.driver == Driver::S3 && current.buckets != configured.buckets {
        tracing::warn!(
            configured = shown(&configured.buckets),
            in_use = shown(&current.buckets),
            "the S3 bucket differs from the database, which wins: new files go where the database says"
        );
    }
}

fn shown(rule: &BucketRule) -> String {
    match rule {
        BucketRule::Fixed(bucket) => bucket.to_string(),
        BucketRule::PerAccount(prefix) => format!("{prefix}-{{account}}"),
    }
}
