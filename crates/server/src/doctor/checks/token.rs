//! Whether the token is accepted.

use reqwest::{Method, header::COOKIE};

use super::{
    Ended,
    answers::{silence, unexpected},
};
use crate::doctor::{
    deployment::{Deployment, Http},
    finding::Finding,
};

/// Lists a page of one.
pub(crate) async fn look(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    let Some(token) = &deployment.options.token else {
        return Err(Finding::unknown("there is no token to look with")
            .doctor("--token-file FILE, or CLOAKROOM_DOCTOR_TOKEN"));
    };
    let url = format!("{}?limit=1", deployment.collection());
    let answer = deployment.ask(deployment.get(&url)).await;
    let answer = answer.map_err(|trouble| silence("listing files", &trouble))?;
    if answer.is(200) && answer.json().is_some_and(|page| page["items"].is_array()) {
        deployment.facts.admit();
        found.push(Finding::ok("accepted"));
        return Ok(());
    }
    if !answer.is(401) || answer.problem().is_none() {
        return Err(unexpected("listing files", &answer));
    }
    let line = "proxy_set_header Authorization $http_authorization;";
    let cookie = format!("token={}", token.reveal());
    let by_cookie = deployment
        .anonymous(Http::Best, Method::GET, &url)
        .header(COOKIE, cookie);
    if deployment
        .ask(by_cookie)
        .await
        .is_ok_and(|answer| answer.is(200))
    {
        return Err(Finding::fault(
            "accepted in a cookie and refused in Authorization: the proxy takes that header away",
        )
        .nginx(line));
    }
    Err(Finding::fault(
        "refused (401): the service does not know this token, or the proxy takes the header Authorization away",
    )
    .nginx(format!("{line}    # unless `cloakroom token list` has no such token")))
}
