//! The one table from errors to statuses, codes and titles; problem details (RFC 9457).

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use cloakroom_application::{
    Error, StoreOperation,
    ports::{CredentialError, RepositoryError},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    connection::Refusal,
    metered::{seconds, tell},
    resumable::{UPLOAD_OFFSET, draft::UPLOAD_LIMIT},
};

/// An error on its way to a client.
#[derive(Debug)]
pub enum ApiError {
    /// What a use case answered.
    App(Error),
    /// 416, with the size that the range was held against.
    Unsatisfiable(u64),
    /// The path exists, the method does not; those that do, in lower case.
    MethodNotAllowed(&'static [&'static str]),
    /// There is nothing at this path.
    NoRoute,
    /// The head or the framing of the request cannot be served.
    Refused(Refusal),
    /// The body is of another type than the one that the protocol has.
    UnsupportedType(&'static str),
    /// Another version of tus than the one that is spoken.
    OtherTus,
    /// A page that may not do so asks for a change with its visitor's cookie.
    ForeignOrigin,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self::App(error)
    }
}

impl From<serde_json::Error> for ApiError {
    fn from(error: serde_json::Error) -> Self {
        Self::App(Error::Internal(error.into()))
    }
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// `about:blank`, where the code tells problems apart, or a type of the registry of HTTP problem types.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The same for every problem of a code.
    title: &'static str,
    status: u16,
    /// About this very problem.
    detail: String,
    /// Stable, for programs.
    code: &'static str,
    /// The same as `detail`.
    message: String,
    details: Details,
    /// Seconds, where asking again later may help.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    /// Where an upload is, in bytes.
    #[serde(rename = "expected-offset", skip_serializing_if = "Option::is_none")]
    expected_offset: Option<u64>,
    /// Where bytes were sent for.
    #[serde(rename = "provided-offset", skip_serializing_if = "Option::is_none")]
    provided_offset: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Details {
    reason: String,
}

struct Row(StatusCode, &'static str, &'static str);

impl ApiError {
    /// The row of the table for this error.
    fn row(&self) -> Row {
        match self {
            Self::App(error) => row_of(error),
            Self::Unsatisfiable(_) => Row(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "FILE_004",
                "Range not satisfiable",
            ),
            Self::MethodNotAllowed(_) => Row(
                StatusCode::METHOD_NOT_ALLOWED,
                "INFRA_002",
                "Method not allowed",
            ),
            Self::NoRoute => Row(StatusCode::NOT_FOUND, "FILE_001", "Not found"),
            Self::Refused(why) => Row(why.status(), "VAL_004", "Malformed request"),
            Self::UnsupportedType(_) => Row(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "VAL_004",
                "Malformed request",
            ),
            Self::OtherTus => Row(
                StatusCode::PRECONDITION_FAILED,
                "VAL_004",
                "Malformed request",
            ),
            Self::ForeignOrigin => Row(StatusCode::FORBIDDEN, "PERM_001", "Not allowed"),
        }
    }

    /// The stable code of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.row().1
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::App(Error::InProgress { retry_after } | Error::Overloaded { retry_after }) => {
                Some(retry_after.as_secs().max(1))
            }
            Self::App(Error::RateLimited(verdict)) => {
                Some(seconds(verdict.refused.unwrap_or_default()).max(1))
            }
            Self::App(Error::Repository(
                RepositoryError::Unavailable(_) | RepositoryError::OutcomeUnknown(_),
            )) => Some(1),
            Self::App(
                Error::PermissionFailed
                | Error::PermissionTimedOut
                | Error::Credential(CredentialError::Unavailable(_)),
            ) => Some(1),
            Self::App(Error::Store { .. }) => Some(5),
            Self::App(Error::UploadHeld) => Some(1),
            _ => None,
        }
    }

    /// Logs what the client is not told. Once, and here.
    fn log(&self) {
        let Self::App(error) = self else {
            return;
        };
        if self.row().0.is_server_error() {
            let mut causes = String::new();
            let mut source = std::error::Error::source(error);
            while let Some(cause) = source {
                causes.push_str(": ");
                causes.push_str(&cause.to_string());
                source = cause.source();
            }
            tracing::error!(code = self.code(), "{error}{causes}");
        }
    }
}

