//! Comparing rows and objects.

use std::time::Duration;

use bytes::Bytes;
use cloakroom_application::{
    Error, Finding, FsckEvent, FsckOptions, fsck,
    ports::{ObjectStore, WriteHints},
    testkit::objects::{Fault, Step},
};
use cloakroom_domain::{AccountId, Bucket, FileId, FileName, ObjectKey};

use super::{
    started,
    support::{self, World},
    uploaded,
};

#[tokio::test]
async fn fsck_finds_what_is_missing_what_is_wrong_and_what_nobody_owns() {
    let world = World::new().await;
    let (missing, wrong) = (
        uploaded(&world, b"missing").await,
        uploaded(&world, b"wrong").await,
    );
    let intact = fsck(
        &world.app,
        FsckOptions {
            verify: true,
            repair: false,
        },
        &mut |_| (),
    )
    .await;
    assert_eq!(intact.unwrap().findings, 0);

    let at = &missing.current.location;
    assert!(world.store.lose(&at.bucket, &at.key));
    let at = &wrong.current.location;
    assert!(world.store.flip_bit(&at.bucket, &at.key, 0));
    world.plant_orphan().await;
    let looked = fsck(&world.app, FsckOptions::default(), &mut |_| ())
        .await
        .unwrap();
    assert_eq!(
        looked.findings, 2,
        "without --verify nobody reads the bytes"
    );
    let options = FsckOptions {
        verify: true,
        repair: true,
    };
    let repaired = fsck(&world.app, options, &mut |_| ()).await.unwrap();
    assert_eq!((repaired.findings, repaired.repaired), (3, 1));
    let after = fsck(&world.app, options, &mut |_| ()).await.unwrap();
    assert_eq!(
        after.findings, 2,
        "missing and wrong bytes cannot be repaired"
    );
}

#[tokio::test]
async fn a_repair_takes_old_unfinished_writes_but_not_those_that_a_row_still_names() {
    let world = World::new().await;
    let mut upload = started(&world, support::private_file()).await;
    upload.write(Bytes::from_static(b"still ")).await.unwrap();
    let account = AccountId::parse("1").unwrap();
    let nobody_s = ObjectKey::mint(&account, &FileId::random(), &FileName::clean("x"));
    let bucket = Bucket::parse("files").unwrap();
    let hints = WriteHints::default();
    let _left = world.store.begin(&bucket, &nobody_s, hints).await.unwrap();
    // The bucket is looked at because of a body that is stored there.
    uploaded(&world, b"another").await;
    world
        .store
        .age_unfinished(Duration::from_secs(7 * 24 * 3600));
    let options = FsckOptions {
        verify: false,
        repair: true,
    };
    let mut found = Vec::new();
    let mut note = |event: FsckEvent| {
        if let FsckEvent::Found(finding, repaired) = event {
            found.push((finding, repaired));
        }
    };
    fsck(&world.app, options, &mut note).await.unwrap();
    assert!(
        matches!(found[..], [(Finding::UnfinishedWrites(_, _, 1), true)]),
        "{found:?}"
    );
    upload.write(Bytes::from_static(b"alive")).await.unwrap();
    upload.finish().await.unwrap();
}

#[tokio::test]
async fn a_body_that_breaks_off_is_read_once_more_and_a_store_that_is_away_ends_the_look() {
    let world = World::new().await;
    uploaded(&world, b"whole").await;
    let options = FsckOptions {
        verify: true,
        repair: false,
    };
    world.store.fail_nth(Step::Body, 1, Fault::Break);
    let looked = fsck(&world.app, options, &mut |_| ()).await;
    assert_eq!(looked.unwrap().findings, 0);
    world.store.fail_always(Step::Body, Fault::Break);
    let looked = fsck(&world.app, options, &mut |_| ()).await;
    assert_eq!(looked.unwrap().findings, 1);
    world.store.fail_always(Step::Probe, Fault::Unavailable);
    let looked = fsck(&world.app, options, &mut |_| ()).await;
    assert!(matches!(looked, Err(Error::Store { .. })));
}
