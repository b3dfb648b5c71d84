//! The drivers of stores, for the registry: what its entries mean, and what somebody may enter.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use cloakroom_application::ports::{
    Admitted, ConfigFault, Mark, ObjectStore, Sealing, StoreConfig, StoreError, StoreOpener,
    StoreRecord,
};
use cloakroom_domain::StoreId;
use cloakroom_infrastructure::{
    sealing::MasterKeys,
    stores::{
        drivers::{Budgets, Driver, DriverSettings, MASK, off_the_loop, open_folder},
        fs::FsStore,
        guard::Guard,
        s3::{S3Settings, S3Store},
    },
};
use serde_json::Value;

const NO_KEY: &str = "the configuration of a store is kept sealed, and there is no key for that: set \
                      CLOAKROOM_CONFIG_KEY on every replica (`cloakroom encryption new-key` prints one)";

/// What the configuration of the process says of stores, by their drivers.
pub(crate) struct Environment {
    /// The folder of a store whose entry has no configuration.
    pub(crate) folder: PathBuf,
    /// The S3 store of such an entry, and its settings by name.
    pub(crate) s3: Option<(S3Settings, StoreConfig)>,
}

/// Opens what the registry says.
pub(crate) struct RegistryOpener {
    environment: Environment,
    budgets: Budgets,
    keys: Option<MasterKeys>,
    /// Origins whose pages may send to buckets that are made.
    origins: Vec<String>,
}

/// An entry's configuration, read.
struct Known {
    config: StoreConfig,
    settings: DriverSettings,
}

impl RegistryOpener {
    pub(crate) const fn new(
        environment: Environment,
        budgets: Budgets,
        keys: Option<MasterKeys>,
        origins: Vec<String>,
    ) -> Self {
        Self {
            environment,
            budgets,
            keys,
            origins,
        }
    }

    fn known(&self, record: &StoreRecord) -> Result<Known, StoreError> {
        let driver = driver(&record.driver)?;
        let config = match &record.config {
            Some(sealed) => self.unsealed(driver, sealed)?,
            None => self.configured(driver)?,
        };
        let settings = DriverSettings::read(driver, &config);
        let settings = settings.map_err(|error| StoreError::Refused(error.into()))?;
        Ok(Known { config, settings })
    }

    fn configured(&self, driver: Driver) -> Result<StoreConfig, StoreError> {
        let environment = &self.environment;
        let missing = || StoreError::Refused(format!("{driver} is not configured").into());
        match driver {
            Driver::Fs => {
                let path = environment.folder.to_string_lossy().into_owned();
                Ok(StoreConfig::from_iter([("path".to_owned(), path.into())]))
            }
            Driver::S3 => {
                let s3 = environment.s3.as_ref();
                s3.map(|(_, config)| config.clone()).ok_or_else(missing)
            }
            _ => Err(missing()),
        }
    }

    fn unsealed(&self, driver: Driver, sealed: &[u8]) -> Result<StoreConfig, StoreError> {
        let keys = self.keys.clone().unwrap_or_default();
        let config = keys
            .open(sealed, &context(driver))
            .map_err(|error| StoreError::Refused(error.into()))?;
        // What the parser says would quote what it read.
        serde_json::from_slice(&config)
            .map_err(|_| StoreError::Refused("a sealed configuration is no JSON".into()))
    }

    fn take(&self, driver: Driver, config: &StoreConfig) -> Result<Admitted, ConfigFault> {
        let settings = DriverSettings::read(driver, config);
        let settings = settings.map_err(|error| ConfigFault::Field(error.to_string()))?;
        let buckets = settings.buckets();
        let buckets = buckets.map_err(|error| ConfigFault::Field(error.to_string()))?;
        let keys = self.keys.as_ref().ok_or(ConfigFault::NoKey(NO_KEY))?;
        let text = Value::Object(config.clone()).to_string();
        let sealed = keys.seal(text.as_bytes(), &context(driver));
        Ok(Admitted {
            driver: driver.as_str().to_owned(),
            place: settings.place(),
            buckets,
            config: sealed.map_err(|_| ConfigFault::NoKey(NO_KEY))?,
        })
    }
}

