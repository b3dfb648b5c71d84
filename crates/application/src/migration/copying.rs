//! One body from one store to another: copied, read back, and only then the row's.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cloakroom_domain::{Location, Sha256Digest, VersionId};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::places::Places;
use crate::{
    App, Error, Pace,
    ports::{
        ByteStream, Migration, Movable, NewVersion, ObjectWriter, RepositoryError, StoreError,
        Switch, Switched, WriteHints,
    },
    upload::outcome::clean_up,
};

/// Why a body was not moved.
#[derive(Debug, thiserror::Error)]
pub(super) enum MoveError {
    /// The old store failed.
    #[error("the old store: {0}")]
    Source(StoreError),
    /// What the old store has is not what the row states.
    #[error("the stored bytes are not those that were uploaded")]
    Spoiled,
    /// The new store failed.
    #[error("the new store: {0}")]
    Target(StoreError),
    /// What was read back is not what was written.
    #[error("the new store gives other bytes back than it was given")]
    Altered,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] RepositoryError),
    /// The mover is not to go on.
    #[error("another mover took over, or the migration was stopped")]
    Lost,
    /// A store cannot be opened.
    #[error(transparent)]
    Store(Error),
}

/// What became of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// It is in the new store.
    Here,
    /// It was changed or removed meanwhile.
    Gone,
}

/// A copy that no row names yet.
struct Copy<'a> {
    app: &'a App,
    version: VersionId,
    location: Location,
    renewed: Instant,
}

/// What those share who move bodies side by side.
pub(super) struct Gear {
    pub(super) pace: Arc<Pace>,
    pub(super) places: Places,
    /// For those that read and write; who commits a row meanwhile keeps nobody from it.
    pub(super) copying: Semaphore,
}

/// Moves one body.
pub(super) async fn move_body(
    app: &Arc<App>,
    migration: &Migration,
    gear: &Gear,
    body: &Movable,
) -> Result<Moved, MoveError> {
    let mut copy = Copy::begin(app, migration, gear, body).await?;
    let permit = gear.copying.acquire().await;
    let permit = permit.map_err(|_| MoveError::Lost)?;
    if !copy.is_kept().await? {
        // It waited for longer than such a row is kept.
        copy = Copy::begin(app, migration, gear, body).await?;
    }
    match copy.fill_and_switch(migration, gear, permit, body).await {
        Ok(Switched::Done) => Ok(Moved::Here),
        Ok(Switched::Changed) => {
            copy.discard(Duration::ZERO).await;
            Ok(Moved::Gone)
        }
        Ok(Switched::Lost) => {
            copy.discard(Duration::ZERO).await;
            Err(MoveError::Lost)
        }
        // Only the rows know whether the body is here.
        Err(error @ MoveError::Database(RepositoryError::OutcomeUnknown(_))) => Err(error),
        Err(error) => {
            let delay = match &error {
                MoveError::Target(error) => app.limits.delay_after(error),
                _ => Duration::ZERO,
            };
            copy.discard(delay).await;
            Err(error)
        }
    }
}

impl<'a> Copy<'a> {
    /// Commits the copy's row, in the store that is current.
    async fn begin(
        app: &'a App,
        migration: &Migration,
        gear: &Gear,
        body: &Movable,
    ) -> Result<Self, MoveError> {
        let version = VersionId::random();
        let new = NewVersion {
            id: version,
            file: body.file.clone(),
            account: body.account.clone(),
            key: body.location.key.mint_copy(&body.account, &body.file),
            claim: None,
            // The row that it comes to is the body's.
            seal: app
                .stores
                .new_seal(body.version)
                .map_err(MoveError::Store)?,
        };
        let copy = Self {
            app,
            version,
            location: gear.places.begin(new).await?,
            renewed: Instant::now(),
        };
        if copy.location.store != migration.target {
            copy.discard(Duration::ZERO).await;
            return Err(MoveError::Lost);
        }
        Ok(copy)
    }