fn row_of(error: &Error) -> Row {
    use StatusCode as S;
    match error {
        Error::Unauthenticated => Row(S::UNAUTHORIZED, "AUTH_001", "Authentication required"),
        Error::KindForbidden => Row(S::FORBIDDEN, "PERM_001", "Not allowed"),
        Error::Forbidden => Row(S::FORBIDDEN, "FILE_002", "No access to this file"),
        Error::NotFound => Row(S::NOT_FOUND, "FILE_001", "File not found"),
        Error::TooLarge { .. } => Row(S::PAYLOAD_TOO_LARGE, "FILE_003", "File too large"),
        Error::TypeRefused(_) => Row(S::UNSUPPORTED_MEDIA_TYPE, "FILE_007", "Type not taken"),
        Error::PreconditionFailed => Row(S::PRECONDITION_FAILED, "FILE_005", "Precondition failed"),
        Error::Conflict(_) | Error::InProgress { .. } => Row(S::CONFLICT, "FILE_006", "Conflict"),
        Error::BadValue(_) => Row(S::UNPROCESSABLE_ENTITY, "VAL_001", "Invalid value"),
        Error::MissingField(_) => Row(S::UNPROCESSABLE_ENTITY, "VAL_002", "Missing field"),
        Error::DigestMismatch => Row(S::UNPROCESSABLE_ENTITY, "VAL_003", "Digest mismatch"),
        Error::Malformed(_) => Row(S::BAD_REQUEST, "VAL_004", "Malformed request"),
        Error::BytesMissing => Row(S::NOT_FOUND, "STORAGE_005", "Stored bytes missing"),
        Error::RateLimited(_) => Row(S::TOO_MANY_REQUESTS, "RATE_001", "Too many requests"),
        Error::PermissionFailed => Row(S::BAD_GATEWAY, "EXT_003", "Permission backend failed"),
        Error::PermissionTimedOut => Row(
            S::GATEWAY_TIMEOUT,
            "EXT_004",
            "Permission backend timed out",
        ),
        Error::UploadMissing => Row(S::NOT_FOUND, "UPLOAD_001", "Upload not found"),
        Error::UploadGone => Row(S::GONE, "UPLOAD_001", "Upload gone"),
        Error::WrongOffset { .. } => Row(S::CONFLICT, "UPLOAD_002", "Wrong offset"),
        Error::UploadHeld => Row(S::LOCKED, "UPLOAD_003", "Upload in use"),
        Error::UploadComplete => Row(S::BAD_REQUEST, "VAL_004", "Upload is completed"),
        Error::InconsistentLength(_) => {
            Row(S::BAD_REQUEST, "VAL_004", "Inconsistent upload length")
        }
        Error::ChunkMismatch => Row(S::UNPROCESSABLE_ENTITY, "VAL_003", "Digest mismatch"),
        Error::Overloaded { .. } => Row(S::SERVICE_UNAVAILABLE, "INFRA_001", "Service busy"),
        Error::Internal(_) => Row(S::INTERNAL_SERVER_ERROR, "INFRA_005", "Internal error"),
        Error::Store { operation, .. } => store_row(*operation),
        Error::Repository(error) => match error {
            RepositoryError::Unavailable(_) | RepositoryError::OutcomeUnknown(_) => {
                Row(S::SERVICE_UNAVAILABLE, "DB_001", "Database unreachable")
            }
            RepositoryError::Conflict(_) => Row(S::CONFLICT, "DB_004", "Database conflict"),
            RepositoryError::Failed(_) => {
                Row(S::INTERNAL_SERVER_ERROR, "DB_002", "Database failure")
            }
        },
        Error::Credential(error) => match error {
            CredentialError::Nonsense(_) => {
                Row(S::INTERNAL_SERVER_ERROR, "EXT_002", "Token service failure")
            }
            _ => Row(
                S::SERVICE_UNAVAILABLE,
                "EXT_001",
                "Token service unreachable",
            ),
        },
    }
}

