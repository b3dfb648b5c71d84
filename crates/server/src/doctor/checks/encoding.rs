//! Whether something on the way changes bodies: a compressed download has other bytes than its digest says, no ranges,
//! and a validator that counts for nothing.

use reqwest::header::{ACCEPT_ENCODING, RANGE};

use super::{Ended, answers::silence};
use crate::doctor::{deployment::Deployment, finding::Finding};

/// Offers to take compressed bodies, as every browser does: of a file, of a stretch, and of its data.
pub(crate) async fn look(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    let Some(sample) = deployment.facts.sample() else {
        return Ok(());
    };
    let url = deployment.file_url(&sample.id);
    let before = found.len();
    for (what, url, range) in [
        ("a download", url.clone(), None),
        ("a range", url.clone(), Some("bytes=0-4999")),
        ("a file's data", format!("{url}/info"), None),
    ] {
        let request = deployment
            .get(&url)
            .header(ACCEPT_ENCODING, "gzip, br, zstd");
        let request = match range {
            Some(range) => request.header(RANGE, range),
            None => request,
        };
        let answer = deployment.ask(request).await;
        let answer = answer.map_err(|trouble| silence(what, &trouble))?;
        let coding = answer.header("content-encoding");
        let is_weak = answer
            .header("etag")
            .is_some_and(|etag| etag.starts_with("W/"));
        let complaint = match (coding, is_weak) {
            (Some(coding), _) => format!("{what} comes as {coding}: the proxy compresses it"),
            (None, true) => {
                format!("the ETag of {what} comes weak: the proxy may change its bytes")
            }
            (None, false) => continue,
        };
        found.push(
            Finding::fault(format!(
                "{complaint}, so that digests, ranges and If-Match fail"
            ))
            .nginx("gzip off;"),
        );
    }
    if found.len() == before {
        found.push(Finding::ok(
            "bodies arrive as they are, also for those who take gzip",
        ));
    }
    Ok(())
}
