//! Keys and what they lead to, also when many change it at once.

use std::time::Duration;

use cloakroom_domain::{FileId, ReconcileId};
use futures_util::future::{join, join_all};

use super::{Must, ObjectsFixture, Shelf, account};
use crate::ports::{BucketRemoved, CommitError, Expected, FileFilter, FileScope, NewRun, RowState};

/// What is put under a key is a version of its file; the metadata is that of the last one.
pub async fn a_key_leads_to_what_was_put_last(fixture: &dyn ObjectsFixture) {
    let shelf = Shelf::open(fixture).await;
    assert!(shelf.find("a/b").await.is_none());
    let first = shelf.put("a/b").await;
    assert_eq!((first.current.number, first.name.as_str()), (1, "b"));
    assert_eq!(shelf.find("a/b").await.as_ref(), Some(&first));
    let version = shelf.pending().await;
    let put = shelf.commit(version, "a/b", Expected::Anything, "{\"a\":\"b\"}");
    let second = put.await.must();
    assert_eq!((&second.id, second.current.number), (&first.id, 2));
    assert_eq!(second.metadata.as_json(), "{\"a\":\"b\"}");
    assert_eq!(second.revision, first.revision + 1);
    assert_eq!(shelf.find("a/b").await, Some(second));
    let old = shelf.desk.files.version(&first.id, 1).await.must();
    assert_eq!(old.must().id, first.current.id);
    // The body lies under an address of its own, but belongs to the file.
    let rows = shelf.desk.ledger.scan(None, 10).await.must();
    assert!(
        rows.iter()
            .all(|row| row.file == first.id && row.file_exists)
    );
}

/// The file of an object is its bucket's, and in the list of nobody but an admin.
pub async fn an_object_is_nobodys_file(fixture: &dyn ObjectsFixture) {
    let shelf = Shelf::open(fixture).await;
    let file = shelf.put("k").await;
    assert!(file.owner.is_bucket() && file.claim_by.is_none());
    let listed = async |scope: FileScope| {
        let filter = FileFilter {
            scope,
            owner: None,
            content_type: None,
            name_prefix: None,
            created_after: None,
            deleted: false,
            after: None,
            limit: 10,
        };
        shelf.desk.files.list(&filter).await.must().len()
    };
    let services = super::super::services_of("1");
    assert_eq!(listed(FileScope::Caller(services)).await, 0);
    let user = super::super::user_of("1", "7");
    assert_eq!(listed(FileScope::Caller(user)).await, 0);
    assert_eq!(listed(FileScope::All).await, 1);
}

/// Of puts at once that all find nothing each becomes a version of one file.
pub async fn of_many_puts_of_a_new_key_each_is_a_version(fixture: &dyn ObjectsFixture) {
    let shelf = Shelf::open(fixture).await;
    let puts = join_all((0..12).map(|_| shelf.put("k"))).await;
    let file = shelf.find("k").await.must();
    assert!(puts.iter().all(|put| put.id == file.id));
    let mut numbers: Vec<u64> = puts.iter().map(|put| put.current.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
    assert_eq!(file.current.number, 12);
}

/// Of puts at once that all expect nothing one applies, and no other leaves a trace.
pub async fn of_many_puts_that_expect_nothing_one_applies(fixture: &dyn ObjectsFixture) {
    let shelf = Shelf::open(fixture).await;
    expecting(&shelf, Expected::Nothing).await;
    let file = shelf.find("k").await.must();
    assert_eq!(file.current.number, 1);
}

/// Of puts at once that all expect one version one applies.
pub async fn of_many_puts_that_expect_a_version_one_applies(fixture: &dyn ObjectsFixture) {
    let shelf = Shelf::open(fixture).await;
    let first = shelf.put("k").await;
    expecting(&shelf, Expected::Version(first.current.id)).await;
    assert_eq!(shelf.find("k").await.must().current.number, 2);
    // Nor does one apply to nothing.
    let version = shelf.pending().await;
    let expected = Expected::Version(first.current.id);
    let put = shelf.commit(version, "other", expected, "{}").await;
    assert!(matches!(put, Err(CommitError::Changed)));
}

async fn expecting(shelf: &Shelf, expected: Expected) {
    let put = async || {
        let version = shelf.pending().await;
        shelf.commit(version, "k", expected, "{}").await
    };
    let puts = join_all((0..12).map(|_| put())).await;
    let applied = puts.iter().filter(|put| put.is_ok()).count();
    assert_eq!(applied, 1, "{puts:?}");
    let lost = puts.iter().filter_map(|put| put.as_ref().err());
    for error in lost {
        assert!(matches!(error, CommitError::Changed), "{error:?}");
    }
}

/// A removed object is gone at once, its bodies later; what is put then is another file.
pub async fn a_removed_object_is_gone_and_its_bytes_wait(fixture: &dyn ObjectsFixture) {
    let shelf = Shelf::open(fixture).await;
    let old = shelf.put("k").await;
    let file = shelf.put("k").await;
    assert_eq!(
        shelf.remove("k", file.current.id).await,
        Some(file.id.clone())
    );
    assert!(shelf.find("k").await.is_none());
    assert!(shelf.keys("", None, 10).await.is_empty());
    assert!(shelf.desk.files.find_fresh(&file.id).await.must().is_none());
    let rows = shelf.desk.ledger.scan(None, 10).await.must();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.state == RowState::Deleting));
    assert!(shelf.desk.ledger.due(10).await.must().is_empty());
    let again = shelf.put("k").await;
    assert_ne!(again.id, old.id);
    assert_eq!(again.current.number, 1);
    fixture.pass(Duration::from_secs(3601)).await;
    assert_eq!(shelf.desk.ledger.due(10).await.must().len(), 2);
}

