//! How uploads that take several requests end, and what is left of them then.

use std::time::Duration;

use cloakroom_domain::{FileId, ObjectKey, UploadKind, UploadState, VersionId};
use futures_util::future::join;

use super::{
    Fixture, Must, Upload, file_id,
    uploads::{Dock, LIFETIME, MINUTE, new_upload, part, plain_piece, saved, version_of},
};
use crate::ports::{
    Ask, Asked, COMPLETING_LEASE, Commit, CommitError, CommitTarget, Lease, RepositoryError,
    RowState,
};

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn commit_of(lease: &Lease, generation: u64) -> Commit {
    let record = &lease.record;
    Commit {
        version: record.version,
        size: 13,
        sha256: cloakroom_domain::Sha256Digest::of(b"abc"),
        crc64: 7,
        content_type: cloakroom_domain::ContentType::octet_stream(),
        target: CommitTarget::NewFile {
            claim_within: None,
            owner: record.target.owner.clone(),
            name: record.target.name.clone(),
            visibility: record.target.visibility,
            metadata: record.target.metadata.clone(),
        },
        claim: None,
        upload: Some(generation),
        partials: Vec::new(),
    }
}

impl Dock {
    pub(super) async fn is_lost(&self, commit: Commit) -> bool {
        matches!(self.desk.files.commit(commit).await, Err(CommitError::Lost))
    }

    async fn completing(&self, lease: &Lease) -> bool {
        let (id, generation) = (&lease.record.id, lease.record.generation);
        self.uploads.completing(id, generation).await.must()
    }

    pub(super) async fn end(&self, lease: &Lease, state: UploadState, delay: Duration) -> bool {
        let (id, generation) = (&lease.record.id, lease.record.generation);
        let ended = self
            .uploads
            .end(id, generation, state, Some("it was wrong"), delay);
        ended.await.must()
    }

    async fn ask_first(&self, id: &FileId) -> Asked {
        self.uploads.ask(id, Ask::First).await.must()
    }

    /// Removes what is due, as the sweeper does.
    async fn remove_due(&self) -> usize {
        let due = self.due().await;
        self.desk.ledger.forget(&due).await.must();
        due.len()
    }
}

/// Under the generation that holds it, and no other; nothing is left but the file.
pub async fn a_commit_makes_the_upload_a_file_of_its_id(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let first = dock.held("f").await;
    let id = &first.record.id;
    // Begun and never kept: whoever did it may still be at it.
    let stray = dock.piece(&first, 0, 9).await;
    let lease = dock.overtake(id).await;
    let piece = dock.piece(&lease, 10, 3).await;
    let kept = vec![part(0, 10, 17), piece.clone()];
    assert!(dock.save(&lease, saved(&lease, 1, 13, kept.clone())).await);
    assert!(dock.completing(&lease).await);
    for generation in [first.record.generation, lease.record.generation + 1] {
        assert!(dock.is_lost(commit_of(&lease, generation)).await);
    }
    assert_eq!(dock.state(id).await, UploadState::Completing);
    assert_eq!(dock.stretches(id).await, kept);
    assert!(dock.desk.files.find(id).await.must().is_none());

    let commit = commit_of(&lease, lease.record.generation);
    let file = dock.desk.files.commit(commit.clone()).await.must();
    assert_eq!((&file.id, file.current.id), (id, lease.record.version));
    assert_eq!(file.current.location, lease.record.location);
    assert_eq!(dock.desk.files.find(id).await.must(), Some(file));
    let record = dock.record(id).await;
    assert_eq!(record.state, UploadState::Finished);
    assert!(!record.is_held && record.progress.is_whole() && record.hashes.is_none());
    assert_eq!(record.progress.offset(), 13);
    assert!(dock.stretches(id).await.is_empty());
    assert_eq!(dock.ask_first(id).await, Asked::Ended(Box::new(record)));
    assert!(!dock.save(&lease, saved(&lease, 1, 13, kept)).await);
    assert!(dock.is_lost(commit).await);

    assert_eq!(dock.due().await, [version_of(&piece)]);
    assert_eq!(dock.count(id, RowState::Pending).await, 0);
    fixture.pass(MINUTE * 11).await;
    let due = dock.due().await;
    assert!(due.len() == 2 && due.contains(&version_of(&stray)));
    assert_eq!(dock.remove_due().await, 2);
    assert_eq!(dock.rows().await.len(), 1);
}

