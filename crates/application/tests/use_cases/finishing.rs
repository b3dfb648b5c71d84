//! What fails while an upload of several requests becomes a file, and what can be done then.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom_application::{
    Error, StoreOperation,
    ports::{
        Ask, Asked, Commit, CommitError, FileChanges, FileFilter, FileRepository, Purged,
        RepositoryError, UploadRepository, VersionError, VersionLedger,
    },
    testkit::objects::{Fault, MemoryStore, Step, sample},
    uploads::{Append, Checksum, End, NewResumable, join},
};
use cloakroom_domain::{File, FileId, Sha256Digest, UploadKind, UploadState, Version};

use super::uploads::{bytes_at, new, stores};
use crate::support::World;

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Commits {
    NotReached,
    AnswerLost,
}

/// The files of a world, in which commits can fail.
struct Failing {
    inner: Arc<dyn FileRepository>,
    next: Mutex<Option<Commits>>,
    tried: AtomicUsize,
}

#[async_trait]
impl FileRepository for Failing {
    async fn commit(&self, commit: Commit) -> Result<File, CommitError> {
        self.tried.fetch_add(1, Ordering::Relaxed);
        let how = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            next.take()
        };
        match how {
            None => self.inner.commit(commit).await,
            Some(Commits::NotReached) => Err(RepositoryError::Unavailable("planted".into()).into()),
            Some(Commits::AnswerLost) => {
                self.inner.commit(commit).await?;
                Err(RepositoryError::OutcomeUnknown("planted".into()).into())
            }
        }
    }

    async fn find(&self, id: &FileId) -> Result<Option<File>, RepositoryError> {
        self.inner.find(id).await
    }

    async fn find_fresh(&self, id: &FileId) -> Result<Option<File>, RepositoryError> {
        self.inner.find_fresh(id).await
    }

    async fn version(&self, id: &FileId, number: u64) -> Result<Option<Version>, RepositoryError> {
        self.inner.version(id, number).await
    }

    async fn versions(
        &self,
        id: &FileId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Version>, RepositoryError> {
        self.inner.versions(id, before, limit).await
    }

    async fn list(&self, filter: &FileFilter) -> Result<Vec<File>, RepositoryError> {
        self.inner.list(filter).await
    }

    async fn update(
        &self,
        id: &FileId,
        expected: u64,
        changes: FileChanges,
    ) -> Result<Option<File>, RepositoryError> {
        self.inner.update(id, expected, changes).await
    }

    async fn trash(&self, id: &FileId, expected: u64) -> Result<Option<File>, RepositoryError> {
        self.inner.trash(id, expected).await
    }

    async fn untrash(
        &self,
        id: &FileId,
        claim_within: Option<Duration>,
    ) -> Result<Option<File>, RepositoryError> {
        self.inner.untrash(id, claim_within).await
    }

    async fn purge(
        &self,
        id: &FileId,
        expected: Option<u64>,
    ) -> Result<Option<Purged>, RepositoryError> {
        self.inner.purge(id, expected).await
    }

    async fn restore_version(&self, id: &FileId, number: u64) -> Result<File, VersionError> {
        self.inner.restore_version(id, number).await
    }

    async fn delete_version(
        &self,
        id: &FileId,
        number: u64,
        delay_micros: i64,
    ) -> Result<File, VersionError> {
        self.inner.delete_version(id, number, delay_micros).await
    }

    fn forget(&self, ids: Option<&[FileId]>) {
        self.inner.forget(ids);
    }
}

impl Failing {
    fn fail(&self, how: Commits) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(how);
    }
}

impl World {
    /// Whose commits fail when they are told to.
    async fn with_failing_commits(store: MemoryStore) -> (Self, Arc<Failing>) {
        let mut world = Self::over(store).await;
        let failing = Arc::new(Failing {
            inner: world.app.files.clone(),
            next: Mutex::new(None),
            tried: AtomicUsize::new(0),
        });
        Arc::get_mut(&mut world.app).unwrap().files = failing.clone();
        (world, failing)
    }

    /// Finished partial uploads of these bytes.
    pub(crate) async fn partials(&self, body: &[u8]) -> Vec<FileId> {
        let mut partials = Vec::new();
        for part in body.chunks(150) {
            let partial = NewResumable {
                kind: UploadKind::Partial,
                ..new(Some(part.len() as u64))
            };
            let id = self.created(partial).await;
            self.send(&id, bytes_at(0), part).await.unwrap();
            partials.push(id);
        }
        partials
    }

