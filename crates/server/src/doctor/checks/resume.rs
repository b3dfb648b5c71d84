//! Whether an upload that is cut in the middle goes on where it was cut, by both protocols.

mod protocol;

use std::{ops::Range, time::Duration};

use reqwest::{Method, RequestBuilder};

use self::protocol::{DRAFT, Protocol, TUS};
use super::{
    Ended,
    answers::{silence, unexpected},
};
use crate::doctor::{
    bodies::{Content, Pace},
    deployment::{Deployment, Http, LONG, QUICK, with_headers},
    exchange::{Answer, Trouble},
    finding::Finding,
};

/// In bytes.
const SIZE: u64 = 4 * 1024 * 1024;
/// In bytes; of a shorter body nothing could be said by how much of it arrived.
const LEAST: u64 = 128 * 1024;
/// So much is sent by a request that says which method it stands for, in bytes.
const LAST: u64 = 64 * 1024;
/// Between two pieces of 64 KiB.
const PAUSE: Duration = Duration::from_millis(25);
/// Before the cut, for what is on its way to arrive.
const REST: Duration = Duration::from_millis(1500);

/// Over HTTP/1.1, ending with `X-HTTP-Method-Override` and `DELETE`.
pub(crate) async fn tus(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    let upload = Upload::begin(deployment, &TUS, Http::One).await?;
    let offset = upload.cut(found).await?;
    let size = upload.content.size();
    let last = size.saturating_sub(LAST).max(offset);
    upload.append(offset..last).await?;
    upload.append_instead(last..size, found).await?;
    upload.compare(found).await?;
    upload.end(found).await
}

/// Over HTTP/2 where it is to be had.
pub(crate) async fn draft(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    let upload = Upload::begin(deployment, &DRAFT, Http::Best).await?;
    let offset = upload.cut(found).await?;
    upload.append(offset..upload.content.size()).await?;
    upload.compare(found).await
}

/// An upload that was begun.
struct Upload<'a> {
    deployment: &'a Deployment,
    protocol: &'static Protocol,
    http: Http,
    content: Content,
    id: String,
}

impl<'a> Upload<'a> {
    async fn begin(
        deployment: &'a Deployment,
        protocol: &'static Protocol,
        http: Http,
    ) -> Result<Self, Finding> {
        let content = Content::new(protocol.seed, deployment.at_most(SIZE));
        if content.size() < LEAST {
            return Err(Finding::skipped(
                "the service takes no file that is long enough to be cut",
            ));
        }
        let url = match protocol.is_named_in_headers {
            true => deployment.collection(),
            false => deployment.raw_url("draft.txt"),
        };
        let request = deployment.call(http, Method::POST, &url);
        let request = with_headers(request, (protocol.creation)(deployment, content.size()));
        let what = [protocol.location, "public_url of an upload"];
        let created = deployment.create(what, request, QUICK).await;
        let doing = format!("creating an upload by {}", protocol.name);
        let created = created.map_err(|trouble| silence(&doing, &trouble))?;
        let answer = &created.answer;
        if answer.is(201) && created.id.is_none() {
            return Err(lost(&doing, "Location"));
        }
        if answer.is(201) && !created.is_upload {
            let why = format!("{doing} made a file: the request lost {}", protocol.marker);
            return Err(Finding::fault(why).nginx(keep(protocol.marker)));
        }
        let detail = answer
            .problem()
            .map(|(_, detail)| detail)
            .unwrap_or_default();
        if let Some(name) = missing(&detail) {
            return Err(
                Finding::fault(format!("{doing}: the request lost {name}")).nginx(keep(name))
            );
        }
        let Some(id) = created.id.filter(|_| answer.is(201)) else {
            return Err(unexpected(&doing, answer));
        };
        Ok(Self {
            deployment,
            protocol,
            http,
            content,
            id,
        })
    }

