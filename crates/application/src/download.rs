//! Reading a body back, from wherever its row says it is.

use bytes::Bytes;
use cloakroom_domain::{ByteRange, File, Validators, Version};

use crate::{
    App, Authorized, Error, StoreOperation,
    checked::checked,
    ports::{Payload, StoreError},
};

/// One body of a file that its caller may read.
#[derive(Debug, Clone)]
pub struct Selected {
    file: File,
    version: Version,
    validators: Validators,
}

impl Selected {
    /// The file.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// The body.
    #[must_use]
    pub const fn version(&self) -> &Version {
        &self.version
    }

    /// The body's validators. The current version's date is when it became current.
    #[must_use]
    pub const fn validators(&self) -> &Validators {
        &self.validators
    }
}

/// Selects the current version.
#[must_use]
pub fn current(file: Authorized<File>) -> Selected {
    let file = file.into_inner();
    Selected {
        validators: Validators {
            etag: file.current.etag(),
            last_modified: file.current_since.seconds(),
        },
        version: file.current.clone(),
        file,
    }
}

/// Selects a version by its number.
///
/// # Errors
/// [`Error::NotFound`] if the file has no such version.
pub async fn select(app: &App, file: Authorized<File>, number: u64) -> Result<Selected, Error> {
    let version = app
        .files
        .version(&file.id, number)
        .await?
        .ok_or(Error::NotFound)?;
    Ok(Selected {
        validators: Validators {
            etag: version.etag(),
            last_modified: version.created_at.seconds(),
        },
        version,
        file: file.into_inner(),
    })
}

/// Opens the body or a stretch of it.
///
/// A whole read is checked against the version's CRC-64 before its last bytes are given out.
/// An object that is not there is looked up once more through an uncached row: it may just have moved.
///
/// # Errors
/// [`Error::BytesMissing`] if the row is there and the bytes are not, [`Error::NotFound`] if the file went away
/// meanwhile, [`Error::Store`] if the store fails.
pub async fn open(
    app: &App,
    selected: &Selected,
    range: Option<ByteRange>,
) -> Result<Payload, Error> {
    match read(app, &selected.version, range).await {
        Err(Error::Store {
            source: StoreError::NotFound,
            ..
        }) => {
            let version = relocate(app, selected).await?;
            match read(app, &version, range).await {
                Err(Error::Store {
                    source: StoreError::NotFound,
                    ..
                }) => {
                    tracing::error!(file = %selected.file.id, version = %version.id, "stored bytes are missing");
                    Err(Error::BytesMissing)
                }
                answer => answer,
            }
        }
        answer => answer,
    }
}

async fn read(app: &App, version: &Version, range: Option<ByteRange>) -> Result<Payload, Error> {
    let failed = Error::store(StoreOperation::Download);
    if let Some(body) = app.hot.get(&version.id, version.size) {
        return stretch(&body, range).map(Payload::Ready).map_err(failed);
    }
    let at = &version.location;
    let payload = app
        .stores
        .at(at)?
        .read(&at.bucket, &at.key, range)
        .await
        .map_err(failed)?;
    let whole = range.is_none_or(|r| r.len() == version.size);
    let crc64 = version.crc64.filter(|_| whole);
    let length = range.map_or(version.size, |r| r.len());
    let payload = checked(payload, length, crc64).map_err(failed)?;
    Ok(if whole {
        app.hot.keep(version.id, version.size, payload)
    } else {
        payload
    })
}

fn stretch(body: &Bytes, range: Option<ByteRange>) -> Result<Bytes, StoreError> {
    let Some(range) = range else {
        return Ok(body.clone());
    };
    let within = |at: u64| usize::try_from(at).ok().filter(|at| *at <= body.len());
    match (within(range.start), within(range.end)) {
        (Some(start), Some(end)) if start <= end => Ok(body.slice(start..end)),
        _ => Err(StoreError::Broken("a stretch beyond the end".into())),
    }
}

async fn relocate(app: &App, selected: &Selected) -> Result<Version, Error> {
    let id = &selected.file.id;
    let file = app
        .files
        .find_fresh(id)
        .await?
        .filter(|file| file.deleted_at.is_none());
    let file = file.ok_or(Error::NotFound)?;
    if file.current.id == selected.version.id {
        return Ok(file.current);
    }
    app.files
        .version(id, selected.version.number)
        .await?
        .ok_or(Error::NotFound)
}
