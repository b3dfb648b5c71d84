//! Objects by bucket and key: put, got, removed, listed.

mod meta;
mod path;

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderMap},
    web::{self, Query},
};
use cloakroom_application::{
    App, Authorized, Destination, Error, NewUpload, ObjectsRequest, Slot, Started,
    authorize_bucket, authorize_object, check_type, current, list_objects as page_of,
    ports::ObjectEntry, remove_object, size_limit,
};
use cloakroom_domain::{BucketRight, ContentType, File, Metadata, Sha256Digest};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use self::path::ObjectPath;
pub(crate) use self::{meta::PREFIX as META_PREFIX, path::is_object};
use crate::{
    Settings,
    caller::Caller,
    conditions::{self, preconditions},
    cursor,
    download::{DownloadQuery, Terms, respond},
    error::ApiError,
    metered::{Downloader, Uploader},
    resumable::draft,
    upload::{admission, body::Inbound, declared_type, running},
    wire::rfc3339,
};

/// An object.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ObjectBody {
    key: String,
    /// Bytes.
    size: u64,
    /// The validator of the bytes, with its quotes.
    etag: String,
    content_type: String,
    /// When these bytes became current.
    modified_at: String,
}

impl ObjectBody {
    fn of_entry(entry: &ObjectEntry) -> Self {
        Self {
            key: entry.key.as_str().to_owned(),
            size: entry.size,
            etag: entry.etag.to_string(),
            content_type: entry.content_type.to_string(),
            modified_at: rfc3339(entry.modified_at),
        }
    }

    fn of_file(path: &ObjectPath, file: &File) -> Self {
        Self {
            key: path.key.as_str().to_owned(),
            size: file.current.size,
            etag: file.current.etag().to_string(),
            content_type: file.current.content_type.to_string(),
            modified_at: rfc3339(file.current_since),
        }
    }
}

/// A page of objects, by the bytes of their keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ObjectPageBody {
    items: Vec<ObjectBody>,
    /// Hand it back as `cursor` to go on; null at the end.
    next_cursor: Option<String>,
}

/// Which objects to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ObjectsQuery {
    /// What the key begins with, byte by byte.
    prefix: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// 1–1000, 1000 if absent.
    limit: Option<u32>,
}

