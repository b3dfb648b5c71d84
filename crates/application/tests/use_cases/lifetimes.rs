//! How long an upload lives whose bytes come slowly.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cloakroom_application::{
    Error,
    testkit::objects::sample,
    uploads::{Append, Checksum, End},
};
use cloakroom_domain::Sha256Digest;

use super::uploads::{bytes_at, new, stores};
use crate::support::World;

const LIFETIME: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_secs(3);

#[tokio::test(start_paused = true)]
async fn an_upload_that_moves_does_not_end_however_slowly_and_one_that_rests_does() {
    for (kind, store) in stores() {
        let body = sample(300, 31);
        let checksum = Checksum::Sha256(Sha256Digest::of(&body));
        let mut world = World::over(store).await;
        Arc::get_mut(&mut world.app).unwrap().limits.upload_expiry = LIFETIME;
        for checksum in [None, Some(checksum)] {
            let id = world.created(new(Some(300))).await;
            let append = Append {
                checksum,
                ..bytes_at(0)
            };
            let appending = world.begun(&id, append).await.unwrap();
            for chunk in body.chunks(25) {
                assert!(
                    appending.write(Bytes::copy_from_slice(chunk)).await,
                    "{kind}"
                );
                tokio::time::sleep(PAUSE).await;
                world.database.pass(PAUSE);
            }
            appending.finish(End::Whole).await.unwrap();
            assert_eq!(world.offset(&id).await.unwrap(), 300, "{kind}");
        }
        let resting = world.created(new(Some(300))).await;
        world
            .send(&resting, bytes_at(0), &body[..25])
            .await
            .unwrap();
        world.database.pass(LIFETIME + PAUSE);
        let ended = world.offset(&resting).await;
        assert!(matches!(ended, Err(Error::UploadGone)), "{kind}");
    }
}
