//! What is left of uploads that ended: partial ones that were used up, pieces that nobody knows the end of.

use std::{slice, time::Duration};

use cloakroom_domain::{FileId, UploadKind, UploadState, VersionId};
use futures_util::future::join_all;

use super::{
    Fixture, Must, file_id,
    upload_ends::{SECOND, commit_of},
    uploads::{Dock, LIFETIME, MINUTE, new_upload, part, saved, version_of},
};
use crate::ports::{COMPLETING_LEASE, Commit, CommitError, Lease, RowState};

/// Behind it a request that was overtaken writes nothing any more.
const LONG_ENOUGH: Duration = Duration::from_secs(601);

impl Dock {
    async fn partial(&self, name: &str) -> FileId {
        let mut new = new_upload(name);
        new.kind = UploadKind::Partial;
        self.uploads.create(new).await.must().id
    }

    async fn finished_partial(&self, name: &str) -> FileId {
        let id = self.partial(name).await;
        let lease = self.take(&id).await;
        let generation = lease.record.generation;
        let finished = self.uploads.finish_partial(&id, generation, LIFETIME);
        assert!(finished.await.must());
        id
    }

    fn commit_with(lease: &Lease, partials: &[&FileId]) -> Commit {
        Commit {
            partials: partials.iter().map(|id| (*id).clone()).collect(),
            ..commit_of(lease, lease.record.generation)
        }
    }

    async fn bodies(&self, ids: &[&FileId]) -> Vec<VersionId> {
        let mut bodies = Vec::new();
        for id in ids {
            bodies.push(self.record(id).await.version);
        }
        bodies.sort_unstable();
        bodies
    }
}

/// One that is still open, has ended, is none, or is not there, and nothing of it happens.
pub async fn a_commit_uses_up_all_its_partial_uploads_or_is_lost(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let lease = dock.held("whole").await;
    let (one, two) = (
        dock.finished_partial("one").await,
        dock.finished_partial("two").await,
    );
    let beside = dock.finished_partial("beside").await;
    let open = dock.partial("open").await;
    let ended = dock.finished_partial("ended").await;
    let generation = dock.record(&ended).await.generation;
    let over = UploadState::Terminated;
    let end = dock
        .uploads
        .end(&ended, generation, over, None, Duration::ZERO);
    assert!(end.await.must());
    let (no_partial, nobody) = (dock.create("no partial").await.id, file_id("nobody's"));

    let due = dock.due().await;
    for wrong in [&open, &ended, &no_partial, &nobody] {
        for partials in [[&one, wrong], [wrong, &two]] {
            let commit = Dock::commit_with(&lease, &partials);
            assert!(dock.is_lost(commit).await, "{wrong}");
        }
    }
    assert_eq!(dock.state(&lease.record.id).await, UploadState::Open);
    assert!(dock.record(&lease.record.id).await.is_held);
    for partial in [&one, &two] {
        assert_eq!(dock.state(partial).await, UploadState::Finished);
        assert_eq!(dock.count(partial, RowState::Pending).await, 1);
    }
    assert_eq!(dock.due().await, due);
    let id = &lease.record.id;
    assert!(dock.desk.files.find(id).await.must().is_none());

    let bodies = dock.bodies(&[&one, &two]).await;
    let commit = Dock::commit_with(&lease, &[&one, &two]);
    dock.desk.files.commit(commit).await.must();
    assert_eq!(dock.state(id).await, UploadState::Finished);
    for partial in [&one, &two] {
        assert_eq!(dock.state(partial).await, UploadState::Terminated);
    }
    assert_eq!(dock.state(&beside).await, UploadState::Finished);
    assert_eq!(dock.state(&open).await, UploadState::Open);
    let mut now_due = dock.due().await;
    now_due.retain(|version| !due.contains(version));
    now_due.sort_unstable();
    assert_eq!(now_due, bodies, "their bytes go at once");
    let again = dock.held("again").await;
    let used = Dock::commit_with(&again, &[&one]);
    assert!(dock.is_lost(used).await);
}

