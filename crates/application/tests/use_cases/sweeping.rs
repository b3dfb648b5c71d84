//! What the sweeper and `fsck` do with what a replica left and with uploads that take several requests.

use std::time::Duration;

use bytes::Bytes;
use cloakroom_application::{
    FsckOptions, SweepReport, fsck,
    ports::{
        Ask, Asked, Lease, NewPiece, NewUploadRow, ObjectStore, ObjectWriter, Saved, Stretch,
        StretchAt, UploadRepository, UploadTarget, VersionLedger, WriteHints,
    },
    sweep,
    testkit::objects::{Fault, Step},
};
use cloakroom_domain::{
    AccountId, FileId, FileName, Location, Metadata, ObjectKey, Owner, UploadKind, UploadProgress,
    UploadState, VersionId, Visibility,
};

use super::{
    started,
    support::{self, World},
};

const SECOND: Duration = Duration::from_secs(1);

async fn create(world: &World) -> (FileId, Location) {
    let (id, account) = (FileId::random(), AccountId::parse("1").unwrap());
    let name = FileName::clean("a.bin");
    let record = world
        .app
        .uploads
        .create(NewUploadRow {
            id: id.clone(),
            version: VersionId::random(),
            key: ObjectKey::mint(&account, &id, &name),
            seal: None,
            account: account.clone(),
            creator: "user:1:7".to_owned(),
            kind: UploadKind::Whole,
            length: Some(8),
            target: UploadTarget {
                owner: Owner {
                    account,
                    user: None,
                    token: None,
                },
                name,
                declared_type: None,
                visibility: Visibility::Private,
                metadata: Metadata::default(),
                digest: None,
                described: None,
            },
            lifetime: world.app.limits.upload_expiry,
        })
        .await
        .unwrap();
    (id, record.location)
}

async fn take(world: &World, id: &FileId) -> Lease {
    match world.app.uploads.ask(id, Ask::First).await.unwrap() {
        Asked::Ours(lease) => *lease,
        other => panic!("{other:?}"),
    }
}

async fn writer(world: &World, at: &Location) -> Box<dyn ObjectWriter> {
    let hints = WriteHints::default();
    let mut writer = world.store.begin(&at.bucket, &at.key, hints).await.unwrap();
    writer.write(Bytes::from_static(b"piece")).await.unwrap();
    writer
}

/// An upload with a piece in the store, held by nobody.
async fn suspended(world: &World) -> FileId {
    let (id, _) = create(world).await;
    let lease = take(world, &id).await;
    let (generation, version) = (lease.record.generation, VersionId::random());
    let key = ObjectKey::mint(
        &AccountId::parse("1").unwrap(),
        &id,
        &FileName::clean("piece"),
    );
    let uploads = &world.app.uploads;
    let piece = NewPiece {
        version,
        key,
        seal: None,
    };
    let begun = uploads.begin_piece(&id, generation, piece).await;
    let location = begun.unwrap().unwrap();
    writer(world, &location).await.finish().await.unwrap();
    let saved = Saved {
        progress: UploadProgress::restore(5, Some(8)).unwrap(),
        hashes: None,
        write_id: None,
        next_number: lease.record.next_number,
        changed_from: 0,
        stretches: vec![Stretch {
            start: 0,
            size: 5,
            at: StretchAt::Piece { version, location },
        }],
        lifetime: Some(world.app.limits.upload_expiry),
    };
    assert!(uploads.release(&id, generation, Some(saved)).await.unwrap());
    id
}

async fn state(world: &World, id: &FileId) -> Option<UploadState> {
    let found = world.database.find(id).await.unwrap();
    found.map(|record| record.state)
}