fn store_row(operation: StoreOperation) -> Row {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    match operation {
        StoreOperation::Upload => Row(unavailable, "STORAGE_002", "Storing failed"),
        StoreOperation::Download => Row(unavailable, "STORAGE_003", "Reading failed"),
        StoreOperation::Delete => Row(unavailable, "STORAGE_006", "Removing failed"),
        StoreOperation::Other => Row(unavailable, "STORAGE_001", "Store failed"),
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App(error) => error.fmt(f),
            Self::Unsatisfiable(size) => {
                write!(f, "no part of the range lies within the {size} bytes")
            }
            Self::MethodNotAllowed(_) => f.write_str("this method is not for this resource"),
            Self::NoRoute => f.write_str("there is nothing at this path"),
            Self::Refused(why) => why.fmt(f),
            Self::UnsupportedType(expected) => write!(f, "the body is not {expected}"),
            Self::OtherTus => f.write_str("the version of tus is 1.0.0"),
            Self::ForeignOrigin => {
                f.write_str("a change by a cookie must be asked for by a page of an allowed origin")
            }
        }
    }
}

impl ApiError {
    /// The answer, with another status than the table's where a protocol has its own.
    pub(crate) fn response_as(&self, status: StatusCode) -> HttpResponse {
        self.log();
        let Row(_, code, title) = self.row();
        let detail = self.to_string();
        let retry_after = self.retry_after();
        let mut response = HttpResponse::build(status);
        response.content_type("application/problem+json");
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        if status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(seconds) = retry_after {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        match self {
            Self::Unsatisfiable(size) => {
                response.insert_header((header::CONTENT_RANGE, format!("bytes */{size}")));
            }
            Self::MethodNotAllowed(allowed) => {
                response.insert_header((header::ALLOW, allowed.join(", ").to_uppercase()));
            }
            Self::App(Error::WrongOffset { expected, .. }) => {
                response.insert_header((UPLOAD_OFFSET, *expected));
            }
            Self::OtherTus => {
                response.insert_header(("Tus-Version", "1.0.0"));
            }
            // draft-ietf-httpbis-resumable-upload-11 §4.1.4: a refusal for size names the limit.
            Self::App(Error::TooLarge { limit }) => {
                response.insert_header((UPLOAD_LIMIT, format!("max-size={limit}")));
            }
            _ => {}
        }
        let offsets = self.offsets();
        let mut response = response.json(Problem {
            kind: self.kind(),
            expected_offset: offsets.map(|(expected, _)| expected),
            provided_offset: offsets.map(|(_, provided)| provided),
            title,
            status: status.as_u16(),
            message: detail.clone(),
            details: Details {
                reason: detail.clone(),
            },
            detail,
            code,
            retry_after,
        });
        if let Self::App(Error::RateLimited(verdict)) = self {
            tell(verdict, response.headers_mut());
        }
        response
    }

    /// The problem type; those of the upload draft are in the registry (draft-ietf-httpbis-resumable-upload §6).
    const fn kind(&self) -> &'static str {
        match self {
            Self::App(Error::WrongOffset { .. }) => {
                "https://iana.org/assignments/http-problem-types#mismatching-upload-offset"
            }
            Self::App(Error::UploadComplete) => {
                "https://iana.org/assignments/http-problem-types#completed-upload"
            }
            Self::App(Error::InconsistentLength(_)) => {
                "https://iana.org/assignments/http-problem-types#inconsistent-upload-length"
            }
            _ => "about:blank",
        }
    }

    const fn offsets(&self) -> Option<(u64, u64)> {
        match self {
            Self::App(Error::WrongOffset { expected, provided }) => Some((*expected, *provided)),
            _ => None,
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.row().0
    }

    fn error_response(&self) -> HttpResponse {
        self.response_as(self.status_code())
    }
}
