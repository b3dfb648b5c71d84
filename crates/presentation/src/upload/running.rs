//! A body of one request on its way into an upload, and the key that its answer is kept under.

use std::sync::Arc;

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderName},
};
use cloakroom_application::{App, Error, Idempotency, NewUpload, Started, Upload, begin};
use futures_util::StreamExt;

use super::body::{self, Inbound};
use crate::{caller::Caller, conditions, error::ApiError};

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MAX_KEY: usize = 255;

/// The key of a request, and what must be the same whenever it is used.
///
/// # Errors
/// [`Error::BadValue`] if it cannot be a key.
pub(crate) fn idempotency(http: &HttpRequest) -> Result<Option<Idempotency>, Error> {
    let Some(value) = http.headers().get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    // Two keys must never look the same, so bytes that are no text are refused rather than replaced.
    let key = std::str::from_utf8(value.as_bytes())
        .unwrap_or_default()
        .to_owned();
    if key.is_empty() || key.len() > MAX_KEY {
        let bounds = format!("Idempotency-Key must have 1 to {MAX_KEY} bytes");
        return Err(Error::BadValue(bounds));
    }
    let length = conditions::text(http.headers(), header::CONTENT_LENGTH);
    Ok(Some(Idempotency {
        key,
        fingerprint: format!(
            "{} {} {}",
            http.method(),
            http.path(),
            length.as_deref().unwrap_or("-")
        ),
    }))
}

/// Begins an upload whose conditions were judged. A repetition under its key is answered whatever was judged: the first
/// use of the key may be what made the condition fail.
///
/// # Errors
/// The judgement, and those of [`begin`].
pub(crate) async fn begin_judged(
    app: &Arc<App>,
    who: &Caller,
    new: NewUpload,
    judged: Result<(), Error>,
) -> Result<Started, ApiError> {
    let judged = match judged {
        Err(failed) if new.idempotency.is_none() => return Err(failed.into()),
        judged => judged,
    };
    match (begin(app, who, new).await?, judged) {
        (Started::Running(mut upload), Err(failed)) => {
            upload.give_up().await;
            Err(failed.into())
        }
        (started, _) => Ok(started),
    }
}

/// Writes a raw body to the upload, which is given up if either fails.
///
/// # Errors
/// The body is broken, or what [`Upload::write`] says.
pub(crate) async fn pour(
    mut upload: Box<Upload>,
    mut inbound: Inbound,
) -> Result<Box<Upload>, ApiError> {
    while let Some(chunk) = inbound.next().await {
        let written = match chunk {
            Ok(chunk) => upload.write(chunk).await,
            Err(error) => Err(body::broken(&error)),
        };
        if let Err(error) = written {
            upload.give_up().await;
            return Err(error.into());
        }
    }
    Ok(upload)
}
