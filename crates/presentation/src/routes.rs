//! Every route of the service, once: the table makes the resources, the OpenAPI paths and the list that tests read.

use actix_web::{
    HttpResponse,
    guard::{Guard, fn_guard},
    web,
};
use utoipa::OpenApi;

use crate::{
    Settings, access, buckets, claims, direct, download, error::ApiError, files, health, links,
    metrics, objects, resumable, scrub, stores, upload, versions,
};

/// A path of the service with its methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// As a template, below the mount if [`Route::mounted`].
    pub path: &'static str,
    /// In lower case.
    pub methods: &'static [&'static str],
    /// Whether it lies below the mount of the files API.
    pub mounted: bool,
}

macro_rules! routes {
    ($table:ident, $configure:ident, $api:ident, mounted: $mounted:literal,
     $( $path:literal $( also $alias:literal )? => { $( [$($method:ident),+] $($handler:ident)::+ );+ $(;)? } )+) => {
        const $table: &[Route] = &[$(
            Route { path: $path, methods: &[$($(stringify!($method)),+),+], mounted: $mounted },
        )+];

        fn $configure(config: &mut web::ServiceConfig) {
            $(
                let resource = web::resource(vec![$path, $($alias)?])
                    $(.route(web::route().guard(any_of(&[$(stringify!($method)),+])).to($($handler)::+)))+
                    .default_service(web::to(|| method_not_allowed(&[$($(stringify!($method)),+),+])));
                config.service(resource);
            )+
        }

        #[derive(OpenApi)]
        #[openapi(paths($($($($handler)::+),+),+))]
        pub(crate) struct $api;
    };
}

routes! { FIXED, fixed, FixedApi, mounted: false,
    "/health" => { [get, head] health::brief }
    "/health/live" => { [get, head] health::live }
    "/health/ready" => { [get, head] health::ready }
    "/access/revoke" => { [post] access::revoke }
    "/migrate" => { [post] stores::start_migration; [delete] stores::stop_migration }
    "/migrate/status" => { [get, head] stores::show_migration }
    "/backend-config" => { [get, head] stores::show_backend; [patch] stores::change_backend }
    "/access/explain" => { [get, head] access::explain }
    "/scrub" => { [get, head] scrub::report }
    "/metrics" => { [get, head] metrics::get_metrics }
    "/objects/{bucket}" also "/objects/{bucket}/" => { [get, head] objects::list_objects }
    "/objects/{bucket}/{key}" also "/objects/{bucket}/{key:.*}" => {
        [get, head] objects::get_object; [put] objects::put_object; [delete] objects::delete_object
    }
    "/buckets" also "/buckets/" => { [get, head] buckets::list_buckets }
    "/buckets/{bucket}" => { [get, head] buckets::get_bucket; [put] buckets::put_bucket; [delete] buckets::delete_bucket }
}

routes! { FILES, files_api, FilesApi, mounted: true,
    "" also "/" => { [get, head] files::list_files; [post] upload::create; [options] resumable::options }
    "/upload" also "/upload/" => { [post] upload::create_by_form }
    "/uploads/{file_id}" => {
        [head] resumable::head; [patch] resumable::patch; [delete] resumable::delete;
        [post] resumable::overridden; [options] resumable::options_of_one
    }
    "/direct" also "/direct/" => { [post] direct::create }
    "/direct/{file_id}" => { [get, head] direct::status; [delete] direct::abandon }
    "/direct/{file_id}/complete" => { [post] direct::complete }
    "/reconcile" also "/reconcile/" => { [post] claims::reconcile_files }
    "/{file_id}" => { [get, head] download::download; [put] upload::replace; [delete] files::delete }
    "/{file_id}/info" => { [get, head] files::info; [patch] files::patch_info }
    "/{file_id}/restore" => { [post] files::restore_file }
    "/{file_id}/claim" => { [post] claims::claim_file }
    "/{file_id}/links" also "/{file_id}/links/" => { [get, head] links::links_of_file; [post] links::create_link }
    "/{file_id}/links/{link_id}" => { [delete] links::remove_link }
    "/{file_id}/versions" also "/{file_id}/versions/" => { [get, head] versions::list_versions }
    "/{file_id}/versions/{version}" => { [get, head] download::download_version; [delete] versions::delete_old }
    "/{file_id}/versions/{version}/restore" => { [post] versions::restore_old }
}

/// Every route, the fixed ones first.
pub const ROUTES: [&[Route]; 2] = [FIXED, FILES];

/// Adds every route to an actix-web application. Fixed routes win over ids.
pub fn configure(config: &mut web::ServiceConfig, settings: &Settings) {
    config.configure(fixed);
    crate::docs::configure(config, settings);
    config
        .service(
            web::scope(settings.mount.trim_end_matches('/'))
                .configure(files_api)
                .default_service(web::to(no_route)),
        )
        .default_service(web::to(no_route));
}

fn any_of(methods: &'static [&'static str]) -> impl Guard {
    fn_guard(move |request| {
        let method = request.head().method.as_str();
        methods
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(method))
    })
}

async fn method_not_allowed(allowed: &'static [&'static str]) -> Result<HttpResponse, ApiError> {
    Err(ApiError::MethodNotAllowed(allowed))
}

async fn no_route() -> Result<HttpResponse, ApiError> {
    Err(ApiError::NoRoute)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_openapi_document_names_the_very_routes_that_exist() {
        let document = serde_json::to_value(crate::openapi("/files")).unwrap();
        let Value::Object(paths) = &document["paths"] else {
            panic!("no paths")
        };
        let documented: BTreeSet<String> = paths
            .iter()
            .flat_map(|(path, item)| {
                let operations = item.as_object().unwrap().keys();
                let operations: Vec<String> = operations
                    .filter(|key| *key != "parameters")
                    .map(|m| format!("{m} {path}"))
                    .collect();
                operations
            })
            .collect();
        let existing: BTreeSet<String> = ROUTES
            .into_iter()
            .flatten()
            .flat_map(|route| {
                let mount = if route.mounted { "/files" } else { "" };
                route
                    .methods
                    .iter()
                    .map(move |method| format!("{method} {mount}{}", route.path))
            })
            .collect();
        assert_eq!(documented, existing);
    }
}