    /// The upload that is none of these and whose bytes are still to be removed.
    async fn joined(&self, partials: &[FileId]) -> FileId {
        let rows = self.database.scan(None, 100).await.unwrap();
        let other = rows.into_iter().find(|row| !partials.contains(&row.file));
        other.map(|row| row.file).unwrap()
    }
}

#[tokio::test]
async fn numbers_of_parts_are_reserved_before_they_are_used() {
    let mut world = World::over(MemoryStore::with_parts_of(100)).await;
    Arc::get_mut(&mut world.app).unwrap().limits.max_file_size = 10_000;
    let body = sample(2450, 12);
    let id = world.created(new(Some(2450))).await;
    let checked = Append {
        body: Some(2450),
        checksum: Some(Checksum::Sha256(Sha256Digest::of(&body))),
        ..bytes_at(0)
    };
    let appending = world.begun(&id, checked.clone()).await.unwrap();
    for (n, chunk) in (0_u32..).zip(body.chunks(100).take(24)) {
        appending.write(Bytes::copy_from_slice(chunk)).await;
        // One more waits, one is being written, and those before are parts.
        let record = world.upload(&id).await;
        assert!(record.next_number >= n, "{n}: {}", record.next_number);
        assert_eq!(record.progress.offset(), 0, "whole or not at all");
    }
    // Whoever takes it over gets none that was used.
    let Asked::Held(turn) = world.database.ask(&id, Ask::First).await.unwrap() else {
        panic!("it is held");
    };
    let asked = world.database.ask(&id, Ask::Insist(turn)).await.unwrap();
    let Asked::Ours(lease) = asked else {
        panic!("{asked:?}");
    };
    assert!(lease.record.next_number > 22);
    let overtaken = appending.finish(End::Whole).await;
    assert!(matches!(overtaken, Err(Error::UploadHeld)));
    let generation = lease.record.generation;
    assert!(world.database.release(&id, generation, None).await.unwrap());
    world.send(&id, checked, &body).await.unwrap();
    world.assert_file(&id, &body, "many numbers").await;
}

#[tokio::test]
async fn a_commit_that_fails_leaves_the_upload_to_the_next_who_asks() {
    for how in [Commits::NotReached, Commits::AnswerLost] {
        for (kind, store) in stores() {
            let (world, files) = World::with_failing_commits(store).await;
            let body = sample(300, 13);
            let id = world.created(new(Some(300))).await;
            world.send(&id, bytes_at(0), &body[..180]).await.unwrap();
            files.fail(how);
            let last = world.send(&id, bytes_at(180), &body[180..]).await;
            assert!(matches!(last, Err(Error::Repository(_))), "{kind} {how:?}");
            let left = world.upload(&id).await;
            let state = match how {
                Commits::NotReached => UploadState::Open,
                Commits::AnswerLost => UploadState::Finished,
            };
            assert_eq!((left.state, left.is_held), (state, false), "{kind}");
            assert_eq!(world.offset(&id).await.unwrap(), 300, "{kind}");
            let tries = usize::from(how == Commits::NotReached) + 1;
            assert_eq!(files.tried.load(Ordering::Relaxed), tries, "{kind}");
            world.assert_file(&id, &body, kind).await;
        }
    }
}

#[tokio::test]
async fn a_joining_commit_whose_answer_is_lost_is_not_said_to_have_failed_for_good() {
    let (world, files) = World::with_failing_commits(MemoryStore::new()).await;
    let body = sample(300, 13);
    let partials = world.partials(&body).await;
    files.fail(Commits::AnswerLost);
    let joined = join(&world.app, &world.alice, &partials, new(None)).await;
    assert!(matches!(joined, Err(Error::Repository(_))), "{joined:?}");
    let file = world.database.scan(None, 9).await.unwrap();
    let file = file.into_iter().find(|row| !partials.contains(&row.file));
    world
        .assert_file(&file.unwrap().file, &body, "it is there")
        .await;
}

#[tokio::test]
async fn first_bytes_that_cannot_be_read_leave_the_upload_to_the_next_who_asks() {
    for (step, fault) in [
        (Step::Read, Fault::Unavailable),
        (Step::Read, Fault::Refuse),
        (Step::Body, Fault::Break),
    ] {
        for store in [
            MemoryStore::with_parts_of(100),
            MemoryStore::with_growing_parts(),
        ] {
            let world = World::over(store).await;
            let body = sample(300, 14);
            let id = world.created(new(Some(300))).await;
            world.send(&id, bytes_at(0), &body[..200]).await.unwrap();
            // Nothing else is read: parts are joined, and hashed on their way.
            world.store.fail_nth(step, 1, fault);
            let last = world.send(&id, bytes_at(200), &body[200..]).await;
            let operation = StoreOperation::Upload;
            assert!(
                matches!(&last, Err(Error::Store { operation: found, .. }) if *found == operation),
                "{step:?} {fault:?}: {last:?}"
            );
            let left = world.upload(&id).await;
            assert_eq!((left.state, left.is_held), (UploadState::Open, false));
            assert_eq!(world.offset(&id).await.unwrap(), 300);
            world.assert_file(&id, &body, "first bytes").await;
        }
    }
}

