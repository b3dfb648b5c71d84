//! Files as things: info, list, trash.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{self, Query},
};
use cloakroom_application::{
    App, Change, Error, ListRequest, authorize, authorize_any_state, list, ports::PageMark,
    ports::TypeFilter, purge, restore, trash, update,
};
use cloakroom_domain::{
    Action, ContentType, File, FileId, FileName, Timestamp, UserId, Validators, Verdict,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Settings,
    caller::Caller,
    conditions::preconditions,
    cursor,
    error::ApiError,
    json,
    params::{self, FileIdPath},
    wire::{FileBody, FilePageBody},
};

/// Which files to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// 1–1000, 50 if absent.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Not available yet.
    topic: Option<String>,
    /// A user's id.
    owner: Option<String>,
    /// A media type, or `type/*`.
    #[serde(rename = "type")]
    content_type: Option<String>,
    /// What the name begins with; orders the page by name.
    name: Option<String>,
    /// RFC 3339.
    created_after: Option<String>,
    /// `true` for the trash.
    deleted: Option<bool>,
}

/// What to change. An absent member stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InfoPatch {
    filename: Option<String>,
    visibility: Option<String>,
    /// A JSON merge patch (RFC 7396).
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    /// Not available yet.
    topics: Option<Vec<String>>,
}

/// What a DELETE does.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// `true`: gone at once, with all versions and their bytes.
    #[serde(default)]
    purge: bool,
}

