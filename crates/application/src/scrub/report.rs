//! What the scrub says of itself.

use cloakroom_domain::VersionId;

use crate::{
    App, Error,
    page::PageSize,
    ports::{Damage, ScrubFinding, ScrubState},
};

/// Findings in an answer, unless it is said how many.
const FINDINGS: u32 = 100;

/// What a report of the scrub says.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrubReport {
    /// How far it is.
    pub state: ScrubState,
    /// The part of the round that is done, 0 to 1.
    pub progress: f64,
    /// How many findings there are of each kind.
    pub counts: Vec<(Damage, u64)>,
    /// A page of them, by the version's id.
    pub findings: Vec<ScrubFinding>,
    /// Go on behind this one, if there are more.
    pub next: Option<VersionId>,
}

/// Tells how the scrub stands, with up to `limit` findings (100 unless given, at most 1000) behind `after`.
///
/// # Errors
/// [`Error::BadValue`] for a limit that is none; failures of the database.
pub async fn scrub_report(
    app: &App,
    after: Option<VersionId>,
    limit: Option<u32>,
) -> Result<ScrubReport, Error> {
    let size = PageSize::of(limit, FINDINGS)?;
    let rows = &app.scrubbing.rows;
    let state = rows.state().await?;
    let counts = rows.counts().await?;
    let mut findings = rows.findings(after, size.and_one()).await?;
    let next = size.cut(&mut findings, |finding| finding.version);
    Ok(ScrubReport {
        progress: progress(&state),
        next,
        state,
        counts,
        findings,
    })
}

/// Ids are random, so the place among them says how much is done without counting what there is.
fn progress(state: &ScrubState) -> f64 {
    if !state.is_under_way {
        return if state.round > 0 { 1.0 } else { 0.0 };
    }
    let after = state.after.map_or(0, |id| id.uuid().as_u128());
    let first_bits = u32::try_from(after >> 96).unwrap_or(u32::MAX);
    f64::from(first_bits) / f64::from(u32::MAX)
}
