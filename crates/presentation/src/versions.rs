//! The versions of a file.

use actix_web::{
    HttpResponse,
    http::header,
    web::{self, Query},
};
use cloakroom_application::{App, authorize, delete_version, restore_version, versions};
use cloakroom_domain::Action;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    Settings,
    caller::Caller,
    cursor,
    error::ApiError,
    files::as_json,
    params::{FileIdPath, VersionPath},
    wire::{FileBody, VersionBody, VersionPageBody},
};

/// Which versions to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct VersionsQuery {
    /// 1–1000, 100 if absent.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists a file's versions, newest first.
#[utoipa::path(method(get, head), path = "/{file_id}/versions", tag = "versions",
    params(("file_id" = String, Path), VersionsQuery),
    responses((status = 200, body = VersionPageBody), (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn list_versions(
    app: web::Data<App>,
    who: Caller,
    id: FileIdPath,
    query: Query<VersionsQuery>,
) -> Result<HttpResponse, ApiError> {
    let file = authorize(&app, &who, &id, Action::Read).await?;
    let before = query
        .cursor
        .as_deref()
        .map(|cursor| {
            cursor
                .parse::<u64>()
                .ok()
                .filter(|number| *number <= i64::MAX as u64)
                .ok_or_else(cursor::not_ours)
        })
        .transpose()?;
    let page = versions(&app, &file, before, query.limit).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .json(VersionPageBody {
            items: page
                .items
                .iter()
                .map(|version| VersionBody::new(version, &file))
                .collect(),
            next_cursor: page.next.map(|number| number.to_string()),
        }))
}

/// Makes a version the current one again.
#[utoipa::path(post, path = "/{file_id}/versions/{version}/restore", tag = "versions",
    params(("file_id" = String, Path), ("version" = u64, Path)),
    responses((status = 200, body = FileBody), (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn restore_old(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Caller,
    id: FileIdPath,
    version: VersionPath,
) -> Result<HttpResponse, ApiError> {
    let file = authorize(&app, &who, &id, Action::Write).await?;
    let file = restore_version(&app, &file, version.0).await?;
    as_json(&file, &settings)
}

/// Deletes a version that is not the current one.
#[utoipa::path(delete, path = "/{file_id}/versions/{version}", tag = "versions",
    params(("file_id" = String, Path), ("version" = u64, Path)),
    responses((status = 204, description = "Gone"),
        (status = 409, description = "It is the current one", body = crate::error::Problem),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn delete_old(
    app: web::Data<App>,
    who: Caller,
    id: FileIdPath,
    version: VersionPath,
) -> Result<HttpResponse, ApiError> {
    let file = authorize(&app, &who, &id, Action::Delete).await?;
    delete_version(&app, &file, version.0).await?;
    Ok(HttpResponse::NoContent().finish())
}
