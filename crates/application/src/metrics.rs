//! What an operator's charts are drawn from, with what has to be looked up for it.

use std::time::Duration;

use crate::{
    App,
    ports::{Gauges, RepositoryError, ScrubGauges},
};

/// The database has so long to answer; what it did not say in time is left out.
const PATIENCE: Duration = Duration::from_secs(2);

/// Everything that is measured, as text in the OpenMetrics format.
pub async fn metrics(app: &App) -> String {
    let scrub = match tokio::time::timeout(PATIENCE, scrub(app)).await {
        Ok(Ok(scrub)) => Some(scrub),
        Ok(Err(error)) => {
            tracing::debug!(%error, "metrics of the scrub are left out");
            None
        }
        Err(_) => None,
    };
    app.meter.render(Gauges { scrub })
}

async fn scrub(app: &App) -> Result<ScrubGauges, RepositoryError> {
    let rows = &app.scrubbing.rows;
    let state = rows.state().await?;
    let ago = state
        .completed_at
        .map(|at| state.now.micros().saturating_sub(at.micros()).max(0));
    Ok(ScrubGauges {
        findings: rows.counts().await?,
        seconds_since_round: ago.map(|micros| micros.unsigned_abs() / 1_000_000),
    })
}
