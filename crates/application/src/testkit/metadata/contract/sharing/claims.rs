//! Claim or expire.

use std::time::Duration;

use cloakroom_domain::{File, FileName};

use super::{
    super::{Desk, Must, Upload, file_id},
    SharingFixture,
};
use crate::ports::FileChanges;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

fn unclaimed(id: &str) -> Upload {
    Upload {
        claim_within: Some(HOUR),
        ..Upload::new(id)
    }
}

async fn fresh(desk: &Desk, file: &File) -> File {
    desk.files.find_fresh(&file.id).await.must().must()
}

/// How long there is to claim it, in microseconds from `since`.
fn time_left(file: &File, since: i64) -> i64 {
    file.claim_by.must().micros() - since
}

/// And only then.
pub async fn what_is_not_claimed_in_time_goes_to_the_trash_and_what_is_claimed_stays(
    fixture: &dyn SharingFixture,
) {
    let desk = Desk::open(fixture).await;
    let claims = fixture.claims();
    let late = desk.put(&unclaimed("late")).await;
    assert_eq!(time_left(&late, late.created_at.micros()), 3_600_000_000);
    let kept = desk.put(&unclaimed("kept")).await;
    let never = desk.put(&Upload::new("never")).await;
    assert_eq!(never.claim_by, None);

    fixture.elapse(HOUR - MINUTE).await;
    assert!(claims.expire_unclaimed(10).await.must().is_empty());
    let claimed = claims.claim(&kept.id).await.must().must();
    assert_eq!((claimed.claim_by, claimed.deleted_at), (None, None));
    assert_eq!(claimed.revision, kept.revision + 1);
    assert!(claims.claim(&kept.id).await.must().is_none());
    assert!(claims.claim(&never.id).await.must().is_none());
    assert!(claims.claim(&file_id("none")).await.must().is_none());

    fixture.elapse(MINUTE).await;
    let expired = claims.expire_unclaimed(10).await.must();
    assert_eq!(expired, std::slice::from_ref(&late.id));
    assert!(claims.expire_unclaimed(10).await.must().is_empty());
    let gone = fresh(&desk, &late).await;
    assert!(gone.deleted_at.is_some() && gone.revision == late.revision + 1);
    for file in [&kept, &never] {
        assert_eq!(fresh(&desk, file).await.deleted_at, None);
    }
}

/// What somebody deleted stays deleted.
pub async fn a_claim_takes_back_what_went_to_the_trash_unclaimed_and_nothing_else(
    fixture: &dyn SharingFixture,
) {
    let desk = Desk::open(fixture).await;
    let claims = fixture.claims();
    let deleted = desk.put(&unclaimed("deleted")).await;
    desk.files.trash(&deleted.id, deleted.revision).await.must();
    let late = desk.put(&unclaimed("late")).await;
    fixture.elapse(HOUR).await;
    let expired = claims.expire_unclaimed(10).await.must();
    assert_eq!(expired, std::slice::from_ref(&late.id));
    assert!(claims.claim(&deleted.id).await.must().is_none());
    assert!(fresh(&desk, &deleted).await.deleted_at.is_some());
    let back = claims.claim(&late.id).await.must().must();
    assert_eq!((back.deleted_at, back.claim_by), (None, None));
    desk.files
        .trash(&late.id, back.revision)
        .await
        .must()
        .must();
    assert!(claims.claim(&late.id).await.must().is_none());
}

/// Whoever comes first.
pub async fn a_claim_and_the_sweeper_at_once_leave_the_file_claimed_and_there(
    fixture: &dyn SharingFixture,
) {
    let desk = Desk::open(fixture).await;
    let claims = fixture.claims();
    for round in 0..10 {
        let file = desk.put(&unclaimed(&format!("f{round}"))).await;
        fixture.elapse(HOUR).await;
        let (claimed, _) = tokio::join!(claims.claim(&file.id), claims.expire_unclaimed(10));
        assert!(claimed.must().is_some());
        claims.expire_unclaimed(10).await.must();
        let file = fresh(&desk, &file).await;
        assert_eq!((file.claim_by, file.deleted_at), (None, None));
    }
}

/// By the setting of then.
pub async fn what_is_restored_has_to_be_claimed_anew(fixture: &dyn SharingFixture) {
    let desk = Desk::open(fixture).await;
    let claims = fixture.claims();
    let late = desk.put(&unclaimed("late")).await;
    fixture.elapse(HOUR).await;
    claims.expire_unclaimed(10).await.must();
    let back = desk
        .files
        .untrash(&late.id, Some(MINUTE))
        .await
        .must()
        .must();
    assert_eq!(time_left(&back, back.updated_at.micros()), 60_000_000);
    assert!(claims.expire_unclaimed(10).await.must().is_empty());
    desk.files
        .trash(&late.id, back.revision)
        .await
        .must()
        .must();
    // It is there because somebody put it there.
    assert!(claims.claim(&late.id).await.must().is_none());
    let back = desk.files.untrash(&late.id, None).await.must().must();
    assert_eq!(back.claim_by, None);
    let claimed = desk.put(&Upload::new("claimed")).await;
    desk.files.trash(&claimed.id, claimed.revision).await.must();
    let back = desk.files.untrash(&claimed.id, Some(HOUR)).await.must();
    assert_eq!(back.must().claim_by, None);
}

/// Neither longer nor shorter.
pub async fn changes_and_new_versions_leave_the_time_to_claim_as_it_is(
    fixture: &dyn SharingFixture,
) {
    let desk = Desk::open(fixture).await;
    let upload = unclaimed("a");
    let file = desk.put(&upload).await;
    let newer = desk.put_version(&upload).await;
    let changes = FileChanges {
        name: Some(FileName::clean("b")),
        ..FileChanges::default()
    };
    let renamed = desk.files.update(&file.id, newer.revision, changes).await;
    let renamed = renamed.must().must();
    assert_eq!(renamed.claim_by, file.claim_by);
    assert!(file.claim_by.is_some());
}

/// A sweep does not take everything at a time.
pub async fn the_longest_overdue_go_in_batches(fixture: &dyn SharingFixture) {
    let desk = Desk::open(fixture).await;
    let claims = fixture.claims();
    for n in 0..5 {
        desk.put(&unclaimed(&format!("f{n}"))).await;
    }
    fixture.elapse(HOUR).await;
    let mut gone = Vec::new();
    for expected in [2, 2, 1, 0] {
        let batch = claims.expire_unclaimed(2).await.must();
        assert_eq!(batch.len(), expected);
        gone.extend(batch);
    }
    gone.sort();
    gone.dedup();
    assert_eq!(gone.len(), 5);
}
