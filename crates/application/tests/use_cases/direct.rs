//! Uploads that go straight to the store.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cloakroom_application::{
    Error,
    testkit::objects::{Fault, MemoryStore, Step},
    uploads::{DirectStatus, NewResumable, SentPart, begin_direct, complete_direct},
};
use cloakroom_domain::UploadKind;

use crate::{support::World, uploads::new};

#[tokio::test]
async fn what_is_joined_but_could_not_be_read_is_read_again_when_it_is_asked_for() {
    let world = World::over(MemoryStore::with_parts_of(100)).await;
    let body = Bytes::from_static(b"straight to the store");
    let wanted = NewResumable {
        kind: UploadKind::Direct,
        ..new(Some(body.len() as u64))
    };
    let upload = begin_direct(&world.app, &world.alice, wanted)
        .await
        .unwrap();
    let part = &upload.parts[0];
    let sent = [SentPart {
        number: part.number,
        tag: world.store.send_part(&part.request.url, &body).unwrap(),
    }];
    for fault in [Fault::Break, Fault::Refuse, Fault::Unavailable] {
        world.store.fail_nth(Step::Read, 1, fault);
        let failed = complete_direct(&world.app, &world.alice, &upload.id, &sent).await;
        assert!(matches!(failed, Err(Error::Store { .. })), "{failed:?}");
    }
    let done = complete_direct(&world.app, &world.alice, &upload.id, &sent).await;
    assert!(matches!(done, Ok(DirectStatus::File(_))), "{done:?}");
    world.assert_file(&upload.id, &body, "direct").await;
}

#[tokio::test]
async fn nobody_is_promised_more_time_than_an_address_has() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let mut world = World::over(MemoryStore::with_parts_of(100)).await;
    for (lives, usable) in [(DAY, DAY), (30 * DAY, 7 * DAY)] {
        Arc::get_mut(&mut world.app).unwrap().limits.upload_expiry = lives;
        let wanted = NewResumable {
            kind: UploadKind::Direct,
            ..new(Some(5))
        };
        let before = world.app.ledger.now().await.unwrap();
        let upload = begin_direct(&world.app, &world.alice, wanted).await;
        let ends = upload.unwrap().expires_at.micros() - before.micros();
        let usable = i64::try_from(usable.as_micros()).unwrap();
        assert!((usable..usable + 60_000_000).contains(&ends), "{ends}");
        world.app.background.idle().await;
    }
}