/// A removal that was asked for of another version changes nothing.
pub async fn a_removal_is_of_the_version_it_was_asked_for(fixture: &dyn ObjectsFixture) {
    let shelf = Shelf::open(fixture).await;
    let old = shelf.put("k").await;
    let now = shelf.put("k").await;
    assert_eq!(shelf.remove("k", old.current.id).await, None);
    assert_eq!(shelf.remove("other", now.current.id).await, None);
    assert_eq!(shelf.find("k").await, Some(now));
}

/// Whatever comes between puts and removals: a key leads to a file, or there is none of it.
pub async fn puts_and_removals_at_once_leave_no_name_without_a_file(fixture: &dyn ObjectsFixture) {
    let shelf = Shelf::open(fixture).await;
    for _ in 0..8 {
        let remove = async || {
            if let Some(file) = shelf.find("k").await {
                shelf.remove("k", file.current.id).await;
            }
        };
        join(
            join_all((0..3).map(|_| shelf.put("k"))),
            join_all((0..3).map(|_| remove())),
        )
        .await;
        let found = shelf.find("k").await;
        assert_eq!(
            shelf.keys("", None, 10).await.len(),
            usize::from(found.is_some())
        );
    }
    if let Some(file) = shelf.find("k").await {
        shelf.remove("k", file.current.id).await.must();
    }
    let removed = shelf.buckets.remove_bucket(&shelf.bucket).await.must();
    assert_eq!(removed, BucketRemoved::Gone);
    let rows = shelf.desk.ledger.scan(None, 1000).await.must();
    assert!(rows.iter().all(|row| row.state == RowState::Deleting));
}

/// A file that an admin puts in the trash is no object there, and one again when it comes back, unless its key leads
/// elsewhere by then. A purge takes the name along.
pub async fn a_file_in_the_trash_or_purged_gives_its_name_back(fixture: &dyn ObjectsFixture) {
    let shelf = Shelf::open(fixture).await;
    let files = &shelf.desk.files;
    let old = shelf.put("k").await;
    files.trash(&old.id, old.revision).await.must().must();
    assert!(shelf.find("k").await.is_none() && shelf.keys("", None, 10).await.is_empty());
    assert_eq!(shelf.remove("k", old.current.id).await, None);
    files.untrash(&old.id, None).await.must().must();
    let back = shelf.find("k").await.must();
    assert_eq!(back.id, old.id);
    files.trash(&old.id, back.revision).await.must().must();
    let version = shelf.pending().await;
    let put = shelf.commit(version, "k", Expected::Nothing, "{}");
    let new = put.await.must();
    assert_ne!(new.id, old.id);
    files.untrash(&old.id, None).await.must().must();
    assert_eq!(shelf.find("k").await.must().id, new.id);
    files.purge(&new.id, None).await.must().must();
    assert!(shelf.find("k").await.is_none());
    assert_eq!(shelf.put("k").await.current.number, 1);
}

/// Reconciling an account never finds what is in its buckets.
pub async fn an_object_is_never_found_to_be_without_use(fixture: &dyn ObjectsFixture) {
    let shelf = Shelf::open(fixture).await;
    shelf.put("k").await;
    let plain = super::super::Upload::new("plain");
    shelf.desk.put(&plain).await;
    fixture.elapse(Duration::from_secs(60)).await;
    let runs = fixture.runs();
    let id = ReconcileId::random();
    let new = NewRun {
        id,
        account: account("1"),
        age: Duration::ZERO,
    };
    runs.begin(new).await.must().must();
    runs.finish(id).await.must().must();
    let mut found: Vec<FileId> = Vec::new();
    for _ in 0..3 {
        let page = runs.found(id, None, 10).await.must().must();
        found = page.files;
    }
    assert_eq!(found, [plain.id]);
}
