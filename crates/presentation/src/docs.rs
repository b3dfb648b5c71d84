//! `/openapi.json`, made from the code, and `/docs`, which loads nothing from elsewhere.

use actix_web::{HttpResponse, http::header, web};
use utoipa::{
    OpenApi,
    openapi::{
        Components, Info, License,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
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
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    document
        .components
        .get_or_insert_with(Components::new)
        .add_security_scheme("bearer", bearer);
    document.security = Some(vec![SecurityRequirement::new(
        "bearer",
        Vec::<String>::new(),
    )]);
    document
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
