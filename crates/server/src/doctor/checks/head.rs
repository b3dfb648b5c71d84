//! Whether requests with large heads pass.

use reqwest::{Method, header::COOKIE};

use super::{Ended, answers::silence};
use crate::doctor::{
    deployment::{Deployment, Http},
    finding::Finding,
};

/// Of a cookie's value, in bytes: the longest credential that the service takes.
const LONG: usize = 8 * 1024;

/// Sends a cookie that an application of the same host might have set.
pub(crate) async fn look(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    let what = "a request with a cookie of 8 KiB";
    let cookie = format!("cloakroom-doctor={}", "x".repeat(LONG));
    for http in [Http::One, Http::Best] {
        let request = deployment.anonymous(http, Method::OPTIONS, &deployment.collection());
        let answer = deployment.ask(request.header(COOKIE, cookie.clone())).await;
        let line = "large_client_header_buffers 4 16k;";
        let answer = answer.map_err(|trouble| silence(what, &trouble).nginx(line))?;
        if answer.header("tus-version").is_none() {
            let status = answer.status.as_u16();
            return Err(Finding::fault(format!(
                "{what} is answered {status}: its head is too large for the proxy"
            ))
            .nginx(line));
        }
    }
    found.push(Finding::ok("a cookie of 8 KiB passes"));
    Ok(())
}
