//! Whether downloads stream: they begin at once, last over a pause, and may be left.

use std::time::{Duration, Instant};

use super::{
    Ended,
    answers::{silence, unexpected},
};
use crate::doctor::{
    bodies::Content,
    deployment::{Deployment, Http},
    finding::Finding,
    reading::Downloaded,
};

/// How long the reader does nothing.
const PAUSE: Duration = Duration::from_secs(3);
/// A body that begins later than this is not streamed, if most of its time is over by then.
const LATE: Duration = Duration::from_secs(1);

/// Reads the large file at once and with a pause, and leaves other readings of it.
pub(crate) async fn look(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    let sample = || {
        deployment
            .facts
            .sample()
            .map(|sample| (sample.id.as_str(), sample.content))
    };
    // Whether large bodies arrive is another check's; where none did, a smaller one will do.
    let Some((id, content)) = deployment.facts.large().or_else(sample) else {
        return Err(Finding::unknown("there is no file to read"));
    };
    let url = deployment.file_url(id);
    let steady = read(deployment, &url, content, Duration::ZERO).await?;
    found.push(begun(&steady, content));
    read(deployment, &url, content, PAUSE).await?;
    let seconds = PAUSE.as_secs();
    found.push(Finding::ok(format!(
        "a reader that pauses for {seconds} s gets it all"
    )));
    found.push(left(deployment, &url).await?);
    Ok(())
}

async fn read(
    deployment: &Deployment,
    url: &str,
    content: Content,
    pause: Duration,
) -> Result<Downloaded, Finding> {
    let doing = "a download";
    let read = deployment
        .download(deployment.get(url), content.size(), pause)
        .await;
    let read = read.map_err(|trouble| silence(doing, &trouble))?;
    if !read.answer.is(200) {
        return Err(unexpected(doing, &read.answer));
    }
    let (got, of) = (read.size, content.size());
    if let Some(trouble) = &read.broken {
        return Err(Finding::fault(format!(
            "a download breaks off after {got} of {of} bytes: {trouble}"
        ))
        .nginx("send_timeout 60s; proxy_read_timeout 90s; proxy_max_temp_file_size 0;"));
    }
    if read.sha256 != content.sha256() {
        return Err(Finding::fault(format!(
            "a download has other bytes than were stored: {got} of {of}"
        )));
    }
    Ok(read)
}

fn begun(read: &Downloaded, content: Content) -> Finding {
    let (first, whole) = (read.first_byte, read.whole);
    let text = format!(
        "the first byte of {} MiB after {:.2} s, the last after {:.2} s",
        content.size() / 1024 / 1024,
        first.as_secs_f64(),
        whole.as_secs_f64()
    );
    if first > LATE && first.as_secs_f64() > 0.7 * whole.as_secs_f64() {
        return Finding::fault(format!(
            "{text}: a body is collected before it is passed on"
        ))
        .nginx("proxy_max_temp_file_size 0; proxy_buffers 8 64k;    # or proxy_buffering off;");
    }
    Finding::ok(text)
}

/// Leaves readers in the middle; another must not feel it.
async fn left(deployment: &Deployment, url: &str) -> Result<Finding, Finding> {
    for http in [Http::One, Http::Best] {
        let request = deployment.call(http, reqwest::Method::GET, url);
        let left = deployment.begin_and_leave(request).await;
        left.map_err(|trouble| silence("a download that is left", &trouble))?;
    }
    let begun = Instant::now();
    let list = format!("{}?limit=1", deployment.collection());
    let answer = deployment.ask(deployment.get(&list)).await;
    let answer =
        answer.map_err(|trouble| silence("a request after readers have left", &trouble))?;
    if !answer.is(200) {
        return Err(unexpected("a request after readers have left", &answer));
    }
    let took = begun.elapsed().as_millis();
    Ok(Finding::ok(format!(
        "readers may leave; the next request takes {took} ms"
    )))
}
