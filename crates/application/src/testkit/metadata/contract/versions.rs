//! Versions: numbered, listed, restored, deleted.

use std::time::Duration;

use cloakroom_domain::{FileName, VersionId};
use futures_util::future::join_all;

use super::{Desk, Fixture, Must, Upload, file_id};
use crate::ports::{CommitError, CommitTarget, VersionError};

const HOUR: i64 = 3_600_000_000;

/// The file stays what it is; its current version changes.
pub async fn a_new_version_is_current_and_counts_on(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f");
    let first = desk.put(&upload).await;
    let upload = upload.typed("image/png");
    let (version, location) = desk.pending(&upload).await;
    let expected = Some(first.current.id);
    let second = desk.commit_version(version, &upload, expected).await.must();
    assert_eq!((second.current.id, second.current.number), (version, 2));
    assert_eq!(second.current.location, location);
    assert_eq!(second.current.content_type.as_str(), "image/png");
    assert_eq!((second.revision, &second.name), (2, &first.name));
    assert_eq!(second.created_at, first.created_at);
    assert_eq!(
        (&second.owner, second.visibility),
        (&first.owner, first.visibility)
    );
    assert!(second.current_since >= first.current_since);
    assert_eq!(second.updated_at, second.current_since);

    let (version, _) = desk.pending(&upload).await;
    let target = CommitTarget::NewVersion {
        expected: None,
        name: Some(FileName::clean("third.png")),
    };
    let third = desk.commit_to(version, &upload, target).await.must();
    assert_eq!(
        (third.current.number, third.name.as_str()),
        (3, "third.png")
    );
    assert_eq!(desk.files.find(&upload.id).await.must(), Some(third));
    let kept = desk.files.version(&upload.id, 1).await.must();
    assert_eq!(kept, Some(first.current));
}

/// Keyset pages by number, of stored versions only.
pub async fn versions_are_paged_newest_first(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f");
    desk.put(&upload).await;
    for _ in 0..4 {
        desk.put_version(&upload).await;
    }
    desk.put(&Upload::new("other")).await;
    desk.pending(&upload).await;
    desk.files.delete_version(&upload.id, 3, HOUR).await.must();
    let page = async |before, limit| -> Vec<u64> {
        let page = desk.files.versions(&upload.id, before, limit).await.must();
        page.iter().map(|version| version.number).collect()
    };
    assert_eq!(page(None, 2).await, [5, 4]);
    assert_eq!(page(Some(4), 2).await, [2, 1]);
    assert_eq!(page(Some(1), 2).await, [0_u64; 0]);
    assert_eq!(page(Some(u64::MAX), 99).await, [5, 4, 2, 1]);
}

/// n and n + 1, however close.
pub async fn commits_at_once_get_numbers_of_their_own(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f");
    desk.put(&upload).await;
    let mut pending = Vec::new();
    for _ in 0..6 {
        pending.push(desk.pending(&upload).await.0);
    }
    let commits = pending
        .iter()
        .map(|version| desk.commit_version(*version, &upload, None));
    let mut numbers: Vec<u64> = join_all(commits)
        .await
        .into_iter()
        .map(|file| file.must().current.number)
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3, 4, 5, 6, 7]);
    let file = desk.files.find(&upload.id).await.must().must();
    assert_eq!((file.current.number, file.revision), (7, 7));
}

/// The row stays pending, for whoever gives it up.
pub async fn a_commit_that_expected_another_version_changes_nothing(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f");
    let file = desk.put(&upload).await;
    let (version, _) = desk.pending(&upload).await;
    let stranger = Some(VersionId::random());
    let refused = desk.commit_version(version, &upload, stranger).await;
    assert!(matches!(refused, Err(CommitError::Changed)), "{refused:?}");
    assert_eq!(desk.files.find(&upload.id).await.must(), Some(file));
    assert!(desk.ledger.renew(version).await.must());
}

/// Of several uploads that were made for the same state, one wins and the others hear of it.
pub async fn of_many_commits_on_one_expected_version_one_applies(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f");
    let expected = Some(desk.put(&upload).await.current.id);
    let mut pending = Vec::new();
    for _ in 0..5 {
        pending.push(desk.pending(&upload).await.0);
    }
    let commits = pending
        .iter()
        .map(|version| desk.commit_version(*version, &upload, expected));
    let outcomes = join_all(commits).await;
    let applied = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let changed = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(CommitError::Changed)))
        .count();
    assert_eq!((applied, changed), (1, 4));
}

