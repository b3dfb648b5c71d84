//! Files: made, found, changed, trashed, purged.

use std::time::Duration;

use cloakroom_domain::{FileName, Metadata, Visibility};
use futures_util::future::{join, join_all};

use super::{Desk, Fixture, Must, Upload, file_id, services_of, user_of, visitor_of};
use crate::ports::{CommitError, FileChanges, RepositoryError, RowState};

/// What was committed is what every look-up answers.
pub async fn a_committed_body_is_a_file_that_reads_back_as_it_was(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f").typed("text/plain; charset=UTF-8");
    let (version, location) = desk.pending(&upload).await;
    assert!(desk.files.find(&upload.id).await.must().is_none());

    let file = desk.commit(version, &upload).await.must();
    assert_eq!(file.id, upload.id);
    assert_eq!(file.owner, upload.owner);
    assert_eq!(file.name.as_str(), "f.bin");
    assert_eq!(file.metadata.as_json(), "{\"a\":\"б\\u0000\"}");
    assert_eq!((file.revision, file.deleted_at), (1, None));
    assert_eq!(file.created_at, file.updated_at);
    assert_eq!(file.current_since, file.created_at);
    let current = &file.current;
    assert_eq!((current.id, current.number), (version, 1));
    assert_eq!(current.location, location);
    assert_eq!((current.size, current.stored_size), (3, 3));
    assert_eq!(current.crc64, Some(u64::MAX - 1));
    assert_eq!(current.content_type.as_str(), "text/plain; charset=UTF-8");
    assert_eq!(current.location.seal, None);

    assert_eq!(desk.files.find(&file.id).await.must().as_ref(), Some(&file));
    let fresh = desk.files.find_fresh(&file.id).await.must();
    assert_eq!(fresh.as_ref(), Some(&file));
    let version = desk.files.version(&file.id, 1).await.must();
    assert_eq!(version.as_ref(), Some(&file.current));
    assert!(desk.files.version(&file.id, 2).await.must().is_none());
    let beyond = desk.files.version(&file.id, u64::MAX).await.must();
    assert!(beyond.is_none());
}

/// Ids of any script, and owners of every kind.
pub async fn ids_owners_and_names_of_every_kind_read_back(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let long = "é".repeat(256);
    let uploads = [
        Upload::new("a1b2_Отчёт 2024.pdf").by(user_of("1", "7")),
        Upload::new("%00/../\u{202E}'\"; DROP TABLE files").by(visitor_of("1", "aaaaaaaa")),
        Upload::new(&long)
            .by(services_of("Ä/1"))
            .named("हिन्दी 👩‍👩‍👧.txt"),
    ];
    for upload in &uploads {
        let made = desk.put(upload).await;
        assert_eq!(made.owner, upload.owner);
        let found = desk.files.find(&upload.id).await.must();
        assert_eq!(found, Some(made));
    }
}

/// Committed, given up or swept: the row is taken.
pub async fn a_row_that_is_no_longer_pending_cannot_be_committed(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f");
    let (given_up, _) = desk.pending(&upload).await;
    assert!(desk.ledger.give_up(given_up, Duration::ZERO).await.must());
    let lost = desk.commit(given_up, &upload).await;
    assert!(matches!(lost, Err(CommitError::Lost)), "{lost:?}");

    let (swept, _) = desk.pending(&upload).await;
    let expired = desk
        .ledger
        .expire_pending(Duration::ZERO, Duration::ZERO, 9);
    assert_eq!(expired.await.must(), 1);
    let lost = desk.commit(swept, &upload).await;
    assert!(matches!(lost, Err(CommitError::Lost)), "{lost:?}");
    assert!(desk.files.find(&upload.id).await.must().is_none());

    let (version, _) = desk.pending(&upload).await;
    desk.commit(version, &upload).await.must();
    let lost = desk.commit_version(version, &upload, None).await;
    assert!(matches!(lost, Err(CommitError::Lost)), "{lost:?}");
}

/// Two files never share an id; the loser's row stays pending.
pub async fn an_id_that_is_taken_is_a_conflict(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f");
    let first = desk.put(&upload).await;
    let (second, _) = desk.pending(&upload).await;
    let refused = desk.commit(second, &upload).await;
    let is_conflict = matches!(
        refused,
        Err(CommitError::Repository(RepositoryError::Conflict(_)))
    );
    assert!(is_conflict, "{refused:?}");
    assert_eq!(desk.files.find(&upload.id).await.must(), Some(first));
    assert!(desk.ledger.renew(second).await.must());
}

