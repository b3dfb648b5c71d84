//! Joining that takes longer than its caller waits: it was promised, so somebody has to end it.

use std::{sync::Arc, time::Duration};

use cloakroom_application::{
    Background, Error,
    ports::COMPLETING_LEASE,
    sweep,
    testkit::objects::{Fault, MemoryStore, Step, sample},
    uploads::{Completion, NewResumable, join, status, take_up, terminate},
};
use cloakroom_domain::{FileId, Principal, UploadState, UserId};
use tokio::runtime::{Builder, Runtime};

use super::uploads::{new, stores};
use crate::support::World;

const SILENCE: Duration = COMPLETING_LEASE.saturating_add(Duration::from_secs(1));

/// A replica: its tasks end where they are when it is dropped. Its time passes as soon as all of them wait.
fn replica() -> Runtime {
    let mut replica = Builder::new_current_thread();
    replica.enable_all().start_paused(true).build().unwrap()
}

/// A joining that was promised, and whose replica died over a write that got no answer.
struct Left {
    world: World,
    partials: Vec<FileId>,
    id: FileId,
}

fn left_by_a_dead_replica(store: MemoryStore, body: &[u8]) -> Left {
    let dying = replica();
    let (world, partials, id) = dying.block_on(async {
        let world = World::over(store).await;
        let partials = world.partials(body).await;
        world.store.fail_nth(Step::Write, 2, Fault::Stall);
        let joined = join(&world.app, &world.alice, &partials, new(None)).await;
        let joined = joined.unwrap();
        assert!(joined.state.is_live());
        (world, partials, joined.id)
    });
    drop(dying);
    world.store.heal();
    Left {
        world,
        partials,
        id,
    }
}

impl Left {
    /// What becomes of it on another replica.
    fn found_by_another(mut self, look: impl AsyncFnOnce(&Self)) {
        replica().block_on(async {
            Arc::get_mut(&mut self.world.app).unwrap().background = Background::here();
            look(&self).await;
        });
    }

    /// Looks once nobody can be at it any more, and says how many were taken up.
    async fn take_up(&self) -> usize {
        self.world.database.pass(SILENCE);
        let taken = take_up(&self.world.app).await.unwrap();
        self.world.app.background.idle().await;
        taken
    }

    async fn state(&self) -> UploadState {
        self.world.upload(&self.id).await.state
    }
}

#[test]
fn what_was_promised_is_joined_though_its_replica_died() {
    for (kind, store) in stores() {
        let body = sample(400, 21);
        left_by_a_dead_replica(store, &body).found_by_another(async |left| {
            let Left { world, id, .. } = left;
            assert_eq!(take_up(&world.app).await.unwrap(), 0, "{kind}: too early");
            assert_eq!(left.take_up().await, 1, "{kind}");
            assert_eq!(left.state().await, UploadState::Finished, "{kind}");
            world.assert_file(id, &body, kind).await;
            assert_eq!(left.take_up().await, 0, "{kind}");
        });
    }
}

#[test]
fn what_was_promised_is_tried_again_when_its_store_was_away() {
    for (step, fault) in [
        (Step::Read, Fault::Unavailable),
        (Step::Head, Fault::Unavailable),
        (Step::Body, Fault::Break),
        (Step::Finish, Fault::LoseAnswer),
    ] {
        let body = sample(400, 22);
        left_by_a_dead_replica(MemoryStore::new(), &body).found_by_another(async |left| {
            left.world.store.fail_always(step, fault);
            assert_eq!(left.take_up().await, 1, "{step:?}");
            assert_eq!(left.state().await, UploadState::Open, "{step:?}");
            left.world.store.heal();
            assert_eq!(left.take_up().await, 1, "{step:?}");
            left.world.assert_file(&left.id, &body, "again").await;
        });
    }
}

