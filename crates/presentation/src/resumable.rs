//! Uploads that take several requests, by tus 1.0.0 and by draft-ietf-httpbis-resumable-upload-11, at the same
//! addresses: a request with `Tus-Resumable` is tus, any other is the draft's.

pub(crate) mod draft;
pub mod fields;
pub(crate) mod tus;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName},
    },
    web,
};
use cloakroom_application::{
    App, Error,
    uploads::{self, Append, Appended, Appending, End},
};
use cloakroom_domain::FileId;
use futures_util::StreamExt;

use crate::{
    Settings,
    caller::Caller,
    conditions,
    error::ApiError,
    params::FileIdPath,
    upload::{
        admission,
        body::{self, Inbound},
    },
    wire,
};

pub(crate) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub(crate) const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// What the protocols share: who asks, about which upload.
pub(crate) struct Context<'a> {
    pub(crate) app: Arc<App>,
    pub(crate) settings: &'a Settings,
    pub(crate) who: &'a Caller,
    pub(crate) http: &'a HttpRequest,
}

/// Says how far an upload is.
#[utoipa::path(head, path = "/uploads/{file_id}", tag = "resumable uploads", params(("file_id" = String, Path),
        ("Tus-Resumable" = Option<String>, Header, description = "`1.0.0`: the answer is tus's, else the draft's")),
    responses((status = 200, description = "tus: `Upload-Offset`, `Upload-Length`"),
        (status = 204, description = "The draft: `Upload-Offset`, `Upload-Complete`, `Upload-Limit`"),
        (status = 404, description = "No such upload of this caller"), (status = 410, description = "Expired or given up"),
        (status = 423, description = "Held by another request that would not yield")))]
pub(crate) async fn head(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Caller,
    id: FileIdPath,
    http: HttpRequest,
) -> HttpResponse {
    let context = Context::new(app, &settings, &who, &http);
    context.head(&id).await
}

/// Appends bytes to an upload.
#[utoipa::path(patch, path = "/uploads/{file_id}", tag = "resumable uploads", params(("file_id" = String, Path),
        ("Upload-Offset" = u64, Header, description = "Where the bytes belong"),
        ("Upload-Complete" = Option<String>, Header, description = "The draft: `?1` where they are the last ones"),
        ("Upload-Checksum" = Option<String>, Header, description = "tus: `sha1`, `sha256` or `md5`, and its Base64")),
    request_body(content((String = "application/offset+octet-stream"), (String = "application/partial-upload"))),
    responses((status = 204, description = "Durable; `Upload-Offset`"),
        (status = 201, description = "The draft: complete, and a file now", body = wire::FileBody),
        (status = 400, description = "The upload is complete, or its length another", body = crate::error::Problem),
        (status = 409, description = "Another offset: `Upload-Offset`", body = crate::error::Problem),
        (status = 410, description = "Expired or given up", body = crate::error::Problem),
        (status = 412, description = "Another version of tus", body = crate::error::Problem),
        (status = 415, description = "Another type than the protocol's", body = crate::error::Problem),
        (status = 423, description = "Held by another request that would not yield", body = crate::error::Problem),
        (status = 460, description = "tus: the checksum is another; nothing counts", body = crate::error::Problem)))]
pub(crate) async fn patch(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Caller,
    id: FileIdPath,
    http: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let context = Context::new(app, &settings, &who, &http);
    context.patch(&id, payload).await
}