/// A body that is not an upload's is not committed as one; that of a piece, which may hold everything, is.
pub async fn a_commit_that_names_no_upload_of_its_body_is_lost(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let lease = dock.held("f").await;
    let (plain, _) = dock.desk.pending(&Upload::new("plain")).await;
    let piece = version_of(&dock.piece(&lease, 0, 3).await);
    for version in [plain, VersionId::random()] {
        let commit = commit_of(&lease, lease.record.generation);
        assert!(dock.is_lost(Commit { version, ..commit }).await);
    }
    assert_eq!(dock.state(&lease.record.id).await, UploadState::Open);
    assert_eq!(dock.rows().await.len(), 3);
    let commit = commit_of(&lease, lease.record.generation);
    let version = piece;
    let whole = Commit { version, ..commit };
    let file = dock.desk.files.commit(whole).await.must();
    assert_eq!(file.current.id, piece);
    assert_eq!(dock.state(&lease.record.id).await, UploadState::Finished);
}

/// The file is there, or the upload is the other's; never both, never neither.
pub async fn a_commit_and_a_takeover_at_once_have_one_winner(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    for round in 0..20 {
        let lease = dock.held(&format!("f{round}")).await;
        let id = &lease.record.id;
        let turn = dock.wait_for(id).await;
        let commit = commit_of(&lease, lease.record.generation);
        let takeover = dock.uploads.ask(id, Ask::Insist(turn));
        let (committed, asked) = join(dock.desk.files.commit(commit), takeover).await;
        let is_there = dock.desk.files.find(id).await.must().is_some();
        match (committed, asked.must()) {
            (Ok(_), Asked::Ended(record)) => {
                assert!(is_there && record.state == UploadState::Finished);
            }
            (Err(CommitError::Lost), Asked::Ours(_)) => assert!(!is_there),
            other => panic!("{other:?}"),
        }
    }
}

/// A row that nobody would ever remove.
pub async fn a_piece_begun_while_the_upload_ends_leaves_no_pending_row(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    for round in 0..20 {
        let lease = dock.held(&format!("f{round}")).await;
        let (id, generation) = (&lease.record.id, lease.record.generation);
        let key = ObjectKey::parse(&format!("piece/{round}")).must();
        let piece = plain_piece(VersionId::random(), key);
        let begin = dock.uploads.begin_piece(id, generation, piece);
        let end = dock.end(&lease, UploadState::Terminated, Duration::ZERO);
        let (begun, ended) = join(begin, end).await;
        let rows = 1 + usize::from(begun.must().is_some());
        assert!(ended);
        assert_eq!(dock.count(id, RowState::Pending).await, 0);
        assert_eq!(dock.count(id, RowState::Deleting).await, rows);
    }
}

/// By the database's clock; whoever falls silent can be overtaken, whoever lets go leaves it at once.
pub async fn whoever_makes_a_file_is_left_alone_while_it_shows_signs_of_life(
    fixture: &dyn Fixture,
) {
    let dock = Dock::open(fixture).await;
    let lease = dock.held("f").await;
    let id = &lease.record.id;
    let waiting = dock.wait_for(id).await;
    let asks = [Ask::First, Ask::Again(waiting), Ask::Insist(waiting)];
    for _ in 0..3 {
        assert!(dock.completing(&lease).await);
        fixture.pass(COMPLETING_LEASE - SECOND * 5).await;
        for ask in asks {
            assert_eq!(dock.uploads.ask(id, ask).await.must(), Asked::Completing);
        }
    }
    assert_eq!(dock.state(id).await, UploadState::Completing);
    fixture.pass(SECOND * 6).await;
    let next = dock.overtake(id).await;
    assert!(!next.is_alone);
    assert_eq!(next.record.state, UploadState::Completing);
    assert!(!dock.completing(&lease).await);
    assert!(
        dock.is_lost(commit_of(&lease, lease.record.generation))
            .await
    );
    // Having it is a sign of life.
    assert_eq!(dock.ask_first(id).await, Asked::Completing);
    assert!(dock.release(&next, None).await);
    let last = dock.take(id).await;
    assert_eq!(last.record.state, UploadState::Open);
    let commit = commit_of(&last, last.record.generation);
    dock.desk.files.commit(commit).await.must();
}