#[tokio::test]
async fn joining_that_fails_leaves_the_partial_uploads() {
    for (step, nth) in [
        (Step::Head, 1),
        (Step::Read, 1),
        (Step::Read, 2),
        (Step::Body, 2),
        (Step::Begin, 1),
        (Step::Write, 2),
        (Step::Finish, 1),
    ] {
        for (kind, store) in stores() {
            let world = World::over(store).await;
            let body = sample(300, 15);
            let partials = world.partials(&body).await;
            world.store.fail_nth(step, nth, Fault::Unavailable);
            // Its row stays, and tells which upload it was.
            world.store.fail_always(Step::Delete, Fault::Unavailable);
            let failed = join(&world.app, &world.alice, &partials, new(None)).await;
            let what = format!("{kind} {step:?}");
            assert!(matches!(failed, Err(Error::Store { .. })), "{what}");
            let joined = world.upload(&world.joined(&partials).await).await;
            assert_eq!(joined.state, UploadState::Failed, "{what}");
            assert!(joined.failure.is_some() && !joined.is_held, "{what}");
            world.store.heal();
            assert_joined_now(&world, &partials, &body, &what).await;
        }
    }
}

#[tokio::test]
async fn a_commit_that_fails_while_joining_leaves_the_partial_uploads() {
    for (kind, store) in stores() {
        let (world, files) = World::with_failing_commits(store).await;
        let body = sample(300, 16);
        let partials = world.partials(&body).await;
        files.fail(Commits::NotReached);
        world.store.fail_always(Step::Delete, Fault::Unavailable);
        let failed = join(&world.app, &world.alice, &partials, new(None)).await;
        assert!(matches!(failed, Err(Error::Repository(_))), "{kind}");
        let joined = world.upload(&world.joined(&partials).await).await;
        assert_eq!(joined.state, UploadState::Failed, "{kind}");
        world.store.heal();
        assert_joined_now(&world, &partials, &body, kind).await;
    }
}

async fn assert_joined_now(world: &World, partials: &[FileId], body: &[u8], what: &str) {
    for partial in partials {
        let state = world.upload(partial).await.state;
        assert_eq!(state, UploadState::Finished, "{what}");
    }
    let joined = join(&world.app, &world.alice, partials, new(None)).await;
    let joined = joined.unwrap_or_else(|error| panic!("{what}: {error}"));
    world.assert_file(&joined.id, body, what).await;
}

#[tokio::test]
async fn of_two_that_join_the_same_partial_uploads_at_once_one_does() {
    for (kind, store) in stores() {
        let world = World::over(store).await;
        let body = sample(300, 17);
        let partials = world.partials(&body).await;
        let one = || join(&world.app, &world.alice, &partials, new(None));
        let joined = match futures_util::future::join(one(), one()).await {
            (Ok(joined), Err(Error::UploadGone)) | (Err(Error::UploadGone), Ok(joined)) => joined,
            other => panic!("{kind}: {other:?}"),
        };
        assert_eq!(joined.state, UploadState::Finished, "{kind}");
        world.assert_file(&joined.id, &body, kind).await;
    }
}

#[tokio::test]
async fn a_digest_that_came_with_the_last_bytes_holds_when_the_file_is_made_later() {
    let (world, files) = World::with_failing_commits(MemoryStore::new()).await;
    let body = sample(300, 18);
    let id = world.created(new(Some(300))).await;
    let last = Append {
        whole: Some(Sha256Digest::of(&body)),
        ..bytes_at(0)
    };
    files.fail(Commits::NotReached);
    let failed = world.send(&id, last, &body).await;
    assert!(matches!(failed, Err(Error::Repository(_))), "{failed:?}");
    let kept = world.upload(&id).await.target.digest;
    assert_eq!(kept, Some(Sha256Digest::of(&body)));
    assert_eq!(world.offset(&id).await.unwrap(), 300);
    world.assert_file(&id, &body, "later").await;
}
