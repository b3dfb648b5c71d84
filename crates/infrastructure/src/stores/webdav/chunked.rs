//! Whether a server takes bodies whose length is not said before.

use bytes::Bytes;
use cloakroom_application::ports::StoreError;
use futures_util::stream;
use reqwest::Method;

use super::client::Client;
use crate::stores::remote::limits;

const BODY: &[u8] = b"Whether this arrives whole is worth knowing.";

impl Client {
    /// Whether a body of unknown length arrives; tried once, with a small one at the path. Some servers say that they
    /// want a length, others keep nothing or a part.
    pub(super) async fn takes_chunks(&self, path: &str) -> Result<bool, StoreError> {
        let takes = self.chunks.get_or_try_init(|| self.try_chunks(path));
        takes.await.copied()
    }

    async fn try_chunks(&self, path: &str) -> Result<bool, StoreError> {
        let pieces = BODY.chunks(16).map(Bytes::from_static);
        let body = stream::iter(pieces.map(Ok::<_, std::convert::Infallible>));
        let request = self.request(Method::PUT, path);
        let request = request.body(reqwest::Body::wrap_stream(body));
        let takes = match self.done(request.send(), limits::write(0)).await {
            Ok(()) => self.look(path).await?.size == Some(BODY.len() as u64),
            // Unless it is the length that was missing, this fails as well and says why.
            Err(_) => {
                let request = self.request(Method::PUT, path).body(BODY);
                self.done(request.send(), limits::write(0)).await?;
                false
            }
        };
        if !takes {
            tracing::info!(
                "the WebDAV server takes no bodies of unknown length; large ones are kept in a temporary file first"
            );
        }
        Ok(takes)
    }
}
