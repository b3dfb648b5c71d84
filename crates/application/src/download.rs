//! Reading a body back, from wherever its row says it is.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use cloakroom_domain::{ByteRange, File, Validators, Version};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{error::Elapsed, timeout};

use crate::{
    App, Authorized, Error, StoreOperation,
    checked::checked,
    ports::{ObjectStore, Payload, PresignedUrl, StoreError},
};

/// A body or stretch up to this many bytes is not worth a proxy's trouble, and is held in memory before it is sent.
const SMALL: u64 = 64 * 1024;

/// How long a proxy may take to begin with an address that it was given.
const ADDRESS_VALID: Duration = Duration::from_secs(60);

/// How long it may take until the first bytes are there, whatever has to be asked for them.
const PATIENCE: Duration = Duration::from_millis(9_500);

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
/// A whole read is checked against the version's CRC-64 before its last bytes are given out. What is broken before the
/// first of them is read once more. The first bytes are there within ten seconds, or it is an error.
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
    in_time(located(app, selected, async |version| {
        read(app, version, range).await
    }))
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
    in_time(located(app, selected, async |version| {
        offer(app, version, range).await
    }))
    .await
}

async fn in_time<T>(opening: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = |late: Elapsed| StoreError::Unavailable(late.into());
    let opened = timeout(PATIENCE, opening).await.map_err(late);
    opened.map_err(Error::store(StoreOperation::Download))?
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
    let store = app.stores.at(at).await?;
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
        read => whole_or_begun(app, store.as_ref(), version, range, read)
            .await
            .map(Delivery::Bytes),
    }
}

async fn read(app: &App, version: &Version, range: Option<ByteRange>) -> Result<Payload, Error> {
    let failed = Error::store(StoreOperation::Download);
    if let Some(body) = app.hot.get(&version.id, version.size) {
        return stretch(&body, range).map(Payload::Ready).map_err(failed);
    }
    let at = &version.location;
    let store = app.stores.at(at).await?;
    let read = store.read(&at.bucket, &at.key, range).await;
    whole_or_begun(app, store.as_ref(), version, range, read).await
}

/// What was read, and what is read once more if that was broken before any of it was given out: often it was so only
/// on its way here.
async fn whole_or_begun(
    app: &App,
    store: &dyn ObjectStore,
    version: &Version,
    range: Option<ByteRange>,
    read: Result<Payload, StoreError>,
) -> Result<Payload, Error> {
    let failed = Error::store(StoreOperation::Download);
    match held(app, version, range, read).await {
        Err(StoreError::Broken(why)) => {
            tracing::warn!(%why, version = %version.id, "a body is read once more");
        }
        answer => return answer.map_err(failed),
    }
    let at = &version.location;
    let read = store.read(&at.bucket, &at.key, range).await;
    let held = held(app, version, range, read).await;
    if let Err(StoreError::Broken(why)) = &held {
        tracing::error!(%why, version = %version.id, "a stored body is broken");
    }
    held.map_err(failed)
}

/// Holds what the store gives to what the row states, and keeps it if it is whole and small.
async fn held(
    app: &App,
    version: &Version,
    range: Option<ByteRange>,
    read: Result<Payload, StoreError>,
) -> Result<Payload, StoreError> {
    let whole = range.is_none_or(|r| r.len() == version.size);
    let crc64 = version.crc64.filter(|_| whole);
    let length = range.map_or(version.size, |r| r.len());
    let payload = begun(checked(read?, length, crc64)?, length).await?;
    Ok(if whole {
        app.hot.keep(version.id, version.size, payload)
    } else {
        payload
    })
}

/// A small body as a whole, and a larger one once its first bytes are there, so that what fails by then is an error and
/// not a body that breaks off.
async fn begun(payload: Payload, length: u64) -> Result<Payload, StoreError> {
    if matches!(payload, Payload::Ready(_)) {
        return Ok(payload);
    }
    let mut bytes = payload.into_stream();
    if length > SMALL {
        let first = bytes.try_next().await?;
        let first = stream::iter(first.map(Ok));
        return Ok(Payload::Stream(Box::pin(first.chain(bytes))));
    }
    // Copied: a chunk may keep a much larger buffer alive, for as long as the body is in memory.
    let chunks: Vec<Bytes> = bytes.try_collect().await?;
    Ok(Payload::Ready(chunks.concat().into()))
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
