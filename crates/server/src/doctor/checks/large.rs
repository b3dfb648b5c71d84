//! Whether large bodies pass, by a form and raw, and as large as the service takes.

use std::time::{Duration, Instant};

use reqwest::{
    Method, RequestBuilder,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
    multipart::{Form, Part},
};

use super::{
    Ended,
    answers::{silence, unexpected},
};
use crate::doctor::{
    bodies::{Content, Pace},
    creating::Created,
    deployment::{Deployment, Http, LONG},
    exchange::Trouble,
    finding::Finding,
};

/// How long a proxy may take to refuse a length that it does not like.
const REFUSED_BY_THEN: Duration = Duration::from_secs(2);
const MIB: u64 = 1024 * 1024;
/// A form is so much longer than its file at most, in bytes.
const FORM: u64 = 64 * 1024;

/// Sends both, and then announces the largest body that the service takes.
pub(crate) async fn look(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    let content = Content::new(4, deployment.at_most(deployment.options.large));
    for way in [Way::Raw, Way::Form] {
        let begun = Instant::now();
        let doing = format!("{} of {}", way.name(), in_mib(content.size()));
        let created = way.send(deployment, content).await;
        found.push(match created {
            Ok(created) => {
                if let (Way::Raw, Some(id)) = (way, &created.id) {
                    deployment.facts.keep_large(id.clone(), content);
                }
                stored(&doing, &created, content, begun.elapsed())
            }
            Err(trouble) if trouble.is_broken() => {
                broken(deployment, &doing, content, &trouble).await
            }
            Err(Trouble::TimedOut) => Finding::fault(format!(
                "{doing}: not through within {} s: the line is slow, or something on the way waits",
                LONG.as_secs()
            ))
            .nginx("proxy_read_timeout 90s; proxy_send_timeout 90s; client_body_timeout 30s;"),
            Err(other) => silence(&doing, &other),
        });
    }
    let largest = deployment.facts.max_size();
    if largest != u64::MAX && largest > content.size() {
        found.push(announce(deployment, largest).await?);
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Way {
    Raw,
    Form,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Raw => "a raw body",
            Self::Form => "a form",
        }
    }

    async fn send(self, deployment: &Deployment, content: Content) -> Result<Created, Trouble> {
        let body = content.body(0..content.size(), Pace::Steady, &deployment.stopped);
        let request = match self {
            Self::Raw => raw(deployment, Http::Best, content.size()).body(body),
            Self::Form => {
                let name = format!("{} form.txt", deployment.made.prefix);
                let part = Part::stream_with_length(body, content.size()).file_name(name);
                let mut form = Form::new();
                if let Some(account) = &deployment.options.account {
                    form = form.text("account_id", account.clone());
                }
                let request = deployment.call(Http::Best, Method::POST, &deployment.collection());
                request.multipart(form.part("file", part))
            }
        };
        let what = ["Location of a file", "public_url of a file"];
        deployment.create(what, request, LONG).await
    }
}

/// A raw upload of so many bytes, without its body.
pub(super) fn raw(deployment: &Deployment, http: Http, size: u64) -> RequestBuilder {
    deployment
        .call(http, Method::POST, &deployment.raw_url("raw.txt"))
        .header(CONTENT_TYPE, "text/plain")
        .header(CONTENT_LENGTH, size)
}

fn stored(doing: &str, created: &Created, content: Content, took: Duration) -> Finding {
    if !created.answer.is(201) {
        return unexpected(doing, &created.answer);
    }
    let file = created.answer.json().unwrap_or_default();
    if file["sha256"] != hex::encode(content.sha256()) {
        return Finding::fault(format!("{doing}: other bytes arrived than were sent"));
    }
    Finding::ok(format!("{doing} passes, in {:.1} s", took.as_secs_f64()))
}

/// Why a connection broke: a proxy that refuses a length may have closed it before its answer was read. Asked again
/// with the same length and no bytes, it has nothing to close over.
async fn broken(
    deployment: &Deployment,
    doing: &str,
    content: Content,
    trouble: &Trouble,
) -> Finding {
    match withheld(deployment, content.size() + FORM).await {
        Some(Ok(answer)) if !answer.answer.status.is_success() => unexpected(doing, &answer.answer),
        _ => silence(doing, trouble),
    }
}

/// Announces a body of that size and sends nothing of it: the answer, if there is one all the same.
async fn withheld(deployment: &Deployment, size: u64) -> Option<Result<Created, Trouble>> {
    let nothing = Content::new(0, 1);
    let body = nothing.body(0..1, Pace::Withheld(REFUSED_BY_THEN), &deployment.stopped);
    let request = raw(deployment, Http::One, size).body(body);
    let what = ["Location of a file", "public_url of a file"];
    match deployment.create(what, request, LONG).await {
        Err(trouble) if trouble.is_broken() => None,
        other => Some(other),
    }
}

async fn announce(deployment: &Deployment, largest: u64) -> Result<Finding, Finding> {
    let doing = format!(
        "a body of {}, the most that the service takes",
        in_mib(largest)
    );
    match withheld(deployment, largest).await {
        None => Ok(Finding::ok(format!("{doing}, is let in"))),
        Some(Ok(created)) => Err(unexpected(&doing, &created.answer)),
        Some(Err(trouble)) => Err(silence(&doing, &trouble)),
    }
}

fn in_mib(size: u64) -> String {
    match size {
        MIB.. => format!("{} MiB", size / MIB),
        _ => format!("{size} bytes"),
    }
}
