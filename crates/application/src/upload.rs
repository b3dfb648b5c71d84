//! The write protocol: pending row, bytes, one transaction, answer. No crash loses or leaks.

mod destination;
pub(crate) mod outcome;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cloakroom_domain::{
    AccountId, ContentType, File, FileName, Location, Metadata, ObjectKey, Principal, Sha256Digest,
    VersionId, Visibility,
};

use crate::{
    App, Authorized, Error, StoreOperation,
    hashes::Hashes,
    objects::{Demands, Slot},
    ports::{
        Begun, CLAIM_LEASE, Commit, CommitTarget, Expected, IdempotencyClaim, NewVersion,
        ObjectWriter, WriteHints,
    },
};

/// What the body is to become.
#[derive(Debug, Clone)]
pub enum Destination {
    /// A file of its own.
    NewFile {
        /// The account to upload into, for callers that name one.
        account: Option<AccountId>,
        /// Who else may read it.
        visibility: Visibility,
        /// Key-value metadata.
        metadata: Metadata,
    },
    /// The next version of a file that the caller may write.
    NewVersion {
        /// That file.
        file: Box<Authorized<File>>,
        /// Whether the file must not have another current version by the time of the commit.
        only_if_unchanged: bool,
    },
    /// What a bucket's key leads to.
    Object {
        /// The key, where the caller may write.
        slot: Box<Authorized<Slot>>,
        /// Key-value metadata.
        metadata: Metadata,
        /// What has to be there at the time of the commit.
        expected: Expected,
    },
}

/// An `Idempotency-Key` and what must be the same whenever it is used.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// 1–255 bytes.
    pub key: String,
    /// Method, path and length.
    pub fingerprint: String,
}

/// What is known of an upload before its first byte.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// What it is to become.
    pub destination: Destination,
    /// The name it came with.
    pub name: Option<FileName>,
    /// The type it was declared as.
    pub declared_type: Option<ContentType>,
    /// The announced length in bytes. Only a hint.
    pub size: Option<u64>,
    /// The digest that the bytes must have.
    pub digest: Option<Sha256Digest>,
    /// The key it runs under.
    pub idempotency: Option<Idempotency>,
}

/// What became of the attempt to begin.
pub enum Started {
    /// Bytes may be written.
    Running(Box<Upload>),
    /// The idempotency key was used before; this was the answer.
    Replay(Box<File>),
}

/// An upload in flight. Dropping it gives it up and removes what it left, in the background.
pub struct Upload {
    app: Arc<App>,
    open: Option<Open>,
    hashes: Hashes,
    declared_type: Option<ContentType>,
    name: FileName,
    digest: Option<Sha256Digest>,
    target: CommitTarget,
    claim: Option<IdempotencyClaim>,
    demands: Demands,
    renewed: Instant,
}

/// The row and the object of an upload in flight.
struct Open {
    version: VersionId,
    location: Location,
    writer: Box<dyn ObjectWriter>,
}

/// Begins an upload: commits the pending row and opens the object.
///
/// # Errors
/// [`Error::Unauthenticated`] or [`Error::MissingField`] if the caller cannot upload or names no account;
/// [`Error::TooLarge`] if the announced size is; [`Error::InProgress`] and [`Error::BadValue`] for an idempotency key
/// in use or used otherwise; failures of database and store.
pub async fn begin(app: &Arc<App>, who: &Principal, new: NewUpload) -> Result<Started, Error> {
    if !who.may_upload() {
        return Err(Error::Unauthenticated);
    }
    let demands = match &new.destination {
        Destination::Object { slot, .. } => Demands::of_bucket(app, &slot.bucket.policy),
        _ => Demands::of_files(app),
    };
    let limit = demands.limit;
    if new.size.is_some_and(|size| size > limit) {
        return Err(Error::TooLarge { limit });
    }
    let (file, account, target, name) = destination::settle(app, who, new.destination, new.name)?;
    let claim = new.idempotency.map(|idempotency| IdempotencyClaim {
        principal: caller_key(who),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
    });
    let id = VersionId::random();
    let row = NewVersion {
        id,
        seal: app.stores.new_seal(id)?,
        key: ObjectKey::mint(&account, &file, &name),
        file,
        account,
        claim: claim.clone(),
    };
    let upload = Waiting {
        hints: WriteHints { size: new.size },
        declared_type: new.declared_type,
        digest: new.digest,
        name,
        target,
        claim,
        demands,
    };
    let starting = start(Arc::clone(app), row, upload);
    app.background
        .spawn(starting)
        .await
        .map_err(|error| Error::Internal(error.into()))?
}

/// All of an upload but its row and its object.
struct Waiting {
    hints: WriteHints,
    declared_type: Option<ContentType>,
    digest: Option<Sha256Digest>,
    name: FileName,
    target: CommitTarget,
    claim: Option<IdempotencyClaim>,
    demands: Demands,
}

