//! Jobs for the database that wait while others are done are done together, in one transaction.

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::ports::RepositoryError;

/// The most jobs in a transaction.
const TOGETHER: usize = 16;

/// Takes jobs, until it is dropped.
pub(super) struct Together<J, R> {
    queue: mpsc::Sender<Waiting<J, R>>,
    _task: AbortOnDropHandle<()>,
}

/// A job, and who wants to hear what became of it.
type Waiting<J, R> = (J, oneshot::Sender<Result<R, RepositoryError>>);

impl<J: Send + 'static, R: Send + 'static> Together<J, R> {
    /// `work` answers for every job that it is given, in their order.
    pub(super) fn new<W, F>(work: W) -> Self
    where
        W: Fn(Vec<J>) -> F + Send + 'static,
        F: Future<Output = Vec<Result<R, RepositoryError>>> + Send,
    {
        let (queue, mut waiting) = mpsc::channel::<Waiting<J, R>>(TOGETHER);
        let task = async move {
            let mut ready = Vec::new();
            while waiting.recv_many(&mut ready, TOGETHER).await > 0 {
                let (jobs, told): (Vec<J>, Vec<_>) = ready.drain(..).unzip();
                for (outcome, told) in work(jobs).await.into_iter().zip(told) {
                    // Whoever left has no use for it.
                    let _ = told.send(outcome);
                }
            }
        };
        Self {
            queue,
            _task: AbortOnDropHandle::new(tokio::spawn(task)),
        }
    }

    /// Does a job, with others or alone.
    pub(super) async fn run(&self, job: J) -> Result<R, RepositoryError> {
        let (told, outcome) = oneshot::channel();
        if self.queue.send((job, told)).await.is_err() {
            return Err(RepositoryError::Unavailable("nobody takes jobs".into()));
        }
        match outcome.await {
            Ok(outcome) => outcome,
            Err(unheard) => Err(RepositoryError::OutcomeUnknown(unheard.into())),
        }
    }
}
