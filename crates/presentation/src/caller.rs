//! Who is calling: credentials out of headers and cookies, in the order of the contract.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Deref,
    pin::Pin,
};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
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
use percent_encoding::percent_decode;

use crate::{Settings, client, error::ApiError};

/// In bytes.
const MAX_SECRET: usize = 8 * 1024;
/// So many cookies of a name are looked at. Browsers send several where their paths or domains differ.
const MAX_OF_A_NAME: usize = 2;
const GUEST: HeaderName = HeaderName::from_static("x-guest-authorization");
const PUBLIC: HeaderName = HeaderName::from_static("x-public-authorization");

/// The kind of the recognised caller, or `link`, kept with the request for its line in the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecognisedAs(pub(crate) &'static str);

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
            let settings = settings(&request)?;
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
            extensions.insert(RecognisedAs(caller.kind.as_str()));
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

fn settings(request: &HttpRequest) -> Result<&web::Data<Settings>, Error> {
    request
        .app_data()
        .ok_or_else(|| Error::Internal("no settings".into()))
}

/// As whom limits count a request without a principal.
pub(crate) fn counted_by_address(request: &HttpRequest) -> Result<RateKey, Error> {
    let (headers, peer) = (request.headers(), request.peer_addr());
    Ok(address_key(settings(request)?, headers, peer))
}

fn address_key(settings: &Settings, headers: &HeaderMap, peer: Option<SocketAddr>) -> RateKey {
    let address = client::address(peer, headers, &settings.trusted_proxies);
    RateKey::of_address(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
}

/// Finds the caller behind a head, and what a 401 would have to go through. Nothing of a body is read before.
pub(crate) async fn recognise(
    app: &App,
    settings: &Settings,
    method: &Method,
    headers: &HeaderMap,
    peer: Option<SocketAddr>,
) -> Result<(Caller, Option<Attempt>), ApiError> {
    let address = address_key(settings, headers, peer);
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

/// The headers that hold a credential, the schemes that each is written with, what it holds.
const HEADERS: [(HeaderName, &[&str], Kind); 3] = [
    (AUTHORIZATION, &["Bearer ", "Token "], Credential::Bearer),
    (GUEST, &["Bearer ", "Token ", ""], Credential::Guest),
    (PUBLIC, &["Token ", ""], Credential::Public),
];

/// The cookies that hold a credential.
const COOKIES: [(&str, Kind); 4] = [
    ("file_service_auth", Credential::Cookie),
    ("token", Credential::Cookie),
    ("guest-token", Credential::GuestCookie),
    ("public-token", Credential::PublicCookie),
];

/// Every credential of a request, in the order in which they count. However many cookies come, few are looked at.
pub(crate) fn credentials(headers: &HeaderMap) -> Vec<Credential> {
    let mut found: Vec<Credential> = HEADERS
        .iter()
        .filter_map(|(name, schemes, kind)| in_header(headers, name, schemes, *kind))
        .collect();
    for (name, kind) in COOKIES {
        let values = cookies(headers).filter(|(other, _)| *other == name.as_bytes());
        let secrets = values.take(MAX_OF_A_NAME).filter_map(|(_, value)| {
            let text = percent_decode(value).decode_utf8().ok()?;
            secret(text.strip_prefix("Token ").unwrap_or(&text))
        });
        found.extend(secrets.map(kind));
    }
    found
}

/// The credential in a header. One that cannot be read is there all the same, and refused.
fn in_header(
    headers: &HeaderMap,
    name: &HeaderName,
    schemes: &[&str],
    kind: Kind,
) -> Option<Credential> {
    let mut values = headers.get_all(name);
    let value = values.next()?;
    // None of them is a list (RFC 9110 §5.3): of two, nobody knows which is meant.
    let only = values.next().is_none();
    let found = only.then(|| read(value, schemes)).flatten();
    Some(found.map_or(Credential::Malformed, kind))
}

/// Schemes are compared without case (RFC 9110 §11.1).
fn read(value: &HeaderValue, schemes: &[&str]) -> Option<Presented> {
    let text = value.to_str().ok()?;
    schemes
        .iter()
        .find_map(|scheme| {
            let (start, rest) = text.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest.trim())
        })
        .and_then(secret)
}

/// The names and values of all cookies (RFC 6265 §4.2.1), without the quotes that a value may stand in.
///
/// Each is read by itself: what another application of the same site keeps in a cookie may be any bytes.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers
        .get_all(COOKIE)
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            let value = pair[at + 1..].trim_ascii();
            let bare = value.strip_prefix(b"\"");
            let bare = bare.and_then(|value| value.strip_suffix(b"\""));
            Some((pair[..at].trim_ascii(), bare.unwrap_or(value)))
        })
}

