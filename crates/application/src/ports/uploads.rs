//! Uploads that take several requests: their rows, and who may write to them.

use std::time::Duration;

use async_trait::async_trait;
use cloakroom_domain::{
    AccountId, ContentType, FileId, FileName, Location, Metadata, ObjectKey, Owner, Seal,
    Sha256Digest, Timestamp, UploadKind, UploadProgress, UploadState, VersionId, Visibility,
};

use super::{RepositoryError, StoredPart};

/// What an upload becomes, as it was stated when it was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadTarget {
    /// Whose the file will be.
    pub owner: Owner,
    /// Its name.
    pub name: FileName,
    /// The type that it was declared as.
    pub declared_type: Option<ContentType>,
    /// Who else may read it.
    pub visibility: Visibility,
    /// Its metadata.
    pub metadata: Metadata,
    /// The digest that its bytes must have.
    pub digest: Option<Sha256Digest>,
    /// What the client said of it, in its protocol's words, given back as it came.
    pub described: Option<String>,
}

/// An upload about to be created.
#[derive(Debug, Clone)]
pub struct NewUploadRow {
    /// Its id, which will be the file's.
    pub id: FileId,
    /// The body that it writes: a pending row is committed with it.
    pub version: VersionId,
    /// The body's key.
    pub key: ObjectKey,
    /// What the body is going to be sealed with.
    pub seal: Option<Seal>,
    /// The account whose bucket the body goes to.
    pub account: AccountId,
    /// Who creates it, as one text that tells callers apart.
    pub creator: String,
    /// What it is for.
    pub kind: UploadKind,
    /// Its length in bytes, where it is known.
    pub length: Option<u64>,
    /// What it becomes.
    pub target: UploadTarget,
    /// How long it lives without a change.
    pub lifetime: Duration,
}

/// A piece of an upload about to be written.
#[derive(Debug, Clone)]
pub struct NewPiece {
    /// Its row in the ledger.
    pub version: VersionId,
    /// Its key.
    pub key: ObjectKey,
    /// What it is going to be sealed with, whether or not the upload's body is.
    pub seal: Option<Seal>,
}

/// Where a stretch of an upload's bytes is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StretchAt {
    /// In a part of the unfinished object.
    Part {
        /// The part's number.
        number: u32,
        /// What the store knows its content by.
        tag: String,
    },
    /// In an object of its own: too short for a part, or the store has no parts.
    Piece {
        /// The piece's row in the ledger.
        version: VersionId,
        /// Where it is.
        location: Location,
    },
}

/// A stretch of an upload's bytes that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The offset of its first byte.
    pub start: u64,
    /// Bytes; never 0.
    pub size: u64,
    /// Where they are.
    pub at: StretchAt,
}

impl Stretch {
    /// A part from `start` on.
    #[must_use]
    pub fn part(start: u64, part: StoredPart) -> Self {
        let StoredPart { number, size, tag } = part;
        Self {
            start,
            size,
            at: StretchAt::Part { number, tag },
        }
    }

    /// The stretch as the store's part, if it is one.
    #[must_use]
    pub fn as_part(&self) -> Option<StoredPart> {
        match &self.at {
            StretchAt::Part { number, tag } => Some(StoredPart {
                number: *number,
                size: self.size,
                tag: tag.clone(),
            }),
            StretchAt::Piece { .. } => None,
        }
    }

    /// The piece's row in the ledger, if it is one.
    #[must_use]
    pub const fn piece(&self) -> Option<VersionId> {
        match &self.at {
            StretchAt::Piece { version, .. } => Some(*version),
            StretchAt::Part { .. } => None,
        }
    }

    /// The offset behind its last byte.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start + self.size
    }
}

/// An upload as its rows have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRecord {
    /// Its id, which is or will be the file's.
    pub id: FileId,
    /// Who created it.
    pub creator: String,
    /// What it is for.
    pub kind: UploadKind,
    /// Where it is in its life. One whose time is over is `Expired`, also before [`UploadRepository::expire`] came by.
    pub state: UploadState,
    /// How far it is: everything up to the offset is durable.
    pub progress: UploadProgress,
    /// What it becomes.
    pub target: UploadTarget,
    /// The body that it writes.
    pub version: VersionId,
    /// Where that will be.
    pub location: Location,
    /// What the store calls the unfinished object.
    pub write_id: Option<String>,
    /// The lowest number that no writer of a part has been given.
    pub next_number: u32,
    /// The state of the hashes at the offset; `None` if they were not kept up and the bytes must be read again.
    pub hashes: Option<Vec<u8>>,
    /// Whether a request holds it.
    pub is_held: bool,
    /// Raised with every holder; a change by an earlier one has no effect.
    pub generation: u64,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// What was wrong with it, once it has failed.
    pub failure: Option<String>,
    /// What a partial upload was joined into.
    pub used_by: Option<FileId>,
}

/// How an upload is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// For the first time: a request that holds it is told to yield, on whatever replica it is.
    First,
    /// Again, with the turn that the first asking gave.
    Again(u64),
    /// Whether or not the holder has yielded.
    Insist(u64),
}

/// The right to change an upload, until a newer request takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The upload. Its `next_number` is this holder's first.
    pub record: UploadRecord,
    /// Its last stretches: those that are pieces, and the last part before them.
    pub tail: Vec<Stretch>,
    /// Whether whoever wrote the last part is known to write no more: nobody was overtaken since that part was begun.
    pub is_alone: bool,
    /// The turn under which it was got. Who asks with a later one wants it; see [`Turns`](crate::Turns).
    pub turn: u64,
}

