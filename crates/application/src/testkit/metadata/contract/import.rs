//! Files of another service, entered as they are.

use cloakroom_domain::{
    Bucket, BucketRule, ContentType, EntityTag, FileName, Location, ObjectKey, Owner, StoreId,
    Timestamp, TokenHash, VersionId, Visibility,
};

use super::{Desk, Fixture, Must, Upload, account, file_id, store, user_of};
use crate::ports::{FileChanges, FileFilter, FileScope, ImportedFile, RepositoryError, RowState};

const MADE: i64 = 1_700_000_000_123_456;

/// A file of account 7 whose key is its id.
pub(super) fn foreign(store: StoreId, id: &str) -> ImportedFile {
    ImportedFile {
        id: file_id(id),
        owner: user_of("7", "42"),
        name: FileName::clean("Отчёт 2024.pdf"),
        content_type: ContentType::parse("application/pdf").must(),
        size: 5,
        version: VersionId::random(),
        location: Location::plain(
            store,
            Bucket::parse("old-7").must(),
            ObjectKey::parse(id).must(),
        ),
        created_at: Timestamp::from_micros(MADE),
    }
}

async fn seeded(fixture: &dyn Fixture) -> StoreId {
    let record = store(BucketRule::PerAccount("old".to_owned()));
    let id = record.id;
    fixture.stores().seed(record).await.must();
    id
}

/// Ids, owners, types, times: as they were. No hash is known, so the tag is the version's.
pub async fn a_file_that_was_taken_over_reads_back_as_it_was(fixture: &dyn Fixture) {
    let store = seeded(fixture).await;
    let nobody = Owner {
        user: None,
        token: Some(TokenHash::from_bytes([0; 32])),
        ..user_of("7", "42")
    };
    let longest = "ж".repeat(256);
    let ids = ["a1b2_Отчёт 2024.pdf", "%41/../\"'\n\u{1f600}+&?#", &longest];
    let mut all: Vec<ImportedFile> = ids.iter().map(|id| foreign(store, id)).collect();
    all[1].owner = nobody;
    all[1].content_type = ContentType::parse("text/plain; charset=koi8-r").must();
    let entered = fixture.imports().take_over(&all).await.must();
    assert_eq!(entered.len(), all.len());
    for wanted in all {
        let found = fixture.files().find(&wanted.id).await.must().must();
        assert_eq!(found.owner, wanted.owner);
        assert_eq!(found.name, wanted.name);
        assert_eq!(found.visibility, Visibility::Private);
        assert_eq!(
            (found.created_at, found.updated_at),
            (wanted.created_at, wanted.created_at)
        );
        assert_eq!(
            (found.current_since, found.revision),
            (wanted.created_at, 1)
        );
        let current = &found.current;
        assert_eq!((current.id, current.number), (wanted.version, 1));
        assert_eq!(current.location, wanted.location);
        assert_eq!((current.size, current.stored_size), (5, 5));
        assert_eq!(current.content_type, wanted.content_type);
        assert_eq!((current.sha256, current.crc64), (None, None));
        let tag = EntityTag::strong(format!("v-{}", wanted.version));
        assert_eq!(current.etag(), tag);
        let row = fixture.ledger().at(&wanted.location).await.must().must();
        assert_eq!((row.state, row.is_current), (RowState::Stored, true));
    }
    let filter = FileFilter {
        scope: FileScope::Caller(user_of("7", "42")),
        owner: None,
        content_type: None,
        name_prefix: None,
        created_after: None,
        deleted: false,
        after: None,
        limit: 10,
    };
    assert_eq!(fixture.files().list(&filter).await.must().len(), 2);
}

/// Also where the file has changed here since.
pub async fn taking_over_again_changes_nothing(fixture: &dyn Fixture) {
    let store = seeded(fixture).await;
    let (imports, files) = (fixture.imports(), fixture.files());
    let first = foreign(store, "a");
    imports.take_over(std::slice::from_ref(&first)).await.must();
    let changes = FileChanges {
        name: Some(FileName::clean("other.txt")),
        ..FileChanges::default()
    };
    files.update(&first.id, 1, changes).await.must().must();
    let before = files.find(&first.id).await.must();
    let again = [foreign(store, "a"), foreign(store, "b")];
    assert_eq!(imports.take_over(&again).await.must(), [file_id("b")]);
    assert_eq!(files.find(&first.id).await.must(), before);
    assert_eq!(imports.take_over(&again).await.must(), []);
    assert_eq!(imports.take_over(&[]).await.must(), []);
}

/// A file of ours with that id, and bytes of ours at that address, stay as they are; the rest is entered.
pub async fn what_has_its_id_or_address_taken_is_left_out(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let ours = desk.put(&Upload::new("ours")).await;
    let same_id = foreign(ours.current.location.store, "ours");
    let same_address = ImportedFile {
        location: ours.current.location.clone(),
        ..foreign(ours.current.location.store, "other")
    };
    let free = foreign(ours.current.location.store, "free");
    let all = [same_id, same_address, free];
    let entered = fixture.imports().take_over(&all).await.must();
    assert_eq!(entered, [file_id("free")]);
    assert_eq!(desk.files.find(&ours.id).await.must(), Some(ours));
    assert!(desk.files.find(&file_id("other")).await.must().is_none());
    assert_eq!(desk.ledger.scan(None, 10).await.must().len(), 2);
}

/// Neither twice nor half.
pub async fn of_many_at_once_each_file_is_entered_once(fixture: &dyn Fixture) {
    let store = seeded(fixture).await;
    let batch =
        || -> Vec<ImportedFile> { (0..40).map(|n| foreign(store, &format!("f{n}"))).collect() };
    let batches = [batch(), batch(), batch(), batch()];
    let imports = fixture.imports();
    let attempts = batches.iter().map(|batch| imports.take_over(batch));
    let mut entered = 0;
    for outcome in futures_util::future::join_all(attempts).await {
        match outcome {
            Ok(ids) => entered += ids.len(),
            Err(RepositoryError::Conflict(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(entered, 40);
    assert_eq!(fixture.ledger().scan(None, 1000).await.must().len(), 40);
}

/// Its row says where the bytes are, whatever the key; while they are being removed nothing is taken over there.
pub async fn a_purge_removes_what_was_taken_over(fixture: &dyn Fixture) {
    let store = seeded(fixture).await;
    let (imports, ledger) = (fixture.imports(), fixture.ledger());
    let file = foreign(store, "a/ü %2F");
    imports.take_over(std::slice::from_ref(&file)).await.must();
    let purged = fixture.files().purge(&file.id, None).await.must().must();
    assert_eq!(purged.versions, [file.version]);
    let doomed = ledger.doomed(&purged.versions).await.must();
    assert_eq!(doomed[0].location, file.location);
    let again = [foreign(store, "a/ü %2F")];
    assert_eq!(imports.take_over(&again).await.must(), []);
    ledger.forget(&purged.versions).await.must();
    assert_eq!(imports.take_over(&again).await.must().len(), 1);
}

/// In the trash or not; others are not mentioned.
pub async fn it_is_told_whose_the_known_ids_are(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let kept = desk.put(&Upload::new("kept")).await;
    let trashed = desk.put(&Upload::new("trashed \"\\")).await;
    desk.files.trash(&trashed.id, 1).await.must().must();
    let ids = [kept.id.clone(), file_id("nobody's"), trashed.id.clone()];
    let mut known = fixture.imports().accounts_of(&ids).await.must();
    known.sort();
    assert_eq!(known, [(kept.id, account("1")), (trashed.id, account("1"))]);
    assert!(fixture.imports().accounts_of(&[]).await.must().is_empty());
}
