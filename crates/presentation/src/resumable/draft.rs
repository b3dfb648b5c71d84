//! Resumable uploads by draft-ietf-httpbis-resumable-upload-11 (interop version 8). No 104 is sent: proxies do not
//! pass it on.

use actix_web::{
    HttpResponse, ResponseError,
    http::header::{self, HeaderMap, HeaderName},
    web,
};
use cloakroom_application::{
    App, Error,
    uploads::{self, Append, Checksum, Completion, NewResumable, UploadStatus},
};
use cloakroom_domain::{File, FileId, UploadKind, UploadState};

use super::{
    Context, UPLOAD_LENGTH, UPLOAD_OFFSET, check_type, fields, missing, now, pour, pour_first,
};
use crate::{
    conditions::{self, text},
    error::ApiError,
    upload::{Described, admission},
    wire,
};

pub(crate) const UPLOAD_COMPLETE: HeaderName = HeaderName::from_static("upload-complete");
pub(crate) const UPLOAD_LIMIT: HeaderName = HeaderName::from_static("upload-limit");
pub(crate) const PARTIAL: &str = "application/partial-upload";
const COMPLETE: &str = "?1";
const INCOMPLETE: &str = "?0";

/// Whether the body is all there is (§4.1.2); `None` for a request that is not the draft's.
pub(crate) fn is_complete(headers: &HeaderMap) -> Option<bool> {
    fields::boolean(&text(headers, UPLOAD_COMPLETE)?)
}

/// The limits of a new upload (§4.1.4).
pub(crate) fn limits(app: &App) -> String {
    let limits = &app.limits;
    format!(
        "max-size={}, max-age={}",
        limits.max_file_size,
        limits.upload_expiry.as_secs()
    )
}

/// A refusal of bytes (§4.4.2), which says whether the upload itself is complete.
pub(crate) fn refusal_of_append(context: &Context<'_>, error: &ApiError) -> HttpResponse {
    let mut answer = match error {
        // What tus has a status of its own for is the digest's problem here.
        ApiError::App(Error::ChunkMismatch) => {
            ApiError::App(Error::DigestMismatch).error_response()
        }
        other => other.error_response(),
    };
    let headers = answer.headers_mut();
    let complete = match error {
        ApiError::App(Error::UploadComplete) => Some(COMPLETE),
        ApiError::App(Error::WrongOffset { .. }) => Some(INCOMPLETE),
        _ => None,
    };
    if let Some(complete) = complete {
        headers.insert(UPLOAD_COMPLETE, header::HeaderValue::from_static(complete));
    }
    if let ApiError::App(Error::TooLarge { .. }) = error
        && let Ok(limits) = header::HeaderValue::from_str(&limits(&context.app))
    {
        headers.insert(UPLOAD_LIMIT, limits);
    }
    answer
}

/// Creates an upload whose body is not all there is, and takes that body (§4.2).
pub(crate) async fn create(
    context: &Context<'_>,
    described: Described,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let headers = context.headers();
    let new = NewResumable {
        kind: UploadKind::Whole,
        account: described.account,
        name: described.name,
        declared_type: described.declared_type,
        visibility: described.visibility,
        metadata: cloakroom_domain::Metadata::default(),
        digest: conditions::repr_digest(headers)?,
        length: stated_length(headers),
        described: None,
    };
    let checksum = conditions::content_digest(headers)?.map(Checksum::Sha256);
    let upload = uploads::create(&context.app, context.who, new).await?;
    let append = Append {
        offset: 0,
        body: admission::body_length(headers),
        length: None,
        is_last: false,
        completion: Completion::ByWord,
        checksum,
        whole: None,
    };
    let appended = pour_first(context, &upload.id, append, payload).await?;
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, context.location(&upload.id)))
        .insert_header((UPLOAD_COMPLETE, INCOMPLETE))
        .insert_header((UPLOAD_OFFSET, appended.progress.offset()))
        .insert_header((UPLOAD_LIMIT, limits(&context.app)))
        .finish())
}