/// Held or not; but not one that is being made a file by somebody alive, nor one that moved.
pub async fn uploads_whose_time_is_over_expire(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let (moving, stuck) = (dock.held("moving").await, dock.held("stuck").await);
    let (alive, silent) = (dock.held("alive").await, dock.held("silent").await);
    let idle = dock.held("idle").await;
    let piece = dock.piece(&idle, 0, 3).await;
    let keep = saved(&idle, 0, 3, vec![piece.clone()]);
    assert!(dock.release(&idle, Some(keep)).await);
    assert!(dock.completing(&silent).await);
    assert_eq!(dock.uploads.expire(9).await.must(), 0);
    fixture.pass(LIFETIME - MINUTE).await;
    assert!(dock.completing(&alive).await);
    assert!(dock.save(&moving, saved(&moving, 0, 0, Vec::new())).await);
    assert_eq!(dock.uploads.expire(9).await.must(), 0);
    fixture.pass(MINUTE - COMPLETING_LEASE / 2).await;
    assert!(dock.completing(&alive).await);
    fixture.pass(COMPLETING_LEASE / 2).await;

    // It is over at that very moment, and nothing leads back.
    for over in [&idle, &stuck, &silent] {
        let id = &over.record.id;
        assert_eq!(dock.state(id).await, UploadState::Expired, "{id}");
        let asked = dock.ask_first(id).await;
        assert!(matches!(asked, Asked::Ended(_)), "{asked:?}");
        assert!(!dock.save(over, saved(over, 0, 0, Vec::new())).await);
        assert!(dock.is_lost(commit_of(over, over.record.generation)).await);
    }
    assert_eq!(dock.uploads.expire(2).await.must(), 2);
    assert_eq!(dock.uploads.expire(2).await.must(), 1);
    assert_eq!(dock.uploads.expire(2).await.must(), 0);
    assert_eq!(dock.state(&moving.record.id).await, UploadState::Open);
    assert_eq!(dock.state(&alive.record.id).await, UploadState::Completing);
    for over in [&idle, &stuck, &silent] {
        let id = &over.record.id;
        assert_eq!(dock.state(id).await, UploadState::Expired);
        assert!(dock.stretches(id).await.is_empty());
        assert_eq!(dock.count(id, RowState::Pending).await, 0);
    }
    // Of the idle one body and piece; the others' requests may still be writing.
    let mut due = dock.due().await;
    due.sort_unstable();
    let mut expected = [idle.record.version, version_of(&piece)];
    expected.sort_unstable();
    assert_eq!(due, expected);
    fixture.pass(MINUTE * 11).await;
    assert_eq!(dock.remove_due().await, 4);
    assert_eq!(dock.rows().await.len(), 2);
}

/// Its body stays until then, its pieces do not.
pub async fn a_partial_upload_waits_for_its_lifetime(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let mut new = new_upload("part");
    new.kind = UploadKind::Partial;
    dock.uploads.create(new).await.must();
    let id = &file_id("part");
    let lease = dock.take(id).await;
    let piece = dock.piece(&lease, 10, 3).await;
    let stray = dock.piece(&lease, 13, 3).await;
    let kept = vec![part(0, 10, 1), piece.clone()];
    assert!(dock.save(&lease, saved(&lease, 1, 13, kept)).await);
    let finish = async |lease: &Lease| {
        let (id, generation) = (&lease.record.id, lease.record.generation);
        let finished = dock.uploads.finish_partial(id, generation, LIFETIME * 2);
        finished.await.must()
    };
    assert!(!finish(&dock.held("whole").await).await);
    assert!(finish(&lease).await);
    assert!(!finish(&lease).await);
    assert_eq!(dock.state(id).await, UploadState::Finished);
    assert!(dock.stretches(id).await.is_empty());
    assert_eq!(dock.due().await, [version_of(&piece)]);
    assert_eq!(dock.count(id, RowState::Pending).await, 1);
    let asked = dock.ask_first(id).await;
    assert!(matches!(asked, Asked::Ended(_)), "{asked:?}");

    fixture.pass(LIFETIME + MINUTE).await;
    assert_eq!(dock.uploads.expire(9).await.must(), 1, "the whole one");
    assert_eq!(dock.uploads.forget(MINUTE, 9).await.must(), 0);
    assert_eq!(dock.state(id).await, UploadState::Finished);
    fixture.pass(LIFETIME).await;
    assert_eq!(dock.state(id).await, UploadState::Expired);
    assert_eq!(dock.uploads.expire(9).await.must(), 1);
    let due = dock.due().await;
    assert!(due.contains(&lease.record.version) && due.contains(&version_of(&stray)));
    assert_eq!(dock.count(id, RowState::Pending).await, 0);
}