    async fn fill_and_switch(
        &mut self,
        migration: &Migration,
        gear: &Gear,
        permit: SemaphorePermit<'_>,
        body: &Movable,
    ) -> Result<Switched, MoveError> {
        let written = self.fill(&gear.pace, body).await?;
        if body.sha256.is_some_and(|expected| expected != written) {
            return Err(MoveError::Spoiled);
        }
        if self.read_back(body.size).await? != written {
            return Err(MoveError::Altered);
        }
        drop(permit);
        let switch = Switch {
            version: body.version,
            from: body.location.clone(),
            copy: self.version,
            size: body.size,
            remove_after: migration.cleanup.then_some(self.app.limits.delete_delay),
        };
        Ok(gear.places.switch(switch).await?)
    }

    /// Writes the body, and answers the digest of what was written.
    async fn fill(&mut self, pace: &Pace, body: &Movable) -> Result<Sha256Digest, MoveError> {
        let from = &body.location;
        let source = self.app.stores.at(from).await.map_err(MoveError::Store)?;
        let read = source.read(&from.bucket, &from.key, None).await;
        let bytes = read.map_err(MoveError::Source)?.into_stream();
        let at = &self.location;
        let target = self.app.stores.at(at).await.map_err(MoveError::Store)?;
        let hints = WriteHints {
            size: Some(body.size),
        };
        let begun = target.begin(&at.bucket, &at.key, hints).await;
        let mut writer = begun.map_err(MoveError::Target)?;
        match self.pour(bytes, writer.as_mut(), pace, body.size).await {
            Ok(digest) => {
                writer.finish().await.map_err(MoveError::Target)?;
                Ok(digest)
            }
            Err(error) => {
                if let Err(error) = writer.abort().await {
                    tracing::debug!(%error, "a copy was not given up in order");
                }
                Err(error)
            }
        }
    }

    async fn pour(
        &mut self,
        mut bytes: ByteStream,
        writer: &mut dyn ObjectWriter,
        pace: &Pace,
        size: u64,
    ) -> Result<Sha256Digest, MoveError> {
        let mut digest = Sha256::new();
        let mut seen = 0_u64;
        while let Some(chunk) = bytes.next().await {
            let chunk: Bytes = chunk.map_err(MoveError::Source)?;
            let length = chunk.len() as u64;
            seen += length;
            digest.update(&chunk);
            writer.write(chunk).await.map_err(MoveError::Target)?;
            pace.spend(length).await;
            self.renew().await?;
        }
        if seen != size {
            return Err(MoveError::Spoiled);
        }
        Ok(Sha256Digest::new(digest.finalize().into()))
    }

    async fn read_back(&mut self, size: u64) -> Result<Sha256Digest, MoveError> {
        let at = self.location.clone();
        let target = self.app.stores.at(&at).await.map_err(MoveError::Store)?;
        let read = target.read(&at.bucket, &at.key, None).await;
        let mut bytes = read.map_err(MoveError::Target)?.into_stream();
        let mut digest = Sha256::new();
        let mut seen = 0_u64;
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk.map_err(MoveError::Target)?;
            seen += chunk.len() as u64;
            if seen > size {
                return Err(MoveError::Altered);
            }
            digest.update(&chunk);
            self.renew().await?;
        }
        if seen != size {
            return Err(MoveError::Altered);
        }
        Ok(Sha256Digest::new(digest.finalize().into()))
    }

    /// Shows that the copy still moves.
    async fn renew(&mut self) -> Result<(), MoveError> {
        let is_kept = self.is_kept().await?;
        is_kept.then_some(()).ok_or(MoveError::Lost)
    }

    /// Whether the copy's row is still there, by showing that it moves when it is time to.
    async fn is_kept(&mut self) -> Result<bool, MoveError> {
        if self.renewed.elapsed() < self.app.limits.pending_ttl / 4 {
            return Ok(true);
        }
        self.renewed = Instant::now();
        Ok(self.app.ledger.renew(self.version).await?)
    }

    /// Removes the copy and its row.
    async fn discard(&self, delay: Duration) {
        clean_up(self.app, self.version, &self.location, delay).await;
    }
}
