//! What the use cases need from outside: databases, object stores, credentials, rate limits.
//!
//! A port is a trait behind `Arc<dyn …>`. Every adapter of one passes its contract suite in the testkit.

mod buckets;
mod claims;
mod credentials;
mod dependency;
mod files;
mod import;
mod ledger;
mod limits;
mod links;
mod meter;
mod migrations;
mod objects;
mod permissions;
mod registry;
mod resumable;
mod scrub;
mod sealing;
mod tokens;
mod uploads;

pub use buckets::{
    BucketRemoved, BucketRepository, BucketSet, Expected, NewBucket, ObjectEntry, ObjectFilter,
    ObjectTarget,
};
pub use claims::{
    ClaimRepository, Found, MAX_NAMED, MAX_RUNS, Named, NewRun, RUN_LIFETIME, ReconcileRepository,
    Run,
};
pub use credentials::{Authenticator, Credential, CredentialError, Presented};
pub use dependency::Dependency;
pub use files::{
    Commit, CommitError, CommitTarget, FileChanges, FileFilter, FileRepository, FileScope,
    ListOrder, PageMark, Purged, TypeFilter, VersionError,
};
pub use import::{FileImport, ForeignFiles, ForeignRow, ImportedFile};
pub use ledger::{
    Begun, CLAIM_LEASE, Doomed, IdempotencyClaim, KEY_LIFETIME, LedgerRow, NewVersion, RowState,
    VersionLedger,
};
pub use limits::{RateClass, RateKey, RateLimiter, RatePolicies, RatePolicy, RateVerdict};
pub use links::{
    LINK_GRACE, LinkMark, LinkRepository, LinkState, MAX_LINKS, NewLink, SecretRepository,
};
pub use meter::{Gauges, Meter, ScrubGauges, Unmetered};
pub use migrations::{
    Amount, MIGRATION_LEASE, Migration, MigrationRepository, MigrationState, Movable, MoveFailure,
    Switch, Switched, VALIDATION_LEASE,
};
pub use objects::{
    ByteStream, ListPage, ListedObject, LocalFile, ObjectMeta, ObjectStore, ObjectWriter, Payload,
    Presign, PresignedUrl, SignedRequest, StoreError, WriteHints,
};
pub use permissions::{
    Check, Keep, PermissionBackend, PermissionError, Revocation, RevocationFeed, Ruling,
};
pub use registry::{
    Admitted, ConfigFault, Mark, StoreConfig, StoreOpener, StoreRecord, StoreRegistry,
};
pub use resumable::{
    Ending, PartsWriter, Resumable, Resume, StoredPart, Suspended, Unfinished, WritePosition,
};
pub use scrub::{
    Damage, SCRUB_LEASE, ScrubFinding, ScrubLease, ScrubProgress, ScrubRepository, ScrubState,
    ScrubTurn, ScrubbedVersion,
};
pub use sealing::{MOST_COUNTED, Resealed, SealError, SealLedger, Sealing, body_context};
pub use tokens::{NewToken, ServiceToken, TokenRepository};
pub use uploads::{
    Ask, Asked, COMPLETING_LEASE, Lease, NUMBERS_AT_A_TIME, NewPiece, NewUploadRow, Saved, Stretch,
    StretchAt, UploadRecord, UploadRepository, UploadTarget,
};

/// Why a database operation failed.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The database cannot be reached or did not answer in time; nothing was changed.
    #[error("the database cannot be reached")]
    Unavailable(#[source] Source),
    /// The answer to a COMMIT was lost: the change happened or it did not, and only the row knows.
    #[error("the outcome of a database change is unknown")]
    OutcomeUnknown(#[source] Source),
    /// A constraint or a serialisation conflict; asking again may succeed.
    #[error("a database constraint was violated")]
    Conflict(#[source] Source),
    /// Anything else, such as a row that cannot be read.
    #[error("a database operation failed")]
    Failed(#[source] Source),
}

/// The cause underneath, for the log only.
pub type Source = Box<dyn std::error::Error + Send + Sync>;
