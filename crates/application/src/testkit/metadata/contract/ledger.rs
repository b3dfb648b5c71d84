//! The ledger: pending, stored, deleting.

use std::time::Duration;

use cloakroom_domain::{Bucket, BucketRule, ObjectKey, VersionId};
use futures_util::future::join;

use super::{Desk, Fixture, Must, Upload, account, file_id, store, user_of};
use crate::ports::{CommitError, NewVersion, RepositoryError, RowState};

const MINUTE: Duration = Duration::from_secs(60);

/// The store is the registry's, not the process's.
pub async fn a_body_goes_to_the_current_store(fixture: &dyn Fixture) {
    let record = store(BucketRule::Fixed(Bucket::parse("one").must()));
    fixture.stores().seed(record.clone()).await.must();
    let desk = Desk::open(fixture).await;
    let (_, location) = desk.pending(&Upload::new("f")).await;
    assert_eq!(location.store, record.id);
    assert_eq!(location.bucket.as_str(), "one");
    assert!(location.key.as_str().starts_with("1/f/"));
}

/// `{prefix}-{account}`, hashed where an account could not be part of a bucket's name.
pub async fn each_account_has_its_bucket_where_the_store_says_so(fixture: &dyn Fixture) {
    let record = store(BucketRule::PerAccount("pre".to_owned()));
    fixture.stores().seed(record).await.must();
    let desk = Desk::open(fixture).await;
    for id in ["1688", "Ä/b"] {
        let upload = Upload::new(id).by(user_of(id, "7"));
        let (_, location) = desk.pending(&upload).await;
        let part = BucketRule::account_part(&account(id));
        assert_eq!(location.bucket.as_str(), format!("pre-{part}"));
    }
}

/// An empty registry is an error, not a row.
pub async fn without_a_store_nothing_begins(fixture: &dyn Fixture) {
    let desk = Desk {
        files: fixture.files(),
        ledger: fixture.ledger(),
    };
    for upload in [Upload::new("f"), Upload::new("f").claiming("k")] {
        let refused = desk.begin(&upload).await;
        assert!(
            matches!(refused, Err(RepositoryError::Failed(_))),
            "{refused:?}"
        );
    }
    assert!(desk.ledger.scan(None, 9).await.must().is_empty());
}

/// A row owns its address from the start.
pub async fn no_two_bodies_have_one_address(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let new = || NewVersion {
        id: VersionId::random(),
        file: file_id("f"),
        account: account("1"),
        key: ObjectKey::parse("same").must(),
        claim: None,
        seal: None,
    };
    desk.ledger.begin(new()).await.must();
    let refused = desk.ledger.begin(new()).await;
    assert!(
        matches!(refused, Err(RepositoryError::Conflict(_))),
        "{refused:?}"
    );
}

/// Every copy has its row and its address, in their order, or none has.
pub async fn copies_begin_together_or_not_at_all(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let copies = |keys: &[&str]| -> Vec<NewVersion> {
        let new = |key: &&str| NewVersion {
            id: VersionId::random(),
            file: file_id("f"),
            account: account("1"),
            key: ObjectKey::parse(key).must(),
            claim: None,
            seal: None,
        };
        keys.iter().map(new).collect()
    };
    let begun = copies(&["b", "a", "c"]);
    let locations = desk.ledger.begin_copies(&begun).await.must();
    let keys: Vec<&str> = locations.iter().map(|at| at.key.as_str()).collect();
    assert_eq!(keys, ["b", "a", "c"]);
    for copy in &begun {
        assert!(desk.ledger.renew(copy.id).await.must());
    }
    for taken in [["d", "a"], ["e", "e"]] {
        let refused = desk.ledger.begin_copies(&copies(&taken)).await;
        assert!(
            matches!(refused, Err(RepositoryError::Conflict(_))),
            "{refused:?}"
        );
    }
    assert_eq!(desk.ledger.scan(None, 9).await.must().len(), begun.len());
}

