//! `/health`, `/health/live`, `/health/ready`.

use actix_web::{HttpResponse, http::header, web};
use cloakroom_application::{App, health};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthBody {
    /// `ok`
    status: &'static str,
    /// The driver of the store that takes new bodies.
    backend: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReadyBody {
    /// `ok`, or `unavailable` where something that is needed does not answer.
    status: &'static str,
    /// By name: `status`, and `latency_ms`.
    #[schema(value_type = Object)]
    checks: Map<String, Value>,
}

/// The service, in brief.
#[utoipa::path(method(get, head), path = "/health", tag = "health", responses((status = 200, body = HealthBody)))]
pub(crate) async fn brief(app: web::Data<App>) -> HttpResponse {
    let current = app.stores.current();
    let body = HealthBody {
        status: "ok",
        backend: current.map_or_else(String::new, |store| store.driver),
    };
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(body)
}

/// Whether the process lives. Asks nobody.
#[utoipa::path(method(get, head), path = "/health/live", tag = "health", responses((status = 200, body = HealthBody)))]
pub(crate) async fn live(app: web::Data<App>) -> HttpResponse {
    brief(app).await
}

/// Whether the database, the store and, where it is configured, Redis answer, each with its latency.
#[utoipa::path(method(get, head), path = "/health/ready", tag = "health",
    responses((status = 200, body = ReadyBody), (status = 503, body = ReadyBody)))]
pub(crate) async fn ready(app: web::Data<App>) -> HttpResponse {
    let checks = health(&app).await;
    let up = checks.iter().all(|check| check.up);
    let body = ReadyBody {
        status: if up { "ok" } else { "unavailable" },
        checks: checks
            .iter()
            .map(|check| {
                let state = if check.up { "ok" } else { "unavailable" };
                let latency = (check.latency.as_secs_f64() * 100_000.0).round() / 100.0;
                let value = serde_json::json!({ "status": state, "latency_ms": latency });
                (check.name.to_owned(), value)
            })
            .collect(),
    };
    let mut answer = if up {
        HttpResponse::Ok()
    } else {
        HttpResponse::ServiceUnavailable()
    };
    answer
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(body)
}
