//! A database in memory: the same promises, under one lock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cloakroom_domain::{
    AccountId, Bucket, BucketKey, BucketName, BucketRule, File, FileId, FileName, Link, LinkId,
    Location, Metadata, ObjectBucket, ObjectKey, Owner, ReconcileId, Seal, Timestamp, TokenHash,
    Version, VersionId, Visibility,
};

use super::{
    memory_migrations::MigrationRow, memory_scrub::ScrubRow, memory_upload_rows::UploadRow,
};
use crate::ports::{RepositoryError, RowState, Run, ServiceToken, StoreRecord};

/// The metadata ports, in memory.
#[derive(Default)]
pub struct MemoryDatabase {
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) files: BTreeMap<FileId, FileRow>,
    pub(super) versions: BTreeMap<VersionId, VersionRow>,
    pub(super) uploads: BTreeMap<FileId, UploadRow>,
    pub(super) keys: HashMap<(String, String), KeyRow>,
    pub(super) stores: Vec<StoreRecord>,
    pub(super) tokens: Vec<(TokenHash, ServiceToken)>,
    pub(super) links: BTreeMap<LinkId, LinkRow>,
    pub(super) secrets: HashMap<String, Vec<u8>>,
    pub(super) migrations: Vec<MigrationRow>,
    pub(super) runs: BTreeMap<ReconcileId, RunRow>,
    pub(super) scrub: ScrubRow,
    pub(super) buckets: BTreeMap<BucketName, ObjectBucket>,
    pub(super) objects: BTreeMap<(BucketName, BucketKey), FileId>,
    /// How far the clock was put forward, in microseconds.
    ahead: i64,
    last: i64,
}

#[derive(Clone)]
pub(super) struct FileRow {
    pub(super) owner: Owner,
    pub(super) name: FileName,
    pub(super) visibility: Visibility,
    pub(super) metadata: Metadata,
    pub(super) revision: u64,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) deleted_at: Option<Timestamp>,
    pub(super) current: VersionId,
    pub(super) current_since: Timestamp,
    pub(super) last_number: u64,
    pub(super) claim_by: Option<Timestamp>,
    /// Whether it is in the trash because nobody claimed it.
    pub(super) is_unclaimed: bool,
}

pub(super) struct LinkRow {
    pub(super) link: Link,
    pub(super) last_used_at: Option<i64>,
}

pub(super) struct RunRow {
    pub(super) run: Run,
    pub(super) named: BTreeSet<FileId>,
    /// What nobody referred to, and whether it was put in the trash; `None` until it is asked for.
    pub(super) found: Option<BTreeMap<FileId, bool>>,
}

impl RunRow {
    pub(super) const fn of(run: Run) -> Self {
        Self {
            run,
            named: BTreeSet::new(),
            found: None,
        }
    }
}

pub(super) struct VersionRow {
    pub(super) file: FileId,
    /// The upload that governs it.
    pub(super) upload: Option<FileId>,
    pub(super) location: Location,
    pub(super) state: RowState,
    pub(super) touched_at: i64,
    pub(super) delete_after: i64,
    /// What was stored; `None` until then.
    pub(super) version: Option<Version>,
}

pub(super) struct KeyRow {
    pub(super) fingerprint: String,
    pub(super) version: VersionId,
    pub(super) locked_until: i64,
    pub(super) expires_at: i64,
    pub(super) answer: Option<File>,
}

impl MemoryDatabase {
    /// An empty database.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the database's clock forward.
    pub fn pass(&self, time: Duration) {
        self.state().ahead += micros(time);
    }

    /// Has a version at another place, as if somebody had moved its bytes.
    pub fn relocate(&self, version: VersionId, to: Location) {
        if let Some(row) = self.state().versions.get_mut(&version) {
            if let Some(stored) = &mut row.version {
                stored.location = to.clone();
            }
            row.location = to;
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The clock, which never shows the same instant twice.
    pub(super) fn now(&mut self) -> i64 {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH);
        let clock = micros(clock.unwrap_or_default()) + self.ahead;
        self.last = clock.max(self.last + 1);
        self.last
    }

    pub(super) fn instant(&mut self) -> Timestamp {
        Timestamp::from_micros(self.now())
    }

    pub(super) fn stored(&self, id: &FileId, number: u64) -> Option<&Version> {
        self.versions
            .values()
            .filter(|row| row.file == *id && row.state == RowState::Stored)
            .filter_map(|row| row.version.as_ref())
            .find(|version| version.number == number)
    }

    pub(super) fn file(&self, id: &FileId) -> Result<Option<File>, RepositoryError> {
        let Some(row) = self.files.get(id) else {
            return Ok(None);
        };
        let current = self
            .versions
            .get(&row.current)
            .and_then(|version| version.version.clone())
            .ok_or_else(|| RepositoryError::Failed("a file without a version".into()))?;
        Ok(Some(File {
            id: id.clone(),
            owner: row.owner.clone(),
            name: row.name.clone(),
            visibility: row.visibility,
            metadata: row.metadata.clone(),
            revision: row.revision,
            created_at: row.created_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
            current,
            current_since: row.current_since,
            claim_by: row.claim_by,
        }))
    }

    pub(super) fn live(&mut self, id: &FileId) -> Option<&mut FileRow> {
        self.files
            .get_mut(id)
            .filter(|row| row.deleted_at.is_none())
    }

    /// Where a new body of the account goes.
    pub(super) fn address(
        &self,
        account: &AccountId,
        key: ObjectKey,
        seal: Option<Seal>,
    ) -> Result<Location, RepositoryError> {
        let failed = |why: &'static str| RepositoryError::Failed(why.into());
        let store = self
            .stores
            .iter()
            .find(|store| store.is_current)
            .ok_or_else(|| failed("the registry has no current store"))?;
        let bucket = match &store.buckets {
            BucketRule::Fixed(bucket) => bucket.clone(),
            BucketRule::PerAccount(prefix) => {
                let name = format!("{prefix}-{}", BucketRule::account_part(account));
                Bucket::parse(&name).map_err(|_| failed("not a bucket"))?
            }
        };
        Ok(Location {
            store: store.id,
            bucket,
            key,
            seal,
        })
    }

    /// Turns a row into one to be removed after `delay` microseconds.
    pub(super) fn doom(&mut self, id: VersionId, delay: i64) {
        let due = self.now() + delay;
        if let Some(row) = self.versions.get_mut(&id) {
            row.state = RowState::Deleting;
            row.delete_after = due;
        }
    }

    pub(super) fn is_pending(&self, id: &VersionId) -> bool {
        self.versions
            .get(id)
            .is_some_and(|row| row.state == RowState::Pending)
    }
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}
