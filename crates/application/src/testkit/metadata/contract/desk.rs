//! The steps of an upload, for the cases of the contract.

use std::{sync::Arc, time::Duration};

use cloakroom_domain::{
    Bucket, BucketRule, ContentType, File, FileId, FileName, Location, Metadata, ObjectKey, Owner,
    Sha256Digest, VersionId, Visibility,
};

use super::{Fixture, Must, claim, file_id, store, user_of};
use crate::ports::{
    Begun, Commit, CommitError, CommitTarget, FileRepository, IdempotencyClaim, NewVersion,
    RepositoryError, VersionLedger,
};

/// A file about to be uploaded.
#[derive(Clone)]
pub(crate) struct Upload {
    pub(crate) id: FileId,
    pub(crate) owner: Owner,
    pub(crate) name: String,
    pub(crate) visibility: Visibility,
    pub(crate) content_type: &'static str,
    pub(crate) claim: Option<IdempotencyClaim>,
    pub(crate) claim_within: Option<Duration>,
}

impl Upload {
    pub(crate) fn new(id: &str) -> Self {
        Self {
            id: file_id(id),
            owner: user_of("1", "7"),
            name: format!("{id}.bin"),
            visibility: Visibility::Private,
            content_type: "application/octet-stream",
            claim: None,
            claim_within: None,
        }
    }

    pub(crate) fn by(self, owner: Owner) -> Self {
        Self { owner, ..self }
    }

    pub(crate) fn named(self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self
        }
    }

    pub(crate) fn visible(self, visibility: Visibility) -> Self {
        Self { visibility, ..self }
    }

    pub(crate) fn typed(self, content_type: &'static str) -> Self {
        Self {
            content_type,
            ..self
        }
    }

    pub(crate) fn claiming(self, key: &str) -> Self {
        Self {
            claim: Some(claim(key)),
            ..self
        }
    }
}

/// The ports of a fixture, and the steps of an upload.
pub(crate) struct Desk {
    pub(crate) files: Arc<dyn FileRepository>,
    pub(crate) ledger: Arc<dyn VersionLedger>,
}

impl Desk {
    /// The ports, with a store to put bodies in.
    pub(crate) async fn open(fixture: &dyn Fixture) -> Self {
        let bucket = Bucket::parse("bodies").must();
        let seed = store(BucketRule::Fixed(bucket));
        fixture.stores().seed(seed).await.must();
        Self {
            files: fixture.files(),
            ledger: fixture.ledger(),
        }
    }

    pub(crate) async fn begin(
        &self,
        upload: &Upload,
    ) -> Result<(VersionId, Begun), RepositoryError> {
        let id = VersionId::random();
        let name = FileName::clean(&upload.name);
        let new = NewVersion {
            id,
            file: upload.id.clone(),
            account: upload.owner.account.clone(),
            key: ObjectKey::mint(&upload.owner.account, &upload.id, &name),
            claim: upload.claim.clone(),
            seal: None,
        };
        Ok((id, self.ledger.begin(new).await?))
    }

    /// Begins what must begin.
    pub(crate) async fn pending(&self, upload: &Upload) -> (VersionId, Location) {
        match self.begin(upload).await.must() {
            (id, Begun::Pending(location)) => (id, location),
            (_, other) => panic!("{other:?}"),
        }
    }

    pub(crate) async fn commit(
        &self,
        version: VersionId,
        upload: &Upload,
    ) -> Result<File, CommitError> {
        let target = CommitTarget::NewFile {
            owner: upload.owner.clone(),
            name: FileName::clean(&upload.name),
            visibility: upload.visibility,
            metadata: Metadata::from_json("{\"a\":\"б\\u0000\"}".to_owned()).must(),
            claim_within: upload.claim_within,
        };
        self.commit_to(version, upload, target).await
    }

    pub(crate) async fn commit_version(
        &self,
        version: VersionId,
        upload: &Upload,
        expected: Option<VersionId>,
    ) -> Result<File, CommitError> {
        let target = CommitTarget::NewVersion {
            expected,
            name: None,
        };
        self.commit_to(version, upload, target).await
    }

    pub(crate) async fn commit_to(
        &self,
        version: VersionId,
        upload: &Upload,
        target: CommitTarget,
    ) -> Result<File, CommitError> {
        let commit = Commit {
            version,
            size: 3,
            sha256: Sha256Digest::of(b"abc"),
            crc64: u64::MAX - 1,
            content_type: ContentType::parse(upload.content_type).must(),
            target,
            claim: upload.claim.clone(),
            upload: None,
            partials: Vec::new(),
        };
        self.files.commit(commit).await
    }

    /// A whole upload of a new file.
    pub(crate) async fn put(&self, upload: &Upload) -> File {
        let (version, _) = self.pending(upload).await;
        self.commit(version, upload).await.must()
    }

    /// A whole upload of a next version.
    pub(crate) async fn put_version(&self, upload: &Upload) -> File {
        let (version, _) = self.pending(upload).await;
        self.commit_version(version, upload, None).await.must()
    }
}
