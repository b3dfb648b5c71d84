//! Signed links to a file: making, listing and revoking them.

use actix_web::{
    HttpResponse,
    http::header,
    web::{self, Query},
};
use cloakroom_application::{
    App, Error, LinkRequest, authorize, list_links, make_link, ports::LinkMark, revoke_link,
};
use cloakroom_domain::{Action, Disposition, Link, LinkId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Settings,
    caller::Caller,
    cursor,
    error::ApiError,
    json,
    params::{FileIdPath, LinkIdPath},
    wire::{file_url, rfc3339},
};

/// A link to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLinkBody {
    /// How long it is good for, in seconds; the configured time if absent.
    expires_in: Option<u64>,
    /// `attachment` if absent, or `inline` for types that are safe to show.
    disposition: Option<String>,
    /// 1–1000000; as often as one likes if absent or null.
    max_uses: Option<u64>,
    /// A version's number; the current version at each use if absent or null.
    version: Option<u64>,
}

/// A link, without what opens the file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinkBody {
    link_id: String,
    expires_at: String,
    max_uses: Option<u32>,
    /// How often it was used: downloads that began with the first byte.
    uses: u64,
    /// `attachment` or `inline`.
    disposition: &'static str,
    /// Null for the current version at each use.
    version: Option<u64>,
    created_at: String,
}

/// A link that was just made. Its address is told this once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MadeLinkBody {
    #[serde(flatten)]
    link: LinkBody,
    /// Whoever has it may read the file.
    url: String,
}

/// A page of links.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinkPageBody {
    items: Vec<LinkBody>,
    /// Hand it back as `cursor` to go on; null at the end.
    next_cursor: Option<String>,
}

/// Which links to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LinksQuery {
    /// 1–1000, 100 if absent.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl LinkBody {
    fn new(link: &Link) -> Self {
        Self {
            link_id: link.id.to_string(),
            expires_at: rfc3339(link.expires_at),
            max_uses: link.max_uses.map(|uses| uses.get()),
            uses: link.uses,
            disposition: link.disposition.as_str(),
            version: link.version,
            created_at: rfc3339(link.created_at),
        }
    }
}

/// Makes a link that lets whoever has it read the file, without a credential.
#[utoipa::path(post, path = "/{file_id}/links", tag = "links", params(("file_id" = String, Path)),
    request_body = NewLinkBody,
    responses((status = 201, body = MadeLinkBody), (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn create_link(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Caller,
    id: FileIdPath,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let file = authorize(&app, &who, &id, Action::Share).await?;
    let body: NewLinkBody = json::read(payload).await?;
    let disposition = body.disposition.map(|text| {
        Disposition::parse(&text)
            .ok_or_else(|| Error::BadValue("disposition must be attachment or inline".to_owned()))
    });
    let request = LinkRequest {
        expires_in: body.expires_in,
        disposition: disposition.transpose()?,
        max_uses: body.max_uses,
        version: body.version,
    };
    let made = make_link(&app, &file, request).await?;
    let version = made.link.version;
    let version = version.map_or_else(String::new, |number| format!("/versions/{number}"));
    let address = file_url(&settings.public_url, file.id.as_str());
    Ok(HttpResponse::Created()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(MadeLinkBody {
            link: LinkBody::new(&made.link),
            url: format!("{address}{version}?link={}", made.token.reveal()),
        }))
}

/// Lists the links of a file, newest first. Those that have expired are on the list for another day.
#[utoipa::path(method(get, head), path = "/{file_id}/links", tag = "links",
    params(("file_id" = String, Path), LinksQuery),
    responses((status = 200, body = LinkPageBody), (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn links_of_file(
    app: web::Data<App>,
    who: Caller,
    id: FileIdPath,
    query: Query<LinksQuery>,
) -> Result<HttpResponse, ApiError> {
    let file = authorize(&app, &who, &id, Action::Share).await?;
    let after = cursor::read(query.cursor.as_deref(), mark)?;
    let page = list_links(&app, &file, after, query.limit).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .json(LinkPageBody {
            items: page.items.iter().map(LinkBody::new).collect(),
            next_cursor: page.next.map(next),
        }))
}

/// Takes a link back.
#[utoipa::path(delete, path = "/{file_id}/links/{link_id}", tag = "links",
    params(("file_id" = String, Path), ("link_id" = String, Path)),
    responses((status = 204, description = "Nobody gets in by it any more"),
        (status = 404, description = "The file has no such link", body = crate::error::Problem),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn remove_link(
    app: web::Data<App>,
    who: Caller,
    id: FileIdPath,
    link: LinkIdPath,
) -> Result<HttpResponse, ApiError> {
    let file = authorize(&app, &who, &id, Action::Share).await?;
    revoke_link(&app, &file, link.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn next(mark: LinkMark) -> String {
    cursor::of(&format!("{} {}", mark.created_at.micros(), mark.id))
}

fn mark(text: &str) -> Option<LinkMark> {
    let (micros, id) = text.split_once(' ')?;
    Some(LinkMark {
        created_at: Timestamp::from_micros(micros.parse().ok()?),
        id: LinkId::parse(id).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_rubbish_is_refused() {
        let place = LinkMark {
            created_at: Timestamp::from_micros(-7),
            id: LinkId::random(),
        };
        let back = cursor::read(Some(&next(place)), mark);
        assert_eq!(back.unwrap(), Some(place));
        for bad in ["", "1", "x y", "1 1"] {
            assert_eq!(mark(bad), None, "{bad}");
        }
    }
}