/// However they are ordered, and none waits for another for ever.
pub async fn of_many_commits_of_the_same_partial_uploads_one_applies(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    for round in 0..5 {
        let one = &dock.finished_partial(&format!("one {round}")).await;
        let two = &dock.finished_partial(&format!("two {round}")).await;
        let mut leases = Vec::new();
        for n in 0..4 {
            leases.push(dock.held(&format!("whole {round} {n}")).await);
        }
        let commits = leases.iter().enumerate().map(|(n, lease)| {
            let partials = if n % 2 == 0 { [one, two] } else { [two, one] };
            dock.desk.files.commit(Dock::commit_with(lease, &partials))
        });
        let mut made = 0;
        for (lease, outcome) in leases.iter().zip(join_all(commits).await) {
            let state = dock.state(&lease.record.id).await;
            match outcome {
                Ok(_) => {
                    made += 1;
                    assert_eq!(state, UploadState::Finished);
                }
                Err(CommitError::Lost) => assert_eq!(state, UploadState::Open),
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(made, 1);
        for partial in [one, two] {
            assert_eq!(dock.state(partial).await, UploadState::Terminated);
        }
    }
}

/// Whoever was overtaken may still be writing it; nobody writes what is known.
pub async fn what_no_stretch_names_goes_later_than_what_one_does(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    for state in [
        UploadState::Failed,
        UploadState::Terminated,
        UploadState::Expired,
    ] {
        let lease = dock.held(state.as_str()).await;
        let id = &lease.record.id;
        let named = dock.piece(&lease, 10, 3).await;
        let stray = version_of(&dock.piece(&lease, 13, 3).await);
        let keep = saved(&lease, 1, 13, vec![part(0, 10, 1), named.clone()]);
        assert!(dock.release(&lease, Some(keep)).await);
        if state == UploadState::Expired {
            fixture.pass(LIFETIME + MINUTE).await;
            assert_eq!(dock.uploads.expire(9).await.must(), 1);
        } else {
            let lease = dock.take(id).await;
            assert!(dock.end(&lease, state, Duration::ZERO).await);
        }
        assert_eq!(dock.state(id).await, state);
        let mut expected = [lease.record.version, version_of(&named)];
        expected.sort_unstable();
        let mut due = dock.due().await;
        due.sort_unstable();
        assert_eq!(due, expected, "{state:?}");
        dock.desk.ledger.forget(&due).await.must();
        assert_eq!(dock.count(id, RowState::Deleting).await, 1, "{state:?}");
        fixture.pass(LONG_ENOUGH - MINUTE).await;
        assert!(dock.due().await.is_empty(), "{state:?}");
        fixture.pass(MINUTE).await;
        assert_eq!(dock.due().await, [stray], "{state:?}");
        dock.desk.ledger.forget(&[stray]).await.must();
    }
    // A delay that is longer holds for both.
    let lease = dock.held("late").await;
    let named = dock.piece(&lease, 0, 3).await;
    dock.piece(&lease, 3, 3).await;
    assert!(dock.save(&lease, saved(&lease, 0, 3, vec![named])).await);
    let delay = LONG_ENOUGH * 2;
    assert!(dock.end(&lease, UploadState::Failed, delay).await);
    fixture.pass(LONG_ENOUGH).await;
    assert!(dock.due().await.is_empty());
    fixture.pass(LONG_ENOUGH).await;
    assert_eq!(dock.due().await.len(), 3);
}

/// Also if it is let go of without one; what was given before holds.
pub async fn an_upload_lives_on_as_it_did_where_no_lifetime_is_given(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let lease = dock.held("f").await;
    let id = &lease.record.id;
    fixture.pass(MINUTE).await;
    let ends = dock.record(id).await.expires_at;
    let mut keep = saved(&lease, 1, 5, vec![part(0, 5, 1)]);
    keep.lifetime = None;
    assert!(dock.save(&lease, keep.clone()).await);
    assert_eq!(dock.record(id).await.expires_at, ends);
    keep.lifetime = Some(LIFETIME);
    assert!(dock.save(&lease, keep.clone()).await);
    let renewed = dock.record(id).await.expires_at;
    assert!(renewed > ends);
    keep.lifetime = None;
    assert!(dock.release(&lease, Some(keep)).await);
    assert_eq!(dock.record(id).await.expires_at, renewed);
    assert_eq!(dock.record(id).await.progress.offset(), 5);
}

/// Oldest first, until it has ended or its time is over; what shows signs of life is left alone.
pub async fn what_was_promised_and_nobody_works_at_is_found(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let partials = [file_id("Отчёт 2"), file_id("a"), file_id("b")];
    let forsaken = async |limit| {
        let found = dock.uploads.forsaken(limit).await.must();
        assert!(found.iter().all(|(_, of)| *of == partials), "{found:?}");
        found.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    let promise = async |id: &FileId| dock.uploads.promise(id, &partials).await.must();
    dock.held("not promised").await;
    let dead = dock.held("dead").await;
    let (dead_id, generation) = (&dead.record.id, dead.record.generation);
    assert!(dock.uploads.completing(dead_id, generation).await.must());
    fixture.pass(SECOND).await;
    let let_go = dock.held("let go").await;
    assert!(dock.release(&let_go, None).await);
    let let_go = &let_go.record.id;
    assert!(promise(dead_id).await && promise(let_go).await);
    fixture.pass(COMPLETING_LEASE - SECOND * 5).await;
    assert!(forsaken(9).await.is_empty());
    fixture.pass(SECOND * 10).await;
    let alive = dock.held("alive").await;
    let (id, generation) = (&alive.record.id, alive.record.generation);
    assert!(promise(id).await);
    assert!(dock.uploads.completing(id, generation).await.must());
    assert_eq!(forsaken(9).await, [dead_id.clone(), let_go.clone()]);
    assert_eq!(forsaken(1).await, slice::from_ref(dead_id));

    let taken = dock.take(let_go).await;
    let others = forsaken(9).await;
    assert_eq!(others, slice::from_ref(dead_id), "somebody is at it");
    assert!(dock.end(&taken, UploadState::Failed, Duration::ZERO).await);
    assert!(!promise(let_go).await);
    assert!(!promise(&file_id("nobody's")).await);
    fixture.pass(LIFETIME).await;
    assert!(forsaken(9).await.is_empty());
    assert!(!promise(dead_id).await, "its time is over");
}

/// The last write of a holder that has let go may still arrive.
pub async fn who_comes_after_a_write_of_unknown_end_is_not_alone(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let lease = dock.held("f").await;
    let (id, generation) = (&lease.record.id, lease.record.generation);
    assert!(dock.uploads.loosen(id, generation).await.must());
    assert!(dock.release(&lease, None).await);
    assert!(!dock.uploads.loosen(id, generation).await.must());
    let next = dock.take(id).await;
    assert!(!next.is_alone);
}

/// And never less than it had; no other kind of upload, and none that has ended.
pub async fn partial_uploads_live_as_long_as_what_is_joined_of_them(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let waiting = dock.finished_partial("waiting").await;
    let (open, whole) = (dock.partial("open").await, dock.create("whole").await.id);
    let ends = async |id| dock.record(id).await.expires_at.micros();
    fixture.pass(MINUTE).await;
    let before = (ends(&waiting).await, ends(&open).await, ends(&whole).await);
    let all = [waiting.clone(), open.clone(), whole.clone()];
    dock.uploads.prolong(&all, MINUTE).await.must();
    assert_eq!(ends(&waiting).await, before.0);
    dock.uploads.prolong(&all, LIFETIME).await.must();
    let more = ends(&waiting).await - before.0;
    assert!((59_000_000..=61_000_000).contains(&more), "{more}");
    assert_eq!(
        (ends(&open).await, ends(&whole).await),
        (before.1, before.2)
    );
    fixture.pass(LIFETIME + MINUTE).await;
    dock.uploads.prolong(&all, LIFETIME).await.must();
    assert_eq!(dock.state(&waiting).await, UploadState::Expired);
}
