//! The stores of the registry, opened; and the registry seeded at the first start.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use cloakroom_application::{
    Stores,
    ports::{ObjectStore, RepositoryError, StoreError, StoreRecord, StoreRegistry},
};
use cloakroom_domain::{Bucket, BucketRule, StoreId};
use cloakroom_infrastructure::stores::{
    ReadBudget, WriteBudget,
    fs::{FsOptions, FsStore},
    s3::S3Store,
};

use crate::{
    config::{Config, Driver},
    data_folder,
    failure::Failure,
    wiring::browsers,
};

/// The one bucket of the `fs` store: a folder below `{data}/objects`.
const FS_BUCKET: &str = "files";

/// The opened stores, and the driver of the one that takes new bodies.
pub(crate) struct OpenStores {
    pub(crate) stores: Stores,
    pub(crate) backend: String,
}

/// Enters the configured store into an empty registry, and opens what the registry then says.
///
/// # Errors
/// The registry cannot be read, a store cannot be opened, or the folder is not the one that the registry means.
pub(crate) async fn for_service(
    config: &Config,
    registry: &dyn StoreRegistry,
) -> Result<OpenStores, Failure> {
    let opener = Opener::new(config);
    let (record, marked) = match config.store.driver {
        Driver::Fs => opener.folder_record().await?,
        Driver::S3 => (opener.s3_record()?, false),
    };
    let (configured, marker) = (record.clone(), record.id);
    let records = registry
        .seed(record)
        .await
        .map_err(|error| unreadable(&error))?;
    if marked && !records.iter().any(|known| known.id == marker) {
        // The folder is another store's, or none; nothing of this start must stay in it.
        opener.unmark(marker).await?;
    }
    let opened = opener.open(&records).await?;
    say_what_differs(config, &configured, &records);
    Ok(opened)
}

/// Opens what the registry says, which may be nothing.
///
/// # Errors
/// The registry cannot be read, a store cannot be opened, or the folder is not the one that the registry means.
pub(crate) async fn as_registered(
    config: &Config,
    registry: &dyn StoreRegistry,
) -> Result<OpenStores, Failure> {
    let records = registry.all().await.map_err(|error| unreadable(&error))?;
    Opener::new(config).open(&records).await
}

/// The configured S3 store, opened, as it would be entered into an empty registry.
///
/// # Errors
/// It is not configured.
pub(crate) fn configured_s3(
    config: &Config,
) -> Result<(StoreRecord, Arc<dyn ObjectStore>), Failure> {
    let opener = Opener::new(config);
    Ok((opener.s3_record()?, Arc::new(opener.open_s3()?)))
}

fn unreadable(error: &RepositoryError) -> Failure {
    Failure::because("the registry of stores", error)
}

/// Opens stores that share their memory for bodies on their way.
struct Opener<'a> {
    config: &'a Config,
    read_budget: ReadBudget,
    write_budget: WriteBudget,
}

impl<'a> Opener<'a> {
    fn new(config: &'a Config) -> Self {
        Self {
            config,
            read_budget: ReadBudget::new(config.limits.read_buffer),
            write_budget: WriteBudget::new(config.limits.upload_buffer),
        }
    }

    fn path(&self) -> PathBuf {
        self.config.store.data_dir.join("objects")
    }

    /// Does something with the folder on a thread that may wait for the disk.
    async fn with_folder<T: Send + 'static>(
        &self,
        work: impl FnOnce(&FsStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<(T, FsStore), Failure> {
        data_folder::make(self.config)?;
        let path = self.path();
        let what = format!("the folder {}", path.display());
        let options = FsOptions {
            read_budget: self.read_budget.clone(),
            write_budget: self.write_budget.clone(),
        };
        let done = tokio::task::spawn_blocking(move || {
            let store = FsStore::open(path, options)?;
            work(&store).map(|outcome| (outcome, store))
        })
        .await
        .map_err(|error| Failure::because(&what, &error))?;
        done.map_err(|error| Failure::because(&what, &error))
    }

    /// The folder as a store for the registry, marked with its id; whether the marker is new.
    async fn folder_record(&self) -> Result<(StoreRecord, bool), Failure> {
        let mark = |folder: &FsStore| match folder.marker()? {
            Some(id) => Ok((id, false)),
            None => {
                let new = StoreId::random();
                folder.mark(new).map(|id| (id, id == new))
            }
        };
        let ((id, is_new), _) = self.with_folder(mark).await?;
        let bucket = Bucket::parse(FS_BUCKET)
            .map_err(|error| Failure::because("the bucket of the folder", &error))?;
        let record = StoreRecord {
            id,
            driver: Driver::Fs.as_str().to_owned(),
            buckets: BucketRule::Fixed(bucket),
            is_current: true,
        };
        Ok((record, is_new))
    }

    async fn unmark(&self, id: StoreId) -> Result<(), Failure> {
        self.with_folder(move |folder| folder.unmark(id))
            .await
            .map(drop)
    }

    fn s3_record(&self) -> Result<StoreRecord, Failure> {
        let buckets = self.config.s3_buckets().ok_or_else(s3_missing)?;
        Ok(StoreRecord {
            id: StoreId::random(),
            driver: Driver::S3.as_str().to_owned(),
            buckets,
            is_current: true,
        })
    }

    async fn open(&self, records: &[StoreRecord]) -> Result<OpenStores, Failure> {
        let mut stores: HashMap<StoreId, Arc<dyn ObjectStore>> = HashMap::new();
        for record in records {
            let store: Arc<dyn ObjectStore> = match record.driver.as_str() {
                "fs" => Arc::new(self.open_folder(record.id).await?),
                "s3" => Arc::new(self.open_s3()?),
                other => {
                    return Err(Failure::new(format!(
                        "the database knows a store of the driver {other}, which this version does not have"
                    )));
                }
            };
            stores.insert(record.id, store);
        }
        let current = records.iter().find(|record| record.is_current);
        Ok(OpenStores {
            stores: Stores::new(stores),
            backend: current.map_or_else(String::new, |record| record.driver.clone()),
        })
    }

    async fn open_folder(&self, id: StoreId) -> Result<FsStore, Failure> {
        let (marker, folder) = self.with_folder(FsStore::marker).await?;
        let path = self.path();
        let path = path.display();
        match marker {
            Some(marker) if marker == id => Ok(folder),
            Some(marker) => Err(Failure::new(format!(
                "{path} is the folder of the store {marker}, but the database's is {id}; \
                 CLOAKROOM_DATA_DIR and CLOAKROOM_DATABASE_URL do not belong together"
            ))),
            None => Err(Failure::new(format!(
                "{path} is not the folder of the database's store {id}: it has no marker; \
                 is the right folder mounted at CLOAKROOM_DATA_DIR?"
            ))),
        }
    }

    fn open_s3(&self) -> Result<S3Store, Failure> {
        let mut settings = self.config.s3().ok_or_else(s3_missing)?;
        settings.cors_origins = browsers::store_origins(self.config);
        S3Store::new(&settings, self.write_budget.clone())
            .map_err(|error| Failure::because("the S3 store", &error))
    }
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
