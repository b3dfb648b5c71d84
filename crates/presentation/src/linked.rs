//! Readers who come with a signed link, and what must not be done with an address that has one in it.

use std::pin::Pin;

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::{
        Uri,
        header::{self, HeaderMap, HeaderValue},
    },
    web::Query,
};
use cloakroom_application::{
    App, Error, Opened, open_link,
    ports::{Presented, RateClass, RateKey},
};
use cloakroom_domain::FileId;

use crate::{
    caller::{self, RecognisedAs},
    error::ApiError,
    metered::Downloader,
};

/// The parameter that holds a link, and the one with what a proxy asks again by.
const LINK: &str = "link";
pub(crate) const RECEIPT: &str = "link_receipt";

/// Who asks for bytes: whoever has a link, if there is one in the address, and else a caller. Extracting it takes the
/// permit of a download: by the client's address for a link, and else as [`Downloader`].
pub(crate) enum Reader {
    /// By its credentials.
    Caller(Downloader),
    /// By a link, which has not been looked at yet. No other credential counts beside it.
    Link(ByLink),
}

/// A link as it came.
pub(crate) struct ByLink {
    presented: Presented,
    receipt: Option<String>,
    from: RateKey,
}

impl ByLink {
    /// Reads the link for that file and version.
    ///
    /// # Errors
    /// As [`open_link`]. A path that names no file or no version is none that a link was made for.
    pub(crate) async fn open<T, U>(
        &self,
        app: &App,
        id: Result<&FileId, T>,
        version: Result<Option<u64>, U>,
    ) -> Result<Opened, ApiError> {
        let nothing = Presented::new(String::new());
        let (Ok(id), Ok(version)) = (id, version) else {
            let nowhere = FileId::random();
            let refused = open_link(app, &nothing, None, (&nowhere, None), self.from).await;
            return Err(refused.err().unwrap_or(Error::Unauthenticated).into());
        };
        let receipt = self.receipt.as_deref();
        Ok(open_link(app, &self.presented, receipt, (id, version), self.from).await?)
    }
}

impl FromRequest for Reader {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let parameters = parameters(request.uri());
        let Some(presented) = presented(&parameters) else {
            let caller = Downloader::from_request(request, payload);
            return Box::pin(async move { caller.await.map(Self::Caller) });
        };
        let receipt = parameters.into_iter().rev().find(|(key, _)| key == RECEIPT);
        let request = request.clone();
        Box::pin(async move {
            let from = caller::counted_by_address(&request)?;
            request.extensions_mut().insert(RecognisedAs(LINK));
            let rates = &caller::app(&request)?.rates;
            let verdict = rates.take(RateClass::Download, from).await?;
            if let Some(verdict) = verdict {
                request.extensions_mut().insert(verdict);
            }
            Ok(Self::Link(ByLink {
                presented,
                receipt: receipt.map(|(_, value)| value),
                from,
            }))
        })
    }
}

/// Whether there is a link in the address, whatever it is worth: then nobody is sent elsewhere with it.
pub(crate) fn is_in(address: &Uri) -> bool {
    presented(&parameters(address)).is_some()
}

/// Has no page that is an answer at such an address tell it to anybody.
pub(crate) fn keep_to_itself(address: &Uri, answer: &mut HeaderMap) {
    if is_in(address) {
        let policy = HeaderValue::from_static("no-referrer");
        answer.insert(header::REFERRER_POLICY, policy);
    }
}

fn parameters(address: &Uri) -> Vec<(String, String)> {
    let query = address.query().filter(|query| !query.is_empty());
    let read = query.and_then(|query| Query::<Vec<(String, String)>>::from_query(query).ok());
    read.map(Query::into_inner).unwrap_or_default()
}

/// The link; of two, nobody knows which is meant, and what is left opens nothing.
fn presented(parameters: &[(String, String)]) -> Option<Presented> {
    let mut links = parameters.iter().filter(|(key, _)| key == LINK);
    let (_, first) = links.next()?;
    let only = links.next().is_none();
    let text = if only { first.clone() } else { String::new() };
    Some(Presented::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link_in(address: &str) -> Option<String> {
        let address: Uri = address.parse().unwrap();
        presented(&parameters(&address)).map(|link| link.reveal().to_owned())
    }

    #[test]
    fn a_link_is_found_however_its_parameter_is_spelled_and_one_of_two_is_none() {
        for one in [
            "/files/a?link=T",
            "/files/a?x=1&link=T",
            "/files/a?disposition=inline&%6cink=%54&y",
            "/a?link=T&link_receipt=r",
        ] {
            assert_eq!(link_in(one).as_deref(), Some("T"), "{one}");
        }
        for empty in [
            "/a?link=",
            "/a?link",
            "/a?link=T&link=T",
            "/a?link=T&%6Cink=U",
        ] {
            assert_eq!(link_in(empty).as_deref(), Some(""), "{empty}");
        }
        for none in [
            "/link=T",
            "/a",
            "/a?",
            "/a?Link=T",
            "/a?links=T",
            "/a?x=link",
        ] {
            assert_eq!(link_in(none), None, "{none}");
        }
    }
}