/// An upload that moves keeps its row.
pub async fn a_pending_row_expires_unless_it_is_renewed(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let (still, location) = desk.pending(&Upload::new("still")).await;
    let (moving, _) = desk.pending(&Upload::new("moving")).await;
    let expire = async |limit| {
        let expired = desk.ledger.expire_pending(MINUTE, MINUTE * 3, limit);
        expired.await.must()
    };
    assert_eq!(expire(9).await, 0);
    fixture.pass(MINUTE * 2).await;
    assert!(desk.ledger.renew(moving).await.must());
    assert_eq!(expire(9).await, 1);
    assert!(!desk.ledger.renew(still).await.must());
    fixture.pass(MINUTE * 2).await;
    assert!(desk.ledger.renew(moving).await.must());
    assert!(desk.ledger.due(9).await.must().is_empty());
    fixture.pass(MINUTE * 2).await;
    assert!(desk.ledger.renew(moving).await.must());
    let due = desk.ledger.due(9).await.must();
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].version, &due[0].location), (still, &location));
    assert!(!desk.ledger.renew(VersionId::random()).await.must());

    desk.pending(&Upload::new("second")).await;
    desk.pending(&Upload::new("third")).await;
    fixture.pass(MINUTE * 2).await;
    assert_eq!(expire(2).await, 2);
    assert_eq!(expire(2).await, 1);
}

/// Once, and only a pending one.
pub async fn an_upload_given_up_is_doomed_after_its_delay(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f");
    let (now, _) = desk.pending(&upload).await;
    let (later, location) = desk.pending(&upload).await;
    assert!(desk.ledger.give_up(now, Duration::ZERO).await.must());
    assert!(!desk.ledger.give_up(now, Duration::ZERO).await.must());
    assert!(desk.ledger.give_up(later, MINUTE * 10).await.must());
    let due = desk.ledger.due(9).await.must();
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].version, now);
    let doomed = desk
        .ledger
        .doomed(&[later, VersionId::random()])
        .await
        .must();
    assert_eq!(doomed.len(), 1);
    assert_eq!((doomed[0].version, &doomed[0].location), (later, &location));
    fixture.pass(MINUTE * 11).await;
    assert_eq!(desk.ledger.due(9).await.must().len(), 2);

    let stored = desk.put(&upload).await.current.id;
    assert!(!desk.ledger.give_up(stored, Duration::ZERO).await.must());
    assert!(desk.ledger.doomed(&[stored]).await.must().is_empty());
}

/// What cannot be removed now is put off.
pub async fn doomed_rows_are_due_oldest_first_and_can_wait(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let mut rows = Vec::new();
    for n in 0..3_u32 {
        let (version, _) = desk.pending(&Upload::new(&format!("f{n}"))).await;
        let delay = MINUTE * (3 - n);
        assert!(desk.ledger.give_up(version, delay).await.must());
        rows.push(version);
    }
    fixture.pass(MINUTE * 4).await;
    let due = async |limit| -> Vec<VersionId> {
        let due = desk.ledger.due(limit).await.must();
        due.iter().map(|doomed| doomed.version).collect()
    };
    assert_eq!(due(9).await, [rows[2], rows[1], rows[0]]);
    assert_eq!(due(2).await, [rows[2], rows[1]]);
    desk.ledger.postpone(&rows[1..], MINUTE).await.must();
    assert_eq!(due(9).await, [rows[0]]);
    assert_eq!(desk.ledger.doomed(&rows).await.must().len(), 3);
    fixture.pass(MINUTE * 2).await;
    assert_eq!(due(9).await.len(), 3);
}

/// Rows of bodies that are there, or coming, stay.
pub async fn only_doomed_rows_are_forgotten(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let stored = desk.put(&Upload::new("stored")).await;
    let (pending, _) = desk.pending(&Upload::new("pending")).await;
    let (doomed, _) = desk.pending(&Upload::new("doomed")).await;
    desk.ledger.give_up(doomed, Duration::ZERO).await.must();
    let all = [stored.current.id, pending, doomed];
    desk.ledger.postpone(&all, MINUTE).await.must();
    desk.ledger.forget(&all).await.must();
    desk.ledger.forget(&[]).await.must();
    assert!(desk.ledger.doomed(&all).await.must().is_empty());
    assert_eq!(desk.ledger.scan(None, 9).await.must().len(), 2);
    assert!(desk.ledger.renew(pending).await.must());
    assert_eq!(desk.files.find(&stored.id).await.must(), Some(stored));
}

