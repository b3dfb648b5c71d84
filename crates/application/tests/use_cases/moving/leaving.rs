//! What happens to a store that everything was moved away from.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cloakroom_application::{
    Error, Health, Stores, change_backend_config, health,
    ports::{MigrationState, RowState, StoreConfig},
    sweep,
    testkit::objects::{Fault, MemoryStore, Step},
};

use super::{FILES, House, Unsealed};
use crate::{started, support, uploaded};

/// More than a sweep takes at once.
const MANY: u64 = 510;

async fn store_is_up(house: &House) -> bool {
    let checks: Vec<Health> = health(&house.world.app).await;
    checks.iter().any(|it| it.name == "store" && it.up)
}

#[tokio::test(start_paused = true)]
async fn an_old_store_that_is_away_keeps_no_other_from_being_swept_and_is_not_needed() {
    let house = House::open().await;
    for _ in 0..MANY {
        uploaded(&house.world, b"body").await;
    }
    house.begin().await.unwrap();
    house.moved_for(Duration::from_secs(600)).await;
    for step in [Step::Delete, Step::Probe] {
        house.world.store.fail_always(step, Fault::Unavailable);
    }
    assert!(store_is_up(&house).await);
    let app = &house.world.app;
    let second = Duration::from_secs(1);
    house.world.database.pass(app.limits.delete_delay + second);
    let mut upload = started(&house.world, support::private_file()).await;
    upload.write(Bytes::from_static(b"given up")).await.unwrap();
    std::mem::forget(upload);
    let rows = app.ledger.scan(None, 5000).await.unwrap();
    let pending = rows.iter().find(|row| row.state == RowState::Pending);
    let pending = pending.unwrap().version;
    assert!(app.ledger.give_up(pending, Duration::ZERO).await.unwrap());
    let swept = sweep(app).await.unwrap();
    assert_eq!((swept.removed, swept.postponed), (1, MANY));
    house.world.store.heal();
    house
        .world
        .database
        .pass(app.limits.sweep_interval + second);
    assert_eq!(sweep(app).await.unwrap().removed, MANY);
    house.target.fail_always(Step::Probe, Fault::Unavailable);
    assert!(!store_is_up(&house).await);
}

#[tokio::test(start_paused = true)]
async fn what_fails_again_and_again_is_not_copied_again_and_again() {
    let (house, files) = House::with_files().await;
    let at = &files[0].current.location;
    assert!(house.world.store.flip_bit(&at.bucket, &at.key, 1));
    let mut open = started(&house.world, support::private_file()).await;
    open.write(Bytes::from_static(b"slow")).await.unwrap();
    house.begin().await.unwrap();
    let status = house.moved_for(Duration::from_secs(3600)).await;
    assert_eq!(status.migration.state, MigrationState::Draining);
    let attempts = status.failures[0].attempts;
    assert!((10..=400).contains(&attempts), "{attempts}");
    open.finish().await.unwrap();
    let status = house.moved_for(Duration::from_secs(300)).await;
    assert_eq!(status.migration.state, MigrationState::DoneWithFailures);
    assert_eq!((status.left.objects, status.migration.failures), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_configuration_is_changed_where_single_objects_are_lost() {
    let (house, _) = House::with_files().await;
    house.begin().await.unwrap();
    house.moved_for(Duration::from_secs(60)).await;
    let changes = StoreConfig::new();
    let change = || change_backend_config(&house.world.app, &changes);
    let mut objects = house.target.objects();
    objects.sort();
    let (bucket, key, _) = &objects[0];
    assert!(house.target.lose(bucket, key));
    change().await.unwrap();
    house.lead_to(MemoryStore::new());
    let elsewhere = change().await;
    assert!(matches!(elsewhere, Err(Error::BadValue(_))));
    house.lead_to(house.target.clone());
    for (bucket, key, _) in &objects[1..] {
        assert!(house.target.lose(bucket, key));
    }
    change().await.unwrap();
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_a_failure_of_the_store() {
    let house = House::open().await;
    house.lock(&["memory"]);
    let (registry, shelf) = (house.world.database.clone(), house.shelf.clone());
    let stores = Stores::of(registry, shelf, Arc::new(Unsealed));
    let id = house.world.app.stores.current().unwrap().id;
    let refused = stores.named(id).await.map(drop);
    assert!(matches!(refused, Err(Error::Store { .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn an_old_store_that_stays_away_keeps_nothing_else_from_being_moved() {
    let (house, files) = House::with_files().await;
    let spoiled = &files[0].current.location;
    let flip = || house.world.store.flip_bit(&spoiled.bucket, &spoiled.key, 1);
    assert!(flip());
    house.begin().await.unwrap();
    let status = house.moved_for(Duration::from_secs(600)).await;
    assert_eq!(status.migration.state, MigrationState::DoneWithFailures);
    for step in [Step::Read, Step::Probe] {
        house.world.store.fail_always(step, Fault::Unavailable);
    }
    house.begin_to("third").await.unwrap();
    let status = house.moved_for(Duration::from_secs(60)).await;
    assert_eq!(status.migration.state, MigrationState::Copying);
    assert_eq!(status.migration.moved.objects, FILES as u64 - 1);
    let status = house.moved_for(Duration::from_secs(900)).await;
    assert_eq!(status.migration.state, MigrationState::DoneWithFailures);
    assert_eq!((status.left.objects, status.migration.failures), (1, 1));
    house.world.store.heal();
    assert!(flip());
    house.assert_readable(&files).await;
}

#[tokio::test(start_paused = true)]
async fn an_old_store_that_lets_nobody_in_any_more_ends_it() {
    let (house, files) = House::with_files().await;
    house.begin().await.unwrap();
    for step in [Step::Read, Step::Probe] {
        house.world.store.fail_always(step, Fault::Refuse);
    }
    let status = house.moved_for(Duration::from_secs(300)).await;
    assert_eq!(status.migration.state, MigrationState::DoneWithFailures);
    assert_eq!(status.left.objects, FILES as u64);
    house.world.store.heal();
    house.assert_readable(&files).await;
}
