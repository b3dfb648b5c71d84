//! A request's body on its way in: paced, and hashed where the request states a digest of the whole.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{error::PayloadError, web};
use bytes::Bytes;
use cloakroom_application::Error;
use cloakroom_domain::Sha256Digest;
use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, Sleep, sleep};

/// Within so much waiting for the client …
const WINDOW: Duration = Duration::from_secs(30);
/// … so many bytes must have come: 1 KiB/s.
const WINDOW_BYTES: u64 = 30 * 1024;

/// The hash of everything that went through an [`Inbound`].
#[derive(Clone, Default)]
pub(crate) struct Whole(Rc<RefCell<Sha256>>);

impl Whole {
    pub(crate) fn digest(&self) -> Sha256Digest {
        Sha256Digest::new(self.0.borrow().clone().finalize().into())
    }
}

/// The body of a request. It ends with an error if the client is slower than 1 KiB/s for 30 s;
/// only time spent waiting for the client counts. Clones read the same body on.
#[derive(Clone)]
pub(crate) struct Inbound(Rc<RefCell<State>>);

struct State {
    payload: web::Payload,
    whole: Option<Whole>,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    waited: Duration,
    received: u64,
}

impl Inbound {
    pub(crate) fn new(payload: web::Payload, whole: Option<Whole>) -> Self {
        let state = State {
            payload,
            whole,
            waiting: None,
            waited: Duration::ZERO,
            received: 0,
        };
        Self(Rc::new(RefCell::new(state)))
    }

    /// Reads what follows the last thing of interest, so that the connection can be used again.
    ///
    /// # Errors
    /// There is more of it than `limit` bytes, or the body is broken.
    pub(crate) async fn drain(mut self, limit: usize) -> Result<(), Error> {
        let mut length = 0;
        while let Some(chunk) = self.next().await {
            length += chunk.map_err(|error| broken(&error))?.len();
            if length > limit {
                return Err(Error::Malformed(
                    "the body goes on after its end".to_owned(),
                ));
            }
        }
        Ok(())
    }
}

impl State {
    fn arrived(&mut self, chunk: &[u8]) {
        if let Some((since, _)) = self.waiting.take() {
            self.waited += since.elapsed();
        }
        self.received += chunk.len() as u64;
        if self.received >= WINDOW_BYTES {
            self.received = 0;
            self.waited = Duration::ZERO;
        }
        if let Some(whole) = &self.whole {
            whole.0.borrow_mut().update(chunk);
        }
    }

    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = WINDOW.saturating_sub(self.waited);
        let (_, timer) = self
            .waiting
            .get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        timer.as_mut().poll(cx)
    }
}

impl Stream for Inbound {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.0.borrow_mut();
        match Pin::new(&mut state.payload).poll_next(cx) {
            Poll::Ready(Some(Ok(chunk))) => {
                state.arrived(&chunk);
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => state.poll_too_slow(cx).map(|()| {
                let slow = io::Error::new(io::ErrorKind::TimedOut, "slower than 1 KiB/s for 30 s");
                Some(Err(PayloadError::Io(slow)))
            }),
        }
    }
}

/// A body that ended early, came too slowly or was framed wrongly.
pub(crate) fn broken(error: &PayloadError) -> Error {
    Error::Malformed(match error {
        PayloadError::Incomplete(_) => "the body ended early".to_owned(),
        PayloadError::Io(error) if error.kind() == io::ErrorKind::TimedOut => error.to_string(),
        _ => "the body cannot be read".to_owned(),
    })
}
