//! What pages in a browser may do, and where browsers are sent.

use cloakroom_presentation::{Origins, Pages};

use crate::config::{Config, origin};

/// The origins that may work with a service at that address.
pub(crate) fn origins(config: &Config, public_url: &str) -> Origins {
    let listed = config.browsers.allowed_origins.iter().flatten().cloned();
    let frontend = config
        .http
        .frontend_url
        .as_deref()
        .and_then(frontend_origin);
    let nothing_said =
        config.browsers.allowed_origins.is_none() && config.http.frontend_url.is_none();
    let origins = Origins::new(public_url, listed.chain(frontend));
    if config.is_development() && nothing_said {
        origins.and_this_machine()
    } else {
        origins
    }
}

fn frontend_origin(address: &str) -> Option<String> {
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
