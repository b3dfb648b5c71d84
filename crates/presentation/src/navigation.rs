//! Browsers that navigate into an error are sent to the web application's pages for it.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap},
    },
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{Settings, linked};

/// What a value in a query need not escape (RFC 3986 §2.3).
const QUERY_VALUE: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The redirect that takes the place of an error, where there is a web application and a browser navigates.
pub(crate) fn elsewhere(
    settings: &Settings,
    request: &HttpRequest,
    status: StatusCode,
    answer: &HeaderMap,
) -> Option<HttpResponse> {
    let pages = settings.pages.as_ref()?;
    let is_problem = answer
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/problem+json");
    // An address with a link in it is told to nobody else, not even as the way back.
    if !is_problem || !navigates(request) || linked::is_in(request.uri()) {
        return None;
    }
    let target = if status == StatusCode::UNAUTHORIZED {
        let back = public_address(settings, request);
        let back = utf8_percent_encode(&back, &QUERY_VALUE);
        format!("{}?redirectUrl={back}", pages.sign_in)
    } else {
        pages.error.clone()
    };
    let redirect = HttpResponse::Found()
        .insert_header((header::LOCATION, target))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish();
    Some(redirect)
}

fn navigates(request: &HttpRequest) -> bool {
    request.method() == Method::GET
        && request.headers().get_all(header::ACCEPT).any(|value| {
            value.to_str().is_ok_and(|ranges| {
                ranges
                    .split(',')
                    .filter_map(|range| range.split(';').next())
                    .any(|essence| essence.trim().eq_ignore_ascii_case("text/html"))
            })
        })
}

/// The address of the request as the browser knows it. It never leads to another host: what is added to the
/// service's own address begins a path or a query.
fn public_address(settings: &Settings, request: &HttpRequest) -> String {
    let target = request.uri().path_and_query().map_or("", |it| it.as_str());
    let below = target
        .strip_prefix(settings.mount.trim_end_matches('/'))
        .filter(|rest| rest.starts_with(['/', '?']))
        .unwrap_or_default();
    format!("{}{below}", settings.public_url)
}

#[cfg(test)]
pub(crate) mod tests {
    use actix_web::{ResponseError, test::TestRequest};
    use cloakroom_application::Error;

    use super::*;
    use crate::{Pages, error::ApiError};

    pub(crate) fn settings(mount: &str, public_url: &str) -> Settings {
        Settings {
            mount: mount.to_owned(),
            public_url: public_url.to_owned(),
            pages: Some(Pages {
                sign_in: "https://app.example.com/auth/signin/".to_owned(),
                error: "https://app.example.com/error/".to_owned(),
            }),
            ..Settings::bare()
        }
    }

    fn sent_to(settings: &Settings, request: TestRequest, error: Error) -> Option<String> {
        let answer = ApiError::from(error).error_response();
        let request = request.to_http_request();
        let redirect = elsewhere(settings, &request, answer.status(), answer.headers())?;
        assert_eq!(redirect.status(), 302);
        let location = redirect.headers().get(header::LOCATION)?.to_str().ok()?;
        Some(location.to_owned())
    }

    fn get(uri: &str) -> TestRequest {
        TestRequest::get()
            .uri(uri)
            .insert_header((header::ACCEPT, "application/xhtml+xml,Text/HTML;q=0.9,*/*"))
    }

    #[test]
    fn a_browser_without_a_credential_is_sent_to_sign_in_and_back() {
        let settings = settings("/files", "https://example.com/files");
        assert_eq!(
            sent_to(
                &settings,
                get("/files/a%20b?disposition=inline"),
                Error::Unauthenticated
            )
            .as_deref(),
            Some(
                "https://app.example.com/auth/signin/?redirectUrl=\
                 https%3A%2F%2Fexample.com%2Ffiles%2Fa%2520b%3Fdisposition%3Dinline"
            )
        );
        let other = sent_to(&settings, get("/files/x"), Error::Forbidden);
        assert_eq!(other.as_deref(), Some("https://app.example.com/error/"));
    }

    #[test]
    fn nobody_is_sent_anywhere_from_an_address_with_a_link_in_it() {
        let settings = settings("/files", "https://example.com/files");
        for uri in ["/files/a?link=T", "/files/a/info?x=1&%6cink=T", "/?link"] {
            for error in [Error::Unauthenticated, Error::NotFound] {
                assert_eq!(sent_to(&settings, get(uri), error), None, "{uri}");
            }
        }
    }

    #[test]
    fn the_way_back_never_leads_to_another_host() {
        let settings = settings("/files", "https://files.example.com");
        for uri in ["/files@evil.com/x", "/files.evil.com", "/filesx"] {
            let to = sent_to(&settings, get(uri), Error::Unauthenticated).unwrap();
            assert!(
                to.ends_with("redirectUrl=https%3A%2F%2Ffiles.example.com"),
                "{uri}: {to}"
            );
        }
    }

    #[test]
    fn programs_and_other_methods_get_the_problem_itself() {
        let settings = settings("/files", "https://example.com/files");
        let programs = [
            TestRequest::get().uri("/files/x"),
            TestRequest::get().insert_header((header::ACCEPT, "application/json, */*")),
            TestRequest::post().insert_header((header::ACCEPT, "text/html")),
        ];
        for request in programs {
            assert_eq!(sent_to(&settings, request, Error::Unauthenticated), None);
        }
        let without = Settings {
            pages: None,
            ..settings
        };
        assert_eq!(
            sent_to(&without, get("/files/x"), Error::Unauthenticated),
            None
        );
    }
}
