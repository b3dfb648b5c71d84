//! Compares rows and objects both ways, and reads the bytes if asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cloakroom_domain::{Bucket, Location, ObjectKey, Sha256Digest, StoreId, Timestamp};
use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};

use crate::{
    App, Error, StoreOperation,
    ports::{LedgerRow, ListedObject, ObjectStore, RowState, StoreError, StoreRecord},
    sweep,
};

const PAGE: u32 = 500;
const AT_ONCE: usize = 8;

/// What to do besides looking.
#[derive(Debug, Clone, Copy, Default)]
pub struct FsckOptions {
    /// Remove what no row leads to. Missing bytes cannot be repaired.
    pub repair: bool,
    /// Read every body and compare its hash.
    pub verify: bool,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A stored row without its object.
    MissingObject(Location),
    /// An object without a row.
    OrphanObject(Location),
    /// An object without a row under a key that this service does not make: another's, so never removed.
    ForeignObject(Location),
    /// The object has another length than its row.
    WrongSize(Location),
    /// The bytes have another hash than their row.
    WrongHash(Location),
    /// The bytes are sealed under a master key that is not configured.
    KeyMissing(Location),
    /// A stored row whose file does not exist.
    OrphanRow(Location),
    /// Unfinished writes in a bucket that no upload can still be making.
    UnfinishedWrites(StoreId, Bucket, u64),
}

impl Finding {
    /// A stable name for scripts.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::MissingObject(_) => "missing_object",
            Self::OrphanObject(_) => "orphan_object",
            Self::ForeignObject(_) => "foreign_object",
            Self::WrongSize(_) => "wrong_size",
            Self::WrongHash(_) => "wrong_hash",
            Self::KeyMissing(_) => "key_missing",
            Self::OrphanRow(_) => "orphan_row",
            Self::UnfinishedWrites(..) => "unfinished_writes",
        }
    }
}

/// Progress of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FsckEvent {
    /// So many rows have been looked at.
    Rows(u64),
    /// So many objects have been looked at.
    Objects(u64),
    /// Something was found; whether it was repaired.
    Found(Finding, bool),
}

/// What a check saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FsckSummary {
    /// Rows looked at.
    pub rows: u64,
    /// Objects looked at.
    pub objects: u64,
    /// Findings.
    pub findings: u64,
    /// Findings that were repaired.
    pub repaired: u64,
}

/// Checks everything. Uploads and deletions may go on meanwhile; what they do is no finding.
///
/// # Errors
/// The database or a store could not be asked.
pub async fn fsck(
    app: &App,
    options: FsckOptions,
    report: &mut (dyn FnMut(FsckEvent) + Send),
) -> Result<FsckSummary, Error> {
    let mut check = Fsck {
        app,
        options,
        report,
        summary: FsckSummary::default(),
        begun_at: app.ledger.now().await?,
        pending: BTreeMap::new(),
    };
    if options.repair {
        sweep(app).await?;
    }
    check.rows().await?;
    let stores = app.registry.all().await?;
    let mut kept = BTreeSet::new();
    for store in stores.iter().filter(|store| !store.is_current) {
        // What was left in an old store on purpose has no rows any more.
        if app.migrations.leaves_bytes_in(store.id).await? {
            kept.insert(store.id);
        }
    }
    let buckets: BTreeSet<(StoreId, Bucket)> = app.ledger.buckets().await?.into_iter().collect();
    for (store, bucket) in buckets {
        if !kept.contains(&store) {
            check.objects((store, &bucket), &stores).await?;
        }
    }
    Ok(check.summary)
}

struct Fsck<'a> {
    app: &'a App,
    options: FsckOptions,
    report: &'a mut (dyn FnMut(FsckEvent) + Send),
    summary: FsckSummary,
    begun_at: Timestamp,
    /// Keys whose bodies may still be on their way, for a repair, by their buckets: one place may be in the registry twice.
    pending: BTreeMap<Bucket, BTreeSet<ObjectKey>>,
}

