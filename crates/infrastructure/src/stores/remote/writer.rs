//! Writing: in one request what fits into a buffer, bit by bit what does not; then a move to where it shows.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom_application::ports::{ObjectWriter, StoreError, WriteHints};
use tokio::runtime::Handle;

use super::{Remote, Sink};
use crate::stores::{budget::WriteBudget, fs::layout::Address, s3::buffer::Buffer};

/// How long what was under way may take to arrive after nobody waits for it any more.
const SETTLING: Duration = Duration::from_millis(400);

/// Writes an object of bytes in memory.
pub(super) async fn store_whole(
    remote: &Arc<dyn Remote>,
    address: &Address,
    body: &[Bytes],
) -> Result<(), StoreError> {
    if !remote.shows_halves() {
        return remote.put(&address.path, body).await;
    }
    let size = body.iter().map(|bytes| bytes.len() as u64).sum();
    let mut draft = Draft::new(Arc::clone(remote), address.clone());
    draft.begun = true;
    remote.put(&address.unfinished, body).await?;
    draft.publish(size).await
}

/// What may lie where unfinished writes are; removed in the background unless it was published.
struct Draft {
    remote: Arc<dyn Remote>,
    address: Address,
    sink: Option<Box<dyn Sink>>,
    /// Whether anything was sent.
    begun: bool,
}

impl Draft {
    fn new(remote: Arc<dyn Remote>, address: Address) -> Self {
        Self {
            remote,
            address,
            sink: None,
            begun: false,
        }
    }

    /// Where bytes go until they are whole.
    fn path(&self) -> &str {
        if self.remote.shows_halves() {
            &self.address.unfinished
        } else {
            &self.address.path
        }
    }

    async fn sink(&mut self) -> Result<&mut Box<dyn Sink>, StoreError> {
        let sink = match self.sink.take() {
            Some(sink) => sink,
            None => {
                self.begun = true;
                self.remote.open(self.path()).await?
            }
        };
        Ok(self.sink.insert(sink))
    }

    /// Moves it to where it shows.
    async fn publish(mut self, size: u64) -> Result<(), StoreError> {
        if self.remote.shows_halves() {
            let (from, to) = (&self.address.unfinished, &self.address.path);
            self.remote.rename(from, to, size).await?;
        }
        self.begun = false;
        Ok(())
    }

    async fn discard(mut self) -> Result<(), StoreError> {
        if !std::mem::take(&mut self.begun) {
            return Ok(());
        }
        clear(&*self.remote, self.sink.take(), &self.address.unfinished).await
    }
}

async fn clear(
    remote: &dyn Remote,
    sink: Option<Box<dyn Sink>>,
    path: &str,
) -> Result<(), StoreError> {
    if let Some(sink) = sink {
        sink.abort().await;
    }
    if remote.shows_halves() {
        remote.remove(path).await?;
    }
    Ok(())
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.begun {
            return;
        }
        // Without a runtime the process is ending, and the sweeper finds it.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (remote, sink) = (Arc::clone(&self.remote), self.sink.take());
        let path = std::mem::take(&mut self.address.unfinished);
        runtime.spawn(async move {
            let mut outcome = clear(&*remote, sink, &path).await;
            if remote.shows_halves() {
                // A request that was under way when it was dropped may have arrived meanwhile.
                tokio::time::sleep(SETTLING).await;
                outcome = outcome.and(remote.remove(&path).await.map(drop));
            }
            if let Err(error) = outcome {
                tracing::debug!(%error, "an unfinished write is left to the sweeper");
            }
        });
    }
}

/// A writer to an object.
pub(super) struct RemoteWriter {
    draft: Draft,
    budget: WriteBudget,
    announced: Option<u64>,
    buffer: Buffer,
    /// Bytes that went to the sink.
    sent: u64,
    failed: bool,
}

impl RemoteWriter {
    pub(super) fn new(
        remote: Arc<dyn Remote>,
        address: Address,
        budget: WriteBudget,
        hints: WriteHints,
    ) -> Self {
        Self {
            draft: Draft::new(remote, address),
            budget,
            announced: hints.size,
            buffer: Buffer::default(),
            sent: 0,
            failed: false,
        }
    }

    async fn take(&mut self, mut data: Bytes) -> Result<(), StoreError> {
        let most = self.draft.remote.piece();
        while !data.is_empty() {
            if self.buffer.len() >= most {
                self.send().await?;
                continue;
            }
            let expected = self.announced.and_then(|size| size.checked_sub(self.sent));
            let expected = expected.map(|left| usize::try_from(left).unwrap_or(usize::MAX));
            self.buffer.reserve(&self.budget, expected, most).await?;
            self.buffer.fill(&mut data);
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), StoreError> {
        let part = std::mem::take(&mut self.buffer).seal();
        self.sent += part.len();
        self.draft.sink().await?.write(part.into_pieces()).await
    }
}

#[async_trait]
impl ObjectWriter for RemoteWriter {
    async fn write(&mut self, data: Bytes) -> Result<(), StoreError> {
        if self.failed {
            return Err(failed_before());
        }
        // Until the bytes are taken the object has a hole, also if this future is dropped half way.
        self.failed = true;
        self.take(data).await?;
        self.failed = false;
        Ok(())
    }

    fn holds_up_others(&self) -> bool {
        self.buffer.holds_up_others()
    }

    async fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        if self.failed {
            return Err(failed_before());
        }
        if self.sent == 0 {
            let body = std::mem::take(&mut self.buffer).seal().into_pieces();
            let draft = self.draft;
            return store_whole(&draft.remote, &draft.address, &body).await;
        }
        if self.buffer.len() > 0 {
            self.send().await?;
        }
        if let Some(sink) = self.draft.sink.take() {
            sink.finish().await?;
        }
        self.draft.publish(self.sent).await
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        let Self { draft, buffer, .. } = *self;
        // Others may wait for its memory.
        drop(buffer);
        draft.discard().await
    }
}

fn failed_before() -> StoreError {
    StoreError::Refused("this write has failed before".into())
}