#[async_trait]
impl StoreOpener for RegistryOpener {
    async fn open(&self, record: &StoreRecord) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let known = self.known(record)?;
        let is_configured = record.config.is_none();
        match known.settings {
            DriverSettings::Fs(fs) => {
                let folder = open_folder(fs.path.clone(), &self.budgets).await?;
                let id = record.id;
                let checked = move || belongs(&folder, &fs.path, id).map(|()| folder);
                let folder = off_the_loop(checked).await?;
                Ok(Arc::new(folder))
            }
            DriverSettings::S3(s3) => {
                let configured = self.environment.s3.as_ref().filter(|_| is_configured);
                let mut settings = match configured {
                    Some((settings, _)) => settings.clone(),
                    None => S3Settings {
                        guard: Guard::Strict,
                        ..S3Settings::from(&s3)
                    },
                };
                settings.cors_origins.clone_from(&self.origins);
                let budget = self.budgets.write.clone();
                // It reads the certificates that this machine trusts.
                let open = move || S3Store::new(&settings, budget);
                Ok(Arc::new(off_the_loop(open).await?))
            }
            other => other.open(&self.budgets, Guard::Strict).await,
        }
    }

    async fn prepare(&self, record: &StoreRecord) -> Result<Mark, StoreError> {
        let store = record.id;
        let DriverSettings::Fs(fs) = self.known(record)?.settings else {
            let is_new = false;
            return Ok(Mark { store, is_new });
        };
        let path = fs.path.clone();
        off_the_loop(move || is_free(&path)).await?;
        let folder = open_folder(fs.path, &self.budgets).await?;
        off_the_loop(move || marked(&folder, store)).await
    }

    async fn is_own_place(
        &self,
        known: &StoreRecord,
        marked: &StoreRecord,
    ) -> Result<bool, StoreError> {
        match (self.known(known)?.settings, self.known(marked)?.settings) {
            (DriverSettings::Fs(known), DriverSettings::Fs(marked)) => {
                off_the_loop(move || is_one_folder(&known.path, &marked.path)).await
            }
            (known, marked) => Ok(known.place() == marked.place()),
        }
    }

    async fn withdraw(&self, record: &StoreRecord) -> Result<(), StoreError> {
        let DriverSettings::Fs(fs) = self.known(record)?.settings else {
            return Ok(());
        };
        let id = record.id;
        let folder = open_folder(fs.path, &self.budgets).await?;
        off_the_loop(move || folder.unmark(id)).await
    }

    fn admit(&self, driver: &str, config: &StoreConfig) -> Result<Admitted, ConfigFault> {
        let known = Driver::parse(driver).ok_or_else(|| {
            let names: Vec<&str> = Driver::ALL.into_iter().map(Driver::as_str).collect();
            ConfigFault::Field(format!("driver: expected one of {}", names.join(", ")))
        })?;
        self.take(known, config)
    }

    fn place(&self, record: &StoreRecord) -> Result<String, StoreError> {
        Ok(self.known(record)?.settings.place())
    }

    fn shown(&self, record: &StoreRecord) -> Result<StoreConfig, StoreError> {
        let known = self.known(record)?;
        Ok(known.settings.driver().masked(&known.config))
    }

    fn changed(
        &self,
        record: &StoreRecord,
        changes: &StoreConfig,
    ) -> Result<Admitted, ConfigFault> {
        let known = self.known(record);
        let Known {
            mut config,
            settings,
        } = known.map_err(|error| ConfigFault::Field(error.to_string()))?;
        let driver = settings.driver();
        for (name, value) in changes {
            let is_secret = driver.secrets().any(|secret| secret == name);
            match value {
                Value::Null => {
                    config.remove(name);
                }
                Value::String(text) if is_secret && text == MASK => {}
                _ => {
                    config.insert(name.clone(), value.clone());
                }
            }
        }
        self.take(driver, &config)
    }
}

fn driver(name: &str) -> Result<Driver, StoreError> {
    Driver::parse(name).ok_or_else(|| {
        let why = format!("this version does not have the driver {name}");
        StoreError::Refused(why.into())
    })
}

/// A configuration that was sealed for one driver is never read as another's.
fn context(driver: Driver) -> String {
    format!("configuration of a {driver} store")
}

/// Marks a folder with that id, unless it has a mark.
fn marked(folder: &FsStore, id: StoreId) -> Result<Mark, StoreError> {
    if let Some(store) = folder.marker()? {
        let is_new = false;
        return Ok(Mark { store, is_new });
    }
    let store = folder.mark(id)?;
    let is_new = store == id;
    Ok(Mark { store, is_new })
}

/// Whether two paths lead to one folder, or the folder of the first has been moved to the second.
fn is_one_folder(known: &Path, marked: &Path) -> Result<bool, StoreError> {
    let failed = |error: io::Error| StoreError::Refused(error.into());
    let known = match fs::metadata(known) {
        Ok(known) => known,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(failed(error)),
    };
    let marked = fs::metadata(marked).map_err(failed)?;
    Ok((known.dev(), known.ino()) == (marked.dev(), marked.ino()))
}

/// Whether a folder is a store already, or has no file in it: a store that was only tried leaves folders.
fn is_free(path: &Path) -> Result<(), StoreError> {
    let failed = |error: io::Error| StoreError::Refused(error.into());
    if path.join(FsStore::MARKER).try_exists().map_err(failed)? {
        return Ok(());
    }
    let mut folders = vec![path.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            if !entry.file_type().map_err(failed)?.is_dir() {
                let why = "the folder has something in it, and is no store of this service";
                return Err(StoreError::Refused(why.into()));
            }
            folders.push(entry.path());
        }
    }
    Ok(())
}

/// Whether the folder is that of the store.
fn belongs(folder: &FsStore, path: &Path, id: StoreId) -> Result<(), StoreError> {
    let path = path.display();
    let why = match folder.marker()? {
        Some(marker) if marker == id => return Ok(()),
        Some(marker) => format!(
            "{path} is the folder of the store {marker}, but the database's is {id}; CLOAKROOM_DATA_DIR and \
             CLOAKROOM_DATABASE_URL do not belong together"
        ),
        None => format!(
            "{path} is not the folder of the database's store {id}: it has no marker; is the right folder mounted there?"
        ),
    };
    Err(StoreError::Refused(why.into()))
}