/// In a task of its own: if the caller leaves meanwhile, the upload that nobody takes is dropped, which cleans up.
async fn start(app: Arc<App>, row: NewVersion, waiting: Waiting) -> Result<Started, Error> {
    let version = row.id;
    let location = match app.ledger.begin(row).await? {
        Begun::Pending(location) => location,
        Begun::Replay(file) => return Ok(Started::Replay(file)),
        Begun::InProgress => {
            return Err(Error::InProgress {
                retry_after: Duration::from_secs(1),
            });
        }
        Begun::Mismatch => {
            return Err(Error::BadValue(
                "this Idempotency-Key was used for another request".to_owned(),
            ));
        }
    };
    let writer = open_writer(&app, version, &location, waiting.hints).await?;
    Ok(Started::Running(Box::new(Upload {
        app,
        open: Some(Open {
            version,
            location,
            writer,
        }),
        hashes: Hashes::new(),
        declared_type: waiting.declared_type,
        name: waiting.name,
        digest: waiting.digest,
        target: waiting.target,
        claim: waiting.claim,
        demands: waiting.demands,
        renewed: Instant::now(),
    })))
}

async fn open_writer(
    app: &Arc<App>,
    version: VersionId,
    location: &Location,
    hints: WriteHints,
) -> Result<Box<dyn ObjectWriter>, Error> {
    let opened = match app.stores.at(location).await {
        Ok(store) => store
            .begin(&location.bucket, &location.key, hints)
            .await
            .map_err(Error::store(StoreOperation::Upload)),
        Err(error) => Err(error),
    };
    if opened.is_err() {
        outcome::clean_up_soon(app, version, location, Duration::ZERO).await;
    }
    opened
}

impl Upload {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] once they are more than the limit, [`Error::Store`] if the store fails,
    /// [`Error::Conflict`] if the upload was given up for not moving.
    pub async fn write(&mut self, data: Bytes) -> Result<(), Error> {
        let limit = self.demands.limit;
        if self.hashes.size() + data.len() as u64 > limit {
            return Err(Error::TooLarge { limit });
        }
        self.hashes.update(&data);
        let open = self.open.as_mut().ok_or_else(closed)?;
        open.writer
            .write(data)
            .await
            .map_err(Error::store(StoreOperation::Upload))?;
        if open.writer.holds_up_others() {
            return Err(outcome::too_slow());
        }
        self.renew().await
    }

    /// Bytes taken so far.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.hashes.size()
    }

    /// Makes the bytes a file. Runs to its end even if the caller goes away.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`]; [`Error::TypeRefused`] by a bucket; [`Error::NotFound`] or [`Error::PreconditionFailed`] if the file changed meanwhile;
    /// failures of store and database, after which nothing is left, or will not be once the sweeper has run.
    pub async fn finish(mut self) -> Result<File, Error> {
        let sha256 = self.hashes.sha256();
        if self.digest.is_some_and(|expected| expected != sha256) {
            self.give_up().await;
            return Err(Error::DigestMismatch);
        }
        let content_type = self.content_type();
        if let Err(refused) = self.demands.check_type(&content_type) {
            self.give_up().await;
            return Err(refused);
        }
        let open = self.open.take().ok_or_else(closed)?;
        let commit = Commit {
            version: open.version,
            size: self.hashes.size(),
            sha256,
            crc64: self.hashes.crc64(),
            content_type,
            target: self.target.clone(),
            claim: self.claim.clone(),
            upload: None,
            partials: Vec::new(),
        };
        let app = Arc::clone(&self.app);
        self.app
            .background
            .spawn(async move { outcome::complete(&app, open, commit).await })
            .await
            .map_err(|error| Error::Internal(error.into()))?
    }

    fn content_type(&self) -> ContentType {
        let declared = self.declared_type.as_ref();
        if let Some(declared) = declared.filter(|_| self.demands.keep_type()) {
            return declared.clone();
        }
        let head = self.hashes.head().unwrap_or_default();
        ContentType::settle(declared, &self.name, head)
    }

    /// Gives the upload up and removes what it left. Where that takes longer than a second it goes on in the background.
    pub async fn give_up(&mut self) {
        if let Some(open) = self.open.take() {
            let app = Arc::clone(&self.app);
            outcome::soon(&self.app, async move { outcome::abandon(&app, open).await }).await;
        }
    }

    async fn renew(&mut self) -> Result<(), Error> {
        let interval = (self.app.limits.pending_ttl / 4).min(CLAIM_LEASE / 4);
        if self.renewed.elapsed() < interval {
            return Ok(());
        }
        let open = self.open.as_ref().ok_or_else(closed)?;
        self.renewed = Instant::now();
        match self.app.ledger.renew(open.version).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(outcome::lost()),
            Err(error) => {
                // The row lives for the whole TTL; a database that is away for a moment does not end the upload.
                tracing::warn!(%error, "an upload could not be renewed");
                Ok(())
            }
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            let app = Arc::clone(&self.app);
            self.app
                .background
                .spawn(async move { outcome::abandon(&app, open).await });
        }
    }
}

/// Tells callers apart whatever their ids contain: each part goes with its length.
pub(crate) fn caller_key(who: &Principal) -> String {
    let account = who.account.as_ref().map_or("", AccountId::as_str);
    let user = who.user.as_ref().map_or("", |user| user.as_str());
    let token = who
        .token
        .map(|token| Sha256Digest::new(*token.bytes()).hex());
    let (kind, token) = (who.kind.as_str(), token.unwrap_or_default());
    format!(
        "{kind}/{}:{account}/{}:{user}/{token}",
        account.len(),
        user.len()
    )
}

fn closed() -> Error {
    Error::Internal("the upload is closed".into())
}
