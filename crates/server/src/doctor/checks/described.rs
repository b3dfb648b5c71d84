//! Whether the headers of downloads arrive as the service sends them: on a small stretch, which the service always
//! sends itself, and on a whole file, whose bytes nginx may send.

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;
use reqwest::header::RANGE;

use super::{
    Ended,
    answers::{silence, unexpected},
};
use crate::doctor::{deployment::Deployment, exchange::Answer, facts::Stored, finding::Finding};

/// A header of a download.
struct Row {
    name: &'static str,
    /// What is wrong with a value; `None` where it is right.
    complaint: fn(&str, &Deployment, &Stored) -> Option<String>,
    /// The variable that carries it in `nginx/offload-headers.conf`; `None` where nginx keeps it by itself.
    variable: Option<[&'static str; 2]>,
}

const ROWS: [Row; 12] = [
    Row {
        name: "ETag",
        complaint: etag,
        variable: Some(["$cloakroom_etag", "$upstream_http_etag"]),
    },
    row(
        "Last-Modified",
        ["$cloakroom_modified", "$upstream_http_last_modified"],
    ),
    Row {
        name: "Content-Disposition",
        complaint: disposition,
        variable: Some([
            "$cloakroom_disposition",
            "$upstream_http_x_cloakroom_content_disposition",
        ]),
    },
    Row {
        name: "Repr-Digest",
        complaint: digest,
        variable: Some(["$cloakroom_digest", "$upstream_http_repr_digest"]),
    },
    Row {
        name: "Content-Security-Policy",
        complaint: |value, _, _| {
            (!value.contains("sandbox")).then(|| "is not the sandbox of a download".to_owned())
        },
        variable: Some(["$cloakroom_csp", "$upstream_http_content_security_policy"]),
    },
    Row {
        name: "X-Content-Type-Options",
        complaint: |value, _, _| (value != "nosniff").then(|| "is not nosniff".to_owned()),
        variable: Some([
            "$cloakroom_nosniff",
            "$upstream_http_x_content_type_options",
        ]),
    },
    row(
        "Cross-Origin-Resource-Policy",
        [
            "$cloakroom_corp",
            "$upstream_http_cross_origin_resource_policy",
        ],
    ),
    row(
        "X-Frame-Options",
        ["$cloakroom_frame", "$upstream_http_x_frame_options"],
    ),
    row(
        "Referrer-Policy",
        ["$cloakroom_referrer", "$upstream_http_referrer_policy"],
    ),
    row(
        "Cache-Control",
        [
            "$cloakroom_cache_control",
            "$upstream_http_x_cloakroom_cache_control",
        ],
    ),
    row(
        "X-Request-Id",
        ["$cloakroom_id", "$upstream_http_x_request_id"],
    ),
    Row {
        name: "Accept-Ranges",
        complaint: |value, _, _| (value != "bytes").then(|| "is not bytes".to_owned()),
        variable: None,
    },
];

const fn row(name: &'static str, variable: [&'static str; 2]) -> Row {
    Row {
        name,
        complaint: |_, _, _| None,
        variable: Some(variable),
    }
}

fn etag(value: &str, _: &Deployment, sample: &Stored) -> Option<String> {
    let file = sample.answer.json().unwrap_or_default();
    let due = file["etag"].as_str().unwrap_or_default();
    if value.starts_with("W/") {
        return Some("became weak".to_owned());
    }
    (value != due).then(|| "is not the file's".to_owned())
}

fn disposition(value: &str, _: &Deployment, sample: &Stored) -> Option<String> {
    let extended = value
        .split(';')
        .find_map(|part| part.trim().strip_prefix("filename*=UTF-8''"));
    let name = extended.map(|name| percent_decode_str(name).decode_utf8_lossy().into_owned());
    let right = value.starts_with("attachment") && name.as_deref() == Some(sample.name.as_str());
    (!right).then(|| "does not name the file".to_owned())
}

fn digest(value: &str, _: &Deployment, sample: &Stored) -> Option<String> {
    let due = format!("sha-256=:{}:", STANDARD.encode(sample.content.sha256()));
    (value != due).then(|| "is not that of the bytes".to_owned())
}