#[tokio::test]
async fn an_upload_that_nobody_goes_on_with_is_removed_and_told_of_for_as_long_again() {
    let world = World::new().await;
    let expiry = world.app.limits.upload_expiry;
    let (left, moving) = (suspended(&world).await, suspended(&world).await);
    // Longer than an upload of one request may stand still.
    world.database.pass(expiry - SECOND * 60);
    assert_eq!(sweep(&world.app).await.unwrap(), SweepReport::default());
    assert_eq!(world.store.objects().len(), 2);
    let lease = take(&world, &moving).await;
    let kept = Saved {
        progress: lease.record.progress,
        hashes: None,
        write_id: None,
        next_number: lease.record.next_number,
        changed_from: 5,
        stretches: Vec::new(),
        lifetime: Some(expiry),
    };
    let uploads = &world.app.uploads;
    let generation = lease.record.generation;
    let released = uploads.release(&moving, generation, Some(kept)).await;
    assert!(released.unwrap());

    world.database.pass(SECOND * 61);
    let swept = sweep(&world.app).await.unwrap();
    let expected = SweepReport {
        uploads_expired: 1,
        removed: 2,
        ..SweepReport::default()
    };
    assert_eq!(swept, expected);
    assert_eq!(state(&world, &left).await, Some(UploadState::Expired));
    assert_eq!(state(&world, &moving).await, Some(UploadState::Open));
    assert_eq!((world.rows().await, world.store.objects().len()), (2, 1));

    world.database.pass(expiry + SECOND);
    let swept = sweep(&world.app).await.unwrap();
    assert_eq!((swept.uploads_expired, swept.uploads_forgotten), (1, 1));
    assert_eq!(state(&world, &left).await, None);
    world.database.pass(expiry + SECOND);
    assert_eq!(sweep(&world.app).await.unwrap().uploads_forgotten, 1);
    assert_eq!(state(&world, &moving).await, None);
    world.assert_nothing_left("expired and forgotten").await;
}

#[tokio::test]
async fn what_the_store_would_not_remove_of_an_expired_upload_is_removed_later() {
    let world = World::new().await;
    suspended(&world).await;
    world.store.fail_always(Step::Delete, Fault::Unavailable);
    world.database.pass(world.app.limits.upload_expiry + SECOND);
    let swept = sweep(&world.app).await.unwrap();
    assert_eq!((swept.uploads_expired, swept.postponed), (1, 2));
    assert_eq!(world.rows().await, 2);
    world.store.heal();
    assert_eq!(sweep(&world.app).await.unwrap().removed, 2);
    world.assert_nothing_left("swept again").await;
}

#[tokio::test]
async fn many_more_uploads_than_a_batch_expire_in_one_round() {
    let world = World::new().await;
    for _ in 0..70 {
        create(&world).await;
    }
    world.database.pass(world.app.limits.upload_expiry + SECOND);
    let swept = sweep(&world.app).await.unwrap();
    assert_eq!((swept.uploads_expired, swept.removed), (70, 70));
    world.assert_nothing_left("swept").await;
}

#[tokio::test]
async fn fsck_leaves_unfinished_objects_alone_while_an_upload_may_still_write_them() {
    let world = World::new().await;
    let (_, location) = create(&world).await;
    let unfinished = writer(&world, &location).await;
    // As a process leaves it that ends in the middle.
    std::mem::forget(unfinished);
    let repair = FsckOptions {
        verify: true,
        repair: true,
    };
    let quarter = world.app.limits.upload_expiry / 4;
    world.database.pass(quarter);
    let checked = fsck(&world.app, repair, &mut |_| ()).await.unwrap();
    assert_eq!((checked.findings, world.store.unfinished()), (0, 1));
    assert_eq!(world.database.scan(None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_killed_replica_sent_last_may_land_after_its_row_expired() {
    let world = World::new().await;
    let limits = &world.app.limits;
    let mut upload = started(&world, support::private_file()).await;
    upload.write(Bytes::from_static(b"late")).await.unwrap();
    std::mem::forget(upload);
    world.database.pass(limits.pending_ttl + SECOND);
    assert_eq!(sweep(&world.app).await.unwrap().expired, 1);
    let rows = world.app.ledger.scan(None, 9).await.unwrap();
    let at = &rows[0].location;
    let body = vec![Bytes::from_static(b"late")];
    world.store.put(&at.bucket, &at.key, body).await.unwrap();
    assert_eq!(sweep(&world.app).await.unwrap().removed, 0);
    world.database.pass(limits.uncertain_delay + SECOND);
    assert_eq!(sweep(&world.app).await.unwrap().removed, 1);
    world.assert_nothing_left("landed late").await;
}