/// Gives an upload up.
#[utoipa::path(delete, path = "/uploads/{file_id}", tag = "resumable uploads", params(("file_id" = String, Path)),
    responses((status = 204, description = "Gone, bytes too; the file of a finished upload is in the trash"),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn delete(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Caller,
    id: FileIdPath,
    http: HttpRequest,
) -> HttpResponse {
    let context = Context::new(app, &settings, &who, &http);
    context.delete(&id).await
}

/// Does what `X-HTTP-Method-Override` says, for clients that cannot send `PATCH` or `DELETE`.
#[utoipa::path(post, path = "/uploads/{file_id}", tag = "resumable uploads", params(("file_id" = String, Path),
        ("X-HTTP-Method-Override" = String, Header, description = "`PATCH`, `DELETE` or `HEAD`")),
    responses((status = 204, description = "As the method that it stands for"),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn overridden(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Caller,
    id: FileIdPath,
    http: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let context = Context::new(app, &settings, &who, &http);
    match meant(http.headers()) {
        Some(Method::PATCH) => context.patch(&id, payload).await,
        Some(Method::DELETE) => context.delete(&id).await,
        Some(Method::HEAD) => context.head(&id).await,
        _ => ApiError::MethodNotAllowed(&["head", "patch", "delete", "options"]).error_response(),
    }
}

/// Says which protocols are spoken, and their limits. Needs no credential.
#[utoipa::path(options, path = "/uploads/{file_id}", tag = "resumable uploads", params(("file_id" = String, Path)),
    responses((status = 204, description = "`Tus-Version`, `Tus-Extension`, `Tus-Max-Size`, `Accept-Patch`, `Upload-Limit`")))]
pub(crate) async fn options_of_one(app: web::Data<App>) -> HttpResponse {
    announce(&app)
}

/// Says which protocols are spoken, and their limits. Needs no credential.
#[utoipa::path(options, path = "", tag = "resumable uploads",
    responses((status = 204, description = "`Tus-Version`, `Tus-Extension`, `Tus-Max-Size`, `Accept-Patch`, `Upload-Limit`")))]
pub(crate) async fn options(app: web::Data<App>) -> HttpResponse {
    announce(&app)
}

fn announce(app: &App) -> HttpResponse {
    let mut answer = HttpResponse::NoContent();
    tus::announce(app, &mut answer);
    answer
        .insert_header((
            "Accept-Patch",
            [tus::OFFSET_STREAM, draft::PARTIAL].join(", "),
        ))
        .insert_header((draft::UPLOAD_LIMIT, draft::limits(app)))
        .finish()
}

/// Whether a request for an upload brings bytes, by its method or the one that it stands for.
pub(crate) fn appends(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::PATCH || (method == Method::POST && meant(headers) == Some(Method::PATCH))
}

/// Whether a request for an upload that waits for `100 Continue` may send its bytes.
///
/// # Errors
/// What the request will be refused with, as far as its head tells.
pub(crate) async fn admit(
    app: &App,
    who: &Caller,
    id: &str,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    tus::check_version(headers)?;
    let (kind, read): (_, fn(&str) -> Option<u64>) = if tus::is_spoken(headers) {
        (tus::OFFSET_STREAM, fields::bytes)
    } else {
        (draft::PARTIAL, fields::integer)
    };
    check_type(headers, kind)?;
    let id = FileId::parse(id).map_err(|_| Error::UploadMissing)?;
    let offset = conditions::text(headers, UPLOAD_OFFSET);
    let offset = offset.as_deref().and_then(read);
    let offset = offset.ok_or_else(|| missing("Upload-Offset"))?;
    let body = admission::content_length(headers);
    Ok(uploads::admit(app, who, &id, offset, body).await?)
}

