//! tus 1.0.0 with creation, creation-with-upload, creation-defer-length, expiration, checksum, termination and
//! concatenation.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    web,
};
use cloakroom_application::{
    App, Error,
    uploads::{self, Append, Appended, Checksum, Completion, NewResumable, UploadStatus},
};
use cloakroom_domain::{ContentType, FileId, FileName, UploadKind, UploadProgress, UploadState};
use percent_encoding::percent_decode_str;

use super::{
    Context, UPLOAD_LENGTH, UPLOAD_OFFSET, check_type,
    fields::{self, Concat},
    missing, now, pour, pour_first, with_status,
};
use crate::{
    conditions::{self, text},
    dates::http_date,
    error::ApiError,
    params,
    upload::{Described, account, admission, form},
};

pub(crate) const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
pub(crate) const OFFSET_STREAM: &str = "application/offset+octet-stream";
const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const UPLOAD_CONCAT: HeaderName = HeaderName::from_static("upload-concat");
const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const UPLOAD_CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");

const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,concatenation";
const ALGORITHMS: &str = "sha1,sha256,md5";

/// The checksum of a request is another (tus 1.0.0, checksum).
const CHECKSUM_MISMATCH: u16 = 460;

/// Whether a request is tus.
pub(crate) fn is_spoken(headers: &HeaderMap) -> bool {
    headers.contains_key(TUS_RESUMABLE)
}

/// Refuses another version than ours; a request that is not tus has none.
///
/// # Errors
/// [`ApiError::OtherTus`].
pub(crate) fn check_version(headers: &HeaderMap) -> Result<(), ApiError> {
    match text(headers, TUS_RESUMABLE) {
        Some(version) if version.trim() != VERSION => Err(ApiError::OtherTus),
        _ => Ok(()),
    }
}

/// Says on every answer to a tus request which version it is in.
pub(crate) fn mark(asked: &HeaderMap, answer: &mut HeaderMap) {
    if is_spoken(asked) {
        answer.insert(TUS_RESUMABLE, HeaderValue::from_static(VERSION));
    }
}

/// Has a client that asks how far its upload is ask again where it would be told that a dependency is down.
///
/// tus-js-client, and so Uppy, takes every other error of a `HEAD` for the end of the upload and begins a new one at 0;
/// on 423 it asks again later.
pub(crate) fn wait_while_away<B>(answer: &mut HttpResponse<B>, asked: &HttpRequest) {
    let status = answer.status();
    let is_away = status.is_server_error() && status != StatusCode::INTERNAL_SERVER_ERROR;
    let asks = asked.method() == Method::HEAD && is_spoken(asked.headers());
    let pattern = asked.match_pattern().unwrap_or_default();
    if is_away && asks && pattern.ends_with("/uploads/{file_id}") {
        *answer.status_mut() = StatusCode::LOCKED;
    }
}

/// What the protocol announces of itself.
pub(crate) fn announce(app: &App, answer: &mut HttpResponseBuilder) {
    answer
        .insert_header((TUS_RESUMABLE, VERSION))
        .insert_header((TUS_VERSION, VERSION))
        .insert_header(("Tus-Extension", EXTENSIONS))
        .insert_header(("Tus-Checksum-Algorithm", ALGORITHMS))
        .insert_header(("Tus-Max-Size", app.limits.max_file_size.to_string()));
}

/// A refusal as tus has it.
pub(crate) fn refusal(error: &ApiError) -> HttpResponse {
    match error {
        ApiError::App(Error::UploadComplete) => with_status(error, StatusCode::FORBIDDEN),
        ApiError::App(Error::InconsistentLength(_)) => {
            with_status(error, StatusCode::PAYLOAD_TOO_LARGE)
        }
        ApiError::App(Error::ChunkMismatch) => match StatusCode::from_u16(CHECKSUM_MISMATCH) {
            Ok(status) => with_status(error, status),
            Err(_) => error.error_response(),
        },
        _ => error.error_response(),
    }
}

