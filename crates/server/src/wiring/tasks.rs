//! What goes on beside the requests.

use std::{sync::Arc, time::Duration};

use cloakroom_application::{App, Scrubbed, SweepReport, scrub, sweep, uploads};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::sleep,
};

use crate::failure::with_causes;

/// How often it is asked whether a scrub is to be begun or taken over.
const SCRUB_LOOK: Duration = Duration::from_secs(3);
/// And at most, where nothing is due for long: somebody may have shortened the interval elsewhere.
const SCRUB_REST: Duration = Duration::from_secs(60);

/// Tells tasks when to stop.
pub(crate) type Stop = watch::Receiver<bool>;

/// Waits until it is time to stop.
pub(crate) async fn stopped(mut stop: Stop) {
    // A sender that is gone means the same.
    let _ = stop.wait_for(|stopping| *stopping).await;
}

/// Sweeps now and after every interval.
pub(crate) async fn sweep_repeatedly(app: Arc<App>, interval: Duration, stop: Stop) {
    let round = async {
        loop {
            // In a task of its own, so that a panic ends a round and not the sweeping.
            let mut round = JoinSet::new();
            let app = app.clone();
            round.spawn(async move {
                uploads::take_up(&app).await?;
                sweep(&app).await
            });
            if let Some(outcome) = round.join_next().await {
                log(outcome);
            }
            sleep(interval).await;
        }
    };
    tokio::select! {
        () = stopped(stop) => {}
        () = round => {}
    }
}

/// Scrubs whenever a round is due, or was left by another replica.
pub(crate) async fn scrub_repeatedly(app: Arc<App>, interval: Duration, stop: Stop) {
    let rounds = async {
        loop {
            let mut round = JoinSet::new();
            let app = app.clone();
            round.spawn(async move { scrub(&app, interval, &mut |_| {}).await });
            let pause = match round.join_next().await {
                Some(Ok(Ok(Scrubbed::NotDue(wait)))) => wait.clamp(SCRUB_LOOK, SCRUB_REST),
                Some(Ok(Ok(Scrubbed::Round(round)))) => {
                    tracing::info!(round, "scrubbed");
                    SCRUB_LOOK
                }
                Some(Ok(Ok(Scrubbed::Elsewhere))) | None => SCRUB_LOOK,
                Some(Ok(Err(error))) => {
                    tracing::warn!(error = with_causes(&error), "the scrub was cut short");
                    SCRUB_LOOK
                }
                Some(Err(error)) => {
                    tracing::error!(%error, "the scrub broke off");
                    SCRUB_REST
                }
            };
            sleep(pause).await;
        }
    };
    tokio::select! {
        () = stopped(stop) => {}
        () = rounds => {}
    }
}

fn log(outcome: Result<Result<SweepReport, cloakroom_application::Error>, JoinError>) {
    match outcome {
        Ok(Ok(report)) if report == SweepReport::default() => tracing::debug!("nothing to sweep"),
        Ok(Ok(report)) => tracing::info!(
            expired = report.expired,
            uploads_expired = report.uploads_expired,
            uploads_forgotten = report.uploads_forgotten,
            removed = report.removed,
            postponed = report.postponed,
            unclaimed = report.unclaimed,
            "swept"
        ),
        Ok(Err(error)) => tracing::warn!(error = with_causes(&error), "a sweep failed"),
        Err(error) => tracing::error!(%error, "a sweep broke off"),
    }
}
