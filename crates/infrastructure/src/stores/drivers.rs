//! Every driver of a store: its name, its settings as JSON, which of them are secret, and how it is opened.
//!
//! The one place that knows them all. Settings come from the configuration, from the registry or from a caller; what
//! is said about bad ones never repeats a value.

mod elsewhere;
mod fields;
mod settings;
#[cfg(test)]
mod tests;

use std::{fmt, path::PathBuf, sync::Arc};

use cloakroom_application::ports::{ObjectStore, StoreError};
use cloakroom_domain::{Bucket, BucketRule};
use reqwest::Url;
use serde_json::{Map, Value};

pub use self::{
    elsewhere::{AccountConfig, AzblobConfig, GcsConfig, SftpConfig},
    fields::{Field, InvalidConfig, Kind},
    settings::{FsConfig, S3Config, WebdavConfig},
};
use super::{
    budget::{ReadBudget, WriteBudget},
    fs::{FsOptions, FsStore},
    guard::Guard,
    opendal,
    s3::{S3Settings, S3Store},
    sftp::sftp,
    webdav::{WebdavSettings, webdav},
};

/// The bucket where the settings name none.
pub const DEFAULT_BUCKET: &str = "files";

/// What stands in the place of a secret.
pub const MASK: &str = "****";

/// A driver of stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Driver {
    /// A folder of this machine.
    Fs,
    /// S3, of whatever make.
    S3,
    /// A WebDAV server.
    Webdav,
    /// An SFTP server.
    Sftp,
    /// Azure's blobs.
    Azblob,
    /// Google's cloud.
    Gcs,
    /// Google Drive.
    Gdrive,
    /// OneDrive.
    Onedrive,
    /// Dropbox.
    Dropbox,
}

impl Driver {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Fs,
        Self::S3,
        Self::Webdav,
        Self::Sftp,
        Self::Azblob,
        Self::Gcs,
        Self::Gdrive,
        Self::Onedrive,
        Self::Dropbox,
    ];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fs => "fs",
            Self::S3 => "s3",
            Self::Webdav => "webdav",
            Self::Sftp => "sftp",
            Self::Azblob => "azblob",
            Self::Gcs => "gcs",
            Self::Gdrive => "gdrive",
            Self::Onedrive => "onedrive",
            Self::Dropbox => "dropbox",
        }
    }

    /// The driver of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|driver| driver.as_str() == name)
    }

    /// Its settings, in the order of the documentation.
    #[must_use]
    pub const fn fields(self) -> &'static [Field] {
        match self {
            Self::Fs => fields::FS,
            Self::S3 => fields::S3,
            Self::Webdav => fields::WEBDAV,
            Self::Sftp => fields::SFTP,
            Self::Azblob => fields::AZBLOB,
            Self::Gcs => fields::GCS,
            Self::Gdrive | Self::Onedrive | Self::Dropbox => fields::ACCOUNT,
        }
    }

    /// The names of its settings that are secret.
    pub fn secrets(self) -> impl Iterator<Item = &'static str> {
        let fields = self.fields().iter();
        fields.filter(|it| it.is_secret()).map(|it| it.name)
    }

    /// The settings with [`MASK`] in the place of every secret, and of everything that is no setting.
    #[must_use]
    pub fn masked(self, config: &Map<String, Value>) -> Map<String, Value> {
        let is_plain = |name: &str| {
            let field = self.fields().iter().find(|it| it.name == name);
            field.is_some_and(|it| !it.is_secret())
        };
        let shown = config.iter().map(|(name, value)| {
            let plain = is_plain(name) || value.is_null();
            let value = if plain { value.clone() } else { MASK.into() };
            (name.clone(), value)
        });
        shown.collect()
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Memory for bodies that stores share.
#[derive(Debug, Clone, Default)]
pub struct Budgets {
    /// For bodies being read.
    pub read: ReadBudget,
    /// For bodies being written.
    pub write: WriteBudget,
}

/// A driver's settings, checked. They print without their secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriverSettings {
    /// A folder of this machine.
    Fs(FsConfig),
    /// S3.
    S3(S3Config),
    /// A WebDAV server.
    Webdav(WebdavConfig),
    /// An SFTP server.
    Sftp(SftpConfig),
    /// Azure's blobs.
    Azblob(AzblobConfig),
    /// Google's cloud.
    Gcs(GcsConfig),
    /// Google Drive.
    Gdrive(AccountConfig),
    /// OneDrive.
    Onedrive(AccountConfig),
    /// Dropbox.
    Dropbox(AccountConfig),
}