/// A secret is printable ASCII without spaces, and not endless. Everything that issues them keeps to that.
fn secret(text: &str) -> Option<Presented> {
    let good = (1..=MAX_SECRET).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    good.then(|| Presented::new(text.to_owned()))
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
    #[test]
    fn a_header_that_comes_twice_or_holds_what_no_token_does_is_refused() {
        let malformed = [Credential::Malformed];
        assert!(
            found(&[("authorization", "Bearer a"), ("authorization", "Bearer a")]) == malformed
        );
        assert!(found(&[("x-guest-authorization", "a b")]) == malformed);
        assert!(found(&[("x-public-authorization", "Token a\tb")]) == malformed);
        let long = format!("Bearer {}", "x".repeat(MAX_SECRET + 1));
        for bytes in [b"Bearer caf\xe9".as_slice(), long.as_bytes()] {
            let mut map = HeaderMap::new();
            map.append(AUTHORIZATION, HeaderValue::from_bytes(bytes).unwrap());
            assert!(credentials(&map) == malformed);
        }
    }

    #[test]
    fn a_cookie_may_be_quoted_or_percent_encoded_and_stand_beside_any_other() {
        let public = |text: &str| [Credential::PublicCookie(presented(text))];
        for cookie in [
            "public-token=abcdefgh",
            "public-token=Token abcdefgh",
            "public-token=\"Token abcdefgh\"",
            "public-token=Token%20abcdefgh",
            " a=b;public-token=abcdefgh ; c",
        ] {
            assert!(
                found(&[("cookie", cookie)]) == public("abcdefgh"),
                "{cookie}"
            );
        }
        for none in [
            "public-token=%00abc",
            "public-token=caf%C3%A9",
            "public-token=%ff",
            "public-token=a b",
            "public-token=\"\"",
            "Public-Token=abcdefgh",
            "xpublic-token=abcdefgh",
        ] {
            assert!(found(&[("cookie", none)]).is_empty(), "{none}");
        }
        let mut map = HeaderMap::new();
        let field = b"theme=caf\xe9; public-token=abcdefgh; \xff\xfe";
        map.append(COOKIE, HeaderValue::from_bytes(field).unwrap());
        assert!(credentials(&map) == public("abcdefgh"));
    }

    #[test]
    fn of_many_cookies_few_are_looked_at() {
        let many = |name: &str| {
            let all: Vec<String> = (0..500).map(|n| format!("{name}={n}")).collect();
            all.join("; ")
        };
        let mut map = HeaderMap::new();
        for (name, _) in COOKIES {
            map.append(COOKIE, HeaderValue::from_str(&many(name)).unwrap());
        }
        let found = credentials(&map);
        assert_eq!(found.len(), 4 * MAX_OF_A_NAME);
        assert!(found[0] == Credential::Cookie(presented("0")));
        assert!(found[1] == Credential::Cookie(presented("1")));
        let mut map = HeaderMap::new();
        let long = format!("token={}", "x".repeat(MAX_SECRET + 1));
        map.append(COOKIE, HeaderValue::from_str(&long).unwrap());
        assert!(credentials(&map).is_empty());
    }
}