/// What became of asking for an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It is ours, with a generation of its own.
    Ours(Box<Lease>),
    /// Another request holds it; ask again with this turn.
    Held(u64),
    /// Its bytes are being made a file by somebody who shows signs of life.
    Completing,
    /// A newer request asked.
    Superseded,
    /// There is nothing to hold: it is finished, or gone.
    Ended(Box<UploadRecord>),
    /// There is no such upload.
    Missing,
}

/// What a holder has achieved. It replaces every stretch from `changed_from` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// How far the upload is.
    pub progress: UploadProgress,
    /// The state of the hashes at that offset.
    pub hashes: Option<Vec<u8>>,
    /// What the store calls the unfinished object.
    pub write_id: Option<String>,
    /// The lowest number that this holder has not used. If it goes on holding, sixteen from there on are its own.
    pub next_number: u32,
    /// Stretches that begin here or later are forgotten, and those of them that are pieces are removed.
    pub changed_from: u64,
    /// The stretches that take their place, in order.
    pub stretches: Vec<Stretch>,
    /// How long the upload lives from now on; `None` leaves the end of its time as it is.
    pub lifetime: Option<Duration>,
}

/// How long whoever makes a file of an upload may show no sign of life.
pub const COMPLETING_LEASE: Duration = Duration::from_secs(20);

/// The rows of uploads. Every change names the generation that it is made under, and has no effect under an old one.
#[async_trait]
pub trait UploadRepository: Send + Sync {
    /// Commits the upload, held by nobody, with the pending row of its body; the store is the current one.
    async fn create(&self, new: NewUploadRow) -> Result<UploadRecord, RepositoryError>;

    /// The upload, whatever its state.
    async fn find(&self, id: &FileId) -> Result<Option<UploadRecord>, RepositoryError>;

    /// Every stretch, in order.
    async fn stretches(&self, id: &FileId) -> Result<Vec<Stretch>, RepositoryError>;

    /// Asks for the right to change it. The caller has to have checked that it is the creator's.
    ///
    /// Whoever gets it gets sixteen numbers of parts from `next_number` on; a release gives back what was not used.
    async fn ask(&self, id: &FileId, ask: Ask) -> Result<Asked, RepositoryError>;

    /// Commits the pending row of a piece. `None`: the upload is another's by now.
    async fn begin_piece(
        &self,
        id: &FileId,
        generation: u64,
        piece: NewPiece,
    ) -> Result<Option<Location>, RepositoryError>;

    /// Keeps what was achieved, and goes on holding. `false`: the upload is another's by now.
    async fn save(
        &self,
        id: &FileId,
        generation: u64,
        saved: Saved,
    ) -> Result<bool, RepositoryError>;

    /// Keeps what was achieved, and lets go. `None`: nothing was written since the last [`UploadRepository::save`], or
    /// since it was got. Whoever may have begun a part, however that went, says the numbers that it did not use.
    async fn release(
        &self,
        id: &FileId,
        generation: u64,
        saved: Option<Saved>,
    ) -> Result<bool, RepositoryError>;

    /// Says that its bytes are being made a file, the first time and every few seconds again. Whoever lets go of it in
    /// this state leaves it to the next who asks.
    async fn completing(&self, id: &FileId, generation: u64) -> Result<bool, RepositoryError>;

    /// Keeps the digest that the whole has to have, unless one is kept.
    async fn expect_digest(
        &self,
        id: &FileId,
        generation: u64,
        digest: Sha256Digest,
    ) -> Result<bool, RepositoryError>;

    /// Says that what this holder wrote last may still arrive after it has let go, so that the next is not alone.
    async fn loosen(&self, id: &FileId, generation: u64) -> Result<bool, RepositoryError>;

    /// Lets finished partial uploads live for so long from now on, where they would end sooner.
    async fn prolong(&self, partials: &[FileId], lifetime: Duration)
    -> Result<(), RepositoryError>;

    /// Ends a partial upload whose object is whole; its body stays pending for its lifetime, and its pieces go.
    async fn finish_partial(
        &self,
        id: &FileId,
        generation: u64,
        lifetime: Duration,
    ) -> Result<bool, RepositoryError>;

    /// Ends it as `Failed` or `Terminated`; its body and pieces are to be removed, due after `delay`. Pieces that no
    /// stretch names are due in ten minutes: a request that was overtaken may still be writing them.
    async fn end(
        &self,
        id: &FileId,
        generation: u64,
        state: UploadState,
        failure: Option<&str>,
        delay: Duration,
    ) -> Result<bool, RepositoryError>;

    /// Keeps what an upload is joined of, because its creator is told that it will be. `false`: it has ended.
    async fn promise(&self, id: &FileId, partials: &[FileId]) -> Result<bool, RepositoryError>;

    /// Up to `limit` promised uploads at which nobody has shown a sign of life for [`COMPLETING_LEASE`], longest ago
    /// first, each with what it is joined of, in order.
    async fn forsaken(&self, limit: u32) -> Result<Vec<(FileId, Vec<FileId>)>, RepositoryError>;

    /// Turns up to `limit` uploads whose time is over into `Expired`; bodies and pieces are due now, or in ten minutes
    /// where a request still holds the upload and may be writing them, or may be writing pieces that no stretch names.
    async fn expire(&self, limit: u32) -> Result<u64, RepositoryError>;

    /// Forgets up to `limit` uploads that ended longer ago than `age`. A partial upload that waits has not ended.
    async fn forget(&self, age: Duration, limit: u32) -> Result<u64, RepositoryError>;
}

/// Numbers of parts that a holder is given at a time.
pub const NUMBERS_AT_A_TIME: u32 = 16;