/// The file's data. Its ETag is the row's, not that of the bytes.
#[utoipa::path(method(get, head), path = "/{file_id}/info", tag = "files", params(("file_id" = String, Path)),
    responses((status = 200, body = FileBody), (status = 304, description = "Not modified"),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn info(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Caller,
    id: FileIdPath,
    http: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let file = authorize(&app, &who, &id, Action::Read).await?;
    let validators = Validators {
        etag: file.row_etag(),
        last_modified: file.updated_at.seconds(),
    };
    match preconditions(http.headers()).for_read(&validators) {
        Verdict::Failed => Err(Error::PreconditionFailed.into()),
        Verdict::NotModified => Ok(HttpResponse::NotModified()
            .insert_header((header::ETAG, validators.etag.to_string()))
            .insert_header((header::CACHE_CONTROL, "private, no-cache"))
            .finish()),
        Verdict::Proceed => as_json(&file, &settings),
    }
}

/// Changes name, visibility or metadata.
#[utoipa::path(patch, path = "/{file_id}/info", tag = "files",
    params(("file_id" = String, Path), ("If-Match" = Option<String>, Header, description = "ETag of the file's data")),
    request_body = InfoPatch,
    responses((status = 200, body = FileBody), (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn patch_info(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Caller,
    id: FileIdPath,
    http: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let file = authorize(&app, &who, &id, Action::Write).await?;
    let InfoPatch {
        filename,
        visibility,
        metadata,
        topics,
    } = json::read(payload).await?;
    if topics.is_some() {
        return Err(Error::BadValue("topics are not available".to_owned()).into());
    }
    let visibility = visibility.as_deref().map(params::visibility).transpose()?;
    let change = Change {
        name: filename.map(|name| FileName::clean(&name)),
        visibility,
        metadata,
    };
    let if_match = preconditions(http.headers()).if_match;
    let file = update(&app, &file, if_match.as_ref(), &change).await?;
    as_json(&file, &settings)
}

/// Puts a file in the trash, or purges it.
#[utoipa::path(delete, path = "/{file_id}", tag = "files", params(("file_id" = String, Path), DeleteQuery),
    responses((status = 204, description = "In the trash, or gone"),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn delete(
    app: web::Data<App>,
    who: Caller,
    id: FileIdPath,
    query: Query<DeleteQuery>,
    http: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let conditions = preconditions(http.headers());
    if query.purge {
        let file = authorize_any_state(&app, &who, &id, Action::Delete).await?;
        purge(&app, &file, &conditions).await?;
    } else {
        let file = authorize(&app, &who, &id, Action::Delete).await?;
        trash(&app, &file, &conditions).await?;
    }
    Ok(HttpResponse::NoContent().finish())
}

/// Takes a file out of the trash.
#[utoipa::path(post, path = "/{file_id}/restore", tag = "files", params(("file_id" = String, Path)),
    responses((status = 200, body = FileBody), (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn restore_file(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Caller,
    id: FileIdPath,
) -> Result<HttpResponse, ApiError> {
    let file = authorize_any_state(&app, &who, &id, Action::Delete).await?;
    let file = restore(&app, file).await?;
    as_json(&file, &settings)
}

/// Lists the caller's own files and those visible to its account, newest first.
#[utoipa::path(method(get, head), path = "", tag = "files", params(ListQuery),
    responses((status = 200, body = FilePageBody), (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn list_files(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Caller,
    query: Query<ListQuery>,
) -> Result<HttpResponse, ApiError> {
    let page = list(&app, &who, request(query.into_inner())?).await?;
    let items = page
        .items
        .iter()
        .map(|file| FileBody::new(file, &settings.public_url))
        .collect::<Result<_, _>>()?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .json(FilePageBody {
            items,
            next_cursor: page.next.as_ref().map(next),
        }))
}

pub(crate) fn as_json(file: &File, settings: &Settings) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok()
        .insert_header((header::ETAG, file.row_etag().to_string()))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .json(FileBody::new(file, &settings.public_url)?))
}

fn request(query: ListQuery) -> Result<ListRequest, Error> {
    if query.topic.is_some() {
        return Err(Error::BadValue("topics are not available".to_owned()));
    }
    let name_prefix = query
        .name
        .filter(|name| !name.is_empty())
        .map(|name| FileName::prefix(&name));
    if name_prefix.as_ref().is_some_and(|name| name.contains('\0')) {
        return Err(Error::BadValue("name contains a NUL byte".to_owned()));
    }
    Ok(ListRequest {
        limit: query.limit,
        after: cursor::read(query.cursor.as_deref(), mark)?,
        owner: query
            .owner
            .map(|text| {
                UserId::parse(text).map_err(|error| Error::BadValue(format!("owner {error}")))
            })
            .transpose()?,
        content_type: query.content_type.as_deref().map(type_filter).transpose()?,
        name_prefix,
        created_after: query.created_after.as_deref().map(instant).transpose()?,
        deleted: query.deleted.unwrap_or_default(),
    })
}

fn type_filter(text: &str) -> Result<TypeFilter, Error> {
    let parsed = ContentType::parse(text)
        .ok_or_else(|| Error::BadValue("type must be a media type or type/*".to_owned()))?;
    let essence = parsed.essence();
    Ok(
        match essence
            .strip_suffix('*')
            .filter(|family| family.ends_with('/'))
        {
            Some(family) => TypeFilter::Family(family.to_owned()),
            None => TypeFilter::Exact(essence.to_owned()),
        },
    )
}

fn instant(text: &str) -> Result<Timestamp, Error> {
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .and_then(|time| i64::try_from(time.unix_timestamp_nanos() / 1000).ok())
        .map(Timestamp::from_micros)
        .ok_or_else(|| Error::BadValue("created_after must be an RFC 3339 time".to_owned()))
}

fn next(mark: &PageMark) -> String {
    let text = match mark {
        PageMark::Newest(at, id) => format!("t{}\0{}", at.micros(), id),
        PageMark::Name(name, id) => format!("n{name}\0{id}"),
    };
    cursor::of(&text)
}

fn mark(text: &str) -> Option<PageMark> {
    let (at, id) = text.split_once('\0')?;
    let id = FileId::parse(id).ok()?;
    match at.split_at_checked(1)? {
        ("t", micros) => Some(PageMark::Newest(
            Timestamp::from_micros(micros.parse().ok()?),
            id,
        )),
        ("n", name) => Some(PageMark::Name(name.to_owned(), id)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_rubbish_is_refused() {
        let id = FileId::parse("a b").unwrap();
        for mark in [
            PageMark::Newest(Timestamp::from_micros(-5), id.clone()),
            PageMark::Name("Отчёт".to_owned(), id),
        ] {
            let back = cursor::read(Some(&next(&mark)), super::mark);
            assert_eq!(back.unwrap(), Some(mark));
        }
        for bad in ["", "t1", "x1\0a", "tx\0a"] {
            assert_eq!(mark(bad), None, "{bad}");
        }
    }
}
