//! `/scrub`: how the reading of stored bytes stands, and what it found.

use actix_web::{
    HttpResponse,
    http::header,
    web::{self, Query},
};
use cloakroom_application::{
    App, ScrubReport,
    ports::{ScrubFinding, ScrubState},
    scrub_report,
};
use cloakroom_domain::{Timestamp, VersionId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{caller::Caller, cursor, error::ApiError, wire::rfc3339};

/// Which findings to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ScrubQuery {
    /// 1–1000, 100 if absent.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// How the scrub stands, over all replicas.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScrubBody {
    /// `running`; `interrupted` while nobody goes on with a round that has begun; `waiting` for the next; `off` where
    /// none begins by itself.
    state: &'static str,
    /// Counted from 1; 0 before the first.
    round: u64,
    /// When this round, or the last one, began.
    started_at: Option<String>,
    /// When a round was last completed.
    completed_at: Option<String>,
    /// When the next one begins, if it does by itself.
    next_at: Option<String>,
    /// What one round may take, in seconds; null where none begins by itself.
    interval_seconds: Option<u64>,
    /// At most so many bytes are read in a second.
    rate: u64,
    /// The part of the round that is done, 0 to 1.
    progress: f64,
    /// Objects that were looked at in this round, or in the last one.
    objects_done: u64,
    /// Bytes that were read for it.
    bytes_done: u64,
    /// About as many objects are left, by what is done; null where too little is done to tell.
    objects_left: Option<u64>,
    /// About as many bytes.
    bytes_left: Option<u64>,
    /// How many findings there are of each kind: `missing_object`, `wrong_size`, `wrong_hash`, `unreadable`.
    #[schema(value_type = Object)]
    findings_by_kind: serde_json::Map<String, serde_json::Value>,
    /// A page of them.
    findings: Vec<FindingBody>,
    /// Hand it back as `cursor` to go on; null at the end.
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct FindingBody {
    file_id: String,
    /// The version's number within the file.
    version: u64,
    version_id: String,
    /// The store that holds it, or should.
    store_id: String,
    /// `missing_object`, `wrong_size`, `wrong_hash` or `unreadable`.
    kind: &'static str,
    /// When it was found first.
    since: String,
    /// When it was found last.
    seen_at: String,
}

/// How the scrub stands, and its findings. For admin tokens.
#[utoipa::path(method(get, head), path = "/scrub", tag = "operations", params(ScrubQuery),
    responses((status = 200, body = ScrubBody),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn report(
    app: web::Data<App>,
    who: Caller,
    query: Query<ScrubQuery>,
) -> Result<HttpResponse, ApiError> {
    who.must_be_admin()?;
    let after = query.cursor.as_deref();
    let after = after.map(|cursor| VersionId::parse(cursor).map_err(|_| cursor::not_ours()));
    let report = scrub_report(&app, after.transpose()?, query.limit).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(body(&app, &report)))
}

fn body(app: &App, report: &ScrubReport) -> ScrubBody {
    let interval = app.scrubbing.interval;
    let state = &report.state;
    let next = state.started_at.filter(|_| !state.is_under_way);
    let next = next.zip(interval).map(|(at, interval)| {
        let interval = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(at.micros().saturating_add(interval))
    });
    ScrubBody {
        state: match (state.is_held, state.is_under_way, interval) {
            (true, ..) => "running",
            (false, true, Some(_)) => "interrupted",
            (false, false, Some(_)) => "waiting",
            (false, _, None) => "off",
        },
        round: state.round,
        started_at: state.started_at.map(rfc3339),
        completed_at: state.completed_at.map(rfc3339),
        next_at: next.map(rfc3339),
        interval_seconds: interval.map(|interval| interval.as_secs()),
        rate: app.scrubbing.rate,
        progress: report.progress,
        objects_done: state.objects,
        bytes_done: state.bytes,
        objects_left: left(state, state.objects, report.progress),
        bytes_left: left(state, state.bytes, report.progress),
        findings_by_kind: report
            .counts
            .iter()
            .map(|(kind, count)| (kind.as_str().to_owned(), (*count).into()))
            .collect(),
        findings: report.findings.iter().map(FindingBody::from).collect(),
        next_cursor: report.next.map(|id| id.to_string()),
    }
}

/// What is left, if the rest is like what is done.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, and never negative"
)]
fn left(state: &ScrubState, done: u64, progress: f64) -> Option<u64> {
    if !state.is_under_way {
        return Some(0);
    }
    (progress > 0.0).then(|| (done as f64 * (1.0 - progress) / progress) as u64)
}

impl From<&ScrubFinding> for FindingBody {
    fn from(finding: &ScrubFinding) -> Self {
        Self {
            file_id: finding.file.as_str().to_owned(),
            version: finding.number,
            version_id: finding.version.to_string(),
            store_id: finding.store.to_string(),
            kind: finding.damage.as_str(),
            since: rfc3339(finding.since),
            seen_at: rfc3339(finding.seen_at),
        }
    }
}
