//! The form protocol: `multipart/form-data` (RFC 7578) with one part `file`, optional parts before it.

use std::{mem, task::Poll};

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::error::PayloadError;
use bytes::{Bytes, BytesMut};
use cloakroom_application::{Error, Started, Upload};
use cloakroom_domain::{AccountId, ContentType, FileName, Metadata, Sha256Digest, Visibility};
use futures_util::{
    Stream, StreamExt,
    stream::{self, Fuse},
};
use serde_json::{Map, Value};

use super::{
    Request, body,
    body::{Inbound, Whole},
};
use crate::{conditions, error::ApiError, params};

const MAX_PARTS: usize = 32;
const MAX_PART_HEADERS: usize = 16 * 1024;
const MAX_UNKNOWN_PART: usize = 64 * 1024;
/// What may follow the last boundary (RFC 2046 §5.1.1).
const MAX_EPILOGUE: usize = 64 * 1024;

/// A part of a form. It may be polled after its end, which a bare field must not be.
type Part = Fuse<Field>;

/// What the parts before the file said.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub(crate) visibility: Option<Visibility>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) account: Option<AccountId>,
}

/// The body chunk by chunk: the parser would take all that is there, and hold it.
fn one_by_one(mut inbound: Inbound) -> impl Stream<Item = Result<Bytes, PayloadError>> {
    let mut taken = false;
    stream::poll_fn(move |cx| {
        if mem::take(&mut taken) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = inbound.poll_next_unpin(cx);
        taken = matches!(next, Poll::Ready(Some(Ok(_))));
        next
    })
}

/// Reads a whole form and hands its file on. The upload is not finished: the caller does that.
pub(crate) async fn receive(
    request: &Request<'_>,
    inbound: Inbound,
    whole: Option<(Whole, Sha256Digest)>,
) -> Result<Started, ApiError> {
    let mut form = Multipart::new(request.http.headers(), one_by_one(inbound.clone()));
    let mut fields = Fields::default();
    let mut started = None;
    let mut filled = fill(request, &mut form, &mut fields, &mut started).await;
    if filled.is_ok() && matches!(started, Some(Started::Running(_))) {
        filled = inbound.drain(MAX_EPILOGUE).await.map_err(ApiError::from);
    }
    let intact = filled.and_then(|()| match whole {
        Some((seen, stated))
            if matches!(started, Some(Started::Running(_))) && seen.digest() != stated =>
        {
            Err(Error::DigestMismatch.into())
        }
        _ => Ok(()),
    });
    match (intact, started) {
        (Ok(()), Some(started)) => Ok(started),
        (Ok(()), None) => Err(Error::MissingField("the part `file`").into()),
        (Err(error), Some(Started::Running(mut upload))) => {
            upload.give_up().await;
            Err(error)
        }
        (Err(error), _) => Err(error),
    }
}

async fn fill(
    request: &Request<'_>,
    form: &mut Multipart,
    fields: &mut Fields,
    started: &mut Option<Started>,
) -> Result<(), ApiError> {
    let mut parts = 0;
    while let Some(field) = form.next().await {
        let field = field.map_err(|error| malformed(&error))?;
        parts += 1;
        if parts > MAX_PARTS {
            return Err(Error::Malformed(format!("more than {MAX_PARTS} parts")).into());
        }
        check_headers(&field)?;
        let name = field.name().unwrap_or_default().to_owned();
        let mut field = field.fuse();
        match (name.as_str(), started.is_some()) {
            ("file", false) => {
                *started = Some(begin(request, std::mem::take(fields), &mut field).await?);
                match started {
                    Some(Started::Running(upload)) => pour(&mut field, upload).await?,
                    _ => return Ok(()),
                }
            }
            ("file", true) => {
                return Err(Error::BadValue("a second part `file`".to_owned()).into());
            }
            ("visibility" | "metadata" | "account_id" | "topic", true) => {
                let late = format!("the part `{name}` must come before the part `file`");
                return Err(Error::BadValue(late).into());
            }
            _ => read_field(&name, &mut field, fields).await?,
        }
    }
    Ok(())
}