impl Fsck<'_> {
    fn found(&mut self, finding: Finding, repaired: bool) {
        self.summary.findings += 1;
        self.summary.repaired += u64::from(repaired);
        (self.report)(FsckEvent::Found(finding, repaired));
    }

    async fn rows(&mut self) -> Result<(), Error> {
        let (app, verify) = (self.app, self.options.verify);
        let mut after = None;
        loop {
            let page = app.ledger.scan(after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.version);
            let count = page.len() as u64;
            if self.options.repair {
                self.note_pending(&page);
            }
            let findings: Vec<Option<Finding>> = stream::iter(page)
                .map(|row| check_row(app, row, verify))
                .buffer_unordered(AT_ONCE)
                .try_collect()
                .await?;
            for finding in findings.into_iter().flatten() {
                self.found(finding, false);
            }
            self.summary.rows += count;
            (self.report)(FsckEvent::Rows(self.summary.rows));
        }
    }

    fn note_pending(&mut self, page: &[LedgerRow]) {
        for row in page.iter().filter(|row| row.state == RowState::Pending) {
            let at = row.location.clone();
            let keys = self.pending.entry(at.bucket).or_default();
            keys.insert(at.key);
        }
    }

    async fn objects(
        &mut self,
        (store, bucket): (StoreId, &Bucket),
        stores: &[StoreRecord],
    ) -> Result<(), Error> {
        let app = self.app;
        let failed = Error::store(StoreOperation::Other);
        let objects = app.stores.named(store).await?;
        let mut cursor = None;
        loop {
            let page = objects
                .list(bucket, "", cursor.as_deref(), PAGE as usize)
                .await
                .map_err(failed)?;
            self.summary.objects += page.objects.len() as u64;
            let orphans: Vec<Option<Location>> = stream::iter(page.objects)
                .map(|object| orphan(app, (store, object), stores))
                .buffer_unordered(AT_ONCE)
                .try_collect()
                .await?;
            for location in orphans.into_iter().flatten() {
                if location.key.minted_parts().is_none() {
                    self.found(Finding::ForeignObject(location), false);
                    continue;
                }
                let repaired = self.options.repair && remove(&objects, &location).await?;
                self.found(Finding::OrphanObject(location), repaired);
            }
            (self.report)(FsckEvent::Objects(self.summary.objects));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        if self.options.repair {
            self.reap(store, bucket, &objects).await?;
        }
        Ok(())
    }

    /// Only on repair: looking at unfinished writes and removing them is one call of the store.
    ///
    /// A row is committed before the first byte, and every row was looked at since the check began: what is unfinished
    /// from before and has no pending row is nobody's.
    async fn reap(
        &mut self,
        store: StoreId,
        bucket: &Bucket,
        objects: &std::sync::Arc<dyn ObjectStore>,
    ) -> Result<(), Error> {
        let age = self.app.limits.pending_ttl.max(Duration::from_secs(3600));
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp::from_micros(self.begun_at.micros().saturating_sub(age));
        let none = BTreeSet::new();
        let reaped = objects
            .reap(bucket, before, self.pending.get(bucket).unwrap_or(&none))
            .await
            .map_err(Error::store(StoreOperation::Other))?;
        if reaped > 0 {
            self.found(
                Finding::UnfinishedWrites(store, bucket.clone(), reaped),
                true,
            );
        }
        Ok(())
    }
}

async fn check_row(app: &App, row: LedgerRow, verify: bool) -> Result<Option<Finding>, Error> {
    if row.state != RowState::Stored {
        return Ok(None);
    }
    let finding = if row.file_exists {
        check_object(app, &row, verify).await?
    } else {
        Some(Finding::OrphanRow(row.location.clone()))
    };
    if finding.is_none() {
        return Ok(None);
    }
    // What changed while we looked is no finding.
    let now = app.ledger.at(&row.location).await?;
    let stands =
        now.is_some_and(|now| now.state == RowState::Stored && now.file_exists == row.file_exists);
    Ok(finding.filter(|_| stands))
}

async fn check_object(app: &App, row: &LedgerRow, verify: bool) -> Result<Option<Finding>, Error> {
    let at = &row.location;
    let failed = Error::store(StoreOperation::Other);
    let store = app.stores.as_stored(at).await?;
    let meta = match store.head(&at.bucket, &at.key).await {
        Ok(meta) => meta,
        Err(StoreError::NotFound) => return Ok(Some(Finding::MissingObject(at.clone()))),
        Err(error) => return Err(failed(error)),
    };
    if row.stored_size.is_some_and(|size| size != meta.size) {
        return Ok(Some(Finding::WrongSize(at.clone())));
    }
    if !app.stores.has_key_for(at) {
        return Ok(Some(Finding::KeyMissing(at.clone())));
    }
    let Some(expected) = row.sha256.filter(|_| verify) else {
        return Ok(None);
    };
    let store = app.stores.at(at).await?;
    let mut read = hash(store.as_ref(), at).await;
    if let Err(StoreError::Broken(_)) = read {
        // A store that is restarted breaks off, too.
        store.probe().await.map_err(failed)?;
        read = hash(store.as_ref(), at).await;
    }
    match read {
        Ok(found) if found == expected => Ok(None),
        Ok(_) | Err(StoreError::Broken(_)) => Ok(Some(Finding::WrongHash(at.clone()))),
        Err(StoreError::NotFound) => Ok(Some(Finding::MissingObject(at.clone()))),
        Err(error) => Err(failed(error)),
    }
}

async fn hash(store: &dyn ObjectStore, at: &Location) -> Result<Sha256Digest, StoreError> {
    let mut hasher = Sha256::new();
    let read = store.read(&at.bucket, &at.key, None).await?;
    let mut bytes = read.into_stream();
    while let Some(chunk) = bytes.try_next().await? {
        hasher.update(&chunk);
    }
    Ok(Sha256Digest::new(hasher.finalize().into()))
}

async fn orphan(
    app: &App,
    (store, object): (StoreId, ListedObject),
    stores: &[StoreRecord],
) -> Result<Option<Location>, Error> {
    let location = Location::plain(store, object.bucket, object.key);
    if app.ledger.at(&location).await?.is_some() {
        return Ok(None);
    }
    // No two bodies share a key: a row of another store's is one of the same place, which was entered twice.
    for other in stores.iter().filter(|other| other.id != store) {
        let there = Location {
            store: other.id,
            ..location.clone()
        };
        if app.ledger.at(&there).await?.is_some() {
            return Ok(None);
        }
    }
    // What went while we looked is no finding.
    match app
        .stores
        .at(&location)
        .await?
        .head(&location.bucket, &location.key)
        .await
    {
        Ok(_) => Ok(Some(location)),
        Err(StoreError::NotFound) => Ok(None),
        Err(error) => Err(Error::Store {
            operation: StoreOperation::Other,
            source: error,
        }),
    }
}

async fn remove(
    store: &std::sync::Arc<dyn ObjectStore>,
    location: &Location,
) -> Result<bool, Error> {
    let answers = store
        .delete(&location.bucket, std::slice::from_ref(&location.key))
        .await;
    for answer in answers {
        answer.map_err(Error::store(StoreOperation::Delete))?;
    }
    Ok(true)
}
