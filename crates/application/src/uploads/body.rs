//! Receiving the bytes of one request: placed, hashed, written, and kept with the offset as they become durable.

use std::time::Duration;

use bytes::Bytes;
use cloakroom_domain::{AppendError, UploadProgress};
use tokio::time::Instant;

use super::{
    append::Append,
    checksum::Check,
    hold::Held,
    kept::Kept,
    sink::{Closed, Parts, Piece, Sink, put_piece},
};
use crate::{
    Error,
    hashes::Hashes,
    ports::{Ending, RepositoryError, Saved},
    upload::outcome::too_slow,
};

/// When a request that still brings bytes first puts off the end of the upload's time.
const FIRST_RENEWAL: Duration = Duration::from_secs(2);

/// The offset is kept at least this often while bytes come ...
const SAVE_AFTER: Duration = Duration::from_secs(8);
/// ... and after so many bytes.
const SAVE_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes that have become no part for so long go to a piece: a slow client must not hold the memory of a part.
const PARK_AFTER: Duration = Duration::from_secs(20);
/// A piece is never longer, in bytes.
const PIECE_BYTES: u64 = 64 * 1024 * 1024;
/// So many pieces are written together as one before there is another.
const MAX_PIECES: usize = 256;
/// Bytes written at once where it is not known where a part ends.
const STEP: usize = 64 * 1024;

/// One request's bytes on their way into an upload.
pub(super) struct Receiving {
    held: Held,
    /// With what was written, durable or not.
    progress: UploadProgress,
    kept: Kept,
    /// Of every byte up to there; `None` if some went by unhashed.
    hashes: Option<Hashes>,
    sink: Option<Sink>,
    check: Option<Check>,
    /// Bytes that the request announced and that have not come.
    left: Option<u64>,
    is_slow: bool,
    /// When the end of its time is put off again.
    renew_at: Instant,
}

impl Receiving {
    /// Begins to receive into an upload that has been checked to take these bytes.
    pub(super) fn new(mut held: Held, progress: UploadProgress, append: &Append) -> Self {
        let tail = std::mem::take(&mut held.lease.tail);
        let record = held.record();
        let hashes = match &record.hashes {
            _ if progress.offset() == 0 => Some(Hashes::new()),
            Some(state) => Hashes::restore(state),
            None => None,
        };
        Self {
            kept: Kept::new(record, tail),
            hashes: hashes.filter(|hashes| hashes.size() == progress.offset()),
            sink: None,
            check: append.checksum.clone().map(Check::new),
            left: append.body,
            is_slow: false,
            renew_at: Instant::now() + FIRST_RENEWAL.min(held.app.limits.upload_expiry / 4),
            progress,
            held,
        }
    }

    /// Resolves when another request asks for the upload.
    pub(super) async fn asked(&mut self) {
        self.held.holding.asked().await;
    }