/// Creates an upload, with its first bytes where they come along.
pub(crate) async fn create(
    context: &Context<'_>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let headers = context.headers();
    check_version(headers)?;
    let body = admission::body_length(headers);
    let has_body = body != Some(0);
    if has_body {
        check_type(headers, OFFSET_STREAM)?;
    }
    let concat = text(headers, UPLOAD_CONCAT);
    let concat = concat.as_deref().map(fields::concat).transpose()?;
    let mut new = described(context)?;
    if let Some(Concat::Final(parts)) = concat {
        if has_body || headers.contains_key(UPLOAD_LENGTH) {
            let alone = "a final upload has neither bytes nor a length of its own";
            return Err(Error::Malformed(alone.to_owned()).into());
        }
        let parts: Result<Vec<_>, _> = parts.iter().map(|part| part_of(part)).collect();
        let joined = uploads::join(&context.app, context.who, &parts?, new).await?;
        return Ok(created(context, &joined, None));
    }
    if concat == Some(Concat::Partial) {
        new.kind = UploadKind::Partial;
    }
    new.length = length(headers)?;
    let is_empty = new.length == Some(0);
    let checksum = checksum(headers)?;
    let upload = uploads::create(&context.app, context.who, new).await?;
    if !has_body && !is_empty {
        return Ok(created(context, &upload, None));
    }
    let append = Append {
        offset: 0,
        body,
        length: None,
        is_last: false,
        completion: Completion::ByLength,
        checksum,
        whole: None,
    };
    let appended = pour_first(context, &upload.id, append, payload).await?;
    Ok(created(context, &upload, Some(&appended)))
}

fn created(
    context: &Context<'_>,
    upload: &UploadStatus,
    appended: Option<&Appended>,
) -> HttpResponse {
    let mut answer = HttpResponse::Created();
    answer.insert_header((header::LOCATION, context.location(&upload.id)));
    if let Some(appended) = appended {
        answer.insert_header((UPLOAD_OFFSET, appended.progress.offset()));
    }
    if upload.state.is_live() {
        answer.insert_header((UPLOAD_EXPIRES, http_date(upload.expires_at.seconds())));
    }
    answer.finish()
}

/// Says how far an upload is.
pub(crate) async fn head(context: &Context<'_>, id: &FileId) -> Result<HttpResponse, ApiError> {
    check_version(context.headers())?;
    let upload = uploads::status(&context.app, context.who, id, Completion::ByLength).await?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header((header::CACHE_CONTROL, "no-store"));
    if upload.kind == UploadKind::Direct {
        return Err(Error::UploadMissing.into());
    }
    let joining = upload.kind == UploadKind::Joined && upload.state.is_live();
    let finished = upload.state == UploadState::Finished;
    let length = upload.progress.length();
    if !joining {
        let offset = length.filter(|_| finished);
        let offset = offset.unwrap_or_else(|| upload.progress.offset());
        answer.insert_header((UPLOAD_OFFSET, offset));
    }
    match length {
        Some(length) => answer.insert_header((UPLOAD_LENGTH, length)),
        None => answer.insert_header((UPLOAD_DEFER_LENGTH, "1")),
    };
    if !finished {
        answer.insert_header((UPLOAD_EXPIRES, http_date(upload.expires_at.seconds())));
    }
    for line in upload.described.iter().flat_map(|lines| lines.lines()) {
        if let Some((name, value)) = line.split_once(": ") {
            answer.insert_header((name, value));
        }
    }
    Ok(answer.finish())
}

/// Appends.
pub(crate) async fn patch(
    context: &Context<'_>,
    id: &FileId,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let headers = context.headers();
    check_version(headers)?;
    check_type(headers, OFFSET_STREAM)?;
    let offset = text(headers, UPLOAD_OFFSET);
    let offset = offset.as_deref().and_then(fields::bytes);
    let append = Append {
        offset: offset.ok_or_else(|| missing("Upload-Offset"))?,
        body: admission::body_length(headers),
        length: stated_length(headers)?,
        is_last: false,
        completion: Completion::ByLength,
        checksum: checksum(headers)?,
        whole: conditions::repr_digest(headers)?,
    };
    let repeated = (append.offset, append.body);
    let appending = match uploads::append(&context.app, context.who, id, append).await {
        Ok(appending) => appending,
        // The answer to the last bytes was lost, and nothing is sent again.
        Err(Error::UploadComplete) if repeated.1 == Some(0) => {
            return repeated_end(context, id, repeated.0).await;
        }
        Err(error) => return Err(error.into()),
    };
    let appended = pour(appending, payload).await?;
    let mut answer = HttpResponse::NoContent();
    if appended.file.is_none() {
        let lifetime = context.app.limits.upload_expiry.as_secs();
        let ends = i64::try_from(now().saturating_add(lifetime)).unwrap_or(i64::MAX);
        answer.insert_header((UPLOAD_EXPIRES, http_date(ends)));
    }
    Ok(answer
        .insert_header((UPLOAD_OFFSET, appended.progress.offset()))
        .finish())
}