/// The method that a request stands for.
fn meant(headers: &HeaderMap) -> Option<Method> {
    let name = headers.get(METHOD_OVERRIDE)?.to_str().ok()?;
    Method::from_bytes(name.trim().to_ascii_uppercase().as_bytes()).ok()
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        app: web::Data<App>,
        settings: &'a Settings,
        who: &'a Caller,
        http: &'a HttpRequest,
    ) -> Self {
        Self {
            app: app.into_inner(),
            settings,
            who,
            http,
        }
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.http.headers()
    }

    /// The absolute address of an upload.
    pub(crate) fn location(&self, id: &FileId) -> String {
        wire::upload_url(&self.settings.public_url, id.as_str())
    }

    async fn head(&self, id: &FileId) -> HttpResponse {
        match self.protocol() {
            Protocol::Tus => answered(tus::head(self, id).await, tus::refusal),
            Protocol::Draft => answered(draft::head(self, id).await, ApiError::error_response),
        }
    }

    async fn patch(&self, id: &FileId, payload: web::Payload) -> HttpResponse {
        match self.protocol() {
            Protocol::Tus => answered(tus::patch(self, id, payload).await, tus::refusal),
            Protocol::Draft => {
                let refusal = |error: &ApiError| draft::refusal_of_append(self, error);
                answered(draft::patch(self, id, payload).await, refusal)
            }
        }
    }

    async fn delete(&self, id: &FileId) -> HttpResponse {
        if let Err(error) = tus::check_version(self.headers()) {
            return error.error_response();
        }
        match uploads::terminate(&self.app, self.who, id).await {
            Ok(()) => HttpResponse::NoContent().finish(),
            Err(error) => ApiError::from(error).error_response(),
        }
    }

    fn protocol(&self) -> Protocol {
        if tus::is_spoken(self.headers()) {
            Protocol::Tus
        } else {
            Protocol::Draft
        }
    }
}

enum Protocol {
    Tus,
    Draft,
}

pub(crate) fn answered(
    answer: Result<HttpResponse, ApiError>,
    refusal: impl FnOnce(&ApiError) -> HttpResponse,
) -> HttpResponse {
    answer.unwrap_or_else(|error| refusal(&error))
}

/// Refuses a body of another type than the protocol's.
pub(crate) fn check_type(headers: &HeaderMap, expected: &'static str) -> Result<(), ApiError> {
    let found = headers.get(header::CONTENT_TYPE);
    let essence = found
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    if essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(expected)) {
        return Ok(());
    }
    Err(ApiError::UnsupportedType(expected))
}

/// Hands a request's body to an upload. What came of a body that broke off is kept, and the request refused.
pub(crate) async fn pour(
    appending: Appending,
    payload: web::Payload,
) -> Result<Appended, ApiError> {
    let mut inbound = Inbound::new(payload, None);
    loop {
        let chunk = tokio::select! {
            chunk = inbound.next() => chunk,
            () = appending.closed() => break,
        };
        match chunk {
            Some(Ok(bytes)) => {
                if !appending.write(bytes).await {
                    break;
                }
            }
            Some(Err(error)) => {
                appending.finish(End::CutShort).await?;
                return Err(body::broken(&error).into());
            }
            None => return Ok(appending.finish(End::Whole).await?),
        }
    }
    // No more was taken; the outcome says why.
    Ok(appending.finish(End::CutShort).await?)
}

/// Hands the body of a creation to its upload. Whoever is refused learns no address, so that nothing is kept for him.
pub(crate) async fn pour_first(
    context: &Context<'_>,
    id: &FileId,
    append: Append,
    payload: web::Payload,
) -> Result<Appended, ApiError> {
    let poured = match uploads::append(&context.app, context.who, id, append).await {
        Ok(appending) => pour(appending, payload).await,
        Err(error) => Err(error.into()),
    };
    match &poured {
        // It may be a file by now, for all that is known.
        Ok(_) | Err(ApiError::App(Error::Repository(_))) => {}
        Err(_) => {
            // What cannot be removed now expires.
            let _ = uploads::terminate(&context.app, context.who, id).await;
        }
    }
    poured
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// A problem as its protocol has it, with another status than the table's.
pub(crate) fn with_status(error: &ApiError, status: StatusCode) -> HttpResponse {
    error.response_as(status)
}

/// A field that a protocol demands.
pub(crate) fn missing(name: &str) -> ApiError {
    Error::Malformed(format!("{name} is missing or cannot be read")).into()
}
