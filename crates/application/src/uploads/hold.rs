//! Holding an upload: one request at a time changes it, and the newest one wins.

use std::{sync::Arc, time::Duration};

use cloakroom_domain::{FileId, Sha256Digest, UploadState};
use tokio::time::{Instant, sleep};

use crate::{
    App, Error,
    ports::{Ask, Asked, Lease, Saved, Stretch, UploadRecord},
    sweep,
    turns::Holding,
};

/// How long whoever holds an upload has to flush what it received.
const PATIENCE: Duration = Duration::from_secs(2);

/// The first and the longest pause before a held upload is asked for again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(50));

/// What became of taking an upload.
pub(super) enum Taken {
    /// It is ours.
    Held(Held),
    /// There is nothing to hold any more.
    Ended(Box<UploadRecord>),
}

/// An upload that this request holds, until a newer one takes it.
pub(super) struct Held {
    pub(super) app: Arc<App>,
    pub(super) lease: Box<Lease>,
    pub(super) holding: Holding,
}

/// Takes the upload: at once if nobody holds it, else once its holder has yielded, after two seconds at the latest.
///
/// # Errors
/// [`Error::UploadMissing`]; [`Error::UploadHeld`] if a newer request asked for it, or if its bytes are being made a
/// file; failures of the database.
pub(super) async fn hold(app: &Arc<App>, id: &FileId) -> Result<Taken, Error> {
    let begun = Instant::now();
    let (mut pause, longest) = PAUSES;
    let mut ask = Ask::First;
    loop {
        match app.uploads.ask(id, ask).await? {
            Asked::Ours(lease) => {
                return Ok(Taken::Held(Held {
                    app: Arc::clone(app),
                    holding: app.turns.hold(&lease),
                    lease,
                }));
            }
            Asked::Ended(record) => return Ok(Taken::Ended(record)),
            Asked::Missing => return Err(Error::UploadMissing),
            Asked::Superseded => return Err(Error::UploadHeld),
            Asked::Completing if begun.elapsed() > PATIENCE => return Err(Error::UploadHeld),
            Asked::Completing => {}
            Asked::Held(turn) => {
                app.turns.ask(id, turn);
                ask = if begun.elapsed() > PATIENCE {
                    Ask::Insist(turn)
                } else {
                    Ask::Again(turn)
                };
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

impl Held {
    pub(super) fn id(&self) -> &FileId {
        &self.lease.record.id
    }

    pub(super) fn record(&self) -> &UploadRecord {
        &self.lease.record
    }

    pub(super) fn generation(&self) -> u64 {
        self.lease.record.generation
    }

    /// Keeps the digest that the whole has to have, whoever makes a file of it.
    ///
    /// # Errors
    /// As [`Held::save`].
    pub(super) async fn expect(&mut self, digest: Sha256Digest) -> Result<(), Error> {
        let uploads = &self.app.uploads;
        let kept = uploads
            .expect_digest(self.id(), self.generation(), digest)
            .await?;
        self.lease.record.target.digest.get_or_insert(digest);
        kept.then_some(()).ok_or(Error::UploadHeld)
    }

    /// Keeps what was achieved and goes on.
    ///
    /// # Errors
    /// [`Error::UploadHeld`] if another request has taken it.
    pub(super) async fn save(&self, saved: Saved) -> Result<(), Error> {
        let kept = self
            .app
            .uploads
            .save(self.id(), self.generation(), saved)
            .await?;
        kept.then_some(()).ok_or(Error::UploadHeld)
    }

    /// Keeps what was achieved, if anything, and lets go.
    ///
    /// # Errors
    /// As [`Held::save`].
    pub(super) async fn let_go(&self, saved: Option<Saved>) -> Result<(), Error> {
        let kept = self
            .app
            .uploads
            .release(self.id(), self.generation(), saved)
            .await?;
        kept.then_some(()).ok_or(Error::UploadHeld)
    }

    /// What keeps everything as the record has it, the end of its time too, but for the numbers of parts that were begun
    /// since. For a holder that has saved nothing.
    pub(super) fn unchanged(&self, next_number: u32) -> Saved {
        let record = self.record();
        Saved {
            progress: record.progress,
            hashes: record.hashes.clone(),
            write_id: record.write_id.clone(),
            next_number: next_number.max(record.next_number),
            changed_from: record.progress.offset(),
            stretches: Vec::new(),
            lifetime: None,
        }
    }

    /// Ends the upload for good: its creator gave it up.
    ///
    /// # Errors
    /// As [`Held::save`].
    pub(super) async fn terminate(self) -> Result<(), Error> {
        self.end(UploadState::Terminated, None, Duration::ZERO)
            .await
    }

    /// Ends the upload for good, since that could not be begun which it takes; what the store was asked for may still
    /// happen.
    ///
    /// # Errors
    /// As [`Held::save`].
    pub(super) async fn terminate_after(self, error: &Error) -> Result<(), Error> {
        let delay = match error {
            Error::Store { source, .. } => self.app.limits.delay_after(source),
            _ => Duration::ZERO,
        };
        self.end(UploadState::Terminated, None, delay).await
    }

    /// Ends the upload for good: what arrived can never be what was announced.
    ///
    /// # Errors
    /// As [`Held::save`].
    pub(super) async fn fail(self, why: &str) -> Result<(), Error> {
        self.end(UploadState::Failed, Some(why), Duration::ZERO)
            .await
    }

    /// What the holder before may still be writing is removed again later.
    async fn end(
        self,
        state: UploadState,
        failure: Option<&str>,
        delay: Duration,
    ) -> Result<(), Error> {
        let delay = if self.lease.is_alone {
            delay
        } else {
            self.app.limits.uncertain_delay
        };
        let uploads = &self.app.uploads;
        let stretches = uploads.stretches(self.id()).await?;
        let ended = uploads
            .end(self.id(), self.generation(), state, failure, delay)
            .await?;
        if !ended {
            return Err(Error::UploadHeld);
        }
        let mut bodies = vec![self.record().version];
        bodies.extend(stretches.iter().filter_map(Stretch::piece));
        let doomed = self.app.ledger.doomed(&bodies).await?;
        if delay.is_zero()
            && let Err(error) = sweep::remove(&self.app, &doomed).await
        {
            tracing::warn!(%error, "the bytes of an upload are left to the sweeper");
        }
        Ok(())
    }
}
