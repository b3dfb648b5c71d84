//! Uploading: which protocol a request speaks, and what it may do before its body is read.

pub(crate) mod admission;
pub(crate) mod body;
pub(crate) mod form;
pub(crate) mod running;

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderMap},
    web,
};
use cloakroom_application::{
    App, Authorized, Destination, Error, NewUpload, Started, authorize, check_current,
};
use cloakroom_domain::{AccountId, Action, ContentType, File, FileName, Sha256Digest, Visibility};
use serde::Deserialize;

use self::{
    body::{Inbound, Whole},
    form::Fields,
};
use crate::{
    Settings,
    caller::Caller,
    conditions,
    error::ApiError,
    metered::Uploader,
    params,
    resumable::{self, Context, draft, tus},
    wire,
};

/// What a raw upload says in its address.
#[derive(Debug, Default, Deserialize)]
struct RawQuery {
    filename: Option<String>,
    visibility: Option<String>,
    account_id: Option<String>,
}

/// One upload request, as the protocols see it.
pub(crate) struct Request<'a> {
    app: &'a Arc<App>,
    who: &'a Caller,
    http: &'a HttpRequest,
    query: RawQuery,
    /// The file that gets a new version; `None` for a new file.
    target: Option<Authorized<File>>,
}

/// Uploads a file: a form with a part `file`, or a raw body. With `Tus-Resumable` or `Upload-Complete: ?0` it creates
/// an upload of several requests.
#[utoipa::path(post, path = "", tag = "files",
    params(
        ("filename" = Option<String>, Query, description = "Name of a raw body"),
        ("visibility" = Option<String>, Query, description = "`public`, `account` or `private`, for a raw body"),
        ("account_id" = Option<String>, Query, description = "Account to upload into, for service and admin tokens"),
        ("Idempotency-Key" = Option<String>, Header, description = "At most 255 bytes; the same key gives the same answer for 24 h"),
        ("Repr-Digest" = Option<String>, Header, description = "`sha-256=:…:`, verified"),
        ("Tus-Resumable" = Option<String>, Header, description = "`1.0.0` creates an upload by tus; with `Upload-Length` or `Upload-Defer-Length`, `Upload-Metadata`, `Upload-Concat`"),
        ("Upload-Complete" = Option<String>, Header, description = "`?0` creates an upload by the IETF draft; with `Upload-Length`")),
    request_body(content((String = "multipart/form-data"), (String = "application/octet-stream"))),
    responses((status = 201, description = "Stored durably; or created, at `Location`", body = wire::FileBody),
        (status = "4XX", description = "Refused; nothing is left", body = crate::error::Problem),
        (status = 503, description = "A dependency failed; nothing is left", body = crate::error::Problem)))]
pub(crate) async fn create(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Uploader,
    http: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let context = Context::new(app.clone(), &settings, &who, &http);
    let is_form = admission::is_form(http.headers());
    if !is_form && tus::is_spoken(http.headers()) {
        return Ok(resumable::answered(
            tus::create(&context, payload).await,
            tus::refusal,
        ));
    }
    let complete = draft::is_complete(http.headers());
    if complete == Some(false) {
        let created = create_incomplete(&context, payload).await;
        let refusal = |error: &ApiError| draft::refusal_of_append(&context, error);
        return Ok(resumable::answered(created, refusal));
    }
    let app = app.into_inner();
    let file = Request::new(&app, &who, &http, None)?
        .receive(payload)
        .await?;
    if complete == Some(true) {
        return draft::complete(&context, &file);
    }
    let body = wire::FileBody::new(&file, &settings.public_url)?;
    let location = wire::file_url(&settings.public_url, file.id.as_str());
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .json(body))
}

async fn create_incomplete(
    context: &Context<'_>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    if admission::is_form(context.headers()) {
        let whole = "a form comes in one request: Upload-Complete is ?1 there";
        return Err(Error::Malformed(whole.to_owned()).into());
    }
    let described = Described::of(context.http)?;
    draft::create(context, described, payload).await
}

