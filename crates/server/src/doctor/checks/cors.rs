//! Whether pages of an allowed origin may read answers and send what the protocols need.

use reqwest::{
    Method,
    header::{ORIGIN, RANGE},
};

use super::{
    Ended,
    answers::{silence, unexpected},
};
use crate::doctor::{
    deployment::{Deployment, Http, with_headers},
    exchange::Answer,
    finding::Finding,
};

/// What a page has to see for an upload to resume.
const EXPOSED: [&str; 5] = [
    "Location",
    "Tus-Resumable",
    "Upload-Offset",
    "Upload-Length",
    "ETag",
];
/// What a page has to send.
const SENT: &str =
    "authorization, content-type, tus-resumable, upload-length, upload-metadata, upload-offset";

/// Asks as the browser of such a page does.
pub(crate) async fn look(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    let (Some(sample), Some(origin)) = (deployment.facts.sample(), &deployment.options.origin)
    else {
        return Err(Finding::skipped(
            "no page of another origin is known; --origin names one",
        ));
    };
    preflight(deployment, origin).await?;
    let url = deployment.file_url(&sample.id);
    for (what, range) in [("a download", None), ("a range", Some("bytes=0-9"))] {
        let request = deployment.get(&url).header(ORIGIN, origin);
        let request = match range {
            Some(range) => request.header(RANGE, range),
            None => request,
        };
        let answer = deployment.ask(request).await;
        let answer = answer.map_err(|trouble| silence(what, &trouble))?;
        allows(&answer, what, origin)?;
        let exposed = answer
            .header("access-control-expose-headers")
            .unwrap_or_default();
        let hidden: Vec<&str> = EXPOSED
            .into_iter()
            .filter(|name| !lists(exposed, name))
            .collect();
        if !hidden.is_empty() {
            return Err(Finding::fault(format!(
                "{what}: a page of {origin} may not read {}",
                hidden.join(", ")
            ))
            .nginx("proxy_pass_header Access-Control-Expose-Headers;    # and no add_header of that name"));
        }
    }
    found.push(Finding::ok(format!(
        "pages of {origin} may upload, resume and read"
    )));
    Ok(())
}

async fn preflight(deployment: &Deployment, origin: &str) -> Ended {
    let what = "a preflight";
    let request = deployment.anonymous(Http::Best, Method::OPTIONS, &deployment.collection());
    let asked = [
        ("origin", origin.to_owned()),
        ("access-control-request-method", "PATCH".to_owned()),
        ("access-control-request-headers", SENT.to_owned()),
    ];
    let answer = deployment.ask(with_headers(request, asked)).await;
    let answer = answer.map_err(|trouble| silence(what, &trouble))?;
    if !answer.status.is_success() {
        return Err(unexpected(what, &answer));
    }
    allows(&answer, what, origin)?;
    let methods = answer
        .header("access-control-allow-methods")
        .unwrap_or_default();
    let names = answer
        .header("access-control-allow-headers")
        .unwrap_or_default();
    let missing: Vec<&str> = SENT
        .split(", ")
        .filter(|name| !lists(names, name))
        .collect();
    if lists(methods, "PATCH") && missing.is_empty() {
        return Ok(());
    }
    Err(Finding::fault(format!(
        "{what}: a page of {origin} may not send PATCH with {}: what is before the service answers by itself",
        missing.join(", ")
    ))
    .nginx("if ($request_method = OPTIONS) { return 204; }: take it out of the location"))
}

fn allows(answer: &Answer, what: &str, origin: &str) -> Ended {
    let values: Vec<_> = answer
        .headers
        .get_all("access-control-allow-origin")
        .iter()
        .collect();
    match values[..] {
        [value] if value == origin => Ok(()),
        [] => Err(Finding::fault(format!(
            "{what}: pages of {origin} may not read the answer: the origin is not allowed, or Origin was lost"
        ))
        .setting(format!("CLOAKROOM_ALLOWED_ORIGINS={origin}"))),
        [_] => Err(Finding::fault(format!("{what}: another origin than {origin} is allowed"))
            .nginx("add_header Access-Control-Allow-Origin …: take it out, the service adds its own")),
        [..] => Err(Finding::fault(format!(
            "{what}: Access-Control-Allow-Origin comes {} times, which browsers refuse",
            values.len()
        ))
        .nginx("add_header Access-Control-Allow-Origin …: take it out, the service adds its own")),
    }
}

/// Whether a list with commas has that name.
fn lists(list: &str, name: &str) -> bool {
    list.split(',')
        .any(|item| item.trim().eq_ignore_ascii_case(name))
}
