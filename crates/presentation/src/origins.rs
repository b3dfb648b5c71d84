//! Which pages may work with the service from a browser.

use std::collections::HashSet;

use actix_web::http::{
    Method,
    header::{HeaderMap, HeaderName, ORIGIN},
};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origins (RFC 6454) whose pages may read answers and, with cookies, change things.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    /// The service's own.
    own: String,
    others: HashSet<String>,
    /// Whether every page of this machine counts as well.
    this_machine: bool,
}

impl Origins {
    /// For a service at that address, and these other origins as browsers write them: scheme, host, and the port
    /// unless it is the scheme's own.
    #[must_use]
    pub fn new(public_url: &str, others: impl IntoIterator<Item = String>) -> Self {
        Self {
            own: origin_of(public_url),
            others: others.into_iter().collect(),
            this_machine: false,
        }
    }

    /// And every origin of this machine: for development.
    #[must_use]
    pub fn and_this_machine(mut self) -> Self {
        self.this_machine = true;
        self
    }

    /// Whether any other origin than the service's own may be there, so that answers depend on `Origin`.
    pub(crate) fn has_others(&self) -> bool {
        self.this_machine || !self.others.is_empty()
    }

    /// Whether a page of that origin may read answers.
    pub(crate) fn allows(&self, origin: &str) -> bool {
        self.others.contains(origin) || (self.this_machine && is_of_this_machine(origin))
    }

    /// Whether a request that carries cookies may change things: by `Origin`, else by `Sec-Fetch-Site`. With neither
    /// it comes from no browser.
    pub(crate) fn may_change(&self, method: &Method, headers: &HeaderMap) -> bool {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return true;
        }
        let mut origins = headers.get_all(ORIGIN);
        if let Some(origin) = origins.next() {
            let only = origins.next().is_none();
            // `null` is nobody's: a page in a sandbox, a local file, a request that was redirected.
            return only
                && origin
                    .to_str()
                    .is_ok_and(|origin| origin == self.own || self.allows(origin));
        }
        let mut sites = headers.get_all(FETCH_SITE);
        match sites.next() {
            // Another page of the same site need not be an allowed one.
            Some(site) => sites.next().is_none() && (site == "same-origin" || site == "none"),
            None => true,
        }
    }

    /// `Cross-Origin-Resource-Policy` for files, so that `<img>` works where it is allowed to.
    #[must_use]
    pub fn resource_policy(&self) -> &'static str {
        let own = site(&self.own);
        if self.others.iter().all(|origin| site(origin) == own) {
            "same-site"
        } else {
            "cross-origin"
        }
    }
}

/// The origin of an address, as browsers write it.
fn origin_of(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        return String::new();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let implied = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let authority = authority.strip_suffix(implied).unwrap_or(authority);
    format!("{scheme}://{authority}").to_ascii_lowercase()
}

/// Scheme and host of an origin; an IPv6 address is without its brackets.
fn parts(origin: &str) -> Option<(&str, &str)> {
    let (scheme, authority) = origin.split_once("://")?;
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => authority.split(':').next()?,
    };
    Some((scheme, host))
}

/// The site of an origin: its scheme and its registrable domain, or its host where that has none.
fn site(origin: &str) -> Option<(&str, &str)> {
    let (scheme, host) = parts(origin)?;
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    let domain = psl::domain_str(host).filter(|_| !is_address);
    Some((scheme, domain.unwrap_or(host)))
}

