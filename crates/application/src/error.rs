//! What a use case can answer besides success.

use std::time::Duration;

use cloakroom_domain::LengthError;

use crate::ports::{CredentialError, RateVerdict, RepositoryError, Source, StoreError};

/// What a store was asked to do when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOperation {
    /// Writing an object.
    Upload,
    /// Reading one.
    Download,
    /// Removing one.
    Delete,
    /// Anything else.
    Other,
}

/// The one error of the application. Presentation has the table from here to statuses and titles.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No credential was accepted, and one is needed.
    #[error("a credential is needed")]
    Unauthenticated,
    /// The caller's kind may not do this to anything.
    #[error("this kind of caller may not do this")]
    KindForbidden,
    /// This file is not for this caller.
    #[error("this file is not for this caller")]
    Forbidden,
    /// No such file or version, or it is in the trash.
    #[error("no such file")]
    NotFound,
    /// More bytes than allowed; the limit in bytes.
    #[error("larger than the limit of {limit} bytes")]
    TooLarge {
        /// Bytes.
        limit: u64,
    },
    /// The bucket does not take objects of this type.
    #[error("the bucket takes no {0}")]
    TypeRefused(String),
    /// A precondition of the request does not hold.
    #[error("a precondition failed")]
    PreconditionFailed,
    /// The request does not fit the present state.
    #[error("{0}")]
    Conflict(&'static str),
    /// The same work is under way; ask again after a while.
    #[error("a request with this Idempotency-Key is still running")]
    InProgress {
        /// When to ask again.
        retry_after: Duration,
    },
    /// A value that can never be right.
    #[error("{0}")]
    BadValue(String),
    /// Something required is not there.
    #[error("{0} is missing")]
    MissingField(&'static str),
    /// The bytes are not those of the stated digest.
    #[error("the bytes do not match the digest")]
    DigestMismatch,
    /// The request cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// The object store failed.
    #[error("the object store failed")]
    Store {
        /// At what.
        operation: StoreOperation,
        /// How.
        source: StoreError,
    },
    /// The row is there, the bytes are not.
    #[error("the bytes of this file are missing")]
    BytesMissing,
    /// The database failed.
    #[error("the database failed")]
    Repository(#[from] RepositoryError),
    /// A credential could not be judged.
    #[error("the credential could not be checked")]
    Credential(#[source] CredentialError),
    /// The application that knows who may do what failed, or is left alone because it failed too often.
    #[error("the permission backend failed")]
    PermissionFailed,
    /// It did not answer in time.
    #[error("the permission backend did not answer in time")]
    PermissionTimedOut,
    /// Too much to do, or stopping.
    #[error("the service is busy or stopping")]
    Overloaded {
        /// When to ask again.
        retry_after: Duration,
    },
    /// More than the rate limit allows.
    #[error("the limit of {} in {} s for \"{}\" is used up", .0.policy.permits, .0.policy.window.as_secs(), .0.class.as_str())]
    RateLimited(RateVerdict),
    /// There is no such upload, or it is another caller's.
    #[error("no such upload")]
    UploadMissing,
    /// There was such an upload.
    #[error("the upload has expired, failed or was given up")]
    UploadGone,
    /// Bytes were sent for another place than the one where the upload is.
    #[error("the upload is at offset {expected}, not at {provided}")]
    WrongOffset {
        /// Where it is, in bytes.
        expected: u64,
        /// Where they were to go.
        provided: u64,
    },
    /// Another request holds the upload and would not yield, or a newer one has taken it.
    #[error("another request holds this upload")]
    UploadHeld,
    /// Every byte of the upload is there; none can be added.
    #[error("the upload is complete")]
    UploadComplete,
    /// An upload has one length, and was given another.
    #[error("{0}")]
    InconsistentLength(String),
    /// The bytes of one request are not those of the digest it stated; none of them counts.
    #[error("the bytes of this request do not match its checksum")]
    ChunkMismatch,
    /// Anything else.
    #[error("internal error")]
    Internal(#[source] Source),
}

impl Error {
    pub(crate) const fn store(operation: StoreOperation) -> impl FnOnce(StoreError) -> Self + Copy {
        move |source| Self::Store { operation, source }
    }
}

impl From<CredentialError> for Error {
    fn from(error: CredentialError) -> Self {
        match error {
            CredentialError::Repository(error) => Self::Repository(error),
            other => Self::Credential(other),
        }
    }
}

impl From<LengthError> for Error {
    fn from(error: LengthError) -> Self {
        match error {
            LengthError::TooLarge(limit) => Self::TooLarge { limit },
            other => Self::InconsistentLength(other.to_string()),
        }
    }
}

/// A kept value that is not the JSON it should be.
impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Internal(error.into())
    }
}

/// An error with its causes, each said once.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
