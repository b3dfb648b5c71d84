//! What an application says of its files: that it uses one, and which ones it still refers to.

use actix_web::{HttpResponse, http::header, web};
use cloakroom_application::{
    App, Error, Leftovers, ReconcileStep, Reconciled, claim, is_application, reconcile,
};
use cloakroom_domain::{AccountId, FileId, ReconcileId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Settings,
    caller::Caller,
    cursor,
    error::ApiError,
    files::as_json,
    json,
    params::FileIdPath,
    wire::{FileBody, Id, rfc3339},
};

/// Room for a page of the longest ids.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// A step of a run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReconcileBody {
    /// The run; absent in its first step.
    reconcile_id: Option<String>,
    /// Whose files, for admins; a number or a string.
    #[schema(value_type = Option<Object>)]
    account_id: Option<Id>,
    /// Ids of files that the application still refers to, at most 10,000.
    #[serde(default)]
    ids: Vec<String>,
    /// That every id has been named.
    #[serde(default)]
    done: bool,
    /// With `done`: `report` if absent, or `trash`.
    action: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// That the application refers to no file at all, and everything is to go.
    #[serde(default)]
    nothing_referenced: bool,
}

/// How a run stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReconcileAnswer {
    reconcile_id: String,
    #[schema(value_type = Object)]
    account_id: Id,
    /// How many different ids were named so far.
    referenced: u64,
    /// How many of the ids in this step are no files of the account.
    unknown: u64,
    /// Files made at this instant or later are left alone.
    made_before: String,
    /// When the run ends by itself.
    expires_at: String,
    #[serde(flatten)]
    found: Option<FoundBody>,
}

/// What nobody refers to, once every id was named.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FoundBody {
    /// `report`, or `trash`: these files are in the trash.
    action: &'static str,
    unreferenced: Vec<String>,
    /// Hand it back as `cursor` to go on; null at the end. A page may be empty and still have a next one.
    next_cursor: Option<String>,
}

/// Claims a file for the application, so that it does not expire. For service tokens of its account, and for admins.
#[utoipa::path(post, path = "/{file_id}/claim", tag = "claims", params(("file_id" = String, Path)),
    responses((status = 200, body = FileBody), (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn claim_file(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Caller,
    id: FileIdPath,
) -> Result<HttpResponse, ApiError> {
    let file = claim(&app, &who, &id).await?;
    as_json(&file, &settings)
}

/// Takes the ids that an application still refers to, in pages, and tells which files nobody does. For service and
/// admin tokens.
#[utoipa::path(post, path = "/reconcile", tag = "claims", request_body = ReconcileBody,
    responses((status = 200, body = ReconcileAnswer),
        (status = 404, description = "There is no such run, or it has ended", body = crate::error::Problem),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn reconcile_files(
    app: web::Data<App>,
    who: Caller,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    is_application(&who)?;
    let body: ReconcileBody = json::read_up_to(MAX_BYTES, payload).await?;
    let step = step(body)?;
    let end = step.end;
    let reconciled = reconcile(&app, &who, step).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(answer(reconciled, end)))
}

fn step(body: ReconcileBody) -> Result<ReconcileStep, Error> {
    let bad = |text: &str| Error::BadValue(text.to_owned());
    let place = cursor::read(body.cursor.as_deref(), place)?;
    let action = body
        .action
        .as_deref()
        .map(|text| action(text).ok_or_else(|| bad("action must be report or trash")));
    let action = action.transpose()?;
    let is_end = body.done || place.is_some();
    if action.is_some() && !is_end {
        return Err(bad("action is for the last step, with done"));
    }
    // A cursor goes on with what it was given out for.
    let begun = place.as_ref().map(|(action, _)| *action);
    let end = is_end.then_some(action.or(begun).unwrap_or(Leftovers::Report));
    let run = body.reconcile_id.map(|id| ReconcileId::parse(&id));
    if run.is_none() && place.is_some() {
        return Err(Error::MissingField("reconcile_id"));
    }
    let account = body.account_id.map(|id| AccountId::parse(id.into_text()));
    let files = body.ids.into_iter().map(FileId::parse);
    Ok(ReconcileStep {
        // What is no id is no run either.
        run: run.transpose().map_err(|_| Error::NotFound)?,
        account: account
            .transpose()
            .map_err(|error| Error::BadValue(format!("account_id {error}")))?,
        files: files
            .collect::<Result<_, _>>()
            .map_err(|error| Error::BadValue(format!("one of ids {error}")))?,
        end,
        after: place.map(|(_, after)| after),
        nothing_referenced: body.nothing_referenced,
    })
}

fn answer(reconciled: Reconciled, end: Option<Leftovers>) -> ReconcileAnswer {
    let Reconciled {
        run,
        unknown,
        found,
    } = reconciled;
    let found = found.zip(end).map(|(found, end)| FoundBody {
        action: name(end),
        next_cursor: found.next.map(|after| next(end, &after)),
        unreferenced: found
            .files
            .iter()
            .map(|file| file.as_str().to_owned())
            .collect(),
    });
    ReconcileAnswer {
        reconcile_id: run.id.to_string(),
        account_id: Id::of(run.account.as_str()),
        referenced: run.named,
        unknown,
        made_before: rfc3339(run.made_before),
        expires_at: rfc3339(run.expires_at),
        found,
    }
}

const fn name(action: Leftovers) -> &'static str {
    match action {
        Leftovers::Report => "report",
        Leftovers::Trash => "trash",
    }
}

fn action(text: &str) -> Option<Leftovers> {
    [Leftovers::Report, Leftovers::Trash]
        .into_iter()
        .find(|action| name(*action) == text)
}

fn next(end: Leftovers, after: &FileId) -> String {
    cursor::of(&format!("{} {after}", name(end)))
}

fn place(text: &str) -> Option<(Leftovers, FileId)> {
    let (end, after) = text.split_once(' ')?;
    Some((action(end)?, FileId::parse(after).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_goes_on_with_what_it_was_given_out_for() {
        let file = FileId::parse("a b\u{1}").unwrap();
        for end in [Leftovers::Report, Leftovers::Trash] {
            let back = cursor::read(Some(&next(end, &file)), place);
            assert_eq!(back.unwrap(), Some((end, file.clone())));
        }
        for bad in ["", "trash", "trash ", "keep a"] {
            assert_eq!(place(bad), None, "{bad}");
        }
        let body = |json: &str| step(serde_json::from_str(json).unwrap());
        let cursor = next(Leftovers::Trash, &file);
        let id = ReconcileId::random();
        let on = body(&format!(r#"{{"reconcile_id":"{id}","cursor":"{cursor}"}}"#)).unwrap();
        assert_eq!((on.end, on.after), (Some(Leftovers::Trash), Some(file)));
        let done = body(r#"{"done":true}"#).unwrap();
        assert_eq!(done.end, Some(Leftovers::Report));
        assert!(matches!(
            body(r#"{"action":"trash"}"#),
            Err(Error::BadValue(_))
        ));
        let lost = body(&format!(r#"{{"cursor":"{cursor}"}}"#));
        assert!(matches!(lost, Err(Error::MissingField(_))));
        let odd = body(r#"{"reconcile_id":"x"}"#);
        assert!(matches!(odd, Err(Error::NotFound)));
    }
}
