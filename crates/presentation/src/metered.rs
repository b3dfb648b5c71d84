//! Callers of limited routes, and the headers that tell how much is left (draft-ietf-httpapi-ratelimit-headers-10).

use std::{marker::PhantomData, ops::Deref, pin::Pin, time::Duration};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::header::{HeaderMap, HeaderName, HeaderValue},
};
use cloakroom_application::ports::{RateClass, RateVerdict};

use crate::{
    caller::{self, Caller},
    error::ApiError,
};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// A class of requests that is counted together.
pub(crate) trait Class: 'static {
    /// Which.
    const CLASS: RateClass;
}

/// Uploads begun.
#[derive(Debug)]
pub(crate) enum Uploads {}

/// Requests for bytes, `HEAD` and conditional ones too.
#[derive(Debug)]
pub(crate) enum Downloads {}

impl Class for Uploads {
    const CLASS: RateClass = RateClass::Upload;
}

impl Class for Downloads {
    const CLASS: RateClass = RateClass::Download;
}

/// The caller of a request that counts against a limit. Extracting it takes the permit, once for each request and
/// however its path is written; it fails with 429 where there is none, and as [`Caller`].
#[derive(Debug)]
pub(crate) struct Metered<C>(Caller, PhantomData<C>);

/// Who uploads.
pub(crate) type Uploader = Metered<Uploads>;
/// Who downloads.
pub(crate) type Downloader = Metered<Downloads>;

impl<C> Deref for Metered<C> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl<C: Class> FromRequest for Metered<C> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let caller = Caller::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let caller = caller.await?;
            let app = caller::app(&request)?;
            let verdict = app.rates.take(C::CLASS, caller.counted_as()).await?;
            if let Some(verdict) = verdict {
                request.extensions_mut().insert(verdict);
            }
            Ok(Self(caller, PhantomData))
        })
    }
}

/// Says what is left, on whatever the answer is: `q` permits in `w` seconds, `r` of them left, all of them in `t`
/// seconds.
pub(crate) fn tell(verdict: &RateVerdict, headers: &mut HeaderMap) {
    let class = verdict.class.as_str();
    let permits = verdict.policy.permits;
    let window = seconds(verdict.policy.window);
    let (remaining, reset) = (verdict.remaining, seconds(verdict.reset()));
    let fields = [
        (POLICY, format!("\"{class}\";q={permits};w={window}")),
        (LIMIT, format!("\"{class}\";r={remaining};t={reset}")),
    ];
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}

/// As [`tell`], unless the answer speaks of another limit that it ran into.
pub(crate) fn tell_unless_told(verdict: &RateVerdict, headers: &mut HeaderMap) {
    if !headers.contains_key(LIMIT) {
        tell(verdict, headers);
    }
}

/// Whole seconds, rounded up.
pub(crate) fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
