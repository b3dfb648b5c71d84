//! Uploads straight to the store, by presigned addresses.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::header, web};
use cloakroom_application::{
    App, Error,
    uploads::{self, DirectPart, DirectStatus, DirectUpload, NewResumable, SentPart},
};
use cloakroom_domain::{ContentType, FileId, FileName, Sha256Digest, Timestamp, UploadKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    Settings,
    caller::Caller,
    error::ApiError,
    json,
    metered::Uploader,
    params::{self, FileIdPath},
    upload::{account, form},
    wire,
};

/// The longest list of parts, in bytes.
const MAX_PARTS_BYTES: usize = 1024 * 1024;

/// What a client wants to send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DirectRequest {
    filename: Option<String>,
    /// Bytes; exactly so many are sent.
    size: u64,
    content_type: Option<String>,
    /// Hexadecimal; what arrives must have it.
    sha256: Option<String>,
    /// `public`, `account` or `private`.
    visibility: Option<String>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    /// For service and admin tokens.
    #[schema(value_type = Option<String>)]
    account_id: Option<wire::Id>,
}

/// Where to send it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DirectBody {
    file_id: String,
    parts: Vec<DirectPartBody>,
    expires_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct DirectPartBody {
    number: u32,
    method: &'static str,
    /// Whoever has it may send this part: keep it to the client.
    url: String,
    headers: BTreeMap<String, String>,
    /// Bytes, no more and no less.
    size: u64,
}

/// The parts that were sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompleteRequest {
    parts: Vec<SentPartBody>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SentPartBody {
    number: u32,
    /// As the store answered it.
    etag: String,
}

/// A direct upload that is no file yet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DirectStatusBody {
    file_id: String,
    /// `uploading` or `verifying`.
    state: &'static str,
    /// Bytes, while `uploading`.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

/// Creates an upload that the client sends straight to the store, in parts.
#[utoipa::path(post, path = "/direct", tag = "direct uploads", request_body = DirectRequest,
    responses((status = 201, description = "Send each part as it says, then complete", body = DirectBody),
        (status = 409, description = "The store cannot: upload through the service", body = crate::error::Problem),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn create(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Uploader,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    if !who.may_upload() {
        return Err(Error::Unauthenticated.into());
    }
    let new = described(json::read(payload).await?)?;
    let upload = uploads::begin_direct(&app.into_inner(), &who, new).await?;
    let location = location(&settings, &upload.id);
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(DirectBody::from(upload)))
}

/// Makes a file of what was sent, once it was read and hashed.
#[utoipa::path(post, path = "/direct/{file_id}/complete", tag = "direct uploads",
    params(("file_id" = String, Path)), request_body = CompleteRequest,
    responses((status = 201, description = "A file", body = wire::FileBody),
        (status = 202, description = "Being read; ask at `Location`", body = DirectStatusBody),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn complete(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Caller,
    id: FileIdPath,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let app = app.into_inner();
    uploads::direct_status(&app, &who, &id).await?;
    let request: CompleteRequest = json::read_up_to(MAX_PARTS_BYTES, payload).await?;
    let sent: Vec<SentPart> = request
        .parts
        .into_iter()
        .map(|part| SentPart {
            number: part.number,
            tag: part.etag,
        })
        .collect();
    let status = uploads::complete_direct(&app, &who, &id, &sent).await?;
    answer(&settings, &id, status, HttpResponse::Created())
}

/// Says how far a direct upload is.
#[utoipa::path(method(get, head), path = "/direct/{file_id}", tag = "direct uploads", params(("file_id" = String, Path)),
    responses((status = 200, description = "A file, or parts may be sent", body = wire::FileBody),
        (status = 202, description = "Being read", body = DirectStatusBody),
        (status = "4XX", description = "Refused, or what arrived is not what was announced", body = crate::error::Problem)))]
pub(crate) async fn status(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Caller,
    id: FileIdPath,
) -> Result<HttpResponse, ApiError> {
    let status = uploads::direct_status(&app.into_inner(), &who, &id).await?;
    answer(&settings, &id, status, HttpResponse::Ok())
}

/// Gives a direct upload up; what was sent is removed.
#[utoipa::path(delete, path = "/direct/{file_id}", tag = "direct uploads", params(("file_id" = String, Path)),
    responses((status = 204, description = "Gone"),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn abandon(
    app: web::Data<App>,
    who: Caller,
    id: FileIdPath,
) -> Result<HttpResponse, ApiError> {
    uploads::abandon_direct(&app.into_inner(), &who, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn answer(
    settings: &Settings,
    id: &FileId,
    status: DirectStatus,
    mut done: actix_web::HttpResponseBuilder,
) -> Result<HttpResponse, ApiError> {
    let body = |state, size, expires_at: Option<Timestamp>| DirectStatusBody {
        file_id: id.as_str().to_owned(),
        state,
        size,
        expires_at: expires_at.map(wire::rfc3339),
    };
    Ok(match status {
        DirectStatus::File(file) => done
            .insert_header((
                header::LOCATION,
                wire::file_url(&settings.public_url, id.as_str()),
            ))
            .json(wire::FileBody::new(&file, &settings.public_url)?),
        DirectStatus::Verifying => HttpResponse::Accepted()
            .insert_header((header::LOCATION, location(settings, id)))
            .insert_header((header::RETRY_AFTER, 2))
            .json(body("verifying", None, None)),
        DirectStatus::Open { size, expires_at } => {
            HttpResponse::Ok().json(body("uploading", Some(size), Some(expires_at)))
        }
    })
}

fn location(settings: &Settings, id: &FileId) -> String {
    wire::direct_url(&settings.public_url, id.as_str())
}

fn described(request: DirectRequest) -> Result<NewResumable, ApiError> {
    let digest = request.sha256.as_deref().map(|hex| {
        Sha256Digest::from_hex(hex)
            .ok_or_else(|| Error::BadValue("sha256 is not 64 hexadecimal digits".to_owned()))
    });
    let visibility = request.visibility.as_deref().map(params::visibility);
    let metadata = request
        .metadata
        .map(|object| form::metadata(&Value::Object(object).to_string()));
    let named = request.account_id.map(|id| account(&id.into_text()));
    Ok(NewResumable {
        kind: UploadKind::Direct,
        account: named.transpose()?,
        name: request.filename.as_deref().map(FileName::clean),
        declared_type: request.content_type.as_deref().and_then(ContentType::parse),
        visibility: visibility.transpose()?.unwrap_or_default(),
        metadata: metadata.transpose()?.unwrap_or_default(),
        digest: digest.transpose()?,
        length: Some(request.size),
        described: None,
    })
}

impl From<DirectUpload> for DirectBody {
    fn from(upload: DirectUpload) -> Self {
        Self {
            file_id: upload.id.as_str().to_owned(),
            parts: upload.parts.into_iter().map(DirectPartBody::from).collect(),
            expires_at: wire::rfc3339(upload.expires_at),
        }
    }
}

impl From<DirectPart> for DirectPartBody {
    fn from(part: DirectPart) -> Self {
        Self {
            number: part.number,
            method: part.request.method,
            url: part.request.url.reveal().to_owned(),
            headers: part.request.headers.into_iter().collect(),
            size: part.size,
        }
    }
}
