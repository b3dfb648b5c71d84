//! Downloading: conditions, ranges and headers in the order of RFC 9110.

pub(crate) mod disposition;
mod offload;
mod parts;

use std::{iter, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    body::SizedStream,
    http::{
        Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    web,
};
use bytes::Bytes;
use cloakroom_application::{
    App, Delivery, Pass, Selected, authorize, current, hand_over, open,
    ports::{Payload, StoreError},
    select,
};
use cloakroom_domain::{Action, ByteRange, Disposition, RangeOutcome, Verdict, Visibility};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;

use self::{disposition::content_disposition, offload::Offer, parts::Parts};
use crate::{
    Settings,
    conditions::{self, preconditions},
    dates,
    error::ApiError,
    linked::Reader,
    params,
};

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
/// How much of a body in memory the server is given at once, in bytes.
const STEP: usize = 128 * 1024;
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// How to take the download.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct DownloadQuery {
    disposition: Option<String>,
}

/// How a body goes out: as its reader wants it, or as the link says that it came by.
pub(crate) struct Terms {
    disposition: Disposition,
    /// What a use of the link goes through.
    pass: Option<Pass>,
    /// Whether anybody may have it, whatever the file says.
    is_public: bool,
    /// What else is said of it.
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Terms {
    fn of_caller(query: &DownloadQuery) -> Self {
        let disposition = query.disposition.as_deref().and_then(Disposition::parse);
        Self {
            disposition: disposition.unwrap_or(Disposition::Attachment),
            pass: None,
            is_public: false,
            fields: Vec::new(),
        }
    }

    /// An object, which anybody may have where its bucket says so, with its own fields.
    pub(crate) fn of_object(
        query: &DownloadQuery,
        is_public: bool,
        fields: Vec<(HeaderName, HeaderValue)>,
    ) -> Self {
        Self {
            is_public,
            fields,
            ..Self::of_caller(query)
        }
    }

    const fn of_link(disposition: Disposition, pass: Pass) -> Self {
        Self {
            disposition,
            pass: Some(pass),
            is_public: false,
            fields: Vec::new(),
        }
    }

    /// Whether the body may be left to a proxy: only if that knows every field that goes with it.
    fn offer(
        &self,
        settings: &Settings,
        http: &HttpRequest,
        selected: &Selected,
        range: Option<ByteRange>,
    ) -> Result<Option<Offer>, ApiError> {
        let offer = Offer::of(settings, http, selected.validators(), range)?;
        Ok(offer.filter(|_| self.fields.is_empty()))
    }

    /// Counts a use of the link, if there is one, for a body that is there to be sent.
    async fn count(&self, app: &App, begins_at: u64) -> Result<(), ApiError> {
        match &self.pass {
            Some(pass) if begins_at == 0 => Ok(pass.count_use(app).await?),
            _ => Ok(()),
        }
    }
}

/// Downloads a file's current version, whole or by ranges.
#[utoipa::path(method(get, head), path = "/{file_id}", tag = "files",
    params(("file_id" = String, Path), ("disposition" = Option<String>, Query, description = "`inline` to show types that are safe to show"),
        ("link" = Option<String>, Query, description = "A signed link; then no other credential counts"),
        ("Range" = Option<String>, Header), ("If-Range" = Option<String>, Header),
        ("If-Match" = Option<String>, Header), ("If-None-Match" = Option<String>, Header),
        ("If-Modified-Since" = Option<String>, Header), ("If-Unmodified-Since" = Option<String>, Header)),
    responses((status = 200, description = "The bytes", content_type = "application/octet-stream"),
        (status = 206, description = "The ranges"), (status = 304, description = "Not modified"),
        (status = 412, description = "A precondition failed", body = crate::error::Problem),
        (status = 416, description = "No range lies within the file", body = crate::error::Problem),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn download(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Reader,
    id: Result<params::FileIdPath, ApiError>,
    query: web::Query<DownloadQuery>,
    http: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (file, terms) = match who {
        Reader::Caller(who) => {
            let file = authorize(&app, &who, &*id?, Action::Read).await?;
            (file, Terms::of_caller(&query))
        }
        Reader::Link(link) => {
            let opened = link
                .open(&app, id.as_deref(), Ok::<_, ApiError>(None))
                .await?;
            (opened.file, Terms::of_link(opened.disposition, opened.pass))
        }
    };
    respond(&app, &settings, &http, &terms, current(file)).await
}

/// Downloads one version of a file.
#[utoipa::path(method(get, head), path = "/{file_id}/versions/{version}", tag = "versions",
    params(("file_id" = String, Path), ("version" = u64, Path), ("disposition" = Option<String>, Query),
        ("link" = Option<String>, Query, description = "A signed link to this version"), ("Range" = Option<String>, Header)),
    responses((status = 200, description = "The bytes", content_type = "application/octet-stream"),
        (status = 206, description = "The ranges"), (status = 304, description = "Not modified"),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn download_version(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Reader,
    id: Result<params::FileIdPath, ApiError>,
    version: Result<params::VersionPath, ApiError>,
    query: web::Query<DownloadQuery>,
    http: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let version = version.map(|version| version.0);
    let (file, number, terms) = match who {
        Reader::Caller(who) => {
            let (id, number) = (id?, version?);
            let file = authorize(&app, &who, &id, Action::Read).await?;
            (file, number, Terms::of_caller(&query))
        }
        Reader::Link(link) => {
            let number = version.as_ref().map(|number| Some(*number));
            let opened = link.open(&app, id.as_deref(), number).await?;
            let terms = Terms::of_link(opened.disposition, opened.pass);
            (opened.file, version?, terms)
        }
    };
    let selected = select(&app, file, number).await?;
    respond(&app, &settings, &http, &terms, selected).await
}

/// The answer to a request for a body: conditions, ranges, headers, bytes.
///
/// # Errors
/// A condition that fails, no range within the body, and what keeps it from being opened.
pub(crate) async fn respond(
    app: &web::Data<App>,
    settings: &Settings,
    http: &HttpRequest,
    terms: &Terms,
    selected: Selected,
) -> Result<HttpResponse, ApiError> {
    let conditions = preconditions(http.headers());
    match conditions.for_read(selected.validators()) {
        Verdict::Failed => return Err(cloakroom_application::Error::PreconditionFailed.into()),
        Verdict::NotModified => {
            let mut answer = HttpResponse::build(StatusCode::NOT_MODIFIED);
            validators(&mut answer, &selected, settings, terms);
            return Ok(answer.finish());
        }
        Verdict::Proceed => {}
    }
    let size = selected.version().size;
    let range = conditions::text(http.headers(), header::RANGE).filter(|_| {
        http.method() == Method::GET && conditions.range_applies(selected.validators())
    });
    match range.map_or(RangeOutcome::Whole, |field| RangeOutcome::of(&field, size)) {
        RangeOutcome::Unsatisfiable => Err(ApiError::Unsatisfiable(size)),
        RangeOutcome::Whole => {
            let mut answer = HttpResponse::build(StatusCode::OK);
            describe(&mut answer, &selected, settings, terms);
            if http.method() == Method::HEAD {
                let nothing = stream::empty::<Result<Bytes, StoreError>>();
                return Ok(answer.body(SizedStream::new(size, nothing)));
            }
            let offer = terms.offer(settings, http, &selected, None)?;
            deliver(app, answer, &selected, None, offer, terms).await
        }
        RangeOutcome::Parts(ranges) => {
            let mut answer = HttpResponse::build(StatusCode::PARTIAL_CONTENT);
            describe(&mut answer, &selected, settings, terms);
            let [range] = ranges[..] else {
                return several(app, answer, selected, &ranges, terms).await;
            };
            let stretch = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            answer.insert_header((header::CONTENT_RANGE, stretch));
            let offer = terms.offer(settings, http, &selected, Some(range))?;
            deliver(app, answer, &selected, Some(range), offer, terms).await
        }
    }
}

/// Sends the body or one stretch of it, or has it sent.
async fn deliver(
    app: &App,
    answer: HttpResponseBuilder,
    selected: &Selected,
    range: Option<ByteRange>,
    offer: Option<Offer>,
    terms: &Terms,
) -> Result<HttpResponse, ApiError> {
    let begins_at = range.map_or(0, |range| range.start);
    let length = range.map_or(selected.version().size, |range| range.len());
    let Some(offer) = offer else {
        let payload = open(app, selected, range).await?;
        terms.count(app, begins_at).await?;
        return Ok(send(answer, payload, length));
    };
    let delivery = hand_over(app, selected, range).await?;
    terms.count(app, begins_at).await?;
    let receipt = terms.pass.as_ref().and_then(|pass| pass.receipt(app));
    let offer = offer.with_receipt(receipt.filter(|_| begins_at == 0));
    Ok(match delivery {
        Delivery::Bytes(payload) => send(answer, payload, length),
        Delivery::File(path) => offer.file(answer, &path, range),
        Delivery::Address(url) => offer.address(answer, &url, range),
    })
}

async fn several(
    app: &web::Data<App>,
    mut answer: HttpResponseBuilder,
    selected: Selected,
    ranges: &[ByteRange],
    terms: &Terms,
) -> Result<HttpResponse, ApiError> {
    let size = selected.version().size;
    let [first, ..] = ranges else {
        return Err(ApiError::Unsatisfiable(size));
    };
    // What cannot be read at all is told by a status.
    let opened = open(app, &selected, Some(*first)).await?;
    let least = ranges.iter().map(|range| range.start).min();
    terms.count(app, least.unwrap_or_default()).await?;
    let parts = Parts::new(ranges, size, selected.version().content_type.served());
    answer.insert_header((header::CONTENT_TYPE, parts.content_type()));
    let length = parts.len();
    let stream = parts.stream(Arc::clone(app), selected, opened);
    Ok(answer.body(SizedStream::new(length, stream.boxed_local())))
}

fn send(mut answer: HttpResponseBuilder, payload: Payload, length: u64) -> HttpResponse {
    match payload {
        Payload::Ready(bytes) if bytes.len() <= STEP => answer.body(bytes),
        Payload::Ready(bytes) => answer.body(SizedStream::new(length, in_steps(bytes))),
        other => answer.body(SizedStream::new(length, other.into_stream())),
    }
}

/// A body in memory, in steps: the server copies what it is given into the connection's buffer, and a slow client
/// must not keep it all there twice.
fn in_steps(mut bytes: Bytes) -> impl Stream<Item = Result<Bytes, StoreError>> {
    stream::iter(iter::from_fn(move || {
        let step = bytes.split_to(STEP.min(bytes.len()));
        (!step.is_empty()).then_some(Ok(step))
    }))
}

/// What a 304 has, too (RFC 9110 §15.4.5).
fn validators(
    answer: &mut HttpResponseBuilder,
    selected: &Selected,
    settings: &Settings,
    terms: &Terms,
) {
    let validators = selected.validators();
    let cache = match selected.file().visibility {
        _ if terms.is_public => settings.public_cache.as_str(),
        // What came by a link is not for others, nor for longer than the link is good.
        Visibility::Public if terms.pass.is_none() => settings.public_cache.as_str(),
        _ => "private, no-cache",
    };
    answer
        .insert_header((header::ETAG, validators.etag.to_string()))
        .insert_header((
            header::LAST_MODIFIED,
            dates::http_date(validators.last_modified),
        ))
        .insert_header((header::CACHE_CONTROL, cache))
        // A cache takes over the headers of a 304, so these must not be weaker there.
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "sandbox; default-src 'none'",
        ))
        .insert_header((CORP, settings.resource_policy.as_str()));
}

fn describe(
    answer: &mut HttpResponseBuilder,
    selected: &Selected,
    settings: &Settings,
    terms: &Terms,
) {
    validators(answer, selected, settings, terms);
    let version = selected.version();
    let wants_inline = terms.disposition == Disposition::Inline;
    let disposition = if wants_inline && version.content_type.is_inline_safe() {
        Disposition::Inline
    } else {
        Disposition::Attachment
    };
    answer
        .insert_header((header::CONTENT_TYPE, version.content_type.served()))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header((
            header::CONTENT_DISPOSITION,
            content_disposition(disposition, &selected.file().name),
        ));
    for (name, value) in &terms.fields {
        answer.insert_header((name.clone(), value.clone()));
    }
    if let Some(digest) = version.sha256 {
        answer.insert_header((REPR_DIGEST, format!("sha-256=:{}:", digest.base64())));
    }
}