/// Says how far an upload is (§4.3).
pub(crate) async fn head(context: &Context<'_>, id: &FileId) -> Result<HttpResponse, ApiError> {
    let upload = uploads::status(&context.app, context.who, id, Completion::ByWord).await?;
    if upload.kind != UploadKind::Whole {
        return Err(Error::UploadMissing.into());
    }
    let mut answer = HttpResponse::NoContent();
    answer
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((UPLOAD_OFFSET, upload.progress.offset()))
        .insert_header((UPLOAD_LIMIT, limits_left(context, &upload)));
    if let Some(length) = upload.progress.length() {
        answer.insert_header((UPLOAD_LENGTH, length));
    }
    if upload.state == UploadState::Finished {
        let file = wire::file_url(&context.settings.public_url, id.as_str());
        answer
            .insert_header((UPLOAD_COMPLETE, COMPLETE))
            .insert_header((header::LOCATION, file));
    } else {
        answer.insert_header((UPLOAD_COMPLETE, INCOMPLETE));
    }
    Ok(answer.finish())
}

fn limits_left(context: &Context<'_>, upload: &UploadStatus) -> String {
    let ends = u64::try_from(upload.expires_at.seconds()).unwrap_or_default();
    let limit = context.app.limits.max_file_size;
    format!("max-size={limit}, max-age={}", ends.saturating_sub(now()))
}

/// Appends (§4.4).
pub(crate) async fn patch(
    context: &Context<'_>,
    id: &FileId,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let headers = context.headers();
    check_type(headers, PARTIAL)?;
    let offset = text(headers, UPLOAD_OFFSET);
    let offset = offset.as_deref().and_then(fields::integer);
    let is_last = is_complete(headers).ok_or_else(|| missing("Upload-Complete"))?;
    let append = Append {
        offset: offset.ok_or_else(|| missing("Upload-Offset"))?,
        body: admission::body_length(headers),
        length: stated_length(headers),
        is_last,
        completion: Completion::ByWord,
        checksum: conditions::content_digest(headers)?.map(Checksum::Sha256),
        whole: conditions::repr_digest(headers)?,
    };
    let appending = uploads::append(&context.app, context.who, id, append).await?;
    let appended = pour(appending, payload).await?;
    match appended.file {
        Some(file) => complete(context, &file),
        None => Ok(HttpResponse::NoContent()
            .insert_header((UPLOAD_COMPLETE, INCOMPLETE))
            .insert_header((UPLOAD_OFFSET, appended.progress.offset()))
            .finish()),
    }
}

/// The answer to the last bytes: that of an upload in one request.
pub(crate) fn complete(context: &Context<'_>, file: &File) -> Result<HttpResponse, ApiError> {
    let public_url = &context.settings.public_url;
    let body = wire::FileBody::new(file, public_url)?;
    Ok(HttpResponse::Created()
        .insert_header((
            header::LOCATION,
            wire::file_url(public_url, file.id.as_str()),
        ))
        .insert_header((UPLOAD_COMPLETE, COMPLETE))
        .insert_header((UPLOAD_OFFSET, file.current.size))
        .json(body))
}

/// A length that cannot be read is not stated (§4.1.3).
fn stated_length(headers: &HeaderMap) -> Option<u64> {
    fields::integer(&text(headers, UPLOAD_LENGTH)?)
}

/// Refuses a whole body whose length contradicts itself (§4.1.3).
pub(crate) fn check_lengths(headers: &HeaderMap) -> Result<(), Error> {
    let announced = admission::content_length(headers);
    announced.map_or(Ok(()), |size| check_length(headers, size))
}

/// Refuses a whole body of so many bytes if the draft is spoken and its length was stated to be another (§4.1.3).
pub(crate) fn check_received(headers: &HeaderMap, size: u64) -> Result<(), Error> {
    is_complete(headers).map_or(Ok(()), |_| check_length(headers, size))
}

fn check_length(headers: &HeaderMap, size: u64) -> Result<(), Error> {
    match stated_length(headers) {
        Some(stated) if stated != size => Err(Error::InconsistentLength(format!(
            "Upload-Length is {stated} and the body has {size} bytes"
        ))),
        _ => Ok(()),
    }
}
