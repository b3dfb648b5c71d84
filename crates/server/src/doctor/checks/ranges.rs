//! Whether parts of a file can be had: players and downloads that go on depend on it.

use reqwest::header::RANGE;

use super::{
    Ended,
    answers::{silence, unexpected},
};
use crate::doctor::{deployment::Deployment, exchange::Answer, facts::Stored, finding::Finding};

const DROPPED: &str = "proxy_set_header Range $http_range;    # and neither proxy_cache, nor max_ranges 0 but where bytes are sent whole";

/// In bytes; a shorter file has no parts to speak of.
const LEAST: u64 = 1000;

/// Asks for the first bytes, some in the middle, the last ones, several at once, and some beyond the end.
pub(crate) async fn look(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    let Some(sample) = deployment.facts.sample() else {
        return Ok(());
    };
    let size = sample.content.size();
    if size < LEAST {
        return Err(Finding::skipped(
            "the service takes no file that is long enough",
        ));
    }
    let (middle, large) = (size / 2, size / 4);
    for (range, start, end) in [
        ("bytes=0-99".to_owned(), 0, 100),
        (
            format!("bytes={middle}-{}", middle + 99),
            middle,
            middle + 100,
        ),
        // Large enough for nginx to send it.
        (format!("bytes={large}-{}", 3 * large - 1), large, 3 * large),
        ("bytes=-100".to_owned(), size - 100, size),
    ] {
        let answer = ask(deployment, sample, &range).await?;
        one(&answer, &range, sample, start, end)?;
    }
    several(&ask(deployment, sample, "bytes=0-9,100-109").await?, sample)?;
    let beyond = format!("bytes={size}-");
    let answer = ask(deployment, sample, &beyond).await?;
    if !answer.is(416) {
        return Err(unexpected("a range beyond the end", &answer));
    }
    found.push(Finding::ok(
        "first, middle, last, several; beyond the end 416",
    ));
    Ok(())
}

async fn ask(deployment: &Deployment, sample: &Stored, range: &str) -> Result<Answer, Finding> {
    let url = deployment.file_url(&sample.id);
    let answer = deployment
        .ask(deployment.get(&url).header(RANGE, range))
        .await;
    let answer = answer.map_err(|trouble| silence("a range", &trouble))?;
    if answer.is(200) {
        return Err(Finding::fault(format!(
            "Range: {range} is answered with the whole file: the request lost Range, or the proxy ignores it"
        ))
        .nginx(DROPPED));
    }
    Ok(answer)
}

fn one(answer: &Answer, range: &str, sample: &Stored, start: u64, end: u64) -> Ended {
    if !answer.is(206) {
        return Err(unexpected("a range", answer));
    }
    let due = format!("bytes {start}-{}/{}", end - 1, sample.content.size());
    match answer.header("content-range") {
        Some(value) if value == due => {}
        Some(value) => {
            return Err(Finding::fault(format!(
                "Range: {range} has Content-Range: {value} instead of {due}"
            )));
        }
        None => {
            return Err(
                Finding::fault(format!("Range: {range}: the answer lost Content-Range")).nginx(
                    "proxy_pass_header Content-Range;    # and no proxy_hide_header Content-Range",
                ),
            );
        }
    }
    if answer.body != sample.content.bytes(start..end) {
        return Err(Finding::fault(format!(
            "Range: {range} has other bytes than the file"
        )));
    }
    Ok(())
}

fn several(answer: &Answer, sample: &Stored) -> Ended {
    let kind = answer.header("content-type").unwrap_or_default();
    if !answer.is(206) || !kind.starts_with("multipart/byteranges") {
        return Err(Finding::fault(format!(
            "several ranges at once are answered {} with {kind}",
            answer.status
        ))
        .nginx(DROPPED));
    }
    let has = |start, end| {
        let wanted = sample.content.bytes(start..end);
        answer
            .body
            .windows(wanted.len())
            .any(|window| window == wanted)
    };
    if has(0, 10) && has(100, 110) {
        return Ok(());
    }
    Err(Finding::fault(
        "several ranges at once have other bytes than the file",
    ))
}
