//! `/openapi.json`, made from the code, and `/docs`, which loads nothing from elsewhere.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::header, web};
use utoipa::{
    OpenApi,
    openapi::{
        Content, Info, License, PathItem, Ref, RefOr, Response,
        path::Operation,
        security::{
            ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
        },
    },
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{
    Settings,
    routes::{FilesApi, FixedApi},
};

/// The OpenAPI document of a service mounted at `mount`.
#[must_use]
pub fn openapi(mount: &str) -> utoipa::openapi::OpenApi {
    let mut document = FixedApi::openapi().nest(mount.trim_end_matches('/'), FilesApi::openapi());
    // Mounted at the root, the collection itself would have no path at all.
    if let Some(collection) = document.paths.paths.remove("") {
        document.paths.paths.insert("/".to_owned(), collection);
    }
    let mut info = Info::new("Cloakroom", env!("CARGO_PKG_VERSION"));
    info.description = Some("A file service that stands beside a web application.".to_owned());
    info.license = Some(License::new("Apache-2.0"));
    document.info = info;
    document.components.get_or_insert_default().security_schemes = credentials();
    let any_of = document
        .components
        .iter()
        .flat_map(|c| c.security_schemes.keys());
    let any_of = any_of.map(|name| SecurityRequirement::new(name, Vec::<String>::new()));
    document.security = Some(any_of.chain([SecurityRequirement::default()]).collect());
    for (path, item) in &mut document.paths.paths {
        if !path.starts_with("/health") {
            operations(item).for_each(add_shared_answers);
        }
    }
    document
}

/// Where a credential may be. Any one will do, and none for what is public.
fn credentials() -> BTreeMap<String, RefOr<SecurityScheme>> {
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let header = |name: &str| SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(name)));
    let cookie = |name: &str| SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(name)));
    [
        ("bearer", bearer),
        ("guest", header("X-Guest-Authorization")),
        ("public", header("X-Public-Authorization")),
        ("session_cookie", cookie("file_service_auth")),
        ("token_cookie", cookie("token")),
        ("guest_cookie", cookie("guest-token")),
        ("public_cookie", cookie("public-token")),
    ]
    .map(|(name, scheme)| (name.to_owned(), RefOr::T(scheme)))
    .into()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [
        &mut item.get,
        &mut item.head,
        &mut item.post,
        &mut item.put,
        &mut item.patch,
        &mut item.delete,
    ];
    all.into_iter().flatten()
}

/// What any request that has a caller may be answered.
fn add_shared_answers(operation: &mut Operation) {
    let shared = [
        ("401", "AUTH_001: no credential was accepted"),
        (
            "429",
            "RATE_001: too many requests; `Retry-After` says when to come back",
        ),
        ("502", "EXT_003: the permission backend failed"),
        (
            "503",
            "A dependency is down, or the service is busy; `Retry-After` says when to come back",
        ),
        (
            "504",
            "EXT_004: the permission backend did not answer in time",
        ),
    ];
    for (status, description) in shared {
        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
        let answer = Response::builder()
            .description(description)
            .content("application/problem+json", problem)
            .build();
        let answers = &mut operation.responses.responses;
        answers
            .entry(status.to_owned())
            .or_insert_with(|| RefOr::T(answer));
    }
}

pub(crate) fn configure(config: &mut web::ServiceConfig, settings: &Settings) {
    let ui = SwaggerUi::new("/docs/{_:.*}")
        .url("/openapi.json", openapi(&settings.mount))
        // The reader would otherwise ask a validator on the internet.
        .config(Config::default().validator_url("none"));
    config
        .service(web::resource("/docs").route(web::get().to(to_docs)))
        .service(ui);
}

async fn to_docs() -> HttpResponse {
    HttpResponse::PermanentRedirect()
        .insert_header((header::LOCATION, "/docs/"))
        .finish()
}
