//! What can be refused before a body is read, also before `100 Continue` is sent.

use std::net::SocketAddr;

use actix_web::http::{
    Method,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING},
};
use cloakroom_application::{App, Error, authorize, ports::RateClass};
use cloakroom_domain::{Action, FileId};
use percent_encoding::percent_decode_str;

use crate::{Settings, caller::recognise, conditions, error::ApiError, objects, resumable};

/// The media type of a form (RFC 7578).
pub(crate) const FORM: &str = "multipart/form-data";

/// How much longer than its file a form may be: boundaries, part headers, the optional parts.
const FORM_SLACK: u64 = 64 * 1024;

/// The announced length of a body, where one is announced.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// How long a body is, where that is known before it comes: one without a length and without chunks is empty
/// (RFC 9112 §6.3).
pub(crate) fn body_length(headers: &HeaderMap) -> Option<u64> {
    let is_empty = !headers.contains_key(TRANSFER_ENCODING);
    content_length(headers).or(is_empty.then_some(0))
}

/// Whether the body is a form.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    conditions::text(headers, CONTENT_TYPE).is_some_and(|value| {
        value
            .split(';')
            .next()
            .is_some_and(|essence| essence.trim().eq_ignore_ascii_case(FORM))
    })
}

/// Refuses a body whose announced length cannot be within the limit.
pub(crate) fn check_length(headers: &HeaderMap, limit: u64) -> Result<(), Error> {
    let slack = if is_form(headers) { FORM_SLACK } else { 0 };
    match content_length(headers) {
        Some(length) if length > limit.saturating_add(slack) => Err(Error::TooLarge { limit }),
        _ => Ok(()),
    }
}

/// Whether a request that waits for `100 Continue` (RFC 9110 §10.1.1) may send its body.
///
/// The request itself is judged again, in full, once it goes on.
pub(crate) async fn admit(
    app: &App,
    settings: &Settings,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    peer: Option<SocketAddr>,
) -> Result<(), ApiError> {
    let (who, attempt) = recognise(app, settings, method, headers, peer).await?;
    let below = path.strip_prefix(settings.mount.trim_end_matches('/'));
    let below = below.map(|path| path.trim_start_matches('/'));
    let upload = below.and_then(|path| path.strip_prefix("uploads/"));
    let appends = upload.is_some() && resumable::appends(method, headers);
    let is_file = below.is_some_and(|path| !path.is_empty() && !path.contains('/'));
    let begins = match *method {
        Method::POST => matches!(below, Some("" | "upload")),
        Method::PUT => is_file || objects::is_object(path),
        _ => false,
    };
    if !appends && !begins {
        return Ok(());
    }
    if !who.may_upload() {
        return Err(match attempt {
            Some(attempt) => attempt.refused(&app.rates).await,
            None => Error::Unauthenticated,
        }
        .into());
    }
    if let Some(id) = upload {
        let id = percent_decode_str(id).decode_utf8_lossy().into_owned();
        return resumable::admit(app, &who, &id, headers).await;
    }
    // The permit itself is taken once the request goes on.
    app.rates.check(RateClass::Upload, who.counted_as())?;
    if objects::is_object(path) {
        return objects::admit(app, &who, path, headers).await;
    }
    check_length(headers, app.limits.max_file_size)?;
    if let Some(id) = below.filter(|_| method == Method::PUT) {
        let id = percent_decode_str(id).decode_utf8_lossy().into_owned();
        let id =
            FileId::parse(id).map_err(|error| Error::BadValue(format!("the file's id {error}")))?;
        authorize(app, &who, &id, Action::Write).await?;
    }
    Ok(())
}