fn is_of_this_machine(origin: &str) -> bool {
    let Some((scheme, host)) = parts(origin) else {
        return false;
    };
    let is_loopback = host
        .parse::<std::net::IpAddr>()
        .is_ok_and(|address| address.to_canonical().is_loopback());
    matches!(scheme, "http" | "https")
        && (is_loopback || host == "localhost" || host.ends_with(".localhost"))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn origins() -> Origins {
        let others = ["https://app.example.com", "http://localhost:3000"];
        Origins::new("https://files.example.com/files", others.map(str::to_owned))
    }

    fn may(origins: &Origins, method: &Method, headers: &[(HeaderName, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.clone(), HeaderValue::from_static(value));
        }
        origins.may_change(method, &map)
    }

    #[test]
    fn a_change_with_cookies_comes_from_an_allowed_origin_or_from_no_browser() {
        let origins = origins();
        let site = |value| vec![(FETCH_SITE, value)];
        let origin = |value| vec![(ORIGIN, value)];
        for (headers, allowed) in [
            (vec![], true),
            (origin("https://app.example.com"), true),
            (origin("https://files.example.com"), true),
            (origin("http://localhost:3000"), true),
            (origin("http://localhost:3001"), false),
            (origin("http://app.example.com"), false),
            (origin("https://app.example.com:8443"), false),
            (origin("https://app.example.com.evil.com"), false),
            (origin("https://evil.com"), false),
            (origin("null"), false),
            (origin(""), false),
            (site("same-origin"), true),
            (site("none"), true),
            (site("same-site"), false),
            (site("cross-site"), false),
            (site("anything"), false),
            ([site("same-origin"), site("cross-site")].concat(), false),
            (
                [origin("https://evil.com"), site("same-origin")].concat(),
                false,
            ),
            (
                [origin("https://app.example.com"), site("cross-site")].concat(),
                true,
            ),
            (
                [
                    origin("https://app.example.com"),
                    origin("https://evil.com"),
                ]
                .concat(),
                false,
            ),
        ] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert_eq!(may(&origins, &method, &headers), allowed, "{headers:?}");
            }
            for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
                assert!(may(&origins, &method, &headers), "{headers:?}");
            }
        }
    }

    #[test]
    fn the_own_origin_is_written_as_browsers_write_it() {
        for (address, origin) in [
            ("http://127.0.0.1:80/files", "http://127.0.0.1"),
            ("https://Example.com:443", "https://example.com"),
            ("http://[::1]:8080/files", "http://[::1]:8080"),
        ] {
            assert_eq!(origin_of(address), origin);
        }
    }

    #[test]
    fn in_development_every_page_of_this_machine_counts() {
        let origins = Origins::new("http://127.0.0.1:8080/files", []).and_this_machine();
        for good in [
            "http://localhost:5173",
            "http://127.0.0.1:1",
            "http://[::1]:3",
            "https://a.localhost",
        ] {
            assert!(origins.allows(good), "{good}");
        }
        for bad in [
            "null",
            "http://localhost.evil.com",
            "http://127.0.0.1.evil.com",
            "file://",
            "http://192.168.1.1",
        ] {
            assert!(!origins.allows(bad), "{bad}");
        }
    }

    #[test]
    fn images_work_on_pages_of_another_site_where_one_is_allowed() {
        let policy =
            |own: &str, other: &str| Origins::new(own, [other.to_owned()]).resource_policy();
        let own = "https://files.example.co.uk/files";
        assert_eq!(Origins::new(own, []).resource_policy(), "same-site");
        assert_eq!(policy(own, "https://app.example.co.uk:8443"), "same-site");
        assert_eq!(policy(own, "https://example.co.uk"), "same-site");
        assert_eq!(policy(own, "http://app.example.co.uk"), "cross-origin");
        assert_eq!(policy(own, "https://other.co.uk"), "cross-origin");
        assert_eq!(
            policy("https://a.github.io", "https://b.github.io"),
            "cross-origin"
        );
        assert_eq!(
            policy("http://127.0.0.1:1", "http://127.0.0.1:2"),
            "same-site"
        );
        assert_eq!(
            policy("http://127.0.0.1:1", "http://10.0.0.1:1"),
            "cross-origin"
        );
        assert_eq!(
            policy("http://localhost:1", "http://localhost:2"),
            "same-site"
        );
    }
}
