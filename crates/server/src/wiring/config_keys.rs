//! The keys that configurations of stores are sealed with.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::Path,
};

use cloakroom_infrastructure::sealing::{MasterKeys, new_key};

use crate::{config::Config, data_folder, failure::Failure};

const FILE: &str = "config.key";
const MODE: u32 = 0o600;

/// The configured keys, or, where one service has its database to itself, one that it made at its first start. `None`:
/// replicas would each make their own.
///
/// # Errors
/// The file cannot be read or made, or holds no key.
pub(crate) fn of(config: &Config) -> Result<Option<MasterKeys>, Failure> {
    if let Some(keys) = &config.encryption.config_keys {
        return Ok(Some(keys.clone()));
    }
    if !config.database_url().reveal().starts_with("sqlite:") {
        return Ok(None);
    }
    kept_in(data_folder::make(config)?).map(Some)
}

fn kept_in(folder: &Path) -> Result<MasterKeys, Failure> {
    let path = folder.join(FILE);
    let failed = |error: std::io::Error| Failure::because(&path.display().to_string(), &error);
    if !path.try_exists().map_err(failed)? {
        make(folder, &path)?;
    }
    let text = fs::read_to_string(&path).map_err(failed)?;
    // What is wrong with it says nothing of what it is.
    MasterKeys::parse(&text)
        .map_err(|error| Failure::because(&format!("{} holds no key", path.display()), &error))
}

/// Makes the file so that it appears whole, and only if there is none.
fn make(folder: &Path, path: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::because(&path.display().to_string(), &error);
    let (key, _) = new_key().map_err(|error| Failure::because("a new key", &error))?;
    let draft = folder.join(format!("{FILE}.{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(MODE);
    let mut file = options.open(&draft).map_err(failed)?;
    writeln!(file, "{}", key.as_str()).map_err(failed)?;
    // A command that root runs must not leave a key that the service cannot read.
    let owner = fs::metadata(folder).map_err(failed)?;
    match fchown(&file, Some(owner.uid()), Some(owner.gid())) {
        Err(error) if error.kind() != ErrorKind::PermissionDenied => return Err(failed(error)),
        _ => {}
    }
    file.sync_all().map_err(failed)?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft).map_err(failed)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed(error)),
        _ => {
            let folder = fs::File::open(folder).map_err(failed)?;
            folder.sync_all().map_err(failed)
        }
    }
}
