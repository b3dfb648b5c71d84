//! What every request passes first: an id, a place among those in hand, headers, a line in the log.

use std::{
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse, ResponseError,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web,
};
use bytes::Bytes;
use cloakroom_application::{App, Attempt, Error};
use tracing::Instrument;
use uuid::Uuid;

use crate::{
    Settings,
    caller::RecognisedAs,
    connection::{Connection, Hand},
    cors,
    error::ApiError,
    linked, metered, navigation, resumable,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const MAX_REQUEST_ID: usize = 128;
const COME_BACK: Duration = Duration::from_secs(1);

const FIXED_HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "strict-origin-when-cross-origin"),
    (
        PERMISSIONS_POLICY,
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
];
/// The reader of the API's documentation styles its elements inline.
const DOCS_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; frame-ancestors 'none'";

/// Requests in hand over all workers.
#[derive(Debug, Clone, Default)]
pub(crate) struct InHand(Arc<AtomicUsize>);

struct Place(Arc<AtomicUsize>);

impl InHand {
    fn enter(&self, limit: usize) -> Option<Place> {
        let place = Place(Arc::clone(&self.0));
        (self.0.fetch_add(1, Ordering::Relaxed) < limit).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The middleware.
pub(crate) async fn front(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    in_hand: web::Data<InHand>,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let mut line = Line::new(&mut request);
    let id = line.id.clone();
    let health = matches!(request.path(), "/health" | "/health/live" | "/health/ready");
    // Whether the process lives is answered however busy it is.
    let limit = if health {
        usize::MAX
    } else {
        settings.max_requests
    };
    let mut answer = if cors::is_preflight(&request) {
        let answer = cors::preflight(&settings.origins, request.headers());
        request.into_response(answer)
    } else if let Some(_place) = in_hand.enter(limit) {
        let span = tracing::info_span!("request", id = %id.to_str().unwrap_or_default());
        next.call(request)
            .instrument(span)
            .await?
            .map_into_boxed_body()
    } else {
        let busy = Error::Overloaded {
            retry_after: COME_BACK,
        };
        request.into_response(ApiError::from(busy).error_response())
    };
    if let Some(refusal) = one_too_many(&app, &answer).await {
        answer = answer.into_response(refusal);
    }
    if let Some(redirect) = navigation::elsewhere(
        &settings,
        answer.request(),
        answer.status(),
        answer.headers(),
    ) {
        answer = answer.into_response(redirect);
    }
    let asked = answer.request().clone();
    resumable::tus::wait_while_away(answer.response_mut(), &asked);
    linked::keep_to_itself(asked.uri(), answer.headers_mut());
    decorate(answer.headers_mut(), &settings, asked.headers(), id);
    if let Some(verdict) = asked.extensions().get() {
        metered::tell_unless_told(verdict, answer.headers_mut());
    }
    line.answered(answer.request(), answer.status());
    if line
        .route
        .as_deref()
        .is_some_and(|route| route.starts_with("/docs"))
    {
        let policy = HeaderValue::from_static(DOCS_POLICY);
        answer
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    Ok(answer.map_body(|_, body| {
        if matches!(body.size(), BodySize::None | BodySize::Sized(0)) {
            line.hand.answered();
        }
        BoxBody::new(Logged { body, line })
    }))
}

/// What takes the place of a 401, where it is one too many from this address.
async fn one_too_many(app: &App, answer: &ServiceResponse<BoxBody>) -> Option<HttpResponse> {
    if answer.status() != StatusCode::UNAUTHORIZED {
        return None;
    }
    let attempt = answer.request().extensions().get::<Attempt>().cloned();
    match attempt?.refused(&app.rates).await {
        limited @ Error::RateLimited(_) => Some(ApiError::from(limited).error_response()),
        _ => None,
    }
}

/// Adds the headers that every answer has; those of the resource itself win. `asked` are the request's.
pub(crate) fn decorate(
    headers: &mut HeaderMap,
    settings: &Settings,
    asked: &HeaderMap,
    id: HeaderValue,
) {
    cors::share(&settings.origins, asked, headers);
    resumable::tus::mark(asked, headers);
    for (name, value) in FIXED_HEADERS {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    let transport = settings.transport_security.as_deref();
    if let Some(value) = transport.and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    headers.insert(REQUEST_ID, id);
}

/// The client's request id if it is well formed, else a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let well_formed = |value: &&HeaderValue| {
        (1..=MAX_REQUEST_ID).contains(&value.len())
            && value
                .as_bytes()
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
    };
    headers
        .get(REQUEST_ID)
        .filter(well_formed)
        .cloned()
        .unwrap_or_else(|| {
            let id = Uuid::new_v4().simple().to_string();
            HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static("none"))
        })
}

/// The request's line in the log, written when its answer is through or broken off, or when its caller has left
/// before there was one (status 0).
struct Line {
    hand: Hand,
    id: HeaderValue,
    method: Method,
    route: Option<String>,
    who: &'static str,
    status: u16,
    start: Instant,
    sent: u64,
}

impl Line {
    fn new(request: &mut ServiceRequest) -> Self {
        let id = request_id(request.headers());
        let connection = request.conn_data::<Rc<Connection>>().cloned();
        let mut payload = request.take_payload();
        let hand = Hand::take(connection, &mut payload, id.clone());
        request.set_payload(payload);
        Self {
            hand,
            id,
            method: request.method().clone(),
            route: None,
            who: "-",
            status: 0,
            start: Instant::now(),
            sent: 0,
        }
    }

    fn answered(&mut self, request: &HttpRequest, status: StatusCode) {
        let recognised = request
            .extensions()
            .get::<RecognisedAs>()
            .map(|kind| kind.0);
        self.who = recognised.unwrap_or("-");
        self.route = request.match_pattern();
        self.status = status.as_u16();
        self.hand.answering();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(refusal) = self.hand.let_go() {
            self.status = refusal.status().as_u16();
        }
        tracing::info!(
            target: "cloakroom::access",
            id = self.id.to_str().unwrap_or_default(),
            method = self.method.as_str(),
            route = self.route.as_deref().unwrap_or("-"),
            status = self.status,
            principal = self.who,
            bytes = self.sent,
            ms = milliseconds(self.start.elapsed()),
            "request"
        );
    }
}

/// To the microsecond.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

struct Logged {
    body: BoxBody,
    line: Line,
}

impl MessageBody for Logged {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let next = Pin::new(&mut self.body).poll_next(cx);
        match &next {
            Poll::Ready(Some(Ok(chunk))) => self.line.sent += chunk.len() as u64,
            Poll::Ready(Some(Err(error))) => {
                let id = self.line.id.to_str().unwrap_or_default();
                tracing::error!(id, %error, "an answer broke off");
            }
            Poll::Ready(None) => self.line.hand.answered(),
            Poll::Pending => {}
        }
        next
    }
}
