//! Who is calling: credentials out of headers and cookies, in the order of the contract.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Deref,
    pin::Pin,
};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    cookie::Cookie,
    dev::Payload,
    http::{
        Method,
        header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue},
    },
    web,
};
use cloakroom_application::{
    App, Attempt, Error,
    ports::{Credential, Presented, RateKey},
};
use cloakroom_domain::PrincipalKind;

use crate::{Settings, client, error::ApiError};

const MAX_SECRET: usize = 8 * 1024;
const GUEST: HeaderName = HeaderName::from_static("x-guest-authorization");
const PUBLIC: HeaderName = HeaderName::from_static("x-public-authorization");

/// The kind of the recognised caller, kept with the request for its line in the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecognisedAs(pub(crate) PrincipalKind);

/// The caller of a request. Extracting it fails with 401 for a refused explicit credential, with 429 where too many
/// were refused before, and with 403 for a change that a page of a foreign origin asks for with a caller's cookie.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    caller: cloakroom_application::Caller,
    counted_as: RateKey,
}

impl Caller {
    /// As whom limits count it: the principal, or the client's address where there is none.
    pub(crate) const fn counted_as(&self) -> RateKey {
        self.counted_as
    }
}

impl Deref for Caller {
    type Target = cloakroom_application::Caller;

    fn deref(&self) -> &Self::Target {
        &self.caller
    }
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let settings = request
                .app_data::<web::Data<Settings>>()
                .ok_or_else(|| Error::Internal("no settings".into()))?;
            let (method, headers) = (request.method(), request.headers());
            let (caller, attempt) = recognise(
                app(&request)?,
                settings,
                method,
                headers,
                request.peer_addr(),
            )
            .await?;
            let mut extensions = request.extensions_mut();
            extensions.insert(RecognisedAs(caller.kind));
            if let Some(attempt) = attempt {
                extensions.insert(attempt);
            }
            drop(extensions);
            Ok(caller)
        })
    }
}

/// The application that serves a request.
pub(crate) fn app(request: &HttpRequest) -> Result<&web::Data<App>, Error> {
    request
        .app_data()
        .ok_or_else(|| Error::Internal("no application".into()))
}

/// Finds the caller behind a head, and what a 401 would have to go through. Nothing of a body is read before.
pub(crate) async fn recognise(
    app: &App,
    settings: &Settings,
    method: &Method,
    headers: &HeaderMap,
    peer: Option<SocketAddr>,
) -> Result<(Caller, Option<Attempt>), ApiError> {
    let address = client::address(peer, headers, &settings.trusted_proxies);
    let address = RateKey::of_address(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    let found = cloakroom_application::recognise(app, credentials(headers), address).await?;
    let caller = found.caller;
    let by_cookie = caller
        .credential
        .as_ref()
        .is_some_and(|credential| !credential.is_explicit());
    if by_cookie && !settings.origins.may_change(method, headers) {
        return Err(ApiError::ForeignOrigin);
    }
    let counted_as = RateKey::of_principal(&caller).unwrap_or(address);
    Ok((Caller { caller, counted_as }, found.attempt))
}

/// What a secret is, by the place it came in.
type Kind = fn(Presented) -> Credential;

/// Every credential of a request, in the order in which they count.
pub(crate) fn credentials(headers: &HeaderMap) -> Vec<Credential> {
    let mut found = Vec::new();
    if let Some(value) = headers.get(AUTHORIZATION) {
        found.push(read(value, &["Bearer ", "Token "], Credential::Bearer));
    }
    if let Some(value) = headers.get(GUEST) {
        found.push(read(value, &["Bearer ", "Token ", ""], Credential::Guest));
    }
    if let Some(value) = headers.get(PUBLIC) {
        found.push(read(value, &["Token ", ""], Credential::Public));
    }
    let cookies: Vec<Cookie<'_>> = headers
        .get_all(COOKIE)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| {
            value
                .split(';')
                .filter_map(|pair| Cookie::parse(pair.trim()).ok())
        })
        .collect();
    let kinds: [(&str, Kind); 4] = [
        ("file_service_auth", Credential::Cookie),
        ("token", Credential::Cookie),
        ("guest-token", Credential::GuestCookie),
        ("public-token", Credential::PublicCookie),
    ];
    for (name, kind) in kinds {
        let values = cookies.iter().filter(|cookie| cookie.name() == name);
        found.extend(values.filter_map(|cookie| {
            let secret = cookie
                .value()
                .strip_prefix("Token ")
                .unwrap_or_else(|| cookie.value());
            (!secret.is_empty() && secret.len() <= MAX_SECRET)
                .then(|| kind(Presented::new(secret.to_owned())))
        }));
    }
    found
}

/// Schemes are compared without case (RFC 9110 §11.1).
fn read(value: &HeaderValue, schemes: &[&str], kind: fn(Presented) -> Credential) -> Credential {
    let Ok(text) = value.to_str() else {
        return Credential::Malformed;
    };
    schemes
        .iter()
        .find_map(|scheme| {
            let (start, rest) = text.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest.trim())
        })
        .filter(|secret| !secret.is_empty() && secret.len() <= MAX_SECRET)
        .map_or(Credential::Malformed, |secret| {
            kind(Presented::new(secret.to_owned()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(headers: &[(&'static str, &'static str)]) -> Vec<Credential> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        credentials(&map)
    }

    fn presented(text: &str) -> Presented {
        Presented::new(text.to_owned())
    }

    #[test]
    fn headers_come_before_cookies_and_cookies_in_their_order() {
        let all = found(&[
            ("cookie", "public-token=Token p; token=t"),
            ("x-public-authorization", "Token abcdefgh"),
            ("cookie", "file_service_auth=f"),
            ("authorization", "bearer x"),
        ]);
        let expected = [
            Credential::Bearer(presented("x")),
            Credential::Public(presented("abcdefgh")),
            Credential::Cookie(presented("f")),
            Credential::Cookie(presented("t")),
            Credential::PublicCookie(presented("p")),
        ];
        assert!(all == expected);
    }

    #[test]
    fn an_unreadable_header_is_a_refused_credential_and_an_empty_cookie_none() {
        for bad in ["Basic abc", "Bearer", "Bearer ", "", "Token"] {
            assert!(
                found(&[("authorization", bad)]) == [Credential::Malformed],
                "{bad}"
            );
        }
        assert!(found(&[("cookie", "token=")]).is_empty());
    }
}