/// What a raw upload says of its file, in its address and its header.
pub(crate) struct Described {
    pub(crate) name: Option<FileName>,
    pub(crate) declared_type: Option<ContentType>,
    pub(crate) visibility: Visibility,
    pub(crate) account: Option<AccountId>,
}

impl Described {
    pub(crate) fn of(http: &HttpRequest) -> Result<Self, ApiError> {
        let query = raw_query(http)?;
        let visibility = query.visibility.as_deref().map(params::visibility);
        Ok(Self {
            name: raw_name(http, &query),
            declared_type: declared_type(http.headers()),
            visibility: visibility.transpose()?.unwrap_or_default(),
            account: query.account_id.as_deref().map(account).transpose()?,
        })
    }
}

fn raw_query(http: &HttpRequest) -> Result<RawQuery, Error> {
    web::Query::<RawQuery>::from_query(http.query_string())
        .map(web::Query::into_inner)
        .map_err(|error| Error::BadValue(error.to_string()))
}

fn raw_name(http: &HttpRequest, query: &RawQuery) -> Option<FileName> {
    let name = query.filename.clone().or_else(|| {
        let value = http.headers().get(header::CONTENT_DISPOSITION)?;
        filename(&header::ContentDisposition::from_raw(value).ok()?)
    });
    name.map(|name| FileName::clean(&name))
}

/// The `Content-Type` of a body, if it can be read.
pub(crate) fn declared_type(headers: &HeaderMap) -> Option<ContentType> {
    let declared = conditions::text(headers, header::CONTENT_TYPE);
    declared.as_deref().and_then(ContentType::parse)
}

/// Uploads a file by a form, for existing clients.
#[utoipa::path(post, path = "/upload", tag = "files",
    request_body(content((String = "multipart/form-data"))),
    responses((status = 200, description = "Stored durably", body = wire::UploadedBody),
        (status = "4XX", description = "Refused; nothing is left", body = crate::error::Problem)))]
pub(crate) async fn create_by_form(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Uploader,
    http: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let app = app.into_inner();
    let request = Request::new(&app, &who, &http, None)?;
    if !admission::is_form(http.headers()) {
        return Err(Error::Malformed(format!("the body is not {}", admission::FORM)).into());
    }
    let file = request.receive(payload).await?;
    let file = wire::FileBody::new(&file, &settings.public_url)?;
    Ok(HttpResponse::Ok().json(wire::UploadedBody { file }))
}

/// Stores a new version of a file from the body or a form. A name that comes with it becomes the file's.
#[utoipa::path(put, path = "/{file_id}", tag = "files",
    params(("file_id" = String, Path), ("filename" = Option<String>, Query),
        ("If-Match" = Option<String>, Header, description = "ETag that the current version must have")),
    request_body(content((String = "application/octet-stream"), (String = "multipart/form-data"))),
    responses((status = 200, description = "Stored durably, current now", body = wire::FileBody),
        (status = "4XX", description = "Refused; nothing is changed", body = crate::error::Problem)))]
pub(crate) async fn replace(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Uploader,
    id: params::FileIdPath,
    http: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let app = app.into_inner();
    let target = authorize(&app, &who, &id, Action::Write).await?;
    let file = Request::new(&app, &who, &http, Some(target))?
        .receive(payload)
        .await?;
    let body = wire::FileBody::new(&file, &settings.public_url)?;
    Ok(HttpResponse::Ok().json(body))
}

impl<'a> Request<'a> {
    fn new(
        app: &'a Arc<App>,
        who: &'a Caller,
        http: &'a HttpRequest,
        target: Option<Authorized<File>>,
    ) -> Result<Self, ApiError> {
        if !who.may_upload() {
            return Err(Error::Unauthenticated.into());
        }
        if draft::is_complete(http.headers()) == Some(false) {
            let elsewhere = "an upload of several requests is created by POST at the collection";
            return Err(Error::Malformed(elsewhere.to_owned()).into());
        }
        draft::check_lengths(http.headers())?;
        if http.headers().contains_key(header::CONTENT_RANGE) {
            // RFC 9110 §14.5: a stretch must not be taken for the whole.
            let partial = "a body with Content-Range would replace the whole file";
            return Err(Error::Malformed(partial.to_owned()).into());
        }
        admission::check_length(http.headers(), app.limits.max_file_size)?;
        let query = raw_query(http)?;
        Ok(Self {
            app,
            who,
            http,
            query,
            target,
        })
    }

