//! What was answered about access: taking it back, and explaining it.

use actix_web::{
    HttpResponse,
    http::header,
    web::{self, Query},
};
use cloakroom_application::{
    App, Circuit, Error, Explanation, LastAsked, Rule, Said, Says, explain as explained,
    may_revoke, ports::Revocation, revoke as revoked,
};
use cloakroom_domain::{AccountId, Action, FileId, InvalidId, Principal, PrincipalKind, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    caller::Caller,
    error::ApiError,
    json,
    wire::{Id, rfc3339},
};

/// What answers are to be forgotten. Each member that is given counts by itself; at least one must be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeBody {
    /// Every answer about this file.
    file_id: Option<String>,
    /// Every answer to this user; a number or a string.
    #[schema(value_type = Option<Object>)]
    user_id: Option<Id>,
    /// Every answer to callers of this account; a number or a string.
    #[schema(value_type = Option<Object>)]
    account_id: Option<Id>,
}

/// Who would do what.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExplainQuery {
    /// The file.
    file_id: Option<String>,
    /// `read` if absent, `write`, `delete` or `share`.
    action: Option<String>,
    /// The user; needs `account_id`.
    user_id: Option<String>,
    /// The account that the caller acts in.
    account_id: Option<String>,
    /// `user`, `guest`, `public`, `service`, `admin` or `anonymous`. If absent: `user` with `user_id`, else `public`
    /// with `account_id`, else `anonymous`.
    kind: Option<String>,
}

/// Which rule said what. Times and the state of the hook are those of the replica that answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplainBody {
    file_id: String,
    /// `read`, `write`, `delete` or `share`.
    action: &'static str,
    caller: CallerBody,
    /// What the last rule says: `yes`, `no`, or `ask`.
    decision: &'static str,
    /// In the order in which they are asked, up to the one that decides.
    rules: Vec<RuleBody>,
    hook: HookBody,
    /// How many signed links to the file are good now: whoever has one may read it, whatever the rules say.
    links: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct CallerBody {
    kind: &'static str,
    #[schema(value_type = Option<Object>)]
    account_id: Option<Id>,
    #[schema(value_type = Option<Object>)]
    user_id: Option<Id>,
}

#[derive(Debug, Serialize, ToSchema)]
struct RuleBody {
    /// `file`, `admin`, `owner`, `visibility` or `hook`.
    rule: &'static str,
    /// `yes`, `no`, `pass` to the next rule, or `ask` the permission backend.
    says: &'static str,
    why: &'static str,
}

#[derive(Debug, Default, Serialize, ToSchema)]
struct HookBody {
    configured: bool,
    /// What it answers for.
    actions: Vec<&'static str>,
    /// `closed`, or `open` while it is left alone because it failed too often; null without a hook.
    circuit: Option<&'static str>,
    /// The last question about this caller, file and action; null if there was none of late.
    last_asked: Option<LastAskedBody>,
}

#[derive(Debug, Serialize, ToSchema)]
struct LastAskedBody {
    at: String,
    /// `yes`, `no`, `failed` or `timed_out`.
    said: &'static str,
    reason: Option<String>,
    /// Whether the answer still holds for the credential that it was given to.
    kept: bool,
}

/// Forgets kept answers of the permission backend, on every replica. For service and admin tokens.
#[utoipa::path(post, path = "/access/revoke", tag = "access", request_body = RevokeBody,
    responses((status = 204, description = "Forgotten here, and within 100 ms on every replica"),
        (status = "4XX", description = "Refused", body = crate::error::Problem),
        (status = 503, description = "The other replicas could not be told; try again", body = crate::error::Problem)))]
