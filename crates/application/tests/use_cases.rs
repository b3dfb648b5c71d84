//! The use cases over in-memory adapters: every way in which an upload can end, and what is left then.
#![expect(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test that cannot go on ends"
)]

#[path = "use_cases/backend.rs"]
mod backend;
#[path = "use_cases/checking.rs"]
mod checking;
#[path = "use_cases/digests.rs"]
mod digests;
#[path = "use_cases/direct.rs"]
mod direct;
#[path = "use_cases/explaining.rs"]
mod explaining;
#[path = "use_cases/finishing.rs"]
mod finishing;
#[path = "use_cases/joining.rs"]
mod joining;
#[path = "use_cases/lifetimes.rs"]
mod lifetimes;
#[path = "use_cases/moving.rs"]
mod moving;
#[path = "use_cases/objects.rs"]
mod objects;
#[path = "use_cases/permissions.rs"]
mod permissions;
#[path = "use_cases/rates.rs"]
mod rates;
#[path = "use_cases/reading.rs"]
mod reading;
#[path = "use_cases/revoking.rs"]
mod revoking;
#[path = "use_cases/scrubbing.rs"]
mod scrubbing;
#[path = "use_cases/sharing.rs"]
mod sharing;
mod support;
#[path = "use_cases/sweeping.rs"]
mod sweeping;
#[path = "use_cases/uploads.rs"]
mod uploads;

use std::time::Duration;

use bytes::Bytes;
use cloakroom_application::{
    Destination, Error, NewUpload, Started, StoreOperation, Upload, authorize, begin, current,
    open, purge, sweep,
    testkit::objects::{Fault, Step, collect},
};
use cloakroom_domain::{Action, File, Preconditions, Sha256Digest};
use support::World;

async fn started(world: &World, new: NewUpload) -> Upload {
    match begin(&world.app, &world.alice, new).await {
        Ok(Started::Running(upload)) => *upload,
        Ok(Started::Replay(_)) => panic!("a replay without a key"),
        Err(error) => panic!("{error}"),
    }
}

async fn uploaded(world: &World, body: &'static [u8]) -> File {
    let mut upload = started(world, support::private_file()).await;
    upload.write(Bytes::from_static(body)).await.unwrap();
    upload.finish().await.unwrap()
}

async fn read(world: &World, file: &File) -> Result<Vec<u8>, Error> {
    let file = authorize(&world.app, &world.alice, &file.id, Action::Read).await?;
    let payload = open(&world.app, &current(file), None).await?;
    collect(payload).await.map_err(|source| Error::Store {
        operation: StoreOperation::Download,
        source,
    })
}

#[tokio::test]
async fn what_was_handed_in_comes_back() {
    let world = World::new().await;
    let file = uploaded(&world, b"hello").await;
    assert_eq!(file.current.size, 5);
    assert_eq!(file.current.sha256, Some(Sha256Digest::of(b"hello")));
    assert_eq!(read(&world, &file).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_store_that_says_no_at_any_step_leaves_nothing() {
    for (step, fault) in [
        (Step::Begin, Fault::Refuse),
        (Step::Write, Fault::Refuse),
        (Step::Write, Fault::Break),
        (Step::Finish, Fault::Refuse),
        (Step::Finish, Fault::Break),
    ] {
        let world = World::new().await;
        world.store.fail_nth(step, 1, fault);
        let outcome = async {
            let Started::Running(mut upload) =
                begin(&world.app, &world.alice, support::private_file()).await?
            else {
                panic!("a replay without a key");
            };
            if let Err(error) = upload.write(Bytes::from_static(b"x")).await {
                upload.give_up().await;
                return Err(error);
            }
            upload.finish().await
        };
        let error = outcome.await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Store {
                    operation: StoreOperation::Upload,
                    ..
                }
            ),
            "{step:?}: {error}"
        );
        world
            .assert_nothing_left(&format!("{step:?} {fault:?}"))
            .await;
    }
}

#[tokio::test]
async fn a_write_of_unknown_outcome_is_deleted_again_later() {
    let world = World::new().await;
    world.store.fail_nth(Step::Finish, 1, Fault::LoseAnswer);
    world.store.fail_always(Step::Delete, Fault::Unavailable);
    let mut upload = started(&world, support::private_file()).await;
    upload.write(Bytes::from_static(b"late")).await.unwrap();
    assert!(upload.finish().await.is_err());
    world.app.background.idle().await;
    assert_eq!(world.store.objects().len(), 1, "the write did land");
    world.store.heal();

    sweep(&world.app).await.unwrap();
    assert_eq!(
        world.rows().await,
        1,
        "the row stays until the time has passed"
    );
    world
        .database
        .pass(world.app.limits.uncertain_delay + Duration::from_secs(1));
    sweep(&world.app).await.unwrap();
    world.assert_nothing_left("after the delay").await;
}

#[tokio::test]
async fn a_client_that_leaves_leaves_nothing() {
    let world = World::new().await;
    let mut upload = started(&world, support::private_file()).await;
    upload.write(Bytes::from_static(b"half")).await.unwrap();
    drop(upload);
    world.assert_nothing_left("dropped").await;
}

#[tokio::test]
async fn a_client_that_leaves_during_the_commit_does_not_stop_it() {
    let world = World::new().await;
    let mut upload = started(&world, support::private_file()).await;
    upload.write(Bytes::from_static(b"whole")).await.unwrap();
    let mut finish = Box::pin(upload.finish());
    assert!(futures_util::poll!(&mut finish).is_pending());
    drop(finish);
    world.app.background.idle().await;
    assert_eq!(world.store.objects().len(), 1);
    assert_eq!(world.rows().await, 1);
}

