//! `/metrics`: among the routes for admin tokens, and at an address of its own for everybody who reaches that.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use actix_web::{HttpResponse, HttpServer, http::header, web};
use cloakroom_application::{App, metrics};

use crate::{caller::Caller, error::ApiError};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Connections to the address of its own.
const CONNECTIONS: usize = 64;
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// What is measured, in the OpenMetrics format. For admin tokens.
#[utoipa::path(method(get, head), path = "/metrics", tag = "operations",
    responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text"),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn get_metrics(
    app: web::Data<App>,
    who: Caller,
) -> Result<HttpResponse, ApiError> {
    who.must_be_admin()?;
    Ok(answer(app).await)
}

async fn answer(app: web::Data<App>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, OPEN_METRICS))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(metrics(&app).await)
}

/// Tells `/metrics`, and nothing else, to whoever asks there, until `stop` is done.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve_metrics(
    app: Arc<App>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let app = web::Data::from(app);
    let server = HttpServer::new(move || {
        let told = web::resource("/metrics")
            .route(web::get().to(answer))
            .route(web::head().to(answer));
        actix_web::App::new().app_data(app.clone()).service(told)
    })
    .workers(1)
    .max_connections(CONNECTIONS)
    .client_request_timeout(HEAD_TIMEOUT)
    .keep_alive(KEEP_ALIVE)
    .shutdown_timeout(1)
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    let running = tokio::spawn(server);
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => return ended.map_err(io::Error::other)?,
        () = stop => {}
    }
    handle.stop(false).await;
    running.await.map_err(io::Error::other)?
}