async fn begin(
    request: &Request<'_>,
    fields: Fields,
    field: &mut Part,
) -> Result<Started, ApiError> {
    let name = field
        .get_ref()
        .content_disposition()
        .and_then(super::filename);
    let declared = field
        .get_ref()
        .headers()
        .get(actix_web::http::header::CONTENT_TYPE);
    let declared_type = declared
        .and_then(|value| value.to_str().ok())
        .and_then(ContentType::parse);
    let digest = conditions::stated_digest(field.get_ref().headers())?;
    let first = next(field).await?;
    if first.is_none() && name.as_deref() == Some("") {
        // What a browser sends for a file input that nothing was chosen in.
        return Err(Error::MissingField("the part `file`").into());
    }
    let name = name.map(|name| FileName::clean(&name));
    let started = request.begin(name, declared_type, digest, fields).await?;
    match (started, first) {
        (Started::Running(mut upload), Some(first)) => {
            if let Err(error) = upload.write(first).await {
                upload.give_up().await;
                return Err(error.into());
            }
            Ok(Started::Running(upload))
        }
        (started, _) => Ok(started),
    }
}

async fn pour(field: &mut Part, upload: &mut Upload) -> Result<(), ApiError> {
    while let Some(chunk) = next(field).await? {
        upload.write(chunk).await?;
    }
    Ok(())
}

async fn next(field: &mut Part) -> Result<Option<Bytes>, ApiError> {
    while let Some(chunk) = field.next().await {
        let chunk = chunk.map_err(|error| malformed(&error))?;
        if !chunk.is_empty() {
            return Ok(Some(chunk));
        }
    }
    Ok(None)
}

async fn read_field(name: &str, field: &mut Part, fields: &mut Fields) -> Result<(), ApiError> {
    match name {
        "visibility" => {
            let text = text(field, name, 64).await?;
            fields.visibility = Some(params::visibility(&text)?);
        }
        "metadata" => {
            let text = text(field, name, Metadata::MAX_BYTES).await?;
            fields.metadata = Some(metadata(&text)?);
        }
        "account_id" => {
            let text = text(field, name, AccountId::MAX_BYTES).await?;
            fields.account = Some(super::account(&text)?);
        }
        "topic" => return Err(no_topics().into()),
        _ => {
            let mut length = 0;
            while let Some(chunk) = next(field).await? {
                length += chunk.len();
                if length > MAX_UNKNOWN_PART {
                    return Err(too_long("an unknown part", MAX_UNKNOWN_PART));
                }
            }
        }
    }
    Ok(())
}

async fn text(field: &mut Part, name: &str, limit: usize) -> Result<String, ApiError> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = next(field).await? {
        if bytes.len() + chunk.len() > limit {
            return Err(too_long(&format!("the part `{name}`"), limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes.into())
        .map_err(|_| Error::BadValue(format!("the part `{name}` is not UTF-8")).into())
}

/// Reads metadata: a JSON object.
///
/// # Errors
/// [`Error::BadValue`].
pub(crate) fn metadata(text: &str) -> Result<Metadata, ApiError> {
    let object: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| Error::BadValue(format!("`metadata` is not a JSON object: {error}")))?;
    Metadata::from_json(Value::Object(object).to_string())
        .map_err(|error| Error::BadValue(error.to_string()).into())
}

fn check_headers(field: &Field) -> Result<(), Error> {
    let size: usize = field
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if size > MAX_PART_HEADERS {
        let limit = MAX_PART_HEADERS;
        return Err(Error::Malformed(format!(
            "the headers of a part are longer than {limit} bytes"
        )));
    }
    Ok(())
}

fn too_long(what: &str, limit: usize) -> ApiError {
    Error::BadValue(format!("{what} is longer than {limit} bytes")).into()
}

fn malformed(error: &MultipartError) -> Error {
    match error {
        MultipartError::Payload(error) => body::broken(error),
        MultipartError::Incomplete => Error::Malformed("the form ended early".to_owned()),
        other => Error::Malformed(format!("the form cannot be read: {other}")),
    }
}

/// The answer to topics.
pub(crate) fn no_topics() -> Error {
    Error::BadValue("topics are not available".to_owned())
}
