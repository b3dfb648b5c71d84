//! Whether conditions reach the service: caches, downloads that go on, and changes that must not be lost need them.

use super::{Ended, answers::silence};
use crate::doctor::{
    deployment::{Deployment, with_headers},
    facts::Stored,
    finding::Finding,
};

/// Headers, the status that they make, and the one of them that is to blame otherwise.
type Row = (&'static str, Vec<(&'static str, String)>, u16);

/// Asks with each.
pub(crate) async fn look(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    let Some(sample) = deployment.facts.sample() else {
        return Ok(());
    };
    let url = deployment.file_url(&sample.id);
    let before = found.len();
    for (name, headers, due) in rows(sample) {
        let request = with_headers(deployment.get(&url), headers);
        let answer = deployment.ask(request).await;
        let answer = answer.map_err(|trouble| silence(name, &trouble))?;
        if answer.is(due) {
            continue;
        }
        let variable = name.to_ascii_lowercase().replace('-', "_");
        found.push(
            Finding::fault(format!(
                "{name} is answered {} instead of {due}: the request lost it",
                answer.status.as_u16()
            ))
            .nginx(format!(
                "proxy_set_header {name} $http_{variable};    # or no proxy_set_header {name} at all; and no proxy_cache"
            )),
        );
    }
    if found.len() == before {
        found.push(Finding::ok(
            "If-None-Match 304, If-Match 412, If-Range and If-Modified-Since count",
        ));
    }
    Ok(())
}

fn rows(sample: &Stored) -> Vec<Row> {
    let file = sample.answer.json().unwrap_or_default();
    let etag = file["etag"].as_str().unwrap_or_default().to_owned();
    let other = "\"another\"".to_owned();
    let range = || ("range", "bytes=0-9".to_owned());
    let later = "Fri, 01 Jan 2100 00:00:00 GMT".to_owned();
    vec![
        ("If-None-Match", vec![("if-none-match", etag.clone())], 304),
        ("If-Match", vec![("if-match", other.clone())], 412),
        ("If-Modified-Since", vec![("if-modified-since", later)], 304),
        ("If-Range", vec![range(), ("if-range", other)], 200),
        (
            "Range with If-Range",
            vec![range(), ("if-range", etag)],
            206,
        ),
    ]
}
