//! The HTTP client underneath the SDK: the SDK's own keeps up to a megabyte of each body that nobody reads on.

use std::{
    error::Error,
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use aws_sdk_s3::{error::ConnectorError, primitives::SdkBody};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        http::{
            HttpConnector as Connector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector,
            http_client_fn,
        },
        orchestrator::{HttpRequest, HttpResponse},
        retries::ErrorKind,
    },
};
use http_body_util::Limited;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

use cloakroom_application::ports::StoreError;
use tower_service::Service;

use crate::stores::guard::Guard;

/// What a connection holds of an answer that is not read on, in bytes.
const READ_AHEAD: usize = 32 * 1024;

/// A connection idle for longer is closed.
const IDLE: Duration = Duration::from_secs(60);

/// What the SDK adds to the address of an object that is read. Any other answer is held whole.
const READS: &str = "x-id=GetObject";

/// The largest answer that is no object, in bytes.
const LARGEST: usize = 8 * 1024 * 1024;

/// A client that gives connections so long to come about, and makes them where the guard lets it.
///
/// # Errors
/// The system cannot do TLS at all.
pub(super) fn client(connect: Duration, guard: Guard) -> Result<SharedHttpClient, StoreError> {
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls()?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp(connect, guard));
    let client = Client::builder(TokioExecutor::new())
        .http1_read_buf_exact_size(READ_AHEAD)
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .build(https);
    let connector = SharedHttpConnector::new(Bounded(client));
    Ok(http_client_fn(move |_, _| connector.clone()))
}

/// Makes connections to the addresses that names lead to now, where the guard lets it.
fn tcp(connect: Duration, guard: Guard) -> HttpConnector<Resolver> {
    let mut tcp = HttpConnector::new_with_resolver(Resolver(guard));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(connect));
    tcp
}

/// Trusts whom the system trusts. A system without certificates can still use a store over plain HTTP.
fn tls() -> Result<ClientConfig, StoreError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        tracing::warn!(
            "the system has no certificates to trust: no store can be reached over HTTPS"
        );
    }
    Ok(
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| StoreError::Refused(error.into()))?
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

/// Finds the addresses of a name that may be connected to.
#[derive(Clone)]
struct Resolver(Guard);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guard = self.0;
        // The connector puts the port of the request in the place of this one.
        Box::pin(async move { Ok(guard.resolve(name.as_str(), 0).await?.into_iter()) })
    }
}

struct Bounded(Client<HttpsConnector<HttpConnector<Resolver>>, SdkBody>);

impl fmt::Debug for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bounded")
    }
}

impl Connector for Bounded {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        let query = request.uri().query().unwrap_or_default();
        let reads = query.split('&').any(|parameter| parameter == READS);
        let answer = self.0.request(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await.map_err(|error| classified(error.into()))?;
            let is_object = reads && answer.status().is_success();
            let answer = if is_object {
                answer.map(SdkBody::from_body_1_x)
            } else {
                answer.map(|body| SdkBody::from_body_1_x(Limited::new(body, LARGEST)))
            };
            HttpResponse::try_from(answer)
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// What the SDK is to make of a failure: most of them are worth another attempt.
fn classified(error: BoxError) -> ConnectorError {
    let mut source: Option<&(dyn Error + 'static)> = Some(error.as_ref());
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return if io.kind() == io::ErrorKind::TimedOut {
                ConnectorError::timeout(error)
            } else {
                ConnectorError::io(error)
            };
        }
        if let Some(http) = cause.downcast_ref::<hyper::Error>() {
            if http.is_timeout() {
                return ConnectorError::timeout(error);
            }
            if http.is_user() {
                return ConnectorError::user(error);
            }
            if http.is_closed() || http.is_canceled() {
                return ConnectorError::io(error);
            }
            if http.is_incomplete_message() {
                return ConnectorError::other(error, Some(ErrorKind::TransientError));
            }
        }
        source = cause.source();
    }
    ConnectorError::other(error, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connects to an address, or says why it did not.
    async fn connected(address: &str) -> Result<(), io::ErrorKind> {
        let mut tcp = tcp(Duration::from_secs(1), Guard::Strict);
        let Err(error) = tcp.call(address.parse().unwrap()).await else {
            return Ok(());
        };
        let mut cause: &(dyn Error + 'static) = &error;
        while cause.downcast_ref::<io::Error>().is_none() {
            cause = cause.source().unwrap();
        }
        Err(cause.downcast_ref::<io::Error>().unwrap().kind())
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_forbidden_address_is_not_connected_to() {
        // What the system's resolver is asked for as a name, and finds at 127.0.0.1 and at 169.254.169.254.
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let allowed = connected(&format!("http://0x7f000001:{port}/")).await;
        assert_eq!(allowed, Ok(()));
        let refused = connected(&format!("http://0xa9fea9fe:{port}/")).await;
        assert_eq!(refused, Err(io::ErrorKind::PermissionDenied));
    }
}