/// Compare and set: the file is there, or the body is doomed; never both, never neither.
pub async fn a_commit_and_the_sweeper_at_once_have_one_winner(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    for round in 0..20 {
        let upload = Upload::new(&format!("f{round}"));
        let (version, _) = desk.pending(&upload).await;
        let sweep = desk
            .ledger
            .expire_pending(Duration::ZERO, Duration::ZERO, 9);
        let (committed, _) = join(desk.commit(version, &upload), sweep).await;
        let is_doomed = !desk.ledger.doomed(&[version]).await.must().is_empty();
        let is_there = desk.files.find(&upload.id).await.must().is_some();
        match committed {
            Ok(_) => assert!(is_there && !is_doomed),
            Err(CommitError::Lost) => assert!(!is_there && is_doomed),
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// In every state, by id.
pub async fn a_scan_shows_every_row_once_and_what_it_belongs_to(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f");
    let first = desk.put(&upload).await.current;
    let second = desk.put_version(&upload).await.current;
    let (pending, _) = desk.pending(&Upload::new("new")).await;
    let (doomed, _) = desk.pending(&upload).await;
    desk.ledger.give_up(doomed, MINUTE).await.must();

    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let page = desk.ledger.scan(after, 3).await.must();
        let Some(last) = page.last() else { break };
        after = Some(last.version);
        rows.extend(page);
    }
    assert_eq!(rows.len(), 4);
    assert!(rows.is_sorted_by(|a, b| a.version < b.version));
    let row = |id| rows.iter().find(|row| row.version == id).must();
    let old = row(first.id);
    assert_eq!(
        (old.state, old.file_exists, old.is_current),
        (RowState::Stored, true, false)
    );
    assert_eq!((old.stored_size, old.sha256), (Some(3), first.sha256));
    assert_eq!(old.location, first.location);
    let current = row(second.id);
    assert!(current.is_current && current.file == upload.id);
    let coming = row(pending);
    assert_eq!(coming.state, RowState::Pending);
    assert!(!coming.file_exists && !coming.is_current);
    assert_eq!((coming.stored_size, coming.sha256), (None, None));
    let going = row(doomed);
    assert_eq!((going.state, going.file_exists), (RowState::Deleting, true));
}

/// Store, bucket and key together.
pub async fn a_row_is_found_by_its_address(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let file = desk.put(&Upload::new("f")).await;
    let row = desk.ledger.at(&file.current.location).await.must().must();
    assert_eq!(
        (row.version, row.state),
        (file.current.id, RowState::Stored)
    );
    assert!(row.file_exists && row.is_current);
    let mut elsewhere = file.current.location.clone();
    elsewhere.bucket = Bucket::parse("other").must();
    assert!(desk.ledger.at(&elsewhere).await.must().is_none());
    let (_, pending) = desk.pending(&Upload::new("g")).await;
    let row = desk.ledger.at(&pending).await.must().must();
    assert_eq!(row.state, RowState::Pending);
}

/// However many rows they have.
pub async fn buckets_are_named_once_each(fixture: &dyn Fixture) {
    let record = store(BucketRule::PerAccount("pre".to_owned()));
    let id = record.id;
    fixture.stores().seed(record).await.must();
    let desk = Desk::open(fixture).await;
    assert!(desk.ledger.buckets().await.must().is_empty());
    for n in 0..6 {
        let owner = user_of(&format!("{}", n % 3), "7");
        desk.pending(&Upload::new(&format!("f{n}")).by(owner)).await;
    }
    let mut buckets = desk.ledger.buckets().await.must();
    buckets.sort_unstable();
    let expected = ["pre-0", "pre-1", "pre-2"].map(|name| (id, Bucket::parse(name).must()));
    assert_eq!(buckets, expected);
}

/// In microseconds of this century.
pub async fn the_clock_goes_forward(fixture: &dyn Fixture) {
    let ledger = fixture.ledger();
    let first = ledger.now().await.must();
    let second = ledger.now().await.must();
    assert!(second >= first);
    assert!(first.seconds() > 1_700_000_000 && first.seconds() < 4_100_000_000);
}