/// Looks at both answers.
pub(crate) async fn look(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    let Some(sample) = deployment.facts.sample() else {
        return Ok(());
    };
    let url = deployment.file_url(&sample.id);
    let whole = deployment.ask(deployment.get(&url)).await;
    let whole = whole.map_err(|trouble| silence("a download", &trouble))?;
    if !whole.is(200) {
        return Err(unexpected("a download", &whole));
    }
    let part = deployment
        .ask(deployment.get(&url).header(RANGE, "bytes=0-9"))
        .await;
    let part = part.map_err(|trouble| silence("a download of ten bytes", &trouble))?;
    let before = found.len();
    for row in &ROWS {
        found.extend(row.judge(&whole, &part, deployment, sample));
    }
    if whole.body != sample.content.bytes(0..sample.content.size())
        && !whole.headers.contains_key("content-encoding")
    {
        found.push(Finding::fault(
            "the bytes of a download are not those that were stored",
        ));
    }
    if whole.header("content-length").is_none() {
        found.push(
            Finding::fault("Content-Length is lost: something on the way changes bodies")
                .nginx("gzip off;"),
        );
    }
    let leaked = deployment.facts.leaked();
    if !leaked.is_empty() {
        found.push(
            Finding::fault(format!(
                "clients see {}, which are between the service and nginx",
                leaked.join(", ")
            ))
            .nginx("include cloakroom/proxy.conf;    # its lines proxy_hide_header X-Cloakroom-…"),
        );
    }
    if found.len() == before {
        found.push(Finding::ok(format!(
            "{} headers arrive, and none that is internal",
            ROWS.len()
        )));
    }
    Ok(())
}

impl Row {
    fn judge(
        &self,
        whole: &Answer,
        part: &Answer,
        deployment: &Deployment,
        sample: &Stored,
    ) -> Option<Finding> {
        let name = self.name;
        if let Some(found) = self.twice(whole).or_else(|| self.twice(part)) {
            return Some(found);
        }
        let complain = |answer: &Answer| match answer.headers.get(name) {
            None => Some("is lost".to_owned()),
            // A value that is no text is not one of ours.
            Some(value) => (self.complaint)(value.to_str().unwrap_or_default(), deployment, sample),
        };
        let (of_whole, of_part) = (complain(whole), complain(part));
        let complaint = of_part.clone().or_else(|| of_whole.clone())?;
        if complaint == "became weak" {
            return Some(
                Finding::fault(format!("{name} {complaint} on its way: bodies are changed"))
                    .nginx("gzip off;"),
            );
        }
        Some(match (of_part, self.variable) {
            (None, Some([variable, upstream])) => Finding::fault(format!(
                "{name} {complaint} where nginx sends the bytes itself, and is there where the service does"
            ))
            .nginx(format!(
                "set {variable} {upstream}; add_header {name} {variable};    # in offload-headers.conf"
            )),
            _ => Finding::fault(format!("{name} {complaint} on its way from the service"))
                .nginx(format!("proxy_pass_header {name};    # and no proxy_hide_header {name}")),
        })
    }

    fn twice(&self, answer: &Answer) -> Option<Finding> {
        let name = self.name;
        let count = answer.headers.get_all(name).iter().count();
        (count > 1).then(|| {
            Finding::fault(format!(
                "{name} comes {count} times: something on the way adds its own"
            ))
            .nginx(format!(
                "add_header {name} …: take it out of the server block"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_header_that_nginx_would_lose_is_taken_over_by_the_file_that_is_deployed() {
        let deployed = include_str!("../../../../../nginx/offload-headers.conf");
        for row in &ROWS {
            let Some([variable, upstream]) = row.variable else {
                continue;
            };
            assert!(
                deployed.contains(&format!("set {variable} {upstream};")),
                "{}",
                row.name
            );
            assert!(
                deployed.contains(&format!("add_header {} {variable};", row.name)),
                "{}",
                row.name
            );
        }
    }
}
