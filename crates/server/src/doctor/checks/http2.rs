//! Whether uploads over HTTP/2 are about as fast as over HTTP/1.1: a proxy that gives streams a small window makes
//! them wait for the other end of the line again and again.

use std::time::{Duration, Instant};

use super::{
    Ended,
    answers::{silence, unexpected},
    large::raw,
};
use crate::doctor::{
    bodies::{Content, Pace},
    deployment::{Deployment, Http, LONG},
    finding::Finding,
};

/// In bytes.
const SIZE: u64 = 8 * 1024 * 1024;
/// So many times as long, and so much longer, is slow.
const RATIO: f64 = 3.0;
const LONGER: Duration = Duration::from_secs(1);

/// Uploads the same over both; twice where the first time looks bad.
pub(crate) async fn look(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    if !deployment.facts.has_http2() {
        let why = match deployment.base().starts_with("https:") {
            true => "HTTP/2 is not offered",
            false => "browsers speak HTTP/2 over TLS only, and this address has none",
        };
        return Err(Finding::skipped(why));
    }
    let content = Content::new(6, deployment.at_most(SIZE));
    let mut best = [Duration::MAX; 2];
    for _ in 0..2 {
        for (at, http) in [Http::One, Http::Best].into_iter().enumerate() {
            best[at] = best[at].min(upload(deployment, http, content).await?);
        }
        if !is_slow(best) {
            break;
        }
    }
    found.push(judged(best, content));
    Ok(())
}

async fn upload(
    deployment: &Deployment,
    http: Http,
    content: Content,
) -> Result<Duration, Finding> {
    let doing = match http {
        Http::One => "an upload over HTTP/1.1",
        Http::Best => "an upload over HTTP/2",
    };
    let body = content.body(0..content.size(), Pace::Steady, &deployment.stopped);
    let request = raw(deployment, http, content.size()).body(body);
    let what = ["Location of a file", "public_url of a file"];
    let begun = Instant::now();
    let created = deployment.create(what, request, LONG).await;
    let took = begun.elapsed();
    let created = created.map_err(|trouble| silence(doing, &trouble))?;
    if !created.answer.is(201) {
        return Err(unexpected(doing, &created.answer));
    }
    Ok(took)
}

fn is_slow([one, two]: [Duration; 2]) -> bool {
    two > one.mul_f64(RATIO) && two > one + LONGER
}

fn judged(took: [Duration; 2], content: Content) -> Finding {
    let [one, two] = took.map(|took| took.as_secs_f64());
    let text = format!(
        "{} MiB take {one:.1} s over HTTP/1.1 and {two:.1} s over HTTP/2",
        content.size() / 1024 / 1024
    );
    if is_slow(took) {
        return Finding::fault(format!(
            "{text}: too little of an upload may be on its way at a time"
        ))
        .nginx("http2_body_preread_size 512k; client_body_buffer_size 512k;");
    }
    Finding::ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_is_several_times_as_long_and_a_second_at_least() {
        let slow = |one, two| is_slow([Duration::from_millis(one), Duration::from_millis(two)]);
        assert!(!slow(100, 900) && !slow(2_000, 5_000));
        assert!(slow(500, 2_000) && slow(100, 1_200));
    }
}
