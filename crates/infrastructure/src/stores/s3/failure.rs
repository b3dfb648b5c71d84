//! What the SDK's errors mean to the port.

use std::{error::Error, fmt};

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use cloakroom_application::ports::StoreError;

/// What is told of a store's own message, in characters.
const LONGEST_MESSAGE: usize = 500;

/// What went wrong, for the log: no headers, no bodies, no credentials.
#[derive(Debug, Clone)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Failure {}

/// The status of the answer, if there was one, and the code in it.
pub(super) fn answer<E: ProvideErrorMetadata>(
    error: &SdkError<E, HttpResponse>,
) -> (Option<u16>, Option<&str>) {
    let status = error.raw_response().map(|r| r.status().as_u16());
    (status, error.as_service_error().and_then(|e| e.code()))
}

/// Whether the bucket of a write is missing.
pub(super) fn bucket_is_missing<E: ProvideErrorMetadata>(
    error: &SdkError<E, HttpResponse>,
) -> bool {
    matches!(answer(error), (Some(404), Some("NoSuchBucket")))
}

/// Whether the store does not know the call.
pub(super) fn is_unknown_call<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let (status, code) = answer(error);
    matches!(status, Some(405 | 501)) || matches!(code, Some("NotImplemented" | "MethodNotAllowed"))
}

/// Sorts an error of the SDK into the port's kinds.
pub(super) fn classify<E>(error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let (status, code) = answer(error);
    let kind = match (error, status, code) {
        (SdkError::ConstructionFailure(_), ..) => StoreError::Refused,
        (SdkError::DispatchFailure(dispatch), ..) if dispatch.is_user() => StoreError::Refused,
        (SdkError::TimeoutError(_) | SdkError::DispatchFailure(_), ..) => StoreError::Unavailable,
        (_, status, code) => match by_answer(status, code) {
            Some(kind) => kind,
            None => return StoreError::NotFound,
        },
    };
    kind(Box::new(describe(error, status, code)))
}

type Kind = fn(cloakroom_application::ports::Source) -> StoreError;

/// `None` means not found.
fn by_answer(status: Option<u16>, code: Option<&str>) -> Option<Kind> {
    // The code first: a 200 can carry an error, and then only the code tells.
    match code {
        Some("NoSuchKey" | "NoSuchBucket" | "NoSuchUpload" | "NotFound") => return None,
        Some(
            "SlowDown"
            | "InternalError"
            | "ServiceUnavailable"
            | "RequestTimeout"
            | "OperationAborted"
            | "RequestLimitExceeded"
            | "Throttling",
        ) => return Some(StoreError::Unavailable),
        _ => {}
    }
    match status {
        Some(404) => None,
        Some(501 | 507) => Some(StoreError::Refused),
        Some(408 | 429 | 500..=599) | None => Some(StoreError::Unavailable),
        Some(416 | 200..=299) => Some(StoreError::Broken),
        Some(_) => Some(StoreError::Refused),
    }
}

fn describe<E: ProvideErrorMetadata + Error + 'static>(
    error: &SdkError<E, HttpResponse>,
    status: Option<u16>,
    code: Option<&str>,
) -> Failure {
    let mut text = error.to_string();
    if let Some(status) = status {
        text.push_str(&format!(", status {status}"));
    }
    if let Some(code) = code {
        text.push_str(&format!(", {code}"));
    }
    if let Some(message) = error.as_service_error().and_then(|e| e.message()) {
        text.extend(format!(": {message}").chars().take(LONGEST_MESSAGE));
    } else {
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
    }
    Failure(text)
}

/// The same error again, for another who waited for the same thing.
pub(super) fn again(error: &StoreError) -> StoreError {
    let source = |source: &dyn fmt::Display| Box::new(Failure(source.to_string()));
    match error {
        StoreError::NotFound => StoreError::NotFound,
        StoreError::Refused(cause) => StoreError::Refused(source(cause)),
        StoreError::Unavailable(cause) => StoreError::Unavailable(source(cause)),
        StoreError::Broken(cause) => StoreError::Broken(source(cause)),
    }
}