    fn request(&self, method: Method) -> RequestBuilder {
        let url = self.deployment.upload_url(&self.id);
        with_headers(
            self.deployment.call(self.http, method, &url),
            self.protocol
                .always
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        )
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} by {}", self.protocol.name)
    }

    /// Sends half of it slowly and breaks the connection. How far the service is then, in bytes.
    async fn cut(&self, found: &mut Vec<Finding>) -> Result<u64, Finding> {
        let (size, stopped) = (self.content.size(), &self.deployment.stopped);
        let half = size / 2;
        let pace = Pace::Cut {
            after: half,
            pause: PAUSE,
            rest: REST,
        };
        let request = self.headed(self.request(Method::PATCH), 0..size);
        let request = request.body(self.content.body(0..size, pace, stopped));
        let doing = self.doing("PATCH");
        match self.deployment.send(request, LONG).await {
            Ok(answer) => return Err(unexpected(&doing, &answer)),
            Err(Trouble::Broken(_)) => {}
            Err(other) => return Err(silence(&doing, &other)),
        }
        let offset = self.offset().await?;
        found.push(arrived(self.protocol.name, self.http_name(), offset, half));
        Ok(offset.min(size))
    }

    fn http_name(&self) -> &'static str {
        match self.http {
            Http::Best if self.deployment.facts.has_http2() => "HTTP/2",
            _ => "HTTP/1.1",
        }
    }

    /// Asks how far it is.
    async fn offset(&self) -> Result<u64, Finding> {
        let doing = self.doing("HEAD");
        let answer = self.deployment.ask(self.request(Method::HEAD)).await;
        let answer = answer.map_err(|trouble| silence(&doing, &trouble))?;
        if answer.status.is_success() {
            return answer
                .number("upload-offset")
                .ok_or_else(|| lost(&doing, "Upload-Offset"));
        }
        Err(match answer.status.as_u16() {
            // Answers to HEAD have no body that would say whose they are.
            405 => Finding::fault(format!("{doing}: 405, it arrives as another method"))
                .nginx("proxy_cache_convert_head off;    # or let HEAD pass limit_except"),
            423 => Finding::fault(format!(
                "{doing}: 423, the request that was cut is still held: what is before the service keeps its connection"
            ))
            .nginx("proxy_ignore_client_abort off;"),
            _ => unexpected(&doing, &answer),
        })
    }

    fn headed(&self, request: RequestBuilder, range: Range<u64>) -> RequestBuilder {
        let length = ("content-length", (range.end - range.start).to_string());
        let is_last = range.end == self.content.size();
        let headers = (self.protocol.append)(range.start, is_last);
        with_headers(request, headers.into_iter().chain([length]))
    }

    async fn send(&self, request: RequestBuilder, range: Range<u64>) -> Result<Answer, Trouble> {
        let request = self.headed(request, range.clone());
        let stopped = &self.deployment.stopped;
        let request = request.body(self.content.body(range, Pace::Steady, stopped));
        self.deployment.send(request, LONG).await
    }

    /// Sends a stretch.
    async fn append(&self, range: Range<u64>) -> Ended {
        let end = range.end;
        let doing = self.doing("going on with PATCH");
        let answer = self.send(self.request(Method::PATCH), range).await;
        let answer = answer.map_err(|trouble| silence(&doing, &trouble))?;
        self.check_appended(&doing, &answer, end)
    }

    fn check_appended(&self, doing: &str, answer: &Answer, end: u64) -> Ended {
        let due = match end == self.content.size() {
            true => self.protocol.ended,
            false => 204,
        };
        if !answer.is(due) {
            return Err(unexpected(doing, answer));
        }
        match answer.number("upload-offset") {
            Some(offset) if offset == end => Ok(()),
            Some(offset) => Err(Finding::fault(format!(
                "{doing}: {offset} bytes instead of {end}"
            ))),
            None => Err(lost(doing, "Upload-Offset")),
        }
    }

    /// Sends a stretch by a POST that stands for a PATCH, as clients behind old firewalls do.
    async fn append_instead(&self, range: Range<u64>, found: &mut Vec<Finding>) -> Ended {
        let doing = self.doing("POST with X-HTTP-Method-Override");
        let request = self
            .request(Method::POST)
            .header("x-http-method-override", "PATCH");
        let answer = self.send(request, range.clone()).await;
        let answer = answer.map_err(|trouble| silence(&doing, &trouble))?;
        if answer.is(405) && answer.problem().is_some() {
            found.push(
                Finding::fault(format!("{doing}: the request lost that header"))
                    .nginx(keep("X-HTTP-Method-Override")),
            );
            return self.append(range).await;
        }
        self.check_appended(&doing, &answer, range.end)?;
        found.push(Finding::ok(
            "POST, PATCH, HEAD and X-HTTP-Method-Override pass",
        ));
        Ok(())
    }

    /// Reads what became of it.
    async fn compare(&self, found: &mut Vec<Finding>) -> Ended {
        let doing = format!("reading what was uploaded by {}", self.protocol.name);
        let get = self.deployment.get(&self.deployment.file_url(&self.id));
        let read = self
            .deployment
            .download(get, self.content.size(), Duration::ZERO)
            .await;
        let read = read.map_err(|trouble| silence(&doing, &trouble))?;
        if !read.answer.is(200) {
            return Err(unexpected(&doing, &read.answer));
        }
        if let Some(trouble) = &read.broken {
            return Err(silence(&doing, trouble));
        }
        if read.sha256 != self.content.sha256() {
            return Err(Finding::fault(format!(
                "{doing}: other bytes than were sent, {} of {}",
                read.size,
                self.content.size()
            )));
        }
        found.push(Finding::ok(
            "went on where it was cut, and is right byte for byte",
        ));
        Ok(())
    }

    /// Ends it.
    async fn end(&self, found: &mut Vec<Finding>) -> Ended {
        let doing = self.doing("DELETE");
        let answer = self.deployment.ask(self.request(Method::DELETE)).await;
        let answer = answer.map_err(|trouble| silence(&doing, &trouble))?;
        if !answer.is(204) {
            return Err(unexpected(&doing, &answer));
        }
        found.push(Finding::ok("DELETE passes"));
        Ok(())
    }
}

