//! Whether the service is there, and ready.

use reqwest::{Method, Url, Version};

use super::{
    Ended,
    answers::{moved, unexpected},
};
use crate::doctor::{
    deployment::{Deployment, Http},
    exchange::{Answer, Trouble},
    finding::Finding,
};

/// Asks what protocols are spoken, which needs no credential, over both versions of HTTP.
pub(crate) async fn look(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    let ask = async |http| {
        let url = deployment.collection();
        let asked = deployment.ask(deployment.anonymous(http, Method::OPTIONS, &url));
        (asked.await, url)
    };
    let (asked, url) = ask(Http::One).await;
    let mut answer = asked.map_err(|trouble| unreached(&url, &trouble))?;
    if answer.status.is_redirection() && is_only_a_slash(&answer, &url) {
        // A location of nginx that ends in a slash. Its files are where they should be.
        deployment.facts.ends_in_a_slash();
        let (asked, url) = ask(Http::One).await;
        answer = asked.map_err(|trouble| unreached(&url, &trouble))?;
    }
    if answer.status.is_redirection() {
        return Err(moved(&answer, &url));
    }
    if answer.header("tus-version").is_some() {
        deployment.facts.reach();
        if let Some(size) = answer.number("tus-max-size") {
            deployment.facts.announce_max_size(size);
        }
    } else {
        found.push(without_options(deployment, &answer).await?);
    }
    let (asked, url) = ask(Http::Best).await;
    let best = asked.map_err(|trouble| {
        Finding::fault(format!("HTTP/1.1 works, HTTP/2 does not: {trouble}"))
            .nginx("listen 443 ssl;    # without http2, until it works")
    })?;
    if best.version == Version::HTTP_2 {
        deployment.facts.speaks_http2();
    }
    found.push(secured(&url, best.version == Version::HTTP_2));
    Ok(())
}

/// Whether clients are sent on to the same address with a slash at its end.
fn is_only_a_slash(answer: &Answer, url: &str) -> bool {
    let to = answer
        .header("location")
        .and_then(|to| to.strip_suffix('/'));
    let path = Url::parse(url)
        .map(|url| url.path().to_owned())
        .unwrap_or_default();
    to.is_some_and(|to| to == url || to == path)
}

fn unreached(url: &str, trouble: &Trouble) -> Finding {
    match trouble {
        Trouble::Certificate(why) => {
            Finding::fault(format!("{url}: the certificate is not accepted: {why}")).nginx(
                "ssl_certificate /etc/nginx/cloakroom/fullchain.pem;    # for this name, with its intermediates, renewed",
            )
        }
        other => Finding::unknown(format!("{url}: {other}")),
    }
}

/// The service did not tell its protocols: whether it is there at all.
async fn without_options(deployment: &Deployment, answer: &Answer) -> Result<Finding, Finding> {
    let url = format!("{}?limit=1", deployment.collection());
    let asked = deployment
        .ask(deployment.anonymous(Http::One, Method::GET, &url))
        .await;
    let other = asked.map_err(|trouble| unreached(&url, &trouble))?;
    match other.problem() {
        Some((code, _)) if code == "FILE_001" => Err(Finding::fault(
            "the service answers, but has nothing at this path: what the proxy passes on is not where the API is mounted",
        )
        .setting("CLOAKROOM_MOUNT=/    # if the proxy takes the prefix away; else the path of the public URL")),
        Some((code, _)) if code == "AUTH_001" => {
            deployment.facts.reach();
            Ok(unexpected("OPTIONS", answer))
        }
        _ => Err(unexpected(deployment.base(), &other)),
    }
}

fn secured(url: &str, http2: bool) -> Finding {
    let local = Url::parse(url).ok().is_some_and(|url| {
        let host = url.host_str().unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    });
    let versions = if http2 {
        "HTTP/1.1 and HTTP/2"
    } else {
        "HTTP/1.1"
    };
    if url.starts_with("https:") {
        return Finding::ok(format!(
            "answers over {versions}; the certificate is accepted"
        ));
    }
    if local {
        return Finding::ok(format!("answers over {versions}, on this machine"));
    }
    Finding::warning(
        "answers, but without TLS: everybody on the way can read the credentials of callers",
    )
    .nginx("include cloakroom/tls.conf;")
}

/// Asks for the readiness of database, store and Redis, if the proxy lets it be asked for.
pub(crate) async fn health(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    for base in [deployment.root.as_str(), deployment.base()] {
        let url = format!("{base}/health/ready");
        let request = deployment.anonymous(Http::Best, Method::GET, &url);
        let Ok(answer) = deployment.ask(request).await else {
            continue;
        };
        let body = answer.json().unwrap_or_default();
        let Some(checks) = body["checks"].as_object() else {
            continue;
        };
        let state = |name: &String| {
            let check = &body["checks"][name];
            let latency = check["latency_ms"].as_f64().unwrap_or_default();
            let status = check["status"].as_str().unwrap_or("silent");
            (status == "ok", format!("{name} {status} in {latency} ms"))
        };
        let states: Vec<(bool, String)> = checks.keys().map(state).collect();
        let all_well = answer.is(200) && states.iter().all(|(well, _)| *well);
        let text: Vec<String> = states.into_iter().map(|(_, text)| text).collect();
        let text = text.join(", ");
        found.push(if all_well {
            Finding::ok(format!("ready: {text}"))
        } else {
            Finding::fault(format!(
                "not ready: {text}; the service's log has the reason"
            ))
        });
        return Ok(());
    }
    Err(Finding::skipped(
        "/health/ready is not to be seen from here, which is as good",
    ))
}