/// A change is made for the row that its maker saw.
pub async fn an_update_applies_to_the_revision_it_was_made_for(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let made = desk.put(&Upload::new("f")).await;
    let renamed = FileChanges {
        name: Some(FileName::clean("другое.txt")),
        ..FileChanges::default()
    };
    let update = desk.files.update(&made.id, 1, renamed.clone());
    let file = update.await.must().must();
    assert_eq!((file.name.as_str(), file.revision), ("другое.txt", 2));
    assert_eq!(file.metadata, made.metadata);
    assert_eq!(file.visibility, made.visibility);
    assert_eq!(
        (file.current.clone(), file.created_at),
        (made.current, made.created_at)
    );
    assert!(file.updated_at >= made.updated_at);
    assert_eq!(desk.files.find(&made.id).await.must().as_ref(), Some(&file));

    let changes = FileChanges {
        name: None,
        visibility: Some(Visibility::Public),
        metadata: Some(Metadata::default()),
    };
    let stale = desk.files.update(&made.id, 1, changes.clone()).await.must();
    assert!(stale.is_none());
    let file = desk.files.update(&made.id, 2, changes).await.must().must();
    assert_eq!(file.visibility, Visibility::Public);
    assert_eq!(file.metadata.as_json(), "{}");
    assert_eq!(file.name.as_str(), "другое.txt");

    desk.files.trash(&made.id, 3).await.must().must();
    let trashed = desk.files.update(&made.id, 4, renamed.clone()).await.must();
    assert!(trashed.is_none());
    let none = desk.files.update(&file_id("none"), 1, renamed).await.must();
    assert!(none.is_none());
}

/// Compare and set, also at once.
pub async fn of_many_updates_of_one_revision_one_applies(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let made = desk.put(&Upload::new("f")).await;
    let updates = (0..8).map(|n| {
        let changes = FileChanges {
            name: Some(FileName::clean(&format!("{n}"))),
            ..FileChanges::default()
        };
        desk.files.update(&made.id, made.revision, changes)
    });
    let outcomes = join_all(updates).await;
    let applied: Vec<_> = outcomes.into_iter().filter_map(Must::must).collect();
    assert_eq!(applied.len(), 1);
    let found = desk.files.find(&made.id).await.must();
    assert_eq!(found.as_ref(), applied.first());
}

/// In and out, each once.
pub async fn the_trash_takes_a_file_and_gives_it_back(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let made = desk.put(&Upload::new("f")).await;
    assert!(desk.files.untrash(&made.id, None).await.must().is_none());
    assert!(desk.files.trash(&made.id, 7).await.must().is_none());
    let trashed = desk.files.trash(&made.id, 1).await.must().must();
    assert!(trashed.deleted_at.is_some());
    assert_eq!(trashed.revision, 2);
    assert!(desk.files.trash(&made.id, 2).await.must().is_none());
    let found = desk.files.find(&made.id).await.must();
    assert_eq!(found, Some(trashed));

    let back = desk.files.untrash(&made.id, None).await.must().must();
    assert_eq!((back.deleted_at, back.revision), (None, 3));
    assert_eq!(back.current, made.current);
    let none = desk.files.untrash(&file_id("none"), None).await.must();
    assert!(none.is_none());
}

/// Also of versions that were deleted before and wait; not of an upload that still runs.
pub async fn a_purge_dooms_every_body_at_once(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f");
    let other = desk.put(&Upload::new("other")).await;
    let mut bodies = vec![desk.put(&upload).await.current.id];
    bodies.push(desk.put_version(&upload).await.current.id);
    bodies.push(desk.put_version(&upload).await.current.id);
    let hour = 3_600_000_000;
    desk.files.delete_version(&upload.id, 1, hour).await.must();
    let (running, _) = desk.pending(&upload).await;

    assert!(
        desk.files
            .purge(&upload.id, Some(u64::MAX >> 1))
            .await
            .must()
            .is_none()
    );
    let mut purged = desk
        .files
        .purge(&upload.id, None)
        .await
        .must()
        .must()
        .versions;
    purged.sort_unstable();
    bodies.sort_unstable();
    assert_eq!(purged, bodies);
    assert!(desk.files.find(&upload.id).await.must().is_none());
    assert!(desk.files.version(&upload.id, 2).await.must().is_none());
    assert!(desk.files.purge(&upload.id, None).await.must().is_none());

    let mut due: Vec<_> = desk.ledger.due(99).await.must();
    due.sort_unstable_by_key(|doomed| doomed.version);
    let due: Vec<_> = due.iter().map(|doomed| doomed.version).collect();
    assert_eq!(due, bodies);
    assert!(desk.ledger.renew(running).await.must());
    assert_eq!(desk.files.find(&other.id).await.must(), Some(other));
}

/// Whoever comes first: a stored body has a file, and a purged file has no stored body.
pub async fn a_purge_and_a_commit_at_once_leave_no_body_without_a_file(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    for round in 0..10 {
        let upload = Upload::new(&format!("f{round}"));
        desk.put(&upload).await;
        let (version, _) = desk.pending(&upload).await;
        let commit = desk.commit_version(version, &upload, None);
        let (committed, purged) = join(commit, desk.files.purge(&upload.id, None)).await;
        let purged = purged.must().must();
        match committed {
            Ok(_) => assert!(purged.versions.contains(&version)),
            Err(CommitError::FileGone) => assert!(!purged.versions.contains(&version)),
            Err(other) => panic!("{other:?}"),
        }
        assert!(desk.files.find(&upload.id).await.must().is_none());
    }
    let rows = desk.ledger.scan(None, 999).await.must();
    assert!(rows.iter().all(|row| row.state != RowState::Stored));
}