/// What it means that so much counts of what was sent before the cut.
fn arrived(protocol: &str, http: &str, offset: u64, sent: u64) -> Finding {
    let (at, of) = (offset / 1024, sent / 1024);
    if offset == 0 {
        return Finding::fault(format!(
            "nothing of the {of} KiB that were sent by {protocol} over {http} before the cut has arrived: the proxy \
             collects a body before it passes it on, so that a cut upload begins anew"
        ))
        .nginx("proxy_request_buffering off;");
    }
    if offset < sent / 2 {
        return Finding::warning(format!(
            "only {at} of the {of} KiB that were sent by {protocol} over {http} before the cut have arrived: the line \
             is slow, or the proxy holds much back"
        ))
        .nginx("client_body_buffer_size 512k;");
    }
    Finding::ok(format!(
        "of {of} KiB sent over {http} before the cut, {at} KiB count"
    ))
}

/// The line that lets a header of a request through.
fn keep(name: &str) -> String {
    let variable = name.to_ascii_lowercase().replace('-', "_");
    format!("proxy_set_header {name} $http_{variable};    # or no proxy_set_header {name} at all")
}

/// An answer came without a header that the service sends.
fn lost(doing: &str, name: &str) -> Finding {
    Finding::fault(format!("{doing}: the answer lost {name} on its way")).nginx(format!(
        "proxy_pass_header {name};    # and no proxy_hide_header {name}"
    ))
}

/// The header that the service found missing.
fn missing(detail: &str) -> Option<&str> {
    let (name, _) = detail.split_once(" is missing")?;
    name.starts_with("Upload-").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn what_arrived_before_the_cut_says_whether_the_proxy_keeps_bodies() {
        let level = |offset| arrived("tus", "HTTP/1.1", offset, 2_000_000).level;
        assert_eq!(level(0), Level::Fault);
        assert_eq!(level(900_000), Level::Warning);
        assert_eq!(level(1_900_000), Level::Ok);
    }

    #[test]
    fn the_header_that_a_request_lost_is_named() {
        assert_eq!(
            missing("Upload-Length is missing or cannot be read"),
            Some("Upload-Length")
        );
        assert_eq!(missing("the field file is missing"), None);
    }
}
