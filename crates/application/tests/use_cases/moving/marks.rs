//! Whose a place is that everything is to move to.

use std::time::Duration;

use cloakroom_application::{
    Error, cancel_migration,
    ports::{MigrationState, StoreRegistry, VALIDATION_LEASE},
    preview,
    testkit::objects::{Fault, MemoryStore, Step},
};
use cloakroom_domain::StoreId;

use super::{FILES, House};

impl House {
    fn mark(&self) -> Option<StoreId> {
        self.shelf.marks.lock().unwrap().get("other").copied()
    }

    fn set_mark(&self, store: StoreId) {
        let mut marks = self.shelf.marks.lock().unwrap();
        marks.insert("other".to_owned(), store);
    }
}

#[tokio::test]
async fn a_place_that_another_service_has_marked_is_refused_and_keeps_its_mark() {
    let house = House::open().await;
    let theirs = StoreId::random();
    house.set_mark(theirs);
    let refused = house.begin().await;
    assert!(matches!(refused, Err(Error::BadValue(_))));
    assert_eq!(house.mark(), Some(theirs));
    house.shelf.marks.lock().unwrap().clear();
    house.target.fail_always(Step::List, Fault::Refuse);
    assert!(matches!(house.begin().await, Err(Error::BadValue(_))));
    assert_eq!(house.mark(), None, "a store that is not used has no mark");
}

/// With the mark of the store that it was copied from.
#[tokio::test]
async fn a_copy_of_a_store_is_no_place_to_move_to() {
    let (house, files) = House::with_files().await;
    let copied = StoreRegistry::all(&*house.world.database).await.unwrap();
    house.set_mark(copied[0].id);
    let refused = house.begin().await;
    assert!(matches!(refused, Err(Error::BadValue(_))), "{refused:?}");
    assert_eq!(house.mark(), Some(copied[0].id));
    let stores = StoreRegistry::all(&*house.world.database).await.unwrap();
    assert_eq!(stores, copied);
    house.assert_readable(&files).await;
}

#[tokio::test(start_paused = true)]
async fn a_place_that_a_replica_died_over_while_it_tried_it_can_be_asked_for_again() {
    let (house, files) = House::with_files().await;
    house.target.fail_always(Step::List, Fault::Stall);
    let trying = tokio::time::timeout(Duration::from_secs(1), house.begin()).await;
    assert!(trying.is_err() && house.mark().is_some());
    house.target.heal();
    house.world.database.pass(VALIDATION_LEASE);
    house.moved_for(Duration::from_secs(10)).await;
    house.begin().await.unwrap();
    let status = house.moved_for(Duration::from_secs(60)).await;
    assert_eq!(status.migration.state, MigrationState::Done);
    assert_eq!(status.migration.moved.objects, FILES as u64);
    house.assert_readable(&files).await;
}

#[tokio::test]
async fn a_trial_that_ends_beside_the_move_to_the_same_place_leaves_its_mark() {
    let (house, _) = House::with_files().await;
    house.target.fail_nth(Step::List, 1, Fault::Stall);
    let request = House::request_to("other");
    let app = house.world.app.clone();
    let (trial, moving) = tokio::join!(
        tokio::time::timeout(Duration::from_millis(200), preview(&app, &request)),
        async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            house.begin().await
        }
    );
    assert!(trial.is_err());
    moving.unwrap();
    let mark = house.mark();
    assert!(mark.is_some());
    house.target.fail_always(Step::List, Fault::Refuse);
    assert!(preview(&app, &request).await.is_err());
    assert_eq!(house.mark(), mark);
}

#[tokio::test]
async fn a_known_place_without_its_mark_and_bytes_is_not_marked() {
    let (house, _) = House::with_files().await;
    house.begin().await.unwrap();
    let status = house.moved_for(Duration::from_secs(5)).await;
    assert_eq!(status.migration.state, MigrationState::Done);
    house.begin_to("third").await.unwrap();
    cancel_migration(&house.world.app).await.unwrap();
    // As when its disk is not mounted.
    house.shelf.marks.lock().unwrap().remove("other");
    house.lead_to(MemoryStore::new());
    for (bucket, key, _) in house.target.objects() {
        assert!(house.target.lose(&bucket, &key));
    }
    let refused = house.begin().await;
    assert!(matches!(refused, Err(Error::BadValue(_))), "{refused:?}");
    assert_eq!(house.mark(), None);
}
