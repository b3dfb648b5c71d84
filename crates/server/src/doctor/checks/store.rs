//! Whether a small file is stored, for other checks to look at.

use reqwest::{Method, header::CONTENT_TYPE};

use super::{
    Ended,
    answers::{silence, unexpected},
};
use crate::doctor::{
    bodies::Content,
    deployment::{Deployment, Http, LONG},
    facts::Stored,
    finding::Finding,
};

/// More than is kept in memory behind a proxy that sends bytes itself, in bytes.
const SIZE: u64 = 1536 * 1024;

/// Stores a text with a name in another script.
pub(crate) async fn look(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    let content = Content::new(1, deployment.at_most(SIZE));
    let name = "Отчёт für uns.txt";
    let request = deployment
        .call(Http::Best, Method::POST, &deployment.raw_url(name))
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .body(content.bytes(0..content.size()));
    let what = ["Location of a file", "public_url of a file"];
    let created = deployment.create(what, request, LONG).await;
    let created = created.map_err(|trouble| silence("storing a file", &trouble))?;
    let problem = created.answer.problem().unwrap_or_default();
    if problem.1.contains("account_id") {
        deployment.facts.dismiss();
        let why = "storing a file: the token belongs to no account";
        return Err(Finding::unknown(why).doctor("--account ID"));
    }
    let Some(id) = created.id.filter(|_| created.answer.is(201)) else {
        return Err(unexpected("storing a file", &created.answer));
    };
    let file = created.answer.json().unwrap_or_default();
    if file["sha256"] != hex::encode(content.sha256()) {
        return Err(Finding::fault(format!(
            "what is stored is not what was sent: {} bytes of {}",
            file["size"],
            content.size()
        )));
    }
    found.push(Finding::ok("stored, byte for byte"));
    deployment.facts.keep_sample(Stored {
        id,
        content,
        name: format!("{} {name}", deployment.made.prefix),
        answer: created.answer,
    });
    Ok(())
}
