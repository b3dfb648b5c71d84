//! Digests of the whole, stated at the creation of an upload or with its bytes.

use cloakroom_application::{
    Error,
    testkit::objects::{MemoryStore, sample},
    uploads::{Append, NewResumable},
};
use cloakroom_domain::{Sha256Digest, UploadState};

use super::uploads::{bytes_at, new, stores};
use crate::support::World;

#[tokio::test]
async fn another_digest_than_the_announced_fails_the_upload_and_leaves_nothing() {
    for (kind, store) in stores() {
        let world = World::over(store).await;
        let announced = NewResumable {
            digest: Some(Sha256Digest::of(b"other")),
            ..new(Some(150))
        };
        let id = world.created(announced).await;
        world.send(&id, bytes_at(0), &sample(120, 8)).await.unwrap();
        let last = world.send(&id, bytes_at(120), &[0; 30]).await;
        assert!(matches!(last, Err(Error::DigestMismatch)), "{kind}");
        assert!(matches!(world.offset(&id).await, Err(Error::UploadGone)));
        let failed = world.upload(&id).await;
        assert_eq!(failed.state, UploadState::Failed);
        assert!(failed.failure.is_some());
        world.assert_all_gone(kind).await;
    }
}

#[tokio::test]
async fn a_digest_that_comes_with_the_last_bytes_counts_for_all() {
    let body = sample(300, 9);
    let stating = |offset, digest: &[u8]| Append {
        whole: Some(Sha256Digest::of(digest)),
        ..bytes_at(offset)
    };
    let world = World::over(MemoryStore::new()).await;
    let id = world.created(new(Some(300))).await;
    world.send(&id, bytes_at(0), &body[..100]).await.unwrap();
    world
        .send(&id, stating(100, &body), &body[100..])
        .await
        .unwrap();
    world.assert_file(&id, &body, "right").await;

    let world = World::over(MemoryStore::new()).await;
    let id = world.created(new(Some(300))).await;
    world.send(&id, bytes_at(0), &body[..100]).await.unwrap();
    let last = world.send(&id, stating(100, b"other"), &body[100..]).await;
    assert!(matches!(last, Err(Error::DigestMismatch)), "{last:?}");
    assert!(matches!(world.offset(&id).await, Err(Error::UploadGone)));
    world.assert_all_gone("wrong").await;
}

#[tokio::test]
async fn a_digest_that_is_not_the_announced_one_is_refused_and_changes_nothing() {
    let world = World::over(MemoryStore::new()).await;
    let body = sample(300, 9);
    let announced = NewResumable {
        digest: Some(Sha256Digest::of(&body)),
        ..new(Some(300))
    };
    let id = world.created(announced).await;
    let other = Append {
        whole: Some(Sha256Digest::of(b"other")),
        ..bytes_at(0)
    };
    let refused = world.send(&id, other, &body).await;
    assert!(matches!(refused, Err(Error::DigestMismatch)), "{refused:?}");
    assert_eq!(world.offset(&id).await.unwrap(), 0);
    world.send(&id, bytes_at(0), &body).await.unwrap();
    world.assert_file(&id, &body, "announced").await;
}
