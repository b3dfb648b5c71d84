//! Where the bytes of one request go: into parts of the unfinished object, or into a piece of their own.

use std::time::Duration;

use bytes::Bytes;
use cloakroom_domain::{Location, ObjectKey, VersionId};

use super::hold::Held;
use crate::{
    App, Error, StoreOperation,
    ports::{
        Ending, NewPiece, ObjectWriter, PartsWriter, Resume, StoreError, StoredPart, Stretch,
        StretchAt, Unfinished, WriteHints, WritePosition,
    },
    upload::outcome,
};

/// Takes bytes and turns them into stretches.
pub(super) enum Sink {
    Parts(Parts),
    Piece(Piece),
}

/// A writer of parts, and where they are in the upload.
pub(super) struct Parts {
    writer: Box<dyn PartsWriter>,
    /// The offset behind the last part that is known to be durable.
    end: u64,
    /// That part, which may grow.
    last: Option<(u32, u64)>,
}

/// An object of its own.
pub(super) struct Piece {
    version: VersionId,
    location: Location,
    writer: Box<dyn ObjectWriter>,
    start: u64,
    size: u64,
}

/// What a sink left when it was closed.
#[derive(Default)]
pub(super) struct Closed {
    /// Durable stretches that were not told before.
    pub(super) stretches: Vec<Stretch>,
    /// Bytes behind them that still have to be made durable, as a piece.
    pub(super) rest: Vec<Bytes>,
    /// Where the writer of parts was.
    pub(super) position: Option<WritePosition>,
    /// What went wrong, if something did: the stretches stand all the same.
    pub(super) error: Option<Error>,
}

const UPLOAD: StoreOperation = StoreOperation::Upload;

impl Sink {
    /// Takes the next bytes.
    pub(super) async fn write(&mut self, data: Bytes) -> Result<(), Error> {
        let written = match self {
            Self::Parts(parts) => parts.writer.write(data).await,
            Self::Piece(piece) => {
                piece.size += data.len() as u64;
                piece.writer.write(data).await
            }
        };
        written.map_err(Error::store(UPLOAD))
    }

    /// Whether it has held memory for long that others wait for.
    pub(super) fn holds_up_others(&self) -> bool {
        match self {
            Self::Parts(parts) => parts.writer.holds_up_others(),
            Self::Piece(piece) => piece.writer.holds_up_others(),
        }
    }

    /// How many bytes more end where a part ends; `None` if any number does, or it is not known yet.
    pub(super) fn until_cut(&self) -> Option<u64> {
        match self {
            Self::Parts(parts) => parts.writer.until_cut().filter(|room| *room > 0),
            Self::Piece(_) => None,
        }
    }

    /// Stretches that are durable by now and were not told before.
    pub(super) async fn durable(&mut self) -> Result<Vec<Stretch>, Error> {
        match self {
            Self::Parts(parts) => {
                let durable = parts.writer.durable().await.map_err(Error::store(UPLOAD))?;
                Ok(parts.place(durable))
            }
            Self::Piece(_) => Ok(Vec::new()),
        }
    }

    /// Where the writer of parts is.
    pub(super) fn position(&self) -> Option<WritePosition> {
        match self {
            Self::Parts(parts) => Some(parts.writer.position()),
            Self::Piece(_) => None,
        }
    }

    /// Makes durable what it took.
    pub(super) async fn close(self, app: &App, ending: Ending) -> Closed {
        match self {
            Self::Parts(parts) => parts.close(ending).await,
            Self::Piece(piece) => piece.close(app).await,
        }
    }

    /// Forgets what it took.
    pub(super) async fn discard(self, app: &App) {
        if let Self::Piece(piece) = self {
            piece.discard(app).await;
        }
    }
}

impl Parts {
    /// Opens a writer of parts behind `tail`, or `None` in a store that has no parts.
    pub(super) async fn open(
        held: &Held,
        position: &WritePosition,
        last: Option<&Stretch>,
    ) -> Result<Option<Self>, Error> {
        let record = held.record();
        let store = held.app.stores.at(&record.location).await?;
        let Some(resumable) = store.resumable() else {
            return Ok(None);
        };
        let object = unfinished(&record.location, position.write_id.clone());
        // Parts of our own, and those whose writer has let go.
        let first = record.next_number;
        let growing = last.filter(|last| {
            let own = |part: StoredPart| part.number >= first;
            held.lease.is_alone || last.as_part().is_some_and(own)
        });
        let resume = Resume {
            first_number: position.next_number,
            growing: growing.and_then(Stretch::as_part),
            size: record.progress.length(),
        };
        let writer = resumable.resume(&object, resume).await;
        let number = |stretch: &Stretch| stretch.as_part().map(|part| (part.number, stretch.start));
        Ok(Some(Self {
            writer: writer.map_err(Error::store(UPLOAD))?,
            end: last.map_or(0, Stretch::end),
            last: growing.and_then(number),
        }))
    }

