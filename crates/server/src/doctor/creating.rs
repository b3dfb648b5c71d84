//! Requests that make something: it is known afterwards, whoever still waits, so that it can be removed.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::{RequestBuilder, header::LOCATION};

use super::{
    deployment::Deployment,
    exchange::{Answer, Trouble},
};

/// What came of a request that makes something.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) answer: Answer,
    /// The id of what was made; `None` where nothing was, or its address did not come back.
    pub(crate) id: Option<String>,
    /// Whether it is an upload of several requests.
    pub(crate) is_upload: bool,
}

impl Deployment {
    /// Sends a request that makes something. It goes on where nobody waits for it any longer, so that what it made is
    /// known and can be removed.
    ///
    /// # Errors
    /// As [`Deployment::send`].
    pub(crate) async fn create(
        &self,
        what: [&'static str; 2],
        request: RequestBuilder,
        patience: Duration,
    ) -> Result<Created, Trouble> {
        let this = self.clone();
        let making = self.made.making.spawn(async move {
            let answer = this.send(request, patience).await?;
            Ok(this.register(what, answer))
        });
        making
            .await
            .unwrap_or_else(|error| Err(Trouble::Broken(error.to_string())))
    }

    /// Remembers what an answer says was made.
    fn register(&self, [in_header, in_body]: [&'static str; 2], answer: Answer) -> Created {
        let mut created = Created {
            id: None,
            is_upload: false,
            answer,
        };
        if !created.answer.status.is_success() {
            return created;
        }
        let body = created.answer.json();
        let text = |name: &str| Some(body.as_ref()?.get(name)?.as_str()?.to_owned());
        if let Some(address) = text("public_url") {
            self.facts.tell(in_body, &address);
        }
        let location = created.answer.header(LOCATION.as_str());
        if let Some(address) = location {
            self.facts.tell(in_header, address);
        }
        let is_upload = location.is_some_and(|address| address.contains("/uploads/"));
        let id = text("file_id").or_else(|| last_segment(location?));
        let id = id.filter(|id| may_be_an_id(id));
        match &id {
            Some(id) if is_upload => self.made.upload(id.clone()),
            Some(id) => self.made.file(id.clone()),
            None => self.made.nameless(),
        }
        created.is_upload = is_upload;
        created.id = id;
        created
    }
}

/// The last segment of an address's path, decoded. Only ids are taken from what the other side tells: the credential
/// goes nowhere but to the address that it was given for.
fn last_segment(address: &str) -> Option<String> {
    let path = address.split(['?', '#']).next()?;
    let segment = path
        .rsplit('/')
        .next()
        .filter(|segment| !segment.is_empty())?;
    let id = percent_decode_str(segment).decode_utf8().ok()?;
    Some(id.into_owned())
}

/// Whether an id that the other side tells can be one: nothing that leads up, or is the collection itself.
fn may_be_an_id(text: &str) -> bool {
    (1..=512).contains(&text.len()) && text != "." && text != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_last_segment_of_an_address() {
        for (address, id) in [
            ("https://a.example/files/uploads/abc", Some("abc")),
            ("/files/a%20b%2Fc?x=1#y", Some("a b/c")),
            ("https://a.example/files/", None),
            ("", None),
            ("/files/%FF", None),
        ] {
            assert_eq!(last_segment(address).as_deref(), id, "{address}");
        }
        assert!(may_be_an_id("a") && may_be_an_id("..."));
        for text in ["", ".", "..", "x".repeat(513).as_str()] {
            assert!(!may_be_an_id(text), "{text}");
        }
    }
}