/// Whether it is in the trash or gone.
pub async fn a_file_in_the_trash_or_purged_takes_no_version(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f");
    desk.put(&upload).await;
    let (version, _) = desk.pending(&upload).await;
    desk.files.trash(&upload.id, 1).await.must().must();
    let refused = desk.commit_version(version, &upload, None).await;
    assert!(matches!(refused, Err(CommitError::FileGone)), "{refused:?}");
    desk.files.purge(&upload.id, None).await.must().must();
    let refused = desk.commit_version(version, &upload, None).await;
    assert!(matches!(refused, Err(CommitError::FileGone)), "{refused:?}");
    assert!(desk.ledger.renew(version).await.must());
}

/// No new row, but a new instant since when it is current.
pub async fn an_old_version_can_be_current_again(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f").typed("text/plain");
    let first = desk.put(&upload).await;
    let second = desk.put_version(&upload.clone().typed("image/png")).await;
    let restored = desk.files.restore_version(&upload.id, 1).await.must();
    assert_eq!(restored.current, first.current);
    assert_eq!(restored.revision, second.revision + 1);
    assert!(restored.current_since >= second.current_since);
    assert_eq!(restored.updated_at, restored.current_since);
    let found = desk.files.find(&upload.id).await.must();
    assert_eq!(found.as_ref(), Some(&restored));
    let versions = desk.files.versions(&upload.id, None, 9).await.must();
    assert_eq!(versions.len(), 2);

    let again = desk.files.restore_version(&upload.id, 1).await.must();
    assert_eq!(again, restored);
}

/// Unknown numbers and files, deleted versions, files in the trash.
pub async fn a_version_that_is_not_there_cannot_be_restored(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f");
    desk.put(&upload).await;
    desk.put_version(&upload).await;
    desk.put_version(&upload).await;
    desk.files.delete_version(&upload.id, 2, HOUR).await.must();
    let refused = async |id: &str, number| {
        let id = file_id(id);
        let restored = desk.files.restore_version(&id, number).await;
        let deleted = desk.files.delete_version(&id, number, 0).await;
        matches!(restored, Err(VersionError::NotFound))
            && matches!(deleted, Err(VersionError::NotFound))
    };
    assert!(refused("f", 2).await);
    assert!(refused("f", 4).await);
    assert!(refused("f", 0).await);
    assert!(refused("f", u64::MAX).await);
    assert!(refused("none", 1).await);
    desk.files.trash(&upload.id, 3).await.must().must();
    assert!(refused("f", 1).await);
}

/// The current one stays; another is doomed, after the delay.
pub async fn a_deleted_version_is_gone_and_its_bytes_wait(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f");
    let first = desk.put(&upload).await;
    let second = desk.put_version(&upload).await;
    let refused = desk.files.delete_version(&upload.id, 2, 0).await;
    assert!(matches!(refused, Err(VersionError::Current)), "{refused:?}");

    let file = desk.files.delete_version(&upload.id, 1, HOUR).await.must();
    assert_eq!(file.current, second.current);
    assert!(desk.files.version(&upload.id, 1).await.must().is_none());
    assert!(desk.ledger.due(9).await.must().is_empty());
    fixture.pass(Duration::from_secs(3_599)).await;
    assert!(desk.ledger.due(9).await.must().is_empty());
    fixture.pass(Duration::from_secs(2)).await;
    let due = desk.ledger.due(9).await.must();
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].version, first.current.id);
    assert_eq!(due[0].location, first.current.location);
}

/// Not even that of a version that was deleted.
pub async fn a_number_is_never_given_twice(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f");
    desk.put(&upload).await;
    let second = desk.put_version(&upload).await.current.id;
    desk.files.restore_version(&upload.id, 1).await.must();
    desk.files.delete_version(&upload.id, 2, 0).await.must();
    desk.ledger.forget(&[second]).await.must();
    let third = desk.put_version(&upload).await;
    assert_eq!(third.current.number, 3);
}
