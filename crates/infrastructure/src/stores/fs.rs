//! Objects as files below a folder, flushed before they count.

mod batches;
mod failpoint;
mod joining;
pub(super) mod layout;
mod listing;
mod marker;
mod parts;
mod reader;
mod root;
mod temp;
#[cfg(test)]
mod tests;
mod unflushed;
mod writer;

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use cloakroom_application::ports::{
    ListPage, ObjectMeta, ObjectStore, ObjectWriter, PartsWriter, Payload, Resumable, Resume,
    StoreError, StoredPart, Unfinished, WriteHints,
};
use cloakroom_domain::{Bucket, ByteRange, ObjectKey, StoreId, Timestamp};
use rustix::fs::{Access, AtFlags};

use self::{
    batches::patience,
    layout::{Address, plain},
    parts::FsPartsWriter,
    root::{Root, blocking, trouble},
    writer::FsWriter,
};
use super::{
    budget::{ReadBudget, WriteBudget},
    hauls::Hauls,
};

/// How long a disk may take over a look-up or a page of a small listing.
const SMALL_WORK: Duration = Duration::from_secs(9);

/// How long it may take over walking or emptying folders.
const LARGE_WORK: Duration = Duration::from_secs(60);

/// How long it may take to show that it is there.
const PROBE: Duration = Duration::from_secs(2);

/// What an [`FsStore`] shares with others.
#[derive(Debug, Clone, Default)]
pub struct FsOptions {
    /// Memory for large chunks being read.
    pub read_budget: ReadBudget,
    /// Memory for large batches being written.
    pub write_budget: WriteBudget,
}

/// A folder as an object store.
///
/// It serves only keys that [`ObjectKey::mint`] made, in buckets named with `[a-z0-9-]`.
#[derive(Debug)]
pub struct FsStore {
    root: Arc<Root>,
    hauls: Arc<Hauls<String>>,
    options: FsOptions,
}

impl FsStore {
    /// The name of the file that marks a folder as a store.
    pub const MARKER: &str = marker::MARKER;

    /// Opens the folder, and makes it if it is not there. Blocks for a moment.
    ///
    /// # Errors
    /// The folder cannot be made or opened.
    pub fn open(root: impl AsRef<Path>, options: FsOptions) -> Result<Self, StoreError> {
        let root = Root::open(root.as_ref().to_owned()).map_err(trouble)?;
        Ok(Self {
            root: Arc::new(root),
            hauls: Arc::default(),
            options,
        })
    }

    /// The root folder, that [`LocalFile::path`](cloakroom_application::ports::LocalFile) is relative to.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root.path
    }

    /// The id in the folder's marker `.cloakroom-store`, `None` if it has none. Blocks for a moment.
    ///
    /// # Errors
    /// The marker cannot be read or names no store.
    pub fn marker(&self) -> Result<Option<StoreId>, StoreError> {
        marker::read(&self.root)
    }

    /// Marks the folder with the id unless it is marked, and tells the id that it then has: another than the one
    /// given means that the folder belongs to another store. Blocks for a moment.
    ///
    /// # Errors
    /// The marker cannot be read or written, or names no store.
    pub fn mark(&self, id: StoreId) -> Result<StoreId, StoreError> {
        marker::write(&self.root, id)
    }

    /// Takes the marker with this id away again; one with another id stays. Blocks for a moment.
    ///
    /// # Errors
    /// The marker cannot be read or removed.
    pub fn unmark(&self, id: StoreId) -> Result<(), StoreError> {
        marker::remove(&self.root, id)
    }
}

#[async_trait]
impl ObjectStore for FsStore {
    async fn begin(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        _hints: WriteHints,
    ) -> Result<Box<dyn ObjectWriter>, StoreError> {
        let address = Address::of(bucket, key)?;
        let budget = self.options.write_budget.parts.clone();
        Ok(Box::new(FsWriter::new(
            Arc::clone(&self.root),
            address,
            budget,
        )))
    }

    async fn read(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        range: Option<ByteRange>,
    ) -> Result<Payload, StoreError> {
        let path = Address::of(bucket, key)?.path;
        let budget = Arc::clone(&self.options.read_budget.0);
        reader::read(Arc::clone(&self.root), path, range, budget).await
    }

    async fn head(&self, bucket: &Bucket, key: &ObjectKey) -> Result<ObjectMeta, StoreError> {
        let path = Address::of(bucket, key)?.path;
        let root = Arc::clone(&self.root);
        blocking(SMALL_WORK, move || listing::meta(&root, &path)).await
    }