impl DriverSettings {
    /// Reads the settings of a driver.
    ///
    /// # Errors
    /// A setting is missing, unknown, too long or not what it should be; the first one is named.
    pub fn read(driver: Driver, config: &Map<String, Value>) -> Result<Self, InvalidConfig> {
        fields::check(driver.fields(), config)?;
        match driver {
            Driver::Fs => fields::parsed(config).map(Self::Fs),
            Driver::S3 => fields::parsed(config).map(Self::S3),
            Driver::Webdav => fields::parsed(config).map(Self::Webdav),
            Driver::Sftp => fields::parsed(config).map(Self::Sftp),
            Driver::Azblob => fields::parsed(config).map(Self::Azblob),
            Driver::Gcs => fields::parsed(config).map(Self::Gcs),
            Driver::Gdrive => fields::parsed(config).map(Self::Gdrive),
            Driver::Onedrive => fields::parsed(config).map(Self::Onedrive),
            Driver::Dropbox => fields::parsed(config).map(Self::Dropbox),
        }
        .and_then(Self::coherent)
    }

    fn coherent(self) -> Result<Self, InvalidConfig> {
        match &self {
            Self::Fs(_) => {}
            Self::S3(s3) => s3.coherent()?,
            Self::Webdav(webdav) => webdav.coherent()?,
            Self::Sftp(sftp) => sftp.coherent()?,
            Self::Azblob(azblob) => azblob.coherent()?,
            Self::Gcs(gcs) => gcs.coherent()?,
            Self::Gdrive(it) | Self::Onedrive(it) | Self::Dropbox(it) => it.coherent()?,
        }
        Ok(self)
    }

    /// Its driver.
    #[must_use]
    pub const fn driver(&self) -> Driver {
        match self {
            Self::Fs(_) => Driver::Fs,
            Self::S3(_) => Driver::S3,
            Self::Webdav(_) => Driver::Webdav,
            Self::Sftp(_) => Driver::Sftp,
            Self::Azblob(_) => Driver::Azblob,
            Self::Gcs(_) => Driver::Gcs,
            Self::Gdrive(_) => Driver::Gdrive,
            Self::Onedrive(_) => Driver::Onedrive,
            Self::Dropbox(_) => Driver::Dropbox,
        }
    }

    /// How buckets are found in it.
    ///
    /// # Errors
    /// The bucket cannot be one, which reading the settings would have found.
    pub fn buckets(&self) -> Result<BucketRule, StoreError> {
        let (bucket, prefix) = match self {
            // The bucket of `gcs` is Google's, not one of ours.
            Self::Fs(_) | Self::Gcs(_) => (&None, &None),
            Self::S3(it) => (&it.bucket, &it.bucket_prefix),
            Self::Webdav(it) => (&it.bucket, &it.bucket_prefix),
            Self::Sftp(it) => (&it.bucket, &it.bucket_prefix),
            Self::Azblob(it) => (&it.bucket, &it.bucket_prefix),
            Self::Gdrive(it) | Self::Onedrive(it) | Self::Dropbox(it) => {
                (&it.bucket, &it.bucket_prefix)
            }
        };
        if let Some(prefix) = prefix {
            return Ok(BucketRule::PerAccount(prefix.clone()));
        }
        Bucket::parse(bucket.as_deref().unwrap_or(DEFAULT_BUCKET))
            .map(BucketRule::Fixed)
            .map_err(|error| StoreError::Refused(error.into()))
    }

