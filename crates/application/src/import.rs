//! Takes the files of another service over. Their bytes stay where they are.
//!
//! A row is taken exactly if its object is there with the row's size: what is taken can be served. Rows that are here
//! already are not looked at again, so that a run that was cut short goes on where it ended, and a second one changes
//! nothing.

use std::{collections::HashMap, sync::Arc, time::Duration};

use cloakroom_domain::{
    AccountId, Bucket, ContentType, FileId, FileName, Location, ObjectKey, Owner, StoreId,
    Timestamp, TokenHash, UserId, VersionId,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    Error, StoreOperation,
    ports::{
        FileImport, ForeignFiles, ForeignRow, ImportedFile, ObjectMeta, ObjectStore,
        RepositoryError, StoreError,
    },
};

const PAGE: u32 = 500;
/// Objects looked at at once.
const AT_ONCE: usize = 16;
/// A database that is busy or restarting is asked again this often, so far apart.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);
/// Times that HTTP and JSON can write: the years 1 to 9999, in microseconds since 1970.
const TIMES: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;

/// Where the files go.
pub struct ImportTarget {
    /// Who takes them over; `None` where there is no database yet, so that a dry run has none to ask.
    pub files: Option<Arc<dyn FileImport>>,
    /// The store that holds their bytes.
    pub store: Arc<dyn ObjectStore>,
    /// Its id in the registry.
    pub store_id: StoreId,
    /// Bytes of an account are in the bucket `{prefix}-{account}`, at the file's id.
    pub bucket_prefix: String,
    /// Look, and change nothing.
    pub dry_run: bool,
}

/// Why a row was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// There is no object at its address.
    MissingObject,
    /// The object has another size.
    WrongSize {
        /// What the row says, in bytes.
        row: u64,
        /// What the store says.
        object: u64,
    },
    /// The row cannot be a file here.
    BadRow(String),
    /// The id is a file of another account here.
    IdTaken,
    /// Its bytes belong to something else here, or are being removed.
    AddressTaken,
}

impl NotTaken {
    /// A stable name for scripts.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::MissingObject => "missing_object",
            Self::WrongSize { .. } => "wrong_size",
            Self::BadRow(_) => "bad_row",
            Self::IdTaken => "id_taken",
            Self::AddressTaken => "address_taken",
        }
    }
}

/// Progress of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportEvent {
    /// So many rows will be looked at, more or less.
    Total(u64),
    /// So many have been.
    Rows(u64),
    /// The row with this id was not taken.
    NotTaken(String, NotTaken),
}

/// What an import did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportSummary {
    /// Rows looked at.
    pub rows: u64,
    /// Taken over now.
    pub taken: u64,
    /// Here already.
    pub present: u64,
    /// Not taken.
    pub findings: u64,
}

/// Takes over every row of `source` that can be. The other service may be running; rows that it adds behind the place
/// reached are taken, others the next time.
///
/// # Errors
/// A database or the store could not be asked. What was taken until then stays.
pub async fn import(
    target: &ImportTarget,
    source: &mut dyn ForeignFiles,
    report: &mut (dyn FnMut(ImportEvent) + Send),
) -> Result<ImportSummary, Error> {
    let mut run = Run {
        target,
        report,
        summary: ImportSummary::default(),
    };
    let total = again(async || source.count().await).await?;
    (run.report)(ImportEvent::Total(total));
    let mut after: Option<String> = None;
    loop {
        let rows = again(async || source.page(after.as_deref(), PAGE).await).await?;
        let Some(last) = rows.last() else {
            return Ok(run.summary);
        };
        after = Some(last.id.clone());
        run.page(rows).await?;
    }
}