    async fn delete(&self, bucket: &Bucket, keys: &[ObjectKey]) -> Vec<Result<(), StoreError>> {
        let addresses = keys.iter().map(|key| Address::of(bucket, key)).collect();
        let root = Arc::clone(&self.root);
        let work = move || Ok(remove_all(&root, addresses));
        match blocking(LARGE_WORK, work).await {
            Ok(answers) => answers,
            Err(error) => {
                let why = error.to_string();
                let each = |_| Err(StoreError::Unavailable(why.clone().into()));
                keys.iter().map(each).collect()
            }
        }
    }

    async fn list(
        &self,
        bucket: &Bucket,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        plain(bucket)?;
        let (root, hauls) = (Arc::clone(&self.root), Arc::clone(&self.hauls));
        let (bucket, prefix) = (bucket.clone(), prefix.to_owned());
        let cursor = cursor.map(str::to_owned);
        blocking(LARGE_WORK, move || {
            let limit = limit.clamp(1, 1000);
            listing::page(&root, &hauls, &bucket, &prefix, cursor.as_deref(), limit)
        })
        .await
    }

    async fn reap(
        &self,
        bucket: &Bucket,
        before: Timestamp,
        spare: &BTreeSet<ObjectKey>,
    ) -> Result<u64, StoreError> {
        let bucket = plain(bucket)?.to_owned();
        let spare = spare.iter().map(ObjectKey::to_string).collect();
        let root = Arc::clone(&self.root);
        blocking(LARGE_WORK, move || {
            listing::reap(&root, &bucket, before, &spare)
        })
        .await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let root = Arc::clone(&self.root);
        blocking(PROBE, move || {
            let wanted = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
            rustix::fs::accessat(&root.fd, ".", wanted, AtFlags::EACCESS)
                .map_err(|error| trouble(error.into()))
        })
        .await
    }

    fn driver(&self) -> &'static str {
        "fs"
    }

    fn resumable(&self) -> Option<&dyn Resumable> {
        Some(self)
    }
}

#[async_trait]
impl Resumable for FsStore {
    async fn resume(
        &self,
        object: &Unfinished,
        resume: Resume,
    ) -> Result<Box<dyn PartsWriter>, StoreError> {
        let address = Address::of(&object.bucket, &object.key)?;
        let (root, budget) = (
            Arc::clone(&self.root),
            self.options.write_budget.parts.clone(),
        );
        Ok(Box::new(FsPartsWriter::new(root, address, resume, budget)))
    }

    async fn join(&self, object: &Unfinished, parts: &[StoredPart]) -> Result<(), StoreError> {
        let address = Address::of(&object.bucket, &object.key)?;
        if parts.is_empty() {
            return Err(StoreError::Refused("an object without parts".into()));
        }
        let (root, parts) = (Arc::clone(&self.root), parts.to_vec());
        let patience = patience(parts.iter().map(|part| part.size).sum());
        blocking(patience, move || joining::join(&root, &address, &parts)).await
    }
}

/// Removes objects and unfinished writes, and flushes the folders: what was removed must not come back. Blocks.
fn remove_all(
    root: &Root,
    addresses: Vec<Result<Address, StoreError>>,
) -> Vec<Result<(), StoreError>> {
    let mut touched = BTreeSet::new();
    let mut answers: Vec<(Option<String>, Result<(), StoreError>)> = addresses
        .into_iter()
        .map(|address| {
            let address = match address {
                Ok(address) => address,
                Err(error) => return (None, Err(error)),
            };
            // The unfinished ones first: a writer that finishes meanwhile leaves an object, which goes next.
            let removed = joining::clear(root, &address.parts)
                .and_then(|_| root.remove(&address.unfinished))
                .and_then(|_| root.remove(&address.path));
            match removed {
                Ok(true) => {
                    touched.insert(address.folder.clone());
                    (Some(address.folder), Ok(()))
                }
                Ok(false) => (None, Ok(())),
                Err(error) => (None, Err(trouble(error))),
            }
        })
        .collect();
    for folder in touched {
        let Err(error) = root.flush_folder(&folder) else {
            continue;
        };
        let why = error.to_string();
        for (of, answer) in &mut answers {
            if of.as_ref() == Some(&folder) {
                *answer = Err(StoreError::Unavailable(why.clone().into()));
            }
        }
    }
    answers.into_iter().map(|(_, answer)| answer).collect()
}
