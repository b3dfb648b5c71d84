//! What pages in a browser may do, and where browsers are sent.

use cloakroom_presentation::{Origins, Pages};

use crate::config::{Config, origin};

/// The origins that may work with a service at that address.
pub(crate) fn origins(config: &Config, public_url: &str) -> Origins {
    let nothing_said =
        config.browsers.allowed_origins.is_none() && config.http.frontend_url.is_none();
    let origins = Origins::new(public_url, configured(config));
    if config.is_development() && nothing_said {
        origins.and_this_machine()
    } else {
        origins
    }
}

/// The origins whose pages may send straight to a store: those that are configured, and the service's own.
pub(crate) fn store_origins(config: &Config) -> Vec<String> {
    let own = config.http.public_url.as_deref().and_then(origin_of);
    let mut origins: Vec<String> = configured(config).chain(own).collect();
    origins.sort();
    origins.dedup();
    origins
}

fn configured(config: &Config) -> impl Iterator<Item = String> {
    let listed = config.browsers.allowed_origins.iter().flatten().cloned();
    let frontend = config.http.frontend_url.as_deref().and_then(origin_of);
    listed.chain(frontend)
}

fn origin_of(address: &str) -> Option<String> {
    let (scheme, rest) = address.split_once("://")?;
    let authority = rest.split('/').next()?;
    origin(&format!("{scheme}://{authority}"))
}

/// The pages of the web application, where there is one.
pub(crate) fn pages(config: &Config) -> Option<Pages> {
    let frontend = config.http.frontend_url.as_deref()?;
    let browsers = &config.browsers;
    Some(Pages {
        sign_in: format!("{frontend}{}", browsers.sign_in_path),
        error: format!("{frontend}{}", browsers.error_path),
    })
}
