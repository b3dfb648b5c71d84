//! Whether what is between nginx and the service stays there.

use super::{
    Ended,
    answers::{silence, unexpected},
};
use crate::doctor::{deployment::Deployment, finding::Finding};

/// The file that marks the folder of the `fs` store, at the places of `nginx/offload.conf`. Every other path there needs
/// the name of an object, and what leads to S3 needs an address that the service has signed.
const MARKERS: [&str; 2] = [
    "/_cloakroom/fs/whole/.cloakroom-store",
    "/_cloakroom/fs/range/.cloakroom-store",
];
/// How long the id in it is, in bytes.
const ID: usize = 36;

/// Asks for what is nobody's, and offers what only nginx may offer.
pub(crate) async fn look(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    let Some(sample) = deployment.facts.sample() else {
        return Ok(());
    };
    let before = found.len();
    for path in MARKERS {
        let url = format!("{}{path}", deployment.root);
        let answer = deployment.ask(deployment.get(&url)).await;
        let answer = answer.map_err(|trouble| silence(path, &trouble))?;
        if answer.is(200) && is_id(&answer.body) {
            let place = path.trim_end_matches(".cloakroom-store");
            found.push(
                Finding::fault(format!(
                    "{place} gives stored objects to whoever knows their paths"
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
            "internal places are nothing to clients; a client cannot offer what only nginx may",
        ));
    }
    Ok(())
}

/// An application that has the host may answer anything for a path that nobody knows.
fn is_id(body: &[u8]) -> bool {
    let id = body.trim_ascii();
    id.len() == ID
        && id
            .iter()
            .all(|byte| byte.is_ascii_hexdigit() || *byte == b'-')
}
