//! Noticing that a store has stopped taking bytes, long before a large write may be called late.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_sdk_s3::{config::http::HttpResponse, error::SdkError};
use tokio::time::{Instant, sleep_until};

/// How long a write may neither take bytes nor be answered.
const STALL: Duration = Duration::from_secs(8);

/// When a body was last asked for bytes.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    begun: Instant,
    /// Milliseconds after `begun`.
    moved: Arc<AtomicU64>,
}

impl Progress {
    pub(super) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            moved: Arc::default(),
        }
    }

    /// Notes that bytes were asked for just now.
    pub(super) fn step(&self) {
        let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(millis, Ordering::Relaxed);
    }

    /// Lets the call run for as long as it moves.
    pub(super) async fn watch<T, E>(
        &self,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, SdkError<E, HttpResponse>> {
        let mut call = pin!(call);
        loop {
            let moved = self.moved.load(Ordering::Relaxed);
            let deadline = self.begun + Duration::from_millis(moved) + STALL;
            tokio::select! {
                outcome = &mut call => return outcome,
                () = sleep_until(deadline) => {
                    if self.moved.load(Ordering::Relaxed) == moved {
                        return Err(SdkError::timeout_error("the store took no bytes and gave no answer"));
                    }
                }
            }
        }
    }
}