    /// Where the store is, as one text: the same for every way to log in. A folder that is written in another way is
    /// known by its mark.
    #[must_use]
    pub fn place(&self) -> String {
        let parts = match self {
            Self::Fs(fs) => [fs.path.to_string_lossy().into_owned(), String::new()],
            Self::S3(it) => [bare(&it.endpoint), String::new()],
            // What a root is relative to may be the user's.
            Self::Webdav(it) => [
                bare(&it.endpoint),
                format!(
                    "{} {}",
                    named(it.username.as_ref()),
                    bare(named(it.root.as_ref()))
                ),
            ],
            Self::Sftp(it) => [
                bare(&it.endpoint),
                format!(
                    "{} {}",
                    it.user,
                    named(it.root.as_ref()).trim_end_matches('/')
                ),
            ],
            Self::Azblob(it) => [
                bare(&it.endpoint),
                format!("{} {}", it.container, bare(named(it.root.as_ref()))),
            ],
            Self::Gcs(it) => [
                bare(named(it.endpoint.as_ref())),
                format!("{} {}", it.bucket, bare(named(it.root.as_ref()))),
            ],
            Self::Gdrive(it) | Self::Onedrive(it) | Self::Dropbox(it) => {
                [named(it.client_id.as_ref()).to_owned(), bare(it.root())]
            }
        };
        let buckets = match self.buckets() {
            Ok(BucketRule::Fixed(bucket)) => bucket.to_string(),
            Ok(BucketRule::PerAccount(prefix)) => format!("{prefix}-*"),
            Err(_) => String::new(),
        };
        format!("{} {} {buckets}", self.driver(), parts.join(" "))
    }

    /// Opens the store; a folder is made if it is not there, anybody else is asked nothing yet.
    ///
    /// The guard decides where the store may be.
    ///
    /// # Errors
    /// The folder cannot be opened, the endpoint is forbidden or no address.
    pub async fn open(
        &self,
        budgets: &Budgets,
        guard: Guard,
    ) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let budget = budgets.write.clone();
        match self {
            Self::Fs(fs) => Ok(Arc::new(open_folder(fs.path.clone(), budgets).await?)),
            Self::Sftp(it) => {
                let place = it.place().ok_or_else(|| refused("no address of a host"))?;
                Ok(Arc::new(sftp(&place, guard, budget).await?))
            }
            other => {
                // Clients read the certificates that this machine trusts.
                let other = other.clone();
                off_the_loop(move || other.client(guard, budget)).await
            }
        }
    }

    /// A store that is reached over HTTP.
    fn client(
        &self,
        guard: Guard,
        budget: WriteBudget,
    ) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let store = match self {
            Self::Fs(_) | Self::Sftp(_) => return Err(refused("not reached over HTTP")),
            Self::S3(s3) => {
                let settings = S3Settings {
                    guard,
                    ..S3Settings::from(s3)
                };
                return Ok(Arc::new(S3Store::new(&settings, budget)?));
            }
            Self::Webdav(it) => webdav(&WebdavSettings::from(it), guard, budget)?,
            Self::Azblob(it) => {
                admit(guard, &it.endpoint)?;
                opendal::azblob(&it.place(), guard, budget)?
            }
            Self::Gcs(it) => {
                if let Some(endpoint) = &it.endpoint {
                    admit(guard, endpoint)?;
                }
                opendal::gcs(&it.place(), guard, budget)?
            }
            Self::Gdrive(it) => opendal::gdrive(&account(it)?, it.root(), budget)?,
            Self::Onedrive(it) => opendal::onedrive(&account(it)?, it.root(), budget)?,
            Self::Dropbox(it) => opendal::dropbox(&account(it)?, it.root(), budget)?,
        };
        Ok(Arc::new(store))
    }
}

/// Without slashes at its ends.
fn bare(text: &str) -> String {
    text.trim_matches('/').to_owned()
}

fn named(text: Option<&String>) -> &str {
    text.map_or("", String::as_str)
}

fn refused(why: &'static str) -> StoreError {
    StoreError::Refused(why.into())
}

fn account(config: &AccountConfig) -> Result<opendal::Account, StoreError> {
    let account = config.account();
    account.map_err(|error| StoreError::Refused(error.into()))
}

/// Opens a folder, which is made if it is not there.
///
/// # Errors
/// It cannot be opened or made.
pub async fn open_folder(path: PathBuf, budgets: &Budgets) -> Result<FsStore, StoreError> {
    let options = FsOptions {
        read_budget: budgets.read.clone(),
        write_budget: budgets.write.clone(),
    };
    off_the_loop(move || FsStore::open(path, options)).await
}

/// Does something that may wait for the disk on a thread that may.
///
/// # Errors
/// Those of the work; [`StoreError::Unavailable`] if it died.
pub async fn off_the_loop<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|died| StoreError::Unavailable(died.into()))?
}

fn admit(guard: Guard, endpoint: &str) -> Result<(), StoreError> {
    let url = Url::parse(endpoint).map_err(|error| StoreError::Refused(error.into()))?;
    guard
        .admit(&url)
        .map_err(|error| StoreError::Refused(error.into()))
}
