//! Reading a body back, from wherever its row says it is.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use cloakroom_domain::{ByteRange, File, Validators, Version};

use crate::{
    App, Authorized, Error, StoreOperation,
    checked::checked,
    ports::{Payload, PresignedUrl, StoreError},
};

/// A body or stretch up to this many bytes is not worth a proxy's trouble.
const SMALL: u64 = 64 * 1024;

/// How long a proxy may take to begin with an address that it was given.
const ADDRESS_VALID: Duration = Duration::from_secs(60);

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

/// A body for a caller behind a proxy that can send bodies by itself.
pub enum Delivery {
    /// Bytes for us to send.
    Bytes(Payload),
    /// A file for the proxy to send, by its path below the root of the folder.
    File(PathBuf),
    /// The proxy fetches it at this address, within the next minute.
    Address(PresignedUrl),
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
    located(app, selected, async |version| {
        read(app, version, range).await
    })
    .await
}

/// As [`open`], for a proxy that can send the body by itself. What goes out faster from memory comes as bytes.
///
/// What the proxy sends is held to no checksum. A presigned object may turn out not to be there; then the proxy asks
/// again, and gets what [`open`] gives.
///
/// # Errors
/// As [`open`].
pub async fn hand_over(
    app: &App,
    selected: &Selected,
    range: Option<ByteRange>,
) -> Result<Delivery, Error> {
    located(app, selected, async |version| {
        offer(app, version, range).await
    })
    .await
}

/// Does something with the version's object, and once more where it is by then if it is not there.
async fn located<T>(
    app: &App,
    selected: &Selected,
    attempt: impl AsyncFn(&Version) -> Result<T, Error>,
) -> Result<T, Error> {
    let not_there = |error: &Error| {
        matches!(
            error,
            Error::Store {
                source: StoreError::NotFound,
                ..
            }
        )
    };
    match attempt(&selected.version).await {
        Err(error) if not_there(&error) => {}
        answer => return answer,
    }
    let version = relocate(app, selected).await?;
    match attempt(&version).await {
        Err(error) if not_there(&error) => {
            tracing::error!(file = %selected.file.id, version = %version.id, "stored bytes are missing");
            Err(Error::BytesMissing)
        }
        answer => answer,
    }
}

async fn offer(app: &App, version: &Version, range: Option<ByteRange>) -> Result<Delivery, Error> {
    let failed = Error::store(StoreOperation::Download);
    let stretch = range.unwrap_or(ByteRange {
        start: 0,
        end: version.size,
    });
    let at = &version.location;
    let store = app.stores.at(at)?;
    if stretch.len() <= SMALL {
        return read(app, version, range).await.map(Delivery::Bytes);
    }
    if let Some(presign) = store.presign() {
        // Memory is nearer than the store.
        if app.hot.takes(version.size) {
            return read(app, version, range).await.map(Delivery::Bytes);
        }
        let signed = presign.get(&at.bucket, &at.key, ADDRESS_VALID).await;
        return signed.map(Delivery::Address).map_err(failed);
    }
    match store.read(&at.bucket, &at.key, Some(stretch)).await {
        Ok(Payload::File(file)) => Ok(Delivery::File(file.path)),
        Ok(other) => held(app, version, range, other).map(Delivery::Bytes),
        Err(error) => Err(failed(error)),
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
    held(app, version, range, payload)
}

/// Holds what the store gave to what the row states, and keeps it if it is whole and small.
fn held(
    app: &App,
    version: &Version,
    range: Option<ByteRange>,
    payload: Payload,
) -> Result<Payload, Error> {
    let whole = range.is_none_or(|r| r.len() == version.size);
    let crc64 = version.crc64.filter(|_| whole);
    let length = range.map_or(version.size, |r| r.len());
    let failed = Error::store(StoreOperation::Download);
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