/// Asks again while the database cannot be reached, or has changed under the question.
async fn again<T>(
    mut ask: impl AsyncFnMut() -> Result<T, RepositoryError>,
) -> Result<T, RepositoryError> {
    let mut tried = 1;
    loop {
        match ask().await {
            Err(error) if tried < TRIES && !matches!(error, RepositoryError::Failed(_)) => {
                tracing::debug!(%error, tried, "asking the database again");
                tried += 1;
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}

struct Run<'a> {
    target: &'a ImportTarget,
    report: &'a mut (dyn FnMut(ImportEvent) + Send),
    summary: ImportSummary,
}

impl Run<'_> {
    fn not_taken(&mut self, id: String, why: NotTaken) {
        self.summary.findings += 1;
        (self.report)(ImportEvent::NotTaken(id, why));
    }

    async fn page(&mut self, rows: Vec<ForeignRow>) -> Result<(), Error> {
        let count = rows.len() as u64;
        let mut readable = Vec::with_capacity(rows.len());
        for row in rows {
            match self.target.read(&row) {
                Ok(file) => readable.push(file),
                Err(why) => self.not_taken(row.id, NotTaken::BadRow(why)),
            }
        }
        let new = self.without_present(readable).await?;
        let there = self.with_objects(new).await?;
        self.take(there).await?;
        self.summary.rows += count;
        (self.report)(ImportEvent::Rows(self.summary.rows));
        Ok(())
    }

    async fn without_present(&mut self, files: Vec<Candidate>) -> Result<Vec<Candidate>, Error> {
        let Some(repository) = &self.target.files else {
            return Ok(files);
        };
        let ids: Vec<FileId> = files.iter().map(|file| file.id.clone()).collect();
        let known = again(async || repository.accounts_of(&ids).await).await?;
        let known: HashMap<FileId, AccountId> = known.into_iter().collect();
        let mut new = Vec::new();
        for file in files {
            match known.get(&file.id) {
                None => new.push(file),
                Some(account) if *account == file.owner.account => self.summary.present += 1,
                Some(_) => self.not_taken(file.id.as_str().to_owned(), NotTaken::IdTaken),
            }
        }
        Ok(new)
    }

    /// Those whose bytes are where they should be.
    async fn with_objects(&mut self, files: Vec<Candidate>) -> Result<Vec<ImportedFile>, Error> {
        let store = &self.target.store;
        let looked: Vec<(Candidate, Option<ObjectMeta>)> = stream::iter(files)
            .map(|file| async move {
                let at = &file.location;
                match store.head(&at.bucket, &at.key).await {
                    Ok(meta) => Ok((file, Some(meta))),
                    Err(StoreError::NotFound) => Ok((file, None)),
                    Err(error) => Err(Error::store(StoreOperation::Other)(error)),
                }
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut there = Vec::with_capacity(looked.len());
        for (file, meta) in looked {
            let why = match meta {
                None => NotTaken::MissingObject,
                Some(meta) if meta.size != file.size => NotTaken::WrongSize {
                    row: file.size,
                    object: meta.size,
                },
                Some(meta) => {
                    there.push(file.into_file(&meta));
                    continue;
                }
            };
            self.not_taken(file.id.as_str().to_owned(), why);
        }
        Ok(there)
    }

    async fn take(&mut self, files: Vec<ImportedFile>) -> Result<(), Error> {
        let repository = self.target.files.as_ref();
        let Some(repository) = repository.filter(|_| !self.target.dry_run) else {
            self.summary.taken += files.len() as u64;
            return Ok(());
        };
        if files.is_empty() {
            return Ok(());
        }
        // The answer to an earlier try may have been lost; what it entered counts as taken, so it is asked for.
        let ids: Vec<FileId> = files.iter().map(|file| file.id.clone()).collect();
        again(async || repository.take_over(&files).await).await?;
        let here = again(async || repository.accounts_of(&ids).await).await?;
        let here: HashMap<FileId, AccountId> = here.into_iter().collect();
        for file in files {
            match here.get(&file.id) {
                Some(account) if *account == file.owner.account => self.summary.taken += 1,
                Some(_) => self.not_taken(file.id.as_str().to_owned(), NotTaken::IdTaken),
                None => self.not_taken(file.id.as_str().to_owned(), NotTaken::AddressTaken),
            }
        }
        Ok(())
    }
}

/// A row that can be a file, whose object has not been looked at.
struct Candidate {
    id: FileId,
    owner: Owner,
    name: FileName,
    content_type: ContentType,
    size: u64,
    location: Location,
    /// `None` where the row does not say, or says what nobody could read.
    created_at: Option<Timestamp>,
}

impl Candidate {
    fn into_file(self, meta: &ObjectMeta) -> ImportedFile {
        ImportedFile {
            id: self.id,
            owner: self.owner,
            name: self.name,
            content_type: self.content_type,
            size: self.size,
            version: VersionId::random(),
            location: self.location,
            created_at: self.created_at.unwrap_or(meta.modified_at),
        }
    }
}

impl ImportTarget {
    /// The row as a file, or why it cannot be one.
    fn read(&self, row: &ForeignRow) -> Result<Candidate, String> {
        let id = FileId::parse(&*row.id).map_err(|error| format!("its id {error}"))?;
        let account = row.account.as_deref().ok_or("it has no account")?;
        let bucket = Bucket::parse(&format!("{}-{account}", self.bucket_prefix))
            .map_err(|error| format!("its bucket is {error}"))?;
        let account = AccountId::parse(account).map_err(|error| format!("its account {error}"))?;
        let user = row.user.clone().map(UserId::parse).transpose();
        let user = user.map_err(|error| format!("its user {error}"))?;
        let size = row.size.ok_or("it has no size")?;
        let size = u64::try_from(size).map_err(|_| "its size is negative")?;
        let key = ObjectKey::parse(id.as_str()).map_err(|error| format!("its id is {error}"))?;
        let name = FileName::clean(row.name.as_deref().unwrap_or_default());
        let declared = row.content_type.as_deref().and_then(ContentType::parse);
        let created_at = row.created_at.filter(|micros| TIMES.contains(micros));
        Ok(Candidate {
            id,
            // Without a user it is a visitor's, and nobody knows which: no token has this hash.
            owner: Owner {
                account,
                token: user.is_none().then(|| TokenHash::from_bytes([0; 32])),
                user,
            },
            content_type: declared.unwrap_or_else(|| ContentType::settle(None, &name, &[])),
            name,
            size,
            location: Location::plain(self.store_id, bucket, key),
            created_at: created_at.map(Timestamp::from_micros),
        })
    }
}
