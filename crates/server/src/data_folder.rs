//! The folder for everything that the service keeps on its own disk.

use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt, path::Path};

use crate::{config::Config, failure::Failure};

/// Makes the data folder, for its owner only, unless it is there.
///
/// # Errors
/// It cannot be made.
pub(crate) fn make(config: &Config) -> Result<&Path, Failure> {
    let path = config.store.data_dir.as_path();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| {
        let what = format!("the data folder {} cannot be made", path.display());
        Failure::because(&what, &error)
    })?;
    Ok(path)
}
