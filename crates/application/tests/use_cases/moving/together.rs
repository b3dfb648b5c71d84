//! Copies that take their places together, and what becomes of each when that fails.

use std::{
    future::ready,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom_application::ports::{
    Amount, Migration, MigrationRepository, MigrationState, Movable, MoveFailure, RepositoryError,
    StoreRecord, Switch, Switched,
};
use cloakroom_domain::{FileId, Location, MigrationId, StoreId, VersionId};
use futures_util::future::BoxFuture;

use super::{FILES, House};
use crate::{started, support};

/// What becomes of putting copies in their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// All is well.
    None,
    /// Every third time it happens, and the answer is lost.
    AnswerLost,
    /// Several at once fail, and nothing happens.
    NotTogether(Verdict),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Error,
    Changed,
}

/// Rows of migrations that fail so.
struct Failing {
    inner: Arc<dyn MigrationRepository>,
    fate: Fate,
    calls: AtomicUsize,
    most: AtomicUsize,
    /// Happens when somebody asks for uploads that still end in a store in which nothing is left.
    meanwhile: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Failing {
    /// Over the rows of a house.
    fn over(house: &mut House, fate: Fate) -> Arc<Self> {
        let app = Arc::get_mut(&mut house.world.app).unwrap();
        let failing = Arc::new(Self {
            inner: app.migrations.clone(),
            fate,
            calls: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            meanwhile: Mutex::default(),
        });
        app.migrations = failing.clone();
        failing
    }
}

#[async_trait]
impl MigrationRepository for Failing {
    async fn switch(
        &self,
        id: MigrationId,
        generation: u64,
        switches: &[Switch],
    ) -> Result<Switched, RepositoryError> {
        let call = self.calls.fetch_add(1, Relaxed);
        self.most.fetch_max(switches.len(), Relaxed);
        // So that others are ready meanwhile.
        tokio::time::sleep(Duration::from_millis(20)).await;
        match self.fate {
            Fate::NotTogether(Verdict::Error) if switches.len() > 1 => {
                Err(RepositoryError::Unavailable("planted".into()))
            }
            Fate::NotTogether(Verdict::Changed) if switches.len() > 1 => Ok(Switched::Changed),
            Fate::AnswerLost if call.is_multiple_of(3) => {
                self.inner.switch(id, generation, switches).await?;
                Err(RepositoryError::OutcomeUnknown("planted".into()))
            }
            _ => self.inner.switch(id, generation, switches).await,
        }
    }

    async fn begin(
        &self,
        id: MigrationId,
        target: StoreId,
        cleanup: bool,
        owner: &str,
    ) -> Result<Option<Migration>, RepositoryError> {
        self.inner.begin(id, target, cleanup, owner).await
    }

    async fn start(
        &self,
        id: MigrationId,
        generation: u64,
        target: &StoreRecord,
    ) -> Result<bool, RepositoryError> {
        self.inner.start(id, generation, target).await
    }

    async fn last(&self) -> Result<Option<Migration>, RepositoryError> {
        self.inner.last().await
    }

    async fn take(&self, owner: &str) -> Result<Option<Migration>, RepositoryError> {
        self.inner.take(owner).await
    }

    async fn renew(&self, id: MigrationId, generation: u64) -> Result<bool, RepositoryError> {
        self.inner.renew(id, generation).await
    }

    async fn advance(
        &self,
        id: MigrationId,
        generation: u64,
        state: MigrationState,
        failure: Option<&str>,
    ) -> Result<bool, RepositoryError> {
        self.inner.advance(id, generation, state, failure).await
    }

    async fn release(&self, id: MigrationId, generation: u64) -> Result<(), RepositoryError> {
        self.inner.release(id, generation).await
    }

    async fn cancel(&self) -> Result<Option<Migration>, RepositoryError> {
        self.inner.cancel().await
    }

    async fn movable(
        &self,
        store: StoreId,
        after: Option<&Location>,
        limit: u32,
    ) -> Result<Vec<Movable>, RepositoryError> {
        self.inner.movable(store, after, limit).await
    }

    async fn stored_in(&self, store: StoreId) -> Result<Amount, RepositoryError> {
        self.inner.stored_in(store).await
    }

    async fn pending_in(&self, store: StoreId) -> Result<u64, RepositoryError> {
        let left = self.inner.movable(store, None, 1).await?;
        if left.is_empty() {
            let meanwhile = self.meanwhile.lock().unwrap().take();
            meanwhile.unwrap_or_else(|| Box::pin(ready(()))).await;
        }
        self.inner.pending_in(store).await
    }

    async fn leaves_bytes_in(&self, store: StoreId) -> Result<bool, RepositoryError> {
        self.inner.leaves_bytes_in(store).await
    }

    async fn note_failure(
        &self,
        id: MigrationId,
        version: VersionId,
        file: &FileId,
        reason: &str,
    ) -> Result<(), RepositoryError> {
        self.inner.note_failure(id, version, file, reason).await
    }

    async fn failures(
        &self,
        id: MigrationId,
        limit: u32,
    ) -> Result<Vec<MoveFailure>, RepositoryError> {
        self.inner.failures(id, limit).await
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_upload_that_ends_in_the_old_store_is_moved_too() {
    let (mut house, files) = House::with_files().await;
    let rows = Failing::over(&mut house, Fate::None);
    let mut upload = started(&house.world, support::private_file()).await;
    upload.write(Bytes::from_static(b"last")).await.unwrap();
    let finish = async { drop(upload.finish().await.unwrap()) };
    *rows.meanwhile.lock().unwrap() = Some(Box::pin(finish));
    house.begin().await.unwrap();
    let status = house.moved_for(Duration::from_secs(60)).await;
    assert_eq!(status.migration.state, MigrationState::Done);
    assert_eq!(status.left.objects, 0);
    assert_eq!(status.migration.moved.objects, FILES as u64 + 1);
    house.assert_readable(&files).await;
}

#[tokio::test(start_paused = true)]
async fn every_copy_takes_its_place_once_whatever_becomes_of_the_others() {
    for fate in [
        Fate::AnswerLost,
        Fate::NotTogether(Verdict::Error),
        Fate::NotTogether(Verdict::Changed),
    ] {
        let (mut house, files) = House::with_files().await;
        let failing = Failing::over(&mut house, fate);
        house.begin().await.unwrap();
        let status = house.moved_for(Duration::from_secs(3600)).await;
        assert_eq!(status.migration.state, MigrationState::Done, "{fate:?}");
        assert_eq!(status.migration.moved.objects, FILES as u64, "{fate:?}");
        assert_eq!((status.left.objects, status.migration.failures), (0, 0));
        assert!(failing.most.load(Relaxed) > 1, "{fate:?}");
        house.assert_readable(&files).await;
    }
}
