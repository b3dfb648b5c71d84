//! The scrub: stored bytes are read again, slowly, and compared with what their rows say.

mod pace;
mod report;

use std::{sync::Arc, time::Duration};

use cloakroom_domain::{FileId, StoreId, Version, VersionId};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout};

use self::pace::Paced;
pub use self::report::{ScrubReport, scrub_report};
use crate::{
    App, Error,
    hashes::Hashes,
    ports::{
        ByteStream, Damage, Payload, SCRUB_LEASE, ScrubLease, ScrubProgress, ScrubRepository,
        ScrubTurn, ScrubbedVersion, StoreError,
    },
};

const PAGE: u32 = 200;

/// How often what was achieved is kept, which is also the sign of life.
const KEEP: Duration = Duration::from_secs(SCRUB_LEASE.as_secs() / 4);

/// A store that is silent for so long does not answer.
const SILENCE: Duration = Duration::from_secs(60);

/// A store that is there and gives no whole body is asked so often.
const ATTEMPTS: usize = 3;

/// The first and the longest pause before a store that is away is asked again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A store that is away for so long counts as one that does not give the body, so that others have their turn.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Bytes hashed before others have their turn.
const STEP: usize = 64 * 1024;

/// A row that keeps changing while its bytes are read is left to the next round.
const MOVES: usize = 3;

/// How the scrub works, and where it keeps what it knows.
#[derive(Clone)]
pub struct Scrubbing {
    /// Its rows.
    pub rows: Arc<dyn ScrubRepository>,
    /// A round begins so long after the one before began; `None`: none begins by itself.
    pub interval: Option<Duration>,
    /// Bytes a second.
    pub rate: u64,
}

/// Progress of a scrub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScrubEvent {
    /// An object was looked at; so many bytes of it were read.
    Looked(u64),
    /// Something is wrong with a version.
    Found(ScrubFault),
    /// Nothing is wrong any more with a version that something was wrong with.
    Mended(FileId, VersionId),
}

/// What is wrong with which version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubFault {
    /// The file.
    pub file: FileId,
    /// The version's id.
    pub version: VersionId,
    /// Its number.
    pub number: u64,
    /// The store.
    pub store: StoreId,
    /// What is wrong.
    pub damage: Damage,
    /// Whether that is news.
    pub is_new: bool,
}

/// How a scrub ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scrubbed {
    /// The round of this number is complete.
    Round(u64),
    /// Another replica is at it, or has taken over.
    Elsewhere,
    /// The next round begins in so long.
    NotDue(Duration),
}

/// Goes on with the round, or begins one if the last began `interval` ago, and ends it. One replica does so at a time;
/// whoever is cut short leaves the rest to the next who asks.
///
/// # Errors
/// The database failed. A store that is away is waited for.
pub async fn scrub(
    app: &App,
    interval: Duration,
    report: &mut (dyn FnMut(ScrubEvent) + Send),
) -> Result<Scrubbed, Error> {
    let rows = &app.scrubbing.rows;
    let lease = match rows.take(interval).await? {
        ScrubTurn::Ours(lease) => lease,
        ScrubTurn::Held => return Ok(Scrubbed::Elsewhere),
        ScrubTurn::NotDue(wait) => return Ok(Scrubbed::NotDue(wait)),
    };
    tracing::info!(
        round = lease.round,
        resumed = lease.after.is_some(),
        "scrubbing"
    );
    let (mut after, mut pace) = (lease.after, Paced::of(app.scrubbing.rate));
    let mut watch = Watch::of(rows.as_ref(), &lease);
    loop {
        let page = rows.page(after, PAGE).await?;
        if page.is_empty() {
            break;
        }
        for scrubbed in page {
            let id = scrubbed.version.id;
            let read = pace.read();
            let Some(looked) = watch.over(look(app, scrubbed, &mut pace, report)).await else {
                return Ok(Scrubbed::Elsewhere);
            };
            looked?;
            after = Some(id);
            let bytes = pace.read() - read;
            report(ScrubEvent::Looked(bytes));
            app.meter.scrubbed_object();
            if !watch.did(id, bytes).await? {
                return Ok(Scrubbed::Elsewhere);
            }
        }
    }
    let completed = rows.complete(lease.generation, watch.done).await?;
    Ok(if completed {
        Scrubbed::Round(lease.round)
    } else {
        Scrubbed::Elsewhere
    })
}

/// Shows signs of life, and keeps what was achieved.
struct Watch<'a> {
    rows: &'a dyn ScrubRepository,
    generation: u64,
    done: ScrubProgress,
    kept_at: Instant,
}

impl<'a> Watch<'a> {
    fn of(rows: &'a dyn ScrubRepository, lease: &ScrubLease) -> Self {
        Self {
            rows,
            generation: lease.generation,
            done: ScrubProgress::default(),
            kept_at: Instant::now(),
        }
    }

    /// Does work that may take long; `None`: another has taken over meanwhile.
    async fn over<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                () = sleep(KEEP) => {}
            }
            match self.keep().await {
                Ok(true) => {}
                Ok(false) => return None,
                // Whoever has taken over is heard of as soon as the database answers.
                Err(error) => tracing::debug!(%error, "the scrub could not show a sign of life"),
            }
        }
    }

    /// An object was looked at. `false`: another has taken over.
    async fn did(&mut self, version: VersionId, bytes: u64) -> Result<bool, Error> {
        self.done.after = Some(version);
        self.done.objects += 1;
        self.done.bytes += bytes;
        if self.kept_at.elapsed() < KEEP {
            return Ok(true);
        }
        self.keep().await
    }

    async fn keep(&mut self) -> Result<bool, Error> {
        let kept = self.rows.keep(self.generation, self.done).await?;
        self.done = ScrubProgress::default();
        self.kept_at = Instant::now();
        Ok(kept)
    }
}