async fn repeated_end(
    context: &Context<'_>,
    id: &FileId,
    offset: u64,
) -> Result<HttpResponse, ApiError> {
    let status = uploads::status(&context.app, context.who, id, Completion::ByLength).await?;
    let is_end = |progress: &UploadProgress| progress.length() == Some(offset);
    if status.kind == UploadKind::Joined || !is_end(&status.progress) {
        return Err(Error::UploadComplete.into());
    }
    let mut answer = HttpResponse::NoContent();
    Ok(answer.insert_header((UPLOAD_OFFSET, offset)).finish())
}

/// What the creation says of the file: in its address, and in its metadata, which wins.
fn described(context: &Context<'_>) -> Result<NewResumable, ApiError> {
    let headers = context.headers();
    let metadata = text(headers, UPLOAD_METADATA);
    let pairs = fields::metadata(metadata.as_deref().unwrap_or_default())?;
    let asked = Described::of(context.http)?;
    let mut new = NewResumable {
        kind: UploadKind::Whole,
        account: asked.account,
        name: None,
        declared_type: None,
        visibility: asked.visibility,
        metadata: cloakroom_domain::Metadata::default(),
        digest: conditions::repr_digest(headers)?,
        length: None,
        described: None,
    };
    for (key, value) in pairs {
        let value = || {
            String::from_utf8(value.clone())
                .map_err(|_| Error::BadValue(format!("Upload-Metadata: {key} is not UTF-8")))
        };
        match key.as_str() {
            "filename" => new.name = Some(FileName::clean(&value()?)),
            "name" if new.name.is_none() => new.name = Some(FileName::clean(&value()?)),
            "filetype" => new.declared_type = ContentType::parse(&value()?),
            "type" | "contentType" if new.declared_type.is_none() => {
                new.declared_type = ContentType::parse(&value()?);
            }
            "visibility" => new.visibility = params::visibility(&value()?)?,
            "metadata" => new.metadata = form::metadata(&value()?)?,
            "account_id" => new.account = Some(account(&value()?)?),
            "topic" => return Err(form::no_topics().into()),
            _ => {}
        }
    }
    new.name = new.name.or(asked.name);
    let lines = [
        metadata.map(|it| format!("Upload-Metadata: {it}")),
        text(headers, UPLOAD_CONCAT).map(|it| format!("Upload-Concat: {it}")),
    ];
    let lines: Vec<String> = lines.into_iter().flatten().collect();
    new.described = (!lines.is_empty()).then(|| lines.join("\n"));
    Ok(new)
}

/// The length of a new upload, or `None` where it comes later.
fn length(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let deferred = text(headers, UPLOAD_DEFER_LENGTH);
    match (stated_length(headers)?, deferred.as_deref()) {
        (Some(length), None) => Ok(Some(length)),
        (None, Some("1")) => Ok(None),
        (Some(_), Some(_)) => {
            let both = "Upload-Length and Upload-Defer-Length exclude each other";
            Err(Error::Malformed(both.to_owned()).into())
        }
        _ => Err(missing("Upload-Length")),
    }
}

fn stated_length(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(length) = text(headers, UPLOAD_LENGTH) else {
        return Ok(None);
    };
    fields::bytes(&length)
        .map(Some)
        .ok_or_else(|| missing("Upload-Length"))
}

/// What the bytes of a request are to be held against: a checksum by tus, or a digest (RFC 9530 §2).
fn checksum(headers: &HeaderMap) -> Result<Option<Checksum>, ApiError> {
    let digest = conditions::content_digest(headers)?.map(Checksum::Sha256);
    let checksum = text(headers, UPLOAD_CHECKSUM);
    let checksum = checksum.as_deref().map(fields::checksum).transpose()?;
    Ok(checksum.or(digest))
}

/// The upload that an address names, absolute or not: its last segment.
fn part_of(address: &str) -> Result<FileId, ApiError> {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let mut segments = path.rsplit('/');
    let id = segments.next().unwrap_or_default();
    if segments.next() != Some("uploads") {
        return Err(Error::UploadMissing.into());
    }
    let id = percent_decode_str(id).decode_utf8_lossy().into_owned();
    FileId::parse(id).map_err(|_| Error::UploadMissing.into())
}
