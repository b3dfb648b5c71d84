//! Stretches of an upload made one object.

use cloakroom_domain::{FileId, Location, VersionId};
use futures_util::StreamExt;

use super::{
    hold::Held,
    sink::{Parts, Sink, unfinished},
};
use crate::{
    App, Error, StoreOperation,
    hashes::Hashes,
    ports::{
        ByteStream, Ending, ObjectStore, Payload, Saved, StoreError, Stretch, StretchAt,
        WriteHints, WritePosition,
    },
};

const UPLOAD: StoreOperation = StoreOperation::Upload;

/// The one object that all bytes of an upload are in.
pub(super) struct Body {
    pub(super) version: VersionId,
    pub(super) location: Location,
}

/// What a commit makes a file of.
pub(super) struct Made {
    pub(super) body: Body,
    /// Of all its bytes.
    pub(super) hashes: Hashes,
    /// The partial uploads that it was made of.
    pub(super) partials: Vec<FileId>,
}

/// Joins the upload's stretches. It may be asked again after it broke off anywhere.
///
/// # Errors
/// Failures of database and store.
pub(super) async fn gather(held: &Held) -> Result<Body, Error> {
    let record = held.record();
    let mut stretches = held.app.uploads.stretches(&record.id).await?;
    let target = Body {
        version: record.version,
        location: record.location.clone(),
    };
    let has_parts = stretches.iter().any(|it| it.as_part().is_some());
    let pieces = stretches.iter().filter(|it| it.piece().is_some()).count();
    match (has_parts, pieces) {
        (true, 0) => join_parts(held, &stretches).await?,
        (true, _) => {
            append_pieces(held, &stretches).await?;
            stretches = held.app.uploads.stretches(&record.id).await?;
            join_parts(held, &stretches).await?;
        }
        (false, 1) if record.kind != cloakroom_domain::UploadKind::Partial => {
            if let Some(StretchAt::Piece { version, location }) = stretches.pop().map(|it| it.at) {
                return Ok(Body { version, location });
            }
        }
        (false, _) => {
            let sources: Vec<Location> = stretches.into_iter().filter_map(location).collect();
            write_object(held, &sources, None).await?;
        }
    }
    Ok(target)
}

fn location(stretch: Stretch) -> Option<Location> {
    match stretch.at {
        StretchAt::Piece { location, .. } => Some(location),
        StretchAt::Part { .. } => None,
    }
}

async fn join_parts(held: &Held, stretches: &[Stretch]) -> Result<(), Error> {
    let record = held.record();
    let store = held.app.stores.at(&record.location).await?;
    let resumable = store.resumable().ok_or_else(no_parts)?;
    let object = unfinished(&record.location, record.write_id.clone());
    let parts: Vec<_> = stretches.iter().filter_map(Stretch::as_part).collect();
    resumable
        .join(&object, &parts)
        .await
        .map_err(Error::store(UPLOAD))
}

/// Makes parts of the pieces that lie behind parts.
async fn append_pieces(held: &Held, stretches: &[Stretch]) -> Result<(), Error> {
    let record = held.record();
    let position = WritePosition {
        write_id: record.write_id.clone(),
        next_number: record.next_number,
    };
    let last = stretches.iter().rev().find(|it| it.piece().is_none());
    let parts = Parts::open(held, &position, last).await?;
    let mut sink = Sink::from(parts.ok_or_else(no_parts)?);
    let pieces = stretches.iter().filter(|it| it.piece().is_some());
    for piece in pieces {
        feed(&held.app, piece, &mut sink).await?;
    }
    let closed = sink.close(&held.app, Ending::Last).await;
    if let Some(error) = closed.error {
        return Err(error);
    }
    let changed_from = closed.stretches.first().map_or(0, |first| first.start);
    let position = closed.position.unwrap_or(position);
    held.save(Saved {
        progress: record.progress,
        hashes: record.hashes.clone(),
        write_id: position.write_id,
        next_number: position.next_number,
        changed_from,
        stretches: closed.stretches,
        lifetime: Some(held.app.limits.upload_expiry),
    })
    .await
}

/// Writes the upload's object out of others, unless it is there already. What it writes is hashed if asked.
///
/// # Errors
/// Failures of database and store.
pub(super) async fn write_object(
    held: &Held,
    sources: &[Location],
    mut hashes: Option<&mut Hashes>,
) -> Result<(), Error> {
    let (app, record) = (&held.app, held.record());
    let at = &record.location;
    let store = app.stores.at(at).await?;
    match store.head(&at.bucket, &at.key).await {
        Ok(found) if hashes.is_none() && Some(found.size) == record.progress.length() => {
            return Ok(());
        }
        Ok(_) => remove(store.as_ref(), at).await?,
        // Whoever held it before may have begun to write it.
        Err(StoreError::NotFound) if record.generation > 1 => {
            remove(store.as_ref(), at).await?;
        }
        Err(StoreError::NotFound) => {}
        Err(error) => return Err(Error::store(UPLOAD)(error)),
    }
    let hints = WriteHints {
        size: record.progress.length(),
    };
    let writer = store.begin(&at.bucket, &at.key, hints).await;
    let mut writer = writer.map_err(Error::store(UPLOAD))?;
    for source in sources {
        let mut bytes = read(app, source).await?;
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk.map_err(Error::store(UPLOAD))?;
            if let Some(hashes) = &mut hashes {
                hashes.update(&chunk);
            }
            writer.write(chunk).await.map_err(Error::store(UPLOAD))?;
        }
    }
    writer.finish().await.map_err(Error::store(UPLOAD))
}

async fn remove(store: &dyn ObjectStore, at: &Location) -> Result<(), Error> {
    let removed = store
        .delete(&at.bucket, std::slice::from_ref(&at.key))
        .await;
    let removed: Result<Vec<()>, StoreError> = removed.into_iter().collect();
    removed.map(drop).map_err(Error::store(UPLOAD))
}

/// Gives a piece to a sink.
///
/// # Errors
/// Failures of the stores.
pub(super) async fn feed(app: &App, piece: &Stretch, sink: &mut Sink) -> Result<(), Error> {
    let StretchAt::Piece { location, .. } = &piece.at else {
        return Ok(());
    };
    let mut bytes = read(app, location).await?;
    let mut left = piece.size;
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk.map_err(Error::store(UPLOAD))?;
        left = left.saturating_sub(chunk.len() as u64);
        sink.write(chunk).await?;
    }
    if left > 0 {
        let short = StoreError::Broken("a piece is shorter than its row states".into());
        return Err(Error::store(UPLOAD)(short));
    }
    Ok(())
}

/// The hashes of an object, by reading it.
///
/// # Errors
/// Failures of the store.
pub(super) async fn rehash(app: &App, location: &Location) -> Result<Hashes, Error> {
    let mut hashes = Hashes::new();
    let mut bytes = read(app, location).await?;
    while let Some(chunk) = bytes.next().await {
        hashes.update(&chunk.map_err(Error::store(UPLOAD))?);
    }
    Ok(hashes)
}

/// The bytes of an object.
///
/// # Errors
/// Failures of the store.
pub(super) async fn read(app: &App, location: &Location) -> Result<ByteStream, Error> {
    let store = app.stores.at(location).await?;
    let payload = store.read(&location.bucket, &location.key, None).await;
    payload
        .map(Payload::into_stream)
        .map_err(Error::store(UPLOAD))
}

fn no_parts() -> Error {
    Error::Internal("an upload has parts in a store that has none".into())
}
