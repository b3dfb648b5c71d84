//! The HTTP server: connections, time limits, `100 Continue`, graceful stop.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_http::{
    HttpMessage, HttpService, Protocol, Request, Response, body::BoxBody, error::DispatchError,
};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    ResponseError,
    dev::AppConfig,
    middleware::from_fn,
    web::{Data, QueryConfig},
};
use cloakroom_application::{App, Error};
use tokio::{net::TcpStream, sync::watch};

use crate::{
    Settings,
    connection::{Connection, Guarded, Hand, Held},
    error::ApiError,
    front::{self, InHand},
    routes,
    upload::admission::admit,
};

/// How long a connection whose request was refused is read on, so that the client sees the answer.
const LINGER: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(75);
const BACKLOG: u32 = 2048;

/// How the server runs.
#[derive(Debug, Clone, Copy)]
pub struct ServerOptions {
    /// Threads that serve requests.
    pub workers: usize,
    /// How long requests in flight may take once the server stops.
    pub shutdown_timeout: Duration,
}

/// Listens at an address.
///
/// # Errors
/// The address is taken or not this machine's.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Serves until `stop` is done, then lets requests in flight end.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(
    app: Arc<App>,
    settings: Settings,
    listener: TcpListener,
    options: ServerOptions,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let settings = Data::new(settings);
    let in_hand = Data::new(InHand::default());
    let app = Data::from(app);
    let (stopping, draining) = watch::channel(false);
    let factory = move || {
        let draining = draining.clone();
        let (app, settings, in_hand) = (app.clone(), settings.clone(), in_hand.clone());
        let (expect_app, expect_settings) = (app.clone(), settings.clone());
        let (routes, guard) = (settings.clone(), settings.clone());
        let web = actix_web::App::new()
            .app_data(app)
            .app_data(settings)
            .app_data(in_hand)
            .app_data(QueryConfig::default().error_handler(|error, _| {
                ApiError::from(Error::BadValue(error.to_string())).into()
            }))
            .wrap(from_fn(front::front))
            .configure(move |config| routes::configure(config, &routes));
        let http = HttpService::build()
            .graceful_shutdown_signal(move || drained(draining.clone()))
            .keep_alive(KEEP_ALIVE)
            // Only the first head would be timed: the guard times each.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(LINGER)
            .on_connect_ext(|io: &Guarded, data| {
                data.insert(io.connection());
            })
            .expect(fn_service(move |request: Request| {
                may_continue(expect_app.clone(), expect_settings.clone(), request)
            }))
            .finish(map_config(
                web.into_factory()
                    .map_err(|error: actix_web::Error| error.error_response()),
                |()| AppConfig::default(),
            ));
        fn_service(move |stream: TcpStream| {
            let guarded = accepted(stream, guard.clone());
            async { Ok::<_, DispatchError>(guarded) }
        })
        .and_then(http)
    };
    let server = actix_server::Server::build()
        .workers(options.workers)
        .shutdown_timeout(options.shutdown_timeout.as_secs().max(1))
        .disable_signals()
        .listen("http", listener, factory)?
        .run();
    let handle = server.handle();
    let running = tokio::spawn(server);
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => return ended.map_err(io::Error::other)?,
        () = stop => {}
    }
    stopping.send_replace(true);
    handle.stop(true).await;
    running.await.map_err(io::Error::other)?
}

/// A connection as the HTTP service takes it.
fn accepted(
    stream: TcpStream,
    settings: Data<Settings>,
) -> (Guarded, Protocol, Option<SocketAddr>) {
    // A connection that is gone already fails where it is read.
    let _ = stream.set_nodelay(true);
    let peer = stream.peer_addr().ok();
    (Guarded::new(stream, settings), Protocol::Http1, peer)
}

async fn drained(mut draining: watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = draining.wait_for(|stopping| *stopping).await;
}

/// Judges a request that waits for `100 Continue` before it is told to go on.
async fn may_continue(
    app: Data<App>,
    settings: Data<Settings>,
    mut request: Request,
) -> Result<Request, Response<BoxBody>> {
    let id = front::request_id(request.headers());
    let connection = request.conn_data::<Rc<Connection>>().cloned();
    let mut hand = Hand::take(connection, request.payload(), id.clone());
    let judged = admit(
        &app,
        &settings,
        request.method(),
        request.path(),
        request.headers(),
        request.peer_addr(),
    )
    .await;
    let Err(error) = judged else {
        hand.hand_on();
        return Ok(request);
    };
    let mut refusal = error.error_response();
    tracing::info!(
        target: "cloakroom::access",
        id = id.to_str().unwrap_or_default(),
        method = request.method().as_str(),
        status = refusal.status().as_u16(),
        "request refused before its body"
    );
    front::decorate(refusal.headers_mut(), &settings, request.headers(), id);
    hand.answering();
    let refusal = Response::from(refusal);
    Err(refusal.map_body(|_, body| BoxBody::new(Held { body, hand })))
}