#[test]
fn of_many_that_take_it_up_one_joins() {
    let body = sample(400, 23);
    left_by_a_dead_replica(MemoryStore::new(), &body).found_by_another(async |left| {
        let app = &left.world.app;
        left.world.database.pass(SILENCE);
        let both = futures_util::future::join(take_up(app), take_up(app)).await;
        assert_eq!((both.0.unwrap(), both.1.unwrap()), (1, 1));
        app.background.idle().await;
        left.world.assert_file(&left.id, &body, "together").await;
    });
}

#[test]
fn what_was_promised_fails_once_its_partial_uploads_are_gone() {
    let body = sample(400, 24);
    left_by_a_dead_replica(MemoryStore::new(), &body).found_by_another(async |left| {
        let Left {
            world, partials, ..
        } = left;
        let (app, alice) = (&world.app, &world.alice);
        terminate(app, alice, &partials[1]).await.unwrap();
        assert_eq!(left.take_up().await, 1);
        assert_eq!(left.state().await, UploadState::Failed);
        let found = status(app, alice, &left.id, Completion::ByLength).await;
        assert!(matches!(found, Err(Error::UploadGone)), "{found:?}");
        assert_eq!(left.take_up().await, 0);
    });
}

#[test]
fn what_was_promised_and_given_up_is_not_taken_up() {
    let body = sample(400, 25);
    left_by_a_dead_replica(MemoryStore::new(), &body).found_by_another(async |left| {
        left.world.database.pass(SILENCE);
        let (app, alice) = (&left.world.app, &left.world.alice);
        terminate(app, alice, &left.id).await.unwrap();
        assert_eq!(left.take_up().await, 0);
        for partial in &left.partials {
            let state = left.world.upload(partial).await.state;
            assert_eq!(state, UploadState::Finished);
        }
    });
}

#[tokio::test]
async fn what_may_still_arrive_after_a_join_that_failed_is_removed_later() {
    let world = World::new().await;
    let body = sample(400, 26);
    let partials = world.partials(&body).await;
    sweep(&world.app).await.unwrap();
    let before = world.rows().await;
    world.store.fail_nth(Step::Finish, 1, Fault::Unavailable);
    let failed = join(&world.app, &world.alice, &partials, new(None)).await;
    assert!(matches!(failed, Err(Error::Store { .. })));
    sweep(&world.app).await.unwrap();
    assert_eq!(world.rows().await, before + 1, "the row of what may come");
    world
        .database
        .pass(world.app.limits.uncertain_delay + SILENCE);
    sweep(&world.app).await.unwrap();
    assert_eq!(world.rows().await, before);
}

#[tokio::test]
async fn who_asks_for_the_same_again_is_told_of_the_file_that_there_is() {
    let world = World::new().await;
    let body = sample(400, 27);
    let partials = world.partials(&body).await;
    let said = |words: &str| NewResumable {
        described: Some(words.to_owned()),
        ..new(None)
    };
    let ask = async |ids: &[FileId], words| join(&world.app, &world.alice, ids, said(words)).await;
    let first = ask(&partials, "final").await.unwrap();
    let again = ask(&partials, "final").await.unwrap();
    assert_eq!((&again.id, again.state), (&first.id, UploadState::Finished));
    for (ids, words) in [(&partials[..], "another"), (&partials[..1], "some")] {
        let other = ask(ids, words).await;
        assert!(matches!(other, Err(Error::UploadGone)), "{other:?}");
    }
    let bob = Principal {
        user: UserId::parse("8").ok(),
        ..world.alice.principal.clone()
    };
    let theirs = join(&world.app, &bob, &partials, said("final")).await;
    assert!(matches!(theirs, Err(Error::UploadMissing)), "{theirs:?}");
    world.assert_file(&first.id, &body, "once").await;
    terminate(&world.app, &world.alice, &first.id)
        .await
        .unwrap();
    let gone = ask(&partials, "final").await;
    assert!(matches!(gone, Err(Error::UploadGone)), "{gone:?}");
}
