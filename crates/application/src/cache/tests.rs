//! What the caches keep, and what they drop in time.

use std::sync::atomic::{AtomicUsize, Ordering};

use cloakroom_domain::{
    AccountId, Bucket, BucketRule, ContentType, FileName, Metadata, ObjectKey, Owner,
    PrincipalKind, Sha256Digest, StoreId, VersionId, Visibility,
};
use tokio::sync::Semaphore;

use super::*;
use crate::{
    ports::{NewVersion, StoreRecord, StoreRegistry, VersionLedger},
    testkit::metadata::MemoryDatabase,
};

/// A repository that counts look-ups, and lets each answer go only when told.
struct Gated {
    inner: Arc<MemoryDatabase>,
    asked: AtomicUsize,
    gate: Semaphore,
}

impl Gated {
    async fn pass(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl FileRepository for Gated {
    async fn find(&self, id: &FileId) -> Result<Option<File>, RepositoryError> {
        // The answer is taken first and given later, as from a slow network.
        let found = self.inner.find(id).await;
        self.pass().await;
        found
    }

    async fn find_fresh(&self, id: &FileId) -> Result<Option<File>, RepositoryError> {
        self.find(id).await
    }

    async fn version(&self, id: &FileId, number: u64) -> Result<Option<Version>, RepositoryError> {
        self.inner.version(id, number).await
    }

    async fn versions(
        &self,
        id: &FileId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Version>, RepositoryError> {
        self.inner.versions(id, before, limit).await
    }

    async fn list(&self, filter: &FileFilter) -> Result<Vec<File>, RepositoryError> {
        FileRepository::list(self.inner.as_ref(), filter).await
    }

    async fn commit(&self, commit: Commit) -> Result<File, CommitError> {
        self.inner.commit(commit).await
    }

    async fn update(
        &self,
        id: &FileId,
        expected: u64,
        changes: FileChanges,
    ) -> Result<Option<File>, RepositoryError> {
        self.inner.update(id, expected, changes).await
    }

    async fn trash(&self, id: &FileId, expected: u64) -> Result<Option<File>, RepositoryError> {
        self.inner.trash(id, expected).await
    }

    async fn untrash(
        &self,
        id: &FileId,
        claim_within: Option<Duration>,
    ) -> Result<Option<File>, RepositoryError> {
        self.inner.untrash(id, claim_within).await
    }

    async fn purge(
        &self,
        id: &FileId,
        expected: Option<u64>,
    ) -> Result<Option<Purged>, RepositoryError> {
        self.inner.purge(id, expected).await
    }

    async fn restore_version(&self, id: &FileId, number: u64) -> Result<File, VersionError> {
        self.inner.restore_version(id, number).await
    }

    async fn delete_version(
        &self,
        id: &FileId,
        number: u64,
        delay_micros: i64,
    ) -> Result<File, VersionError> {
        self.inner.delete_version(id, number, delay_micros).await
    }

    fn forget(&self, _ids: Option<&[FileId]>) {}
}

struct Desk {
    gated: Arc<Gated>,
    cached: Arc<CachedFiles>,
    id: FileId,
}

impl Desk {
    /// A cache over a database with one file, whose answers flow freely.
    async fn open() -> Self {
        let inner = Arc::new(MemoryDatabase::new());
        let store = StoreRecord {
            id: StoreId::random(),
            driver: "fs".to_owned(),
            buckets: BucketRule::Fixed(Bucket::parse("b").unwrap()),
            config: None,
            revision: 0,
            is_current: true,
        };
        inner.seed(store).await.unwrap();
        let gated = Arc::new(Gated {
            inner,
            asked: AtomicUsize::new(0),
            gate: Semaphore::new(100),
        });
        let desk = Self {
            cached: Arc::new(CachedFiles::new(gated.clone(), FILES)),
            gated,
            id: FileId::parse("f").unwrap(),
        };
        let account = AccountId::parse("1").unwrap();
        let target = CommitTarget::NewFile {
            claim_within: None,
            owner: Owner {
                account,
                user: None,
                token: None,
            },
            name: FileName::clean("f"),
            visibility: Visibility::Private,
            metadata: Metadata::default(),
        };
        desk.put(target).await;
        desk
    }

    async fn put(&self, target: CommitTarget) -> File {
        let (account, name) = (AccountId::parse("1").unwrap(), FileName::clean("f"));
        let new = NewVersion {
            id: VersionId::random(),
            file: self.id.clone(),
            key: ObjectKey::mint(&account, &self.id, &name),
            account,
            claim: None,
            seal: None,
        };
        let version = new.id;
        self.gated.inner.begin(new).await.unwrap();
        let commit = Commit {
            version,
            size: 0,
            sha256: Sha256Digest::of(b""),
            crc64: 0,
            content_type: ContentType::octet_stream(),
            target,
            claim: None,
            upload: None,
            partials: Vec::new(),
        };
        self.cached.commit(commit).await.unwrap()
    }

    async fn find(&self) -> Option<File> {
        self.cached.find(&self.id).await.unwrap()
    }
}

fn rename(name: &str) -> FileChanges {
    FileChanges {
        name: Some(FileName::clean(name)),
        ..FileChanges::default()
    }
}

#[tokio::test]
async fn a_file_is_asked_for_once_and_a_missing_one_each_time() {
    let desk = Desk::open().await;
    assert_eq!(desk.find().await, desk.find().await);
    assert_eq!(desk.gated.asked(), 1);
    let none = FileId::parse("none").unwrap();
    for _ in 0..2 {
        assert!(desk.cached.find(&none).await.unwrap().is_none());
    }
    assert_eq!(desk.gated.asked(), 3);
    desk.cached.find_fresh(&desk.id).await.unwrap();
    assert_eq!(desk.gated.asked(), 4);
}

#[tokio::test]
async fn every_local_change_is_seen_at_once() {
    let desk = Desk::open().await;
    let (files, id) = (&desk.cached, &desk.id);
    desk.find().await;
    files.update(id, 1, rename("a")).await.unwrap().unwrap();
    assert_eq!(desk.find().await.unwrap().name.as_str(), "a");
    let version = CommitTarget::NewVersion {
        expected: None,
        name: None,
    };
    desk.put(version).await;
    assert_eq!(desk.find().await.unwrap().current.number, 2);
    files.restore_version(id, 1).await.unwrap();
    assert_eq!(desk.find().await.unwrap().current.number, 1);
    files.delete_version(id, 2, 0).await.unwrap();
    files.trash(id, 4).await.unwrap().unwrap();
    assert!(desk.find().await.unwrap().deleted_at.is_some());
    files.untrash(id, None).await.unwrap().unwrap();
    assert!(desk.find().await.unwrap().deleted_at.is_none());
    files.purge(id, None).await.unwrap().unwrap();
    assert!(desk.find().await.is_none());
}

#[tokio::test]
async fn what_others_changed_is_asked_for_again_once_it_is_forgotten() {
    let desk = Desk::open().await;
    desk.find().await;
    let inner = &desk.gated.inner;
    inner.update(&desk.id, 1, rename("a")).await.unwrap();
    desk.cached.forget(Some(std::slice::from_ref(&desk.id)));
    assert_eq!(desk.find().await.unwrap().name.as_str(), "a");
    inner.update(&desk.id, 2, rename("b")).await.unwrap();
    desk.cached.forget(None);
    assert_eq!(desk.find().await.unwrap().name.as_str(), "b");
}

#[tokio::test]
async fn an_answer_older_than_a_change_is_not_kept() {
    for all in [false, true] {
        let desk = Desk::open().await;
        desk.gated.gate.forget_permits(100);
        let (cached, id) = (desk.cached.clone(), desk.id.clone());
        let slow = tokio::spawn(async move { cached.find(&id).await.unwrap().unwrap() });
        while desk.gated.asked() == 0 {
            tokio::task::yield_now().await;
        }
        let ids = [desk.id.clone()];
        desk.gated
            .inner
            .update(&desk.id, 1, rename("new"))
            .await
            .unwrap();
        desk.cached.forget((!all).then_some(&ids[..]));
        desk.gated.gate.add_permits(100);
        assert_eq!(slow.await.unwrap().name.as_str(), "f");
        assert_eq!(desk.find().await.unwrap().name.as_str(), "new");
    }
}

#[tokio::test]
async fn a_token_is_known_until_it_is_revoked_and_unknown_until_it_is_made() {
    let inner = Arc::new(MemoryDatabase::new());
    let tokens = CachedTokens::new(inner.clone());
    let hash = TokenHash::of("t");
    let token = NewToken {
        id: TokenId::random(),
        name: "t".to_owned(),
        kind: PrincipalKind::Service,
        account: None,
        user: None,
        hash,
    };
    let id = token.id;
    assert!(tokens.by_hash(&hash).await.unwrap().is_none());
    tokens.create(token).await.unwrap();
    assert!(tokens.by_hash(&hash).await.unwrap().is_some());
    // Another process revokes it: known for as long as nobody says so.
    assert!(inner.revoke(id).await.unwrap());
    assert!(tokens.by_hash(&hash).await.unwrap().is_some());
    tokens.forget_all();
    assert!(tokens.by_hash(&hash).await.unwrap().is_none());
}