/// Reads a version's bytes, and enters what came of it. What changed meanwhile is no finding.
async fn look(
    app: &App,
    mut scrubbed: ScrubbedVersion,
    pace: &mut Paced,
    report: &mut (dyn FnMut(ScrubEvent) + Send),
) -> Result<(), Error> {
    let rows = &app.scrubbing.rows;
    for _ in 0..MOVES {
        let version = &scrubbed.version;
        let damage = match read_patiently(app, version, pace).await {
            Ok(hashes) => match compare(version, &hashes) {
                None => return fine(app, scrubbed, &hashes, report).await,
                Some(damage) => damage,
            },
            Err(damage) => damage,
        };
        let Some(now) = rows.stored(version.id).await? else {
            return Ok(());
        };
        let same_place = now.version.location == version.location;
        if same_place && rows.find(version.id, &version.location, damage).await? {
            let fault = ScrubFault {
                file: scrubbed.file,
                version: version.id,
                number: version.number,
                store: version.location.store,
                damage,
                is_new: now.found != Some(damage),
            };
            log(&fault);
            report(ScrubEvent::Found(fault));
            return Ok(());
        }
        scrubbed = now;
    }
    Ok(())
}

fn log(fault: &ScrubFault) {
    let (file, version, store) = (&fault.file, fault.version, fault.store);
    let damage = fault.damage.as_str();
    if fault.is_new {
        tracing::error!(%file, %version, %store, damage, "the scrub found stored bytes that are not as they should be");
    } else {
        tracing::warn!(%file, %version, %store, damage, "stored bytes are still not as they should be");
    }
}

/// Enters what was learned of a version that is as it should be.
async fn fine(
    app: &App,
    scrubbed: ScrubbedVersion,
    hashes: &Hashes,
    report: &mut (dyn FnMut(ScrubEvent) + Send),
) -> Result<(), Error> {
    let (rows, version) = (&app.scrubbing.rows, &scrubbed.version);
    if version.sha256.is_none() || version.crc64.is_none() {
        let (sha256, crc64) = (hashes.sha256(), hashes.crc64());
        let learned = rows.learn(version.id, &version.location, sha256, crc64);
        if learned.await? {
            app.files.forget(Some(std::slice::from_ref(&scrubbed.file)));
        }
    }
    if scrubbed.found.is_some() {
        rows.mend(version.id).await?;
        let (file, version) = (scrubbed.file, version.id);
        tracing::info!(%file, %version, "stored bytes are as they should be again");
        report(ScrubEvent::Mended(file, version));
    }
    Ok(())
}

fn compare(version: &Version, hashes: &Hashes) -> Option<Damage> {
    if hashes.size() != version.size {
        return Some(Damage::WrongSize);
    }
    let other_sha256 = version.sha256.is_some_and(|it| it != hashes.sha256());
    let other_crc64 = version.crc64.is_some_and(|it| it != hashes.crc64());
    (other_sha256 || other_crc64).then_some(Damage::WrongHash)
}

/// Reads a version, waiting for a store that is away.
async fn read_patiently(app: &App, version: &Version, pace: &mut Paced) -> Result<Hashes, Damage> {
    let (mut pause, longest) = PAUSES;
    let (mut attempts, mut away_since) = (0, None);
    loop {
        let error = match read(app, version, pace).await {
            Ok(hashes) => return Ok(hashes),
            Err(error) => error,
        };
        if matches!(error, StoreError::NotFound) {
            return Err(Damage::Missing);
        }
        // A store that is away, or that has stopped to let us in, says nothing of one body.
        if is_there(app, version).await {
            attempts = match error {
                StoreError::Refused(_) => ATTEMPTS,
                _ => attempts + 1,
            };
        }
        let away = away_since.get_or_insert_with(Instant::now).elapsed();
        if attempts == ATTEMPTS || away > PATIENCE {
            tracing::debug!(%error, version = %version.id, "a stored body cannot be read");
            return Err(Damage::Unreadable);
        }
        tracing::debug!(%error, "the scrub waits for a store");
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

async fn is_there(app: &App, version: &Version) -> bool {
    let Ok(store) = app.stores.at(&version.location).await else {
        return false;
    };
    matches!(timeout(SILENCE, store.probe()).await, Ok(Ok(())))
}

/// Hashes a version's bytes, at most one more than it has.
async fn read(app: &App, version: &Version, pace: &mut Paced) -> Result<Hashes, StoreError> {
    let mut bytes = within(opened(app, version)).await?;
    let mut hashes = Hashes::new();
    while let Some(chunk) = within(async { bytes.next().await.transpose() }).await? {
        for step in chunk.chunks(STEP) {
            hashes.update(step);
            app.meter.scrubbed_bytes(step.len() as u64);
            pace.spend(step.len() as u64).await;
        }
        if hashes.size() > version.size {
            break;
        }
    }
    pace.object().await;
    Ok(hashes)
}

/// The bytes of a version, from its store and no cache. Everything that the scrub reads comes from here.
async fn opened(app: &App, version: &Version) -> Result<ByteStream, StoreError> {
    let at = &version.location;
    let store = app.stores.at(at).await;
    // Another replica may have opened it.
    let store = store.map_err(|error| StoreError::Unavailable(error.into()))?;
    let payload = store.read(&at.bucket, &at.key, None).await;
    payload.map(Payload::into_stream)
}

async fn within<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match timeout(SILENCE, answer).await {
        Ok(answer) => answer,
        Err(late) => Err(StoreError::Unavailable(late.into())),
    }
}