    /// How far the upload is, with bytes that are not durable.
    pub(super) const fn progress(&self) -> &UploadProgress {
        &self.progress
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// They are more than the upload's length or the limit: none of these is taken. Failures of database and store.
    pub(super) async fn take(&mut self, data: Bytes) -> Result<(), Error> {
        let limit = self.held.app.limits.max_file_size;
        self.progress
            .place(self.progress.offset(), Some(data.len() as u64), limit)
            .map_err(|error| refusal(error, self.progress.offset()))?;
        if let Some(check) = &mut self.check {
            check.update(&data);
        }
        self.write(data).await?;
        self.renew().await?;
        if self.check.is_none() {
            return self.keep_up().await;
        }
        // It counts as a whole or not at all, so nothing of it can be put aside.
        match &self.sink {
            Some(sink) if sink.holds_up_others() => Err(too_slow()),
            _ => Ok(()),
        }
    }

    async fn write(&mut self, mut data: Bytes) -> Result<(), Error> {
        while !data.is_empty() {
            let cut = self.opened().await?.until_cut();
            self.have_numbers().await?;
            let room = cut.map_or(STEP, |room| usize::try_from(room).unwrap_or(usize::MAX));
            let chunk = data.split_to(room.min(data.len()));
            let length = chunk.len() as u64;
            if let Some(sink) = &mut self.sink {
                sink.write(chunk.clone()).await?;
            }
            if let Some(hashes) = &mut self.hashes {
                hashes.update(&chunk);
            }
            let limit = self.held.app.limits.max_file_size;
            self.progress
                .advance(length, limit)
                .map_err(|error| refusal(error, self.progress.offset()))?;
            self.left = self.left.map(|left| left.saturating_sub(length));
            if cut == Some(length)
                && let Some(hashes) = &self.hashes
            {
                self.kept.snapshot(self.progress.offset(), hashes);
            }
        }
        Ok(())
    }

    /// Gets more numbers of parts before those that were given are used up: whoever takes the upload over gets the ones
    /// behind them, and no number may be used twice.
    async fn have_numbers(&mut self) -> Result<(), Error> {
        let position = self.sink.as_ref().and_then(Sink::position);
        if position.is_none_or(|position| self.kept.has_numbers(&position)) {
            return Ok(());
        }
        self.save().await
    }

    /// An upload that moves does not end, whether or not there is anything to keep.
    async fn renew(&mut self) -> Result<(), Error> {
        if Instant::now() < self.renew_at {
            return Ok(());
        }
        self.renew_at = Instant::now() + self.held.app.limits.upload_expiry / 4;
        let at = self.kept.at;
        match self.save().await {
            Err(Error::Repository(RepositoryError::Unavailable(_))) => Ok(()),
            saved => {
                self.kept.at = at;
                saved
            }
        }
    }

    /// Keeps the offset from time to time, and lets go of memory that a slow client would hold.
    async fn keep_up(&mut self) -> Result<(), Error> {
        let waiting = self.kept.at.elapsed();
        let unkept = self.progress.offset() - self.kept.offset;
        if waiting < SAVE_AFTER && unkept < SAVE_BYTES {
            return Ok(());
        }
        if let Some(sink) = &mut self.sink {
            let durable = sink.durable().await?;
            self.kept.note(durable);
        }
        if self.kept.reached() > self.kept.offset {
            return match self.save().await {
                // It may be back before the body ends; until then the offset stands where it was.
                Err(Error::Repository(RepositoryError::Unavailable(error))) => {
                    tracing::warn!(%error, "the offset of an upload could not be kept");
                    self.kept.at = Instant::now();
                    Ok(())
                }
                saved => saved,
            };
        }
        let is_piece = matches!(self.sink, Some(Sink::Piece(_)));
        if waiting >= PARK_AFTER || (is_piece && unkept >= PIECE_BYTES) {
            return self.park().await;
        }
        Ok(())
    }

    /// Makes everything durable and keeps it; the next bytes open a sink of their own.
    pub(super) async fn park(&mut self) -> Result<(), Error> {
        if self.check.is_some() || self.sink.is_none() {
            return Ok(());
        }
        self.is_slow = true;
        self.close(Ending::More).await?;
        self.save().await
    }

    async fn opened(&mut self) -> Result<&Sink, Error> {
        if self.sink.is_none() {
            let sink = self.open().await?;
            self.sink = Some(sink);
        }
        self.sink
            .as_ref()
            .ok_or_else(|| Error::Internal("an upload without a sink".into()))
    }

    /// Chooses where the next bytes go. What is too short for a part, or comes too slowly to fill one soon, is a piece.
    async fn open(&mut self) -> Result<Sink, Error> {
        let offset = self.progress.offset();
        let pieces = self.kept.pieces().count();
        let start = self.kept.pieces_from();
        let (position, last) = (&self.kept.position, self.kept.last_part());
        let parts = Parts::open(&self.held, position, last).await?;
        let waiting = offset - start;
        let parts = parts.filter(|parts| match (parts.length(), self.left) {
            (None, _) => true,
            (Some(part), Some(left)) if !self.is_slow => waiting + left >= part,
            (Some(_), None) if !self.is_slow => true,
            (Some(part), _) => waiting >= part,
        });
        let (mut sink, gathered) = match parts {
            Some(parts) => (Sink::from(parts), true),
            None if pieces >= MAX_PIECES => {
                (Piece::open(&self.held, start, None).await?.into(), true)
            }
            None => {
                let size = self.left.filter(|_| !self.is_slow);
                (Piece::open(&self.held, offset, size).await?.into(), false)
            }
        };
        if gathered {
            for piece in self.kept.pieces() {
                super::assemble::feed(&self.held.app, piece, &mut sink).await?;
            }
        }
        Ok(sink)
    }

    async fn close(&mut self, ending: Ending) -> Result<(), Error> {
        let Some(sink) = self.sink.take() else {
            return Ok(());
        };
        let Closed {
            stretches,
            rest,
            position,
            error,
        } = sink.close(&self.held.app, ending).await;
        self.kept.note(stretches);
        if let Some(position) = position {
            self.kept.position = position;
        }
        if let Some(error) = error {
            return Err(error);
        }
        if rest.is_empty() {
            return Ok(());
        }
        let length = rest.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        let start = self.progress.offset() - length;
        let piece = put_piece(&self.held, start, length, rest).await?;
        self.kept.note(vec![piece]);
        Ok(())
    }

    fn saved(&mut self) -> Saved {
        let lifetime = self.held.app.limits.upload_expiry;
        self.kept
            .saved(self.progress, self.hashes.as_ref(), lifetime)
    }

    async fn save(&mut self) -> Result<(), Error> {
        if let Some(position) = self.sink.as_ref().and_then(Sink::position) {
            self.kept.position = position;
        }
        let saved = self.saved();
        self.held.save(saved.clone()).await?;
        self.kept.mark_kept(saved);
        Ok(())
    }

    /// Makes the rest durable, keeps it and goes on holding, for the upload is whole.
    ///
    /// # Errors
    /// [`Error::ChunkMismatch`], after which nothing of this request counts; failures of database and store, after
    /// which what is durable is kept, and the upload is held by nobody, if the database can be told.
    pub(super) async fn complete(mut self, length: u64) -> Result<(Held, Option<Hashes>), Error> {
        self.verify().await?;
        if let Err(error) = self.progress.learn(length, u64::MAX) {
            self.let_go(Ending::More).await?;
            return Err(error.into());
        }
        match self.close(Ending::Last).await {
            Ok(()) => {}
            Err(error) => {
                self.let_go(Ending::More).await?;
                return Err(error);
            }
        }
        let saved = self.saved();
        if let Err(error) = self.held.save(saved.clone()).await {
            let _ = self.held.let_go(Some(saved)).await;
            return Err(error);
        }
        self.held.lease.record.hashes = saved.hashes;
        self.held.lease.record.progress = self.progress;
        self.held
            .lease
            .record
            .write_id
            .clone_from(&self.kept.position.write_id);
        self.held.lease.record.next_number = self.kept.position.next_number;
        Ok((self.held, self.hashes))
    }

    /// Makes durable what came, keeps it and lets go of the upload.
    ///
    /// # Errors
    /// As [`Receiving::complete`].
    pub(super) async fn pause(mut self) -> Result<UploadProgress, Error> {
        self.verify().await?;
        self.let_go(Ending::More).await
    }

    /// Keeps what came of a request that was cut short, unless it stated a checksum: then nothing of it counts.
    pub(super) async fn cut_short(mut self) -> Result<UploadProgress, Error> {
        if self.check.take().is_some() {
            return self.discard().await;
        }
        self.let_go(Ending::More).await
    }

    /// Ends the upload for good: more came than can belong to it.
    pub(super) async fn fail(mut self, why: &str) -> Result<(), Error> {
        if let Some(sink) = self.sink.take() {
            sink.discard(&self.held.app).await;
        }
        self.held.fail(why).await
    }

    async fn verify(&mut self) -> Result<(), Error> {
        if self.check.take().is_none_or(Check::holds) {
            return Ok(());
        }
        self.discard().await?;
        Err(Error::ChunkMismatch)
    }

    async fn discard(&mut self) -> Result<UploadProgress, Error> {
        if let Some(sink) = self.sink.take() {
            if let Some(position) = sink.position() {
                self.kept.position = position;
            }
            sink.discard(&self.held.app).await;
        }
        let position = &self.kept.position;
        let saved = Saved {
            write_id: position.write_id.clone(),
            ..self.held.unchanged(position.next_number)
        };
        self.held.let_go(Some(saved)).await?;
        Ok(self.held.record().progress)
    }

    async fn let_go(&mut self, ending: Ending) -> Result<UploadProgress, Error> {
        let closed = self.close(ending).await;
        let saved = self.saved();
        let progress = saved.progress;
        self.held.let_go(Some(saved)).await?;
        closed.map(|()| progress)
    }
}

/// A refusal of bytes, as the use case tells it.
pub(super) fn refusal(error: AppendError, provided: u64) -> Error {
    match error {
        AppendError::Misplaced(expected) => Error::WrongOffset { expected, provided },
        AppendError::TooLarge(limit) => Error::TooLarge { limit },
        beyond @ AppendError::BeyondLength(_) => Error::InconsistentLength(beyond.to_string()),
    }
}