#[tokio::test]
async fn a_wrong_digest_leaves_nothing() {
    let world = World::new().await;
    let new = NewUpload {
        digest: Some(Sha256Digest::of(b"other")),
        ..support::private_file()
    };
    let mut upload = started(&world, new).await;
    upload.write(Bytes::from_static(b"this")).await.unwrap();
    assert!(matches!(upload.finish().await, Err(Error::DigestMismatch)));
    world.assert_nothing_left("wrong digest").await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_while_it_comes() {
    let world = World::new().await;
    let limit = world.app.limits.max_file_size;
    let announced = NewUpload {
        size: Some(limit + 1),
        ..support::private_file()
    };
    let refused = begin(&world.app, &world.alice, announced).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })));

    let mut upload = started(&world, support::private_file()).await;
    let body = Bytes::from(vec![0; usize::try_from(limit).unwrap()]);
    upload.write(body).await.unwrap();
    assert!(matches!(
        upload.write(Bytes::from_static(b"x")).await,
        Err(Error::TooLarge { .. })
    ));
    upload.give_up().await;
    world.assert_nothing_left("too large").await;
}

#[tokio::test]
async fn a_stale_upload_is_swept_and_cannot_commit_afterwards() {
    let world = World::new().await;
    let mut upload = started(&world, support::private_file()).await;
    upload.write(Bytes::from_static(b"slow")).await.unwrap();
    world
        .database
        .pass(world.app.limits.pending_ttl + Duration::from_secs(1));
    assert_eq!(sweep(&world.app).await.unwrap().expired, 1);
    assert!(upload.finish().await.is_err());
    world
        .database
        .pass(world.app.limits.uncertain_delay + Duration::from_secs(1));
    sweep(&world.app).await.unwrap();
    world.assert_nothing_left("swept").await;
}

#[tokio::test]
async fn a_new_version_of_a_file_that_went_to_the_trash_leaves_nothing() {
    let world = World::new().await;
    let file = uploaded(&world, b"one").await;
    let target = authorize(&world.app, &world.alice, &file.id, Action::Write)
        .await
        .unwrap();
    let destination = Destination::NewVersion {
        file: Box::new(target.clone()),
        only_if_unchanged: false,
    };
    let mut upload = started(
        &world,
        NewUpload {
            destination,
            ..support::private_file()
        },
    )
    .await;
    upload.write(Bytes::from_static(b"two")).await.unwrap();
    cloakroom_application::trash(&world.app, &target, &Preconditions::default())
        .await
        .unwrap();
    assert!(matches!(upload.finish().await, Err(Error::NotFound)));
    world.app.background.idle().await;
    assert_eq!(
        world.store.objects().len(),
        1,
        "only the first version's bytes"
    );
}

#[tokio::test]
async fn two_conditional_versions_at_once_have_one_winner() {
    let world = World::new().await;
    let file = uploaded(&world, b"one").await;
    let target = authorize(&world.app, &world.alice, &file.id, Action::Write)
        .await
        .unwrap();
    let mut uploads = Vec::new();
    for _ in 0..2 {
        let destination = Destination::NewVersion {
            file: Box::new(target.clone()),
            only_if_unchanged: true,
        };
        uploads.push(
            started(
                &world,
                NewUpload {
                    destination,
                    ..support::private_file()
                },
            )
            .await,
        );
    }
    let (second, first) = (uploads.pop().unwrap(), uploads.pop().unwrap());
    let (first, second) = tokio::join!(first.finish(), second.finish());
    let won = [&first, &second]
        .iter()
        .filter(|outcome| outcome.is_ok())
        .count();
    assert_eq!(won, 1);
    let lost = if first.is_ok() { second } else { first };
    assert!(matches!(lost, Err(Error::PreconditionFailed)));
}

#[tokio::test]
async fn one_flipped_bit_breaks_a_whole_read() {
    let world = World::new().await;
    let file = uploaded(&world, b"precious").await;
    let at = &file.current.location;
    assert!(world.store.flip_bit(&at.bucket, &at.key, 3));
    assert!(matches!(
        read(&world, &file).await,
        Err(Error::Store { .. })
    ));
}

#[tokio::test]
async fn bytes_that_are_gone_are_an_error_of_their_own() {
    let world = World::new().await;
    let file = uploaded(&world, b"lost").await;
    let at = &file.current.location;
    assert!(world.store.lose(&at.bucket, &at.key));
    assert!(matches!(
        read(&world, &file).await,
        Err(Error::BytesMissing)
    ));
}

#[tokio::test]
async fn a_purge_takes_the_bytes_and_says_so_when_it_cannot() {
    let world = World::new().await;
    let file = uploaded(&world, b"one").await;
    world.store.fail_nth(Step::Delete, 1, Fault::Unavailable);
    let target = authorize(&world.app, &world.alice, &file.id, Action::Delete)
        .await
        .unwrap();
    let refused = purge(&world.app, &target, &Preconditions::default()).await;
    assert!(matches!(
        refused,
        Err(Error::Store {
            operation: StoreOperation::Delete,
            ..
        })
    ));
    assert!(matches!(read(&world, &file).await, Err(Error::NotFound)));
    sweep(&world.app).await.unwrap();
    world.assert_nothing_left("swept after a purge").await;

    let file = uploaded(&world, b"two").await;
    let target = authorize(&world.app, &world.alice, &file.id, Action::Delete)
        .await
        .unwrap();
    purge(&world.app, &target, &Preconditions::default())
        .await
        .unwrap();
    world.assert_nothing_left("purged").await;
}