pub(crate) async fn revoke(
    app: web::Data<App>,
    who: Caller,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    may_revoke(&who)?;
    let RevokeBody {
        file_id,
        user_id,
        account_id,
    } = json::read(payload).await?;
    let revocation = Revocation {
        file: id("file_id", file_id, FileId::parse)?,
        user: id("user_id", user_id.map(Id::into_text), UserId::parse)?,
        account: id(
            "account_id",
            account_id.map(Id::into_text),
            AccountId::parse,
        )?,
    };
    revoked(&app, &who, &revocation).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Explains why a caller may or may not. Nobody is asked. For admin tokens.
#[utoipa::path(method(get, head), path = "/access/explain", tag = "access", params(ExplainQuery),
    responses((status = 200, body = ExplainBody),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn explain(
    app: web::Data<App>,
    who: Caller,
    query: Query<ExplainQuery>,
) -> Result<HttpResponse, ApiError> {
    who.must_be_admin()?;
    let query = query.into_inner();
    let action = action(query.action.as_deref())?;
    let file = id("file_id", query.file_id.clone(), FileId::parse)?;
    let file = file.ok_or(Error::MissingField("file_id"))?;
    let about = principal(query)?;
    let explanation = explained(&app, &who, &about, &file, action).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(body(&about, &file, action, explanation)))
}

fn id<T>(
    name: &str,
    text: Option<String>,
    parse: impl FnOnce(String) -> Result<T, InvalidId>,
) -> Result<Option<T>, Error> {
    text.map(parse)
        .transpose()
        .map_err(|error| Error::BadValue(format!("{name} {error}")))
}

fn action(text: Option<&str>) -> Result<Action, Error> {
    text.map_or(Some(Action::Read), Action::parse)
        .ok_or_else(|| Error::BadValue("action must be read, write, delete or share".to_owned()))
}

fn principal(query: ExplainQuery) -> Result<Principal, Error> {
    let user = id("user_id", query.user_id, UserId::parse)?;
    let account = id("account_id", query.account_id, AccountId::parse)?;
    if user.is_some() && account.is_none() {
        return Err(Error::MissingField("account_id"));
    }
    let kind = match query.kind {
        Some(kind) => PrincipalKind::parse(&kind).ok_or_else(|| {
            let kinds = "user, guest, public, service, admin or anonymous";
            Error::BadValue(format!("kind must be {kinds}"))
        })?,
        None if user.is_some() => PrincipalKind::User,
        None if account.is_some() => PrincipalKind::Public,
        None => PrincipalKind::Anonymous,
    };
    Ok(Principal {
        kind,
        account,
        user,
        token: None,
    })
}

fn body(about: &Principal, file: &FileId, action: Action, explanation: Explanation) -> ExplainBody {
    let rules = explanation.steps.iter().map(|step| RuleBody {
        rule: match step.rule {
            Rule::File => "file",
            Rule::Admin => "admin",
            Rule::Owner => "owner",
            Rule::Visibility => "visibility",
            Rule::Hook => "hook",
        },
        says: says(step.says),
        why: step.why,
    });
    ExplainBody {
        file_id: file.as_str().to_owned(),
        action: action.as_str(),
        caller: CallerBody {
            kind: about.kind.as_str(),
            account_id: about.account.as_ref().map(|id| Id::of(id.as_str())),
            user_id: about.user.as_ref().map(|id| Id::of(id.as_str())),
        },
        decision: says(explanation.decision()),
        links: explanation.links,
        rules: rules.collect(),
        hook: explanation
            .hook
            .map_or_else(HookBody::default, |hook| HookBody {
                configured: true,
                actions: hook.actions.iter().map(|action| action.as_str()).collect(),
                circuit: Some(match hook.circuit {
                    Circuit::Closed => "closed",
                    Circuit::Open => "open",
                }),
                last_asked: hook.last.map(last_asked),
            }),
    }
}

const fn says(says: Says) -> &'static str {
    match says {
        Says::Yes => "yes",
        Says::No => "no",
        Says::Pass => "pass",
        Says::Ask => "ask",
    }
}

fn last_asked(last: LastAsked) -> LastAskedBody {
    LastAskedBody {
        at: rfc3339(last.at),
        said: match last.said {
            Said::Yes => "yes",
            Said::No => "no",
            Said::Failed => "failed",
            Said::TimedOut => "timed_out",
        },
        reason: last.reason,
        kept: last.kept,
    }
}