/// Lists a bucket's objects by key. Whatever others write meanwhile, what is there throughout is on exactly one page.
#[utoipa::path(method(get, head), path = "/objects/{bucket}", tag = "objects", params(("bucket" = String, Path), ObjectsQuery),
    responses((status = 200, body = ObjectPageBody), (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn list_objects(
    app: web::Data<App>,
    who: Caller,
    bucket: web::Path<String>,
    query: Query<ObjectsQuery>,
) -> Result<HttpResponse, ApiError> {
    let bucket = authorize_bucket(&app, &who, &bucket, BucketRight::List).await?;
    let query = query.into_inner();
    let request = ObjectsRequest {
        prefix: query.prefix.unwrap_or_default(),
        after: cursor::read(query.cursor.as_deref(), mark)?,
        limit: query.limit,
    };
    let page = page_of(&app, &bucket, request).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .json(ObjectPageBody {
            items: page.items.iter().map(ObjectBody::of_entry).collect(),
            next_cursor: page.next.map(|key| cursor::of(&format!("k{key}"))),
        }))
}

fn mark(place: &str) -> Option<String> {
    place.strip_prefix('k').map(str::to_owned)
}

/// Gets an object, whole or by ranges.
#[utoipa::path(method(get, head), path = "/objects/{bucket}/{key}", tag = "objects",
    params(("bucket" = String, Path), ("key" = String, Path, description = "1–1024 bytes, `/` among them; percent-encoded"),
        ("disposition" = Option<String>, Query, description = "`inline` to show types that are safe to show"),
        ("Range" = Option<String>, Header), ("If-Range" = Option<String>, Header),
        ("If-Match" = Option<String>, Header), ("If-None-Match" = Option<String>, Header),
        ("If-Modified-Since" = Option<String>, Header), ("If-Unmodified-Since" = Option<String>, Header)),
    responses((status = 200, description = "The bytes, with the `X-Meta-*` they were put with", content_type = "application/octet-stream"),
        (status = 206, description = "The ranges"), (status = 304, description = "Not modified"),
        (status = 412, description = "A precondition failed", body = crate::error::Problem),
        (status = 416, description = "No range lies within the object", body = crate::error::Problem),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn get_object(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Downloader,
    query: Query<DownloadQuery>,
    http: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let path = ObjectPath::read(http.uri().path())?;
    let slot = object(&app, &who, &path, BucketRight::Read).await?;
    let is_public = slot.bucket.policy.public_read;
    let file = slot.into_file()?;
    let terms = Terms::of_object(&query, is_public, meta::fields(&file.metadata));
    respond(&app, &settings, &http, &terms, current(file)).await
}

/// Puts an object: its next version, or its first.
#[utoipa::path(put, path = "/objects/{bucket}/{key}", tag = "objects",
    params(("bucket" = String, Path), ("key" = String, Path, description = "1–1024 bytes, `/` among them; percent-encoded"),
        ("Content-Type" = Option<String>, Header, description = "Kept; guessed from key and bytes if absent"),
        ("X-Meta-*" = Option<String>, Header, description = "Kept and given back; at most 16 KiB together"),
        ("If-Match" = Option<String>, Header, description = "ETag that the object must have"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: there must be no object"),
        ("Idempotency-Key" = Option<String>, Header, description = "At most 255 bytes; the same key gives the same answer for 24 h"),
        ("Content-Digest" = Option<String>, Header, description = "`sha-256=:…:`, verified")),
    request_body(content((String = "application/octet-stream"))),
    responses((status = 200, description = "Stored durably, in place of what was there", body = ObjectBody),
        (status = 201, description = "Stored durably; new", body = ObjectBody),
        (status = "4XX", description = "Refused; nothing is changed", body = crate::error::Problem)))]
pub(crate) async fn put_object(
    app: web::Data<App>,
    who: Uploader,
    http: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let app = app.into_inner();
    let path = ObjectPath::read(http.uri().path())?;
    let put = Put::admitted(&app, &who, &path, http.headers()).await?;
    let file = put.receive(&app, &who, &http, payload).await?;
    let mut answer = match file.current.number {
        1 => HttpResponse::Created(),
        _ => HttpResponse::Ok(),
    };
    Ok(answer
        .insert_header((header::ETAG, file.current.etag().to_string()))
        .json(ObjectBody::of_file(&path, &file)))
}

/// Removes an object.
#[utoipa::path(delete, path = "/objects/{bucket}/{key}", tag = "objects",
    params(("bucket" = String, Path), ("key" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204, description = "Gone; its bytes stay for `CLOAKROOM_DELETE_DELAY`"),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn delete_object(
    app: web::Data<App>,
    who: Caller,
    http: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let path = ObjectPath::read(http.uri().path())?;
    let slot = object(&app, &who, &path, BucketRight::Delete).await?;
    remove_object(&app, &slot, &preconditions(http.headers())).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn object(
    app: &App,
    who: &Caller,
    path: &ObjectPath,
    right: BucketRight,
) -> Result<Authorized<Slot>, Error> {
    authorize_object(app, who, &path.bucket, &path.key, right).await
}

/// Whether a put that waits for `100 Continue` may send its body.
///
/// # Errors
/// What it would be refused with.
pub(crate) async fn admit(
    app: &App,
    who: &Caller,
    path: &str,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    let put = Put::admitted(app, who, &ObjectPath::read(path)?, headers).await?;
    // A repetition has its answer already, whatever holds now.
    if !headers.contains_key(running::IDEMPOTENCY_KEY) {
        put.slot.judge(&preconditions(headers))?;
    }
    Ok(())
}

/// A put, before its body.
struct Put {
    slot: Authorized<Slot>,
    declared_type: Option<ContentType>,
    metadata: Metadata,
    digest: Option<Sha256Digest>,
    limit: u64,
}

impl Put {
    /// Checks everything that can be checked before the body, but for the conditions.
    async fn admitted(
        app: &App,
        who: &Caller,
        path: &ObjectPath,
        headers: &HeaderMap,
    ) -> Result<Self, ApiError> {
        if !who.may_upload() {
            return Err(Error::Unauthenticated.into());
        }
        let slot = object(app, who, path, BucketRight::Write).await?;
        let stretch = headers.contains_key(header::CONTENT_RANGE);
        if stretch || draft::is_complete(headers) == Some(false) {
            let whole = "an object comes whole, in one request";
            return Err(Error::Malformed(whole.to_owned()).into());
        }
        let limit = size_limit(app, &slot.bucket.policy);
        if admission::content_length(headers).is_some_and(|length| length > limit) {
            return Err(Error::TooLarge { limit }.into());
        }
        let declared_type = declared_type(headers);
        if let Some(declared) = &declared_type {
            check_type(&slot.bucket.policy, declared)?;
        }
        Ok(Self {
            slot,
            declared_type,
            metadata: meta::read(headers)?,
            digest: conditions::stated_digest(headers)?,
            limit,
        })
    }

    async fn receive(
        self,
        app: &Arc<App>,
        who: &Caller,
        http: &HttpRequest,
        payload: web::Payload,
    ) -> Result<File, ApiError> {
        let conditions = preconditions(http.headers());
        let judged = self.slot.judge(&conditions).map(drop);
        let size = admission::content_length(http.headers());
        let new = NewUpload {
            destination: Destination::Object {
                expected: self.slot.expected(&conditions),
                slot: Box::new(self.slot),
                metadata: self.metadata,
            },
            name: None,
            declared_type: self.declared_type,
            size: size.map(|size| size.min(self.limit)),
            digest: self.digest,
            idempotency: running::idempotency(http)?,
        };
        match running::begin_judged(app, who, new, judged).await? {
            Started::Running(upload) => {
                let upload = running::pour(upload, Inbound::new(payload, None)).await?;
                Ok(upload.finish().await?)
            }
            Started::Replay(file) => Ok(*file),
        }
    }
}
