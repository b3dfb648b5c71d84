//! The versions of a file.

use cloakroom_domain::{File, Version};

use crate::{App, Authorized, Error, page::PageSize, ports::VersionError};

const DEFAULT_PAGE: u32 = 100;

/// A page of versions, newest number first.
#[derive(Debug, Clone)]
pub struct VersionPage {
    /// The versions.
    pub items: Vec<Version>,
    /// Go on below this number; `None` at the end.
    pub next: Option<u64>,
}

/// Lists the stored versions of a file, newest number first.
///
/// # Errors
/// [`Error::BadValue`] for a limit outside 1–1000.
pub async fn versions(
    app: &App,
    file: &Authorized<File>,
    before: Option<u64>,
    limit: Option<u32>,
) -> Result<VersionPage, Error> {
    let size = PageSize::of(limit, DEFAULT_PAGE)?;
    let mut items = app.files.versions(&file.id, before, size.and_one()).await?;
    let next = size.cut(&mut items, |version| version.number);
    Ok(VersionPage { items, next })
}

/// Makes a version the current one again.
///
/// # Errors
/// [`Error::NotFound`] if there is no such version, or the file went away.
pub async fn restore_version(
    app: &App,
    file: &Authorized<File>,
    number: u64,
) -> Result<File, Error> {
    app.files
        .restore_version(&file.id, number)
        .await
        .map_err(refused)
}

/// Deletes a version. Its bytes stay for the delay of deletions.
///
/// # Errors
/// [`Error::Conflict`] for the current version, [`Error::NotFound`].
pub async fn delete_version(
    app: &App,
    file: &Authorized<File>,
    number: u64,
) -> Result<File, Error> {
    let delay = i64::try_from(app.limits.delete_delay.as_micros()).unwrap_or(i64::MAX);
    app.files
        .delete_version(&file.id, number, delay)
        .await
        .map_err(refused)
}

fn refused(error: VersionError) -> Error {
    match error {
        VersionError::NotFound => Error::NotFound,
        VersionError::Current => Error::Conflict("the current version cannot be deleted"),
        VersionError::Repository(error) => error.into(),
    }
}
