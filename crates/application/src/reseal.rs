//! Changing the master key: the keys of bodies are sealed again under the current one. No body is read or written.

use std::time::Duration;

use cloakroom_domain::{KeyId, Seal};

use crate::{
    Error,
    ports::{Resealed, SealError, SealLedger, Sealing, body_context},
};

/// Keys of bodies sealed again in one transaction.
const PAGE: u32 = 500;
/// Rows that somebody else was changing are looked at again this often, so far apart.
const PASSES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// What sealing again did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResealSummary {
    /// Bodies whose keys are now sealed under the current key and were not before.
    pub resealed: u64,
    /// Bodies whose keys could not be opened, by the master key that they are sealed under.
    pub missing: Vec<(KeyId, u64)>,
    /// Keys of bodies that do not open although their master key is there: they were changed.
    pub forged: u64,
    /// Bodies that somebody else was changing each time. The next run finds them.
    pub skipped: u64,
    /// Whether there are keys that this version did not seal.
    pub has_unreadable: bool,
}

impl ResealSummary {
    /// Whether every body's key is sealed under the current master key now.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.forged == 0 && self.skipped == 0 && !self.has_unreadable
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResealProgress {
    /// Bodies looked at.
    pub done: u64,
    /// Bodies that there were when it began; of very many, a part.
    pub total: u64,
}

/// Seals every body's key under the current master key. It may run beside the service, and be broken off: the next run
/// goes on where this one ended.
///
/// # Errors
/// [`Error::BadValue`] if no master key is configured; failures of the database.
pub async fn reseal(
    seals: &dyn SealLedger,
    sealing: &dyn Sealing,
    report: &mut (dyn FnMut(ResealProgress) + Send),
) -> Result<ResealSummary, Error> {
    let Some(current) = sealing.current() else {
        return Err(Error::BadValue("no master key is configured".to_owned()));
    };
    let mut run = Run {
        seals,
        sealing,
        report,
        summary: ResealSummary::default(),
        progress: ResealProgress::default(),
    };
    let mut olds = Vec::new();
    for key in seals.keys_in_use().await? {
        match key {
            None => run.summary.has_unreadable = true,
            Some(key) if key == current => {}
            Some(key) => {
                let count = seals.count_under(key).await?;
                if sealing.knows(key) {
                    run.progress.total += count;
                    olds.push(key);
                } else {
                    run.summary.missing.push((key, count));
                }
            }
        }
    }
    for key in olds {
        run.key(key).await?;
    }
    Ok(run.summary)
}

/// Bodies that a pass left under the old key.
#[derive(Default)]
struct Left {
    /// Somebody else was changing their rows.
    skipped: u64,
    /// Their keys do not open.
    forged: u64,
}

struct Run<'a> {
    seals: &'a dyn SealLedger,
    sealing: &'a dyn Sealing,
    report: &'a mut (dyn FnMut(ResealProgress) + Send),
    summary: ResealSummary,
    progress: ResealProgress,
}

impl Run<'_> {
    /// Seals again what is sealed under `key`.
    async fn key(&mut self, key: KeyId) -> Result<(), Error> {
        let mut left = Left::default();
        for pass in 0..PASSES {
            if pass > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            left = self.pass(key).await?;
            if left.skipped == 0 {
                break;
            }
        }
        self.summary.skipped += left.skipped;
        self.summary.forged += left.forged;
        Ok(())
    }

    /// Looks at every body under `key` once, and says what it had to leave.
    async fn pass(&mut self, key: KeyId) -> Result<Left, Error> {
        let (mut after, mut left) = (None, Left::default());
        loop {
            let page = self.seals.sealed_under(key, after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(left);
            };
            after = Some(last.version);
            let looked_at = page.len() as u64;
            let changes = self.again(page)?;
            left.forged += looked_at - changes.len() as u64;
            let kept = self.seals.keep_resealed(&changes).await?;
            left.skipped += changes.len() as u64 - kept;
            self.summary.resealed += kept;
            self.progress.done += looked_at;
            (self.report)(self.progress);
        }
    }

    fn again(&self, page: Vec<Seal>) -> Result<Vec<Resealed>, Error> {
        let mut changes = Vec::with_capacity(page.len());
        for before in page {
            let context = body_context(before.version);
            match self.sealing.reseal(&before.wrapped_key, &context) {
                Ok(Some(wrapped_key)) => changes.push(Resealed {
                    before,
                    wrapped_key,
                }),
                Ok(None) => {}
                Err(error @ SealError::NoRandomness) => return Err(Error::Internal(error.into())),
                Err(error) => {
                    tracing::error!(version = %before.version, %error, "the key of a body cannot be sealed again");
                }
            }
        }
        Ok(changes)
    }
}
