//! The sweeper: finds what a crash left, and removes what is due.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use cloakroom_domain::{Bucket, ObjectKey, StoreId, VersionId};

use crate::{
    App, Error, claims,
    ports::{Doomed, StoreError},
};

const BATCH: u32 = 500;
/// Each of these may have thousands of parts and pieces, which go with it.
const UPLOADS: u32 = 20;

/// A sweep that could not remove so many bodies leaves the others to the next one.
const MOST_POSTPONED: u64 = 10_000;

/// Rows without anything behind them go so many at a time, and so many times in a sweep.
const MANY_ROWS: u32 = 5_000;
const MANY_ROWS_AT_MOST: usize = 100;

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Uploads of one request given up for not having moved.
    pub expired: u64,
    /// Uploads of several requests that nobody went on with in time.
    pub uploads_expired: u64,
    /// Uploads of several requests of which it is not told any more that they ended.
    pub uploads_forgotten: u64,
    /// Bodies removed, with their rows.
    pub removed: u64,
    /// Bodies that their store would not remove now.
    pub postponed: u64,
    /// Files that went to the trash because nobody claimed them.
    pub unclaimed: u64,
}

/// One round: gives up stale uploads, removes what is due, forgets old idempotency keys and what became of uploads.
///
/// Any number of replicas may sweep at once.
///
/// # Errors
/// The database failed. A store that fails only postpones its own bodies.
pub async fn sweep(app: &App) -> Result<SweepReport, Error> {
    let mut report = SweepReport::default();
    let limits = &app.limits;
    let (stale, settling) = (limits.pending_ttl, limits.uncertain_delay);
    let expire = || app.ledger.expire_pending(stale, settling, BATCH);
    report.expired = until_few(BATCH, expire).await?;
    report.uploads_expired = until_few(UPLOADS, || app.uploads.expire(UPLOADS)).await?;
    sweep_bodies(app, &mut report).await?;
    report.uploads_forgotten =
        until_few(BATCH, || app.uploads.forget(limits.upload_expiry, BATCH)).await?;
    report.unclaimed = sweep_rows(app).await?;
    Ok(report)
}

/// Removes the bodies that are due. A store that is away is asked once.
async fn sweep_bodies(app: &App, report: &mut SweepReport) -> Result<(), Error> {
    let (mut away, mut postponed) = (BTreeSet::new(), HashSet::new());
    loop {
        let mut due = app.ledger.due(BATCH).await?;
        // What was put off a moment ago and is due again comes behind everything else.
        due.retain(|body| !postponed.contains(&body.version));
        let more = due.len() == BATCH as usize;
        for ((store, _), bodies) in by_bucket(due) {
            let mut failed: Vec<VersionId> = bodies.iter().map(|body| body.version).collect();
            if !away.contains(&store) {
                let (removed, kept, error) = remove_bucket(app, &bodies).await?;
                report.removed += removed;
                let Some(error) = error else {
                    continue;
                };
                tracing::warn!(%error, %store, failed = kept.len(), "bodies could not be removed");
                if matches!(error, StoreError::Unavailable(_)) {
                    away.insert(store);
                }
                failed = kept;
            }
            report.postponed += failed.len() as u64;
            let later = app.limits.sweep_interval;
            app.ledger.postpone(&failed, later).await?;
            postponed.extend(failed);
        }
        if !more || report.postponed >= MOST_POSTPONED {
            return Ok(());
        }
    }
}

/// What has no bytes, or leaves them where they are. Answers how many files nobody claimed.
async fn sweep_rows(app: &App) -> Result<u64, Error> {
    until_few(BATCH, || app.ledger.expire_keys(BATCH)).await?;
    let unclaimed = until_few(BATCH, || claims::expire(app, BATCH)).await?;
    until_few(BATCH, || app.links.forget(BATCH)).await?;
    for _ in 0..MANY_ROWS_AT_MOST {
        if app.claims.runs.forget(MANY_ROWS).await? == 0 {
            break;
        }
    }
    Ok(unclaimed)
}

/// Repeats a step that takes a batch at a time until one is not full, and says how many there were.
async fn until_few<F, E>(batch: u32, mut step: impl FnMut() -> F) -> Result<u64, E>
where
    F: Future<Output = Result<u64, E>>,
{
    let mut all = 0;
    loop {
        let some = step().await?;
        all += some;
        if some < u64::from(batch) {
            return Ok(all);
        }
    }
}

/// Removes bodies and their rows now.
///
/// # Errors
/// The store's first refusal; those bodies stay `deleting` for the sweeper.
pub(crate) async fn remove(app: &App, doomed: &[Doomed]) -> Result<(), StoreError> {
    for (_, bodies) in by_bucket(doomed.to_vec()) {
        let removed = remove_bucket(app, &bodies).await;
        let (_, _, error) = removed.map_err(|error| StoreError::Broken(error.into()))?;
        if let Some(error) = error {
            return Err(error);
        }
    }
    Ok(())
}

type ByBucket = BTreeMap<(StoreId, Bucket), Vec<Doomed>>;

fn by_bucket(doomed: Vec<Doomed>) -> ByBucket {
    let mut groups = ByBucket::new();
    for body in doomed {
        let at = (body.location.store, body.location.bucket.clone());
        groups.entry(at).or_default().push(body);
    }
    groups
}

async fn remove_bucket(
    app: &App,
    bodies: &[Doomed],
) -> Result<(u64, Vec<VersionId>, Option<StoreError>), Error> {
    let Some(first) = bodies.first() else {
        return Ok((0, Vec::new(), None));
    };
    let store = match app.stores.at(&first.location).await {
        Ok(store) => store,
        // A store that this process has not opened: another replica may have.
        Err(error) => {
            let all = bodies.iter().map(|body| body.version).collect();
            return Ok((0, all, Some(StoreError::Unavailable(error.into()))));
        }
    };
    let keys: Vec<ObjectKey> = bodies
        .iter()
        .map(|body| body.location.key.clone())
        .collect();
    let answers = store.delete(&first.location.bucket, &keys).await;
    let (mut gone, mut failed, mut refusal) = (Vec::new(), Vec::new(), None);
    for (body, answer) in bodies.iter().zip(answers) {
        match answer {
            Ok(()) => gone.push(body.version),
            Err(error) => {
                failed.push(body.version);
                refusal.get_or_insert(error);
            }
        }
    }
    app.ledger.forget(&gone).await?;
    Ok((gone.len() as u64, failed, refusal))
}