    async fn receive(self, payload: web::Payload) -> Result<File, ApiError> {
        let stated = conditions::stated_digest(self.http.headers())?;
        let started = if admission::is_form(self.http.headers()) {
            let whole = stated.map(|stated| (Whole::default(), stated));
            let inbound = Inbound::new(payload, whole.as_ref().map(|(seen, _)| seen.clone()));
            form::receive(&self, inbound, whole).await?
        } else {
            self.receive_raw(Inbound::new(payload, None), stated)
                .await?
        };
        match started {
            Started::Running(upload) => Ok(upload.finish().await?),
            Started::Replay(file) => Ok(*file),
        }
    }

    async fn receive_raw(
        &self,
        inbound: Inbound,
        digest: Option<Sha256Digest>,
    ) -> Result<Started, ApiError> {
        let name = raw_name(self.http, &self.query);
        let declared = declared_type(self.http.headers());
        let fields = Fields {
            visibility: self
                .query
                .visibility
                .as_deref()
                .map(params::visibility)
                .transpose()?,
            metadata: None,
            account: None,
        };
        match self.begin(name, declared, digest, fields).await? {
            Started::Running(upload) => {
                let mut upload = running::pour(upload, inbound).await?;
                if let Err(error) = draft::check_received(self.http.headers(), upload.received()) {
                    upload.give_up().await;
                    return Err(error.into());
                }
                Ok(Started::Running(upload))
            }
            replay @ Started::Replay(_) => Ok(replay),
        }
    }

    async fn begin(
        &self,
        name: Option<FileName>,
        declared_type: Option<ContentType>,
        digest: Option<Sha256Digest>,
        fields: Fields,
    ) -> Result<Started, ApiError> {
        let headers = self.http.headers();
        let limit = self.app.limits.max_file_size;
        let new = NewUpload {
            destination: self.destination(fields)?,
            name,
            declared_type,
            // A form is a little longer than its file.
            size: admission::content_length(headers).map(|length| length.min(limit)),
            digest,
            idempotency: running::idempotency(self.http)?,
        };
        running::begin_judged(self.app, self.who, new, self.judge()).await
    }

    /// Holds the request's conditions against the file that it replaces.
    fn judge(&self) -> Result<(), Error> {
        let conditions = conditions::preconditions(self.http.headers());
        self.target
            .as_ref()
            .map_or(Ok(()), |file| check_current(file, &conditions))
    }

    fn destination(&self, fields: Fields) -> Result<Destination, ApiError> {
        let Some(file) = &self.target else {
            let named = self.query.account_id.as_deref().map(account).transpose()?;
            return Ok(Destination::NewFile {
                account: fields.account.or(named),
                visibility: fields.visibility.unwrap_or_default(),
                metadata: fields.metadata.unwrap_or_default(),
            });
        };
        if fields.visibility.is_some() || fields.metadata.is_some() {
            let kept = "visibility and metadata belong to the file; change them by PATCH …/info";
            return Err(Error::BadValue(kept.to_owned()).into());
        }
        let conditions = conditions::preconditions(self.http.headers());
        Ok(Destination::NewVersion {
            file: Box::new(file.clone()),
            only_if_unchanged: conditions.if_match.is_some()
                || conditions.if_unmodified_since.is_some()
                || conditions.if_none_match.is_some(),
        })
    }
}

pub(crate) fn account(text: &str) -> Result<AccountId, Error> {
    AccountId::parse(text.trim()).map_err(|error| Error::BadValue(format!("account_id {error}")))
}

/// The name in a `Content-Disposition`; the extended form (RFC 8187) wins.
fn filename(disposition: &header::ContentDisposition) -> Option<String> {
    disposition
        .get_filename_ext()
        .map(|extended| String::from_utf8_lossy(&extended.value).into_owned())
        .or_else(|| disposition.get_filename().map(str::to_owned))
}