    /// How long parts are; `None` where they may be cut anywhere.
    pub(super) fn length(&self) -> Option<u64> {
        self.writer.until_cut()
    }

    fn place(&mut self, parts: Vec<StoredPart>) -> Vec<Stretch> {
        let mut stretches = Vec::with_capacity(parts.len());
        for part in parts {
            let start = match self.last {
                Some((number, start)) if number == part.number => start,
                _ => self.end,
            };
            self.last = Some((part.number, start));
            self.end = start + part.size;
            stretches.push(Stretch::part(start, part));
        }
        stretches
    }

    async fn close(mut self, ending: Ending) -> Closed {
        let (parts, rest, error) = match self.writer.suspend(ending).await {
            Ok(left) => (left.parts, left.rest, None),
            Err(error) => (
                self.writer.durable().await.unwrap_or_default(),
                Vec::new(),
                Some(Error::store(UPLOAD)(error)),
            ),
        };
        Closed {
            stretches: self.place(parts),
            rest,
            position: Some(self.writer.position()),
            error,
        }
    }
}

impl Piece {
    /// Begins a piece at `start`, of `size` bytes if that is known.
    ///
    /// # Errors
    /// [`Error::UploadHeld`] if another request has taken the upload; failures of database and store.
    pub(super) async fn open(held: &Held, start: u64, size: Option<u64>) -> Result<Self, Error> {
        let app = &held.app;
        let (version, location) = piece_row(held).await?;
        let opened = app
            .stores
            .at(&location)
            .await?
            .begin(&location.bucket, &location.key, WriteHints { size })
            .await;
        match opened {
            Ok(writer) => Ok(Self {
                version,
                location,
                writer,
                start,
                size: 0,
            }),
            Err(error) => {
                give_up(app, version, &error).await;
                Err(Error::store(UPLOAD)(error))
            }
        }
    }

    async fn close(self, app: &App) -> Closed {
        if self.size == 0 {
            self.discard(app).await;
            return Closed::default();
        }
        match self.writer.finish().await {
            Ok(()) => Closed {
                stretches: vec![Stretch {
                    start: self.start,
                    size: self.size,
                    at: StretchAt::Piece {
                        version: self.version,
                        location: self.location,
                    },
                }],
                ..Closed::default()
            },
            Err(error) => {
                give_up(app, self.version, &error).await;
                Closed {
                    error: Some(Error::store(UPLOAD)(error)),
                    ..Closed::default()
                }
            }
        }
    }

    async fn discard(self, app: &App) {
        let delay = match self.writer.abort().await {
            Ok(()) => Duration::ZERO,
            Err(error) => app.limits.delay_after(&error),
        };
        outcome::clean_up(app, self.version, &self.location, delay).await;
    }
}

impl From<Parts> for Sink {
    fn from(parts: Parts) -> Self {
        Self::Parts(parts)
    }
}

impl From<Piece> for Sink {
    fn from(piece: Piece) -> Self {
        Self::Piece(piece)
    }
}

/// Commits the row of a piece.
async fn piece_row(held: &Held) -> Result<(VersionId, Location), Error> {
    let record = held.record();
    let version = VersionId::random();
    let owner = &record.target.owner;
    let key = ObjectKey::mint(&owner.account, &record.id, &record.target.name);
    let uploads = &held.app.uploads;
    let piece = NewPiece {
        version,
        key,
        seal: held.app.stores.new_seal(version)?,
    };
    let begun = uploads.begin_piece(&record.id, held.generation(), piece);
    let location = begun.await?.ok_or(Error::UploadHeld)?;
    Ok((version, location))
}

/// Writes what a writer of parts left, which is in memory, as a piece.
///
/// # Errors
/// As [`Piece::open`].
pub(super) async fn put_piece(
    held: &Held,
    start: u64,
    size: u64,
    bytes: Vec<Bytes>,
) -> Result<Stretch, Error> {
    let app = &held.app;
    let (version, location) = piece_row(held).await?;
    let store = app.stores.at(&location).await?;
    if let Err(error) = store.put(&location.bucket, &location.key, bytes).await {
        give_up(app, version, &error).await;
        return Err(Error::store(UPLOAD)(error));
    }
    let at = StretchAt::Piece { version, location };
    Ok(Stretch { start, size, at })
}

/// The object at an address, before it is one.
pub(super) fn unfinished(location: &Location, write_id: Option<String>) -> Unfinished {
    Unfinished {
        bucket: location.bucket.clone(),
        key: location.key.clone(),
        write_id,
    }
}

/// Leaves a piece that came to nothing to the sweeper, later where its write may still land.
async fn give_up(app: &App, version: VersionId, error: &StoreError) {
    let delay = app.limits.delay_after(error);
    if let Err(error) = app.ledger.give_up(version, delay).await {
        // Its row ends with the upload.
        tracing::warn!(%error, "a piece of an upload is left until the upload ends");
    }
}
