//! Whether what is between nginx and the service stays there.

use super::{
    Ended,
    answers::{silence, unexpected},
};
use crate::doctor::{deployment::Deployment, finding::Finding};

/// The places of `nginx/offload.conf`.
const PLACES: [&str; 3] = [
    "/_cloakroom/fs/whole/",
    "/_cloakroom/fs/range/",
    "/_cloakroom/s3/",
];

/// Asks for the places, and offers what only nginx may offer.
pub(crate) async fn look(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    let Some(sample) = deployment.facts.sample() else {
        return Ok(());
    };
    let before = found.len();
    let status = async |path: &str| {
        let url = format!("{}{path}", deployment.root);
        let request = deployment.get(&url);
        let answer = deployment
            .ask(request)
            .await
            .map_err(|trouble| silence(path, &trouble))?;
        Ok::<_, Finding>(answer.status.as_u16())
    };
    // An application that has the host may answer anything for a path that nobody knows.
    let elsewhere = status(&format!("/_cloakroom-{}/", deployment.id)).await?;
    for place in PLACES {
        let seen = status(place).await?;
        if seen != 404 && seen != elsewhere {
            found.push(
                Finding::fault(format!(
                    "{place} answers {seen} to clients, and must be nothing to them"
                ))
                .nginx(format!("location ^~ {place} {{ internal; … }}")),
            );
        }
    }
    let url = deployment.file_url(&sample.id);
    let request = deployment
        .get(&url)
        .header("x-cloakroom-offload", "x-accel");
    let answer = deployment.ask(request).await;
    let answer = answer.map_err(|trouble| silence("a download", &trouble))?;
    let forged = answer
        .headers
        .keys()
        .any(|name| name.as_str().starts_with("x-accel-"));
    if forged || answer.body != sample.content.bytes(0..sample.content.size()) {
        let line = "proxy_set_header X-Cloakroom-Offload $cloakroom_offload;";
        if !answer.is(200) && !forged {
            return Err(unexpected("a download with X-Cloakroom-Offload", &answer).nginx(line));
        }
        return Err(Finding::fault(
            "what a client says in X-Cloakroom-Offload reaches the service, which then leaves the bytes to the proxy",
        )
        .nginx(line));
    }
    if found.len() == before {
        found.push(Finding::ok(
            "internal places are 404; a client cannot offer what only nginx may",
        ));
    }
    Ok(())
}