/// With the reason, and everything to be removed after the delay.
pub async fn an_upload_ends_as_failed_or_terminated_for_good(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    for (name, state) in [
        ("failed", UploadState::Failed),
        ("terminated", UploadState::Terminated),
    ] {
        let lease = dock.held(name).await;
        let id = &lease.record.id;
        let piece = dock.piece(&lease, 0, 3).await;
        let keep = saved(&lease, 0, 3, vec![piece]);
        assert!(dock.save(&lease, keep.clone()).await);
        for other in [UploadState::Finished, UploadState::Open] {
            let generation = lease.record.generation;
            let refused = dock
                .uploads
                .end(id, generation, other, None, Duration::ZERO)
                .await;
            assert!(matches!(refused, Err(RepositoryError::Failed(_))));
        }
        assert!(dock.end(&lease, state, MINUTE).await);
        let record = dock.record(id).await;
        assert_eq!((record.state, record.is_held), (state, false));
        assert_eq!(record.failure.as_deref(), Some("it was wrong"));
        assert_eq!(record.progress.offset(), 3);
        assert_eq!(dock.ask_first(id).await, Asked::Ended(Box::new(record)));
        assert!(!dock.save(&lease, keep).await);
        assert!(!dock.end(&lease, UploadState::Failed, MINUTE).await);
        assert!(dock.stretches(id).await.is_empty());
        assert!(dock.due().await.is_empty());
        fixture.pass(MINUTE * 2).await;
        assert_eq!(dock.remove_due().await, 2);
    }
    assert!(dock.rows().await.is_empty());
}

/// However they ended, and only then.
pub async fn what_ended_is_known_until_it_is_forgotten(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let (done, failed) = (dock.held("done").await, dock.held("failed").await);
    dock.create("idle").await;
    let commit = commit_of(&done, done.record.generation);
    let file = dock.desk.files.commit(commit).await.must();
    assert!(dock.end(&failed, UploadState::Failed, Duration::ZERO).await);
    fixture.pass(LIFETIME + MINUTE).await;
    let open = dock.create("open").await.id;
    assert_eq!(dock.uploads.expire(9).await.must(), 1);
    // The idle one ended just now.
    assert_eq!(dock.uploads.forget(LIFETIME, 1).await.must(), 1);
    assert_eq!(dock.uploads.forget(LIFETIME, 9).await.must(), 1);
    assert_eq!(dock.state(&file_id("idle")).await, UploadState::Expired);
    for gone in [&done, &failed] {
        let id = &gone.record.id;
        assert!(dock.uploads.find(id).await.must().is_none());
        assert_eq!(dock.ask_first(id).await, Asked::Missing);
    }
    assert_eq!(dock.desk.files.find(&file.id).await.must(), Some(file));
    fixture.pass(LIFETIME - MINUTE).await;
    assert_eq!(dock.uploads.forget(LIFETIME, 9).await.must(), 0);
    fixture.pass(MINUTE * 2).await;
    assert_eq!(dock.uploads.forget(LIFETIME, 9).await.must(), 1);
    assert_eq!(dock.state(&open).await, UploadState::Expired, "not swept");
}

/// Whatever it thinks of bodies that do not move.
pub async fn the_sweeper_of_bodies_leaves_those_of_uploads_alone(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let lease = dock.held("f").await;
    dock.piece(&lease, 0, 3).await;
    dock.desk.pending(&Upload::new("plain")).await;
    fixture.pass(MINUTE * 2).await;
    let expired = dock.desk.ledger.expire_pending(MINUTE, MINUTE, 9);
    assert_eq!(expired.await.must(), 1);
    assert_eq!(dock.count(&lease.record.id, RowState::Pending).await, 2);
}
