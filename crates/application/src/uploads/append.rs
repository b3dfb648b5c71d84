//! Appending to an upload: a request's body goes, chunk by chunk, to a task that nobody can cancel.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cloakroom_domain::{
    File, FileId, Principal, Sha256Digest, UploadKind, UploadProgress, UploadState,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Checksum, Completion,
    body::{Receiving, refusal},
    finish,
    hold::{Held, Taken, hold},
};
use crate::{App, Error, ports::UploadRecord};

/// A client that is silent for so long does not keep the memory of a part.
const SILENCE: Duration = Duration::from_secs(5);

/// A request that is asked for its upload goes on while its bytes come without a pause of ...
const PAUSE: Duration = Duration::from_millis(250);
/// ... and no longer than.
const GRACE: Duration = Duration::from_secs(1);

/// Bytes to append, as far as the request announces them.
#[derive(Debug, Clone)]
pub struct Append {
    /// Where they belong.
    pub offset: u64,
    /// How many they are, where that is announced.
    pub body: Option<u64>,
    /// The length of the whole upload, where the request states it.
    pub length: Option<u64>,
    /// Whether the end of this body is the end of the upload.
    pub is_last: bool,
    /// How the caller's protocol completes an upload.
    pub completion: Completion,
    /// What the bytes must be, or none of them counts.
    pub checksum: Option<Checksum>,
    /// The digest that the whole upload must have once it is completed, where the request states it.
    pub whole: Option<Sha256Digest>,
}

/// What an append achieved.
#[derive(Debug)]
pub struct Appended {
    /// How far the upload is, all of it durable.
    pub progress: UploadProgress,
    /// The file, if the upload was completed and is one.
    pub file: Option<Box<File>>,
}

/// How a request's body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As it was announced.
    Whole,
    /// Before its end.
    CutShort,
}

/// An append in progress. Dropping it is a body cut short: what arrived is kept.
pub struct Appending {
    body: Option<mpsc::Sender<Chunk>>,
    outcome: JoinHandle<Result<Appended, Error>>,
}

enum Chunk {
    Bytes(Bytes),
    End,
}

/// Begins to append. The request that holds the upload, if any, is asked to yield first.
///
/// # Errors
/// [`Error::UploadMissing`], [`Error::UploadGone`], [`Error::UploadComplete`], [`Error::WrongOffset`],
/// [`Error::InconsistentLength`], [`Error::TooLarge`], [`Error::UploadHeld`]; failures of the database.
pub async fn append(
    app: &Arc<App>,
    who: &Principal,
    id: &FileId,
    append: Append,
) -> Result<Appending, Error> {
    let record = super::find_own(app, who, id).await?;
    if super::is_gone(app, &record).await? {
        return Err(Error::UploadGone);
    }
    check_open(&record, &append)?;
    let (body, chunks) = mpsc::channel(1);
    let (ready, is_ready) = oneshot::channel();
    let task = run(Arc::clone(app), id.clone(), append, chunks, ready);
    let outcome = app.background.spawn(task);
    if is_ready.await.is_ok() {
        return Ok(Appending {
            body: Some(body),
            outcome,
        });
    }
    match settled(outcome).await {
        Ok(_) => Err(Error::Internal("an append ended before it began".into())),
        Err(error) => Err(error),
    }
}

impl Appending {
    /// Hands over the next bytes; waits while the ones before are being written. `false`: no more are taken, and
    /// [`Appending::finish`] says why.
    pub async fn write(&self, data: Bytes) -> bool {
        match &self.body {
            Some(body) if !data.is_empty() => body.send(Chunk::Bytes(data)).await.is_ok(),
            Some(body) => !body.is_closed(),
            None => false,
        }
    }

    /// Resolves when no more bytes are taken.
    pub async fn closed(&self) {
        if let Some(body) = &self.body {
            body.closed().await;
        }
    }

    /// Says how the body ended, and waits until what came is durable and, if the upload is complete, a file.
    ///
    /// # Errors
    /// [`Error::ChunkMismatch`], [`Error::DigestMismatch`], [`Error::UploadHeld`] if a newer request took the upload,
    /// [`Error::InconsistentLength`] and [`Error::TooLarge`] for more bytes than announced or allowed; failures of
    /// database and store. What became durable before counts, but under a checksum that failed.
    pub async fn finish(mut self, end: End) -> Result<Appended, Error> {
        if let (Some(body), End::Whole) = (&self.body, end) {
            // A task that has ended by itself has its reason in its outcome.
            let _ = body.send(Chunk::End).await;
        }
        self.body = None;
        settled(self.outcome).await
    }
}

async fn settled(outcome: JoinHandle<Result<Appended, Error>>) -> Result<Appended, Error> {
    outcome
        .await
        .map_err(|error| Error::Internal(error.into()))?
}

fn check_open(record: &UploadRecord, append: &Append) -> Result<(), Error> {
    let is_elsewhere = match append.completion {
        Completion::ByWord => record.kind != UploadKind::Whole,
        Completion::ByLength => record.kind == UploadKind::Direct,
    };
    if is_elsewhere {
        return Err(Error::UploadMissing);
    }
    if record.kind == UploadKind::Joined || record.state == UploadState::Finished {
        return Err(ended(record, append));
    }
    Ok(())
}

/// What an append to a finished upload is told.
fn ended(record: &UploadRecord, append: &Append) -> Error {
    let expected = record.progress.offset();
    let misplaced = append.offset != expected && append.completion == Completion::ByLength;
    if record.state.is_gone() {
        Error::UploadGone
    } else if misplaced && record.kind != UploadKind::Joined {
        Error::WrongOffset {
            expected,
            provided: append.offset,
        }
    } else {
        Error::UploadComplete
    }
}

async fn run(
    app: Arc<App>,
    id: FileId,
    append: Append,
    mut chunks: mpsc::Receiver<Chunk>,
    ready: oneshot::Sender<()>,
) -> Result<Appended, Error> {
    let mut held = match hold(&app, &id).await? {
        Taken::Held(held) => held,
        Taken::Ended(record) => return Err(ended(&record, &append)),
    };
    let progress = match admit(&held, &append) {
        Ok(progress) => progress,
        Err(error) => {
            held.let_go(None).await?;
            return Err(error);
        }
    };
    if let Some(whole) = append.whole
        && let Err(error) = held.expect(whole).await
    {
        let _ = held.let_go(None).await;
        return Err(error);
    }
    let mut receiving = Receiving::new(held, progress, &append);
    // A caller that left meanwhile closes the channel, too.
    let _ = ready.send(());
    match receive(&mut receiving, &mut chunks).await {
        Stop::Whole => complete(receiving, &append).await,
        Stop::CutShort => receiving.cut_short().await.map(|progress| Appended {
            progress,
            file: None,
        }),
        Stop::Yield => {
            receiving.cut_short().await?;
            Err(Error::UploadHeld)
        }
        // The draft has an upload whose length was a lie end there.
        Stop::Refused(error @ Error::InconsistentLength(_))
            if append.completion == Completion::ByWord =>
        {
            receiving.fail("more bytes than its length").await?;
            Err(error)
        }
        Stop::Refused(error) => {
            receiving.cut_short().await?;
            Err(error)
        }
    }
}

/// Whether the upload, as it is now, takes these bytes.
fn admit(held: &Held, append: &Append) -> Result<UploadProgress, Error> {
    let limit = held.app.limits.max_file_size;
    let mut progress = held.record().progress;
    progress
        .place(append.offset, None, limit)
        .map_err(|error| refusal(error, append.offset))?;
    let announced = held.record().target.digest;
    if announced.is_some_and(|it| append.whole.is_some_and(|stated| stated != it)) {
        return Err(Error::DigestMismatch);
    }
    if let Some(length) = append.length {
        progress.learn(length, limit)?;
    }
    if append.is_last
        && let Some(body) = append.body
    {
        progress.learn(append.offset.saturating_add(body), limit)?;
    }
    progress
        .place(append.offset, append.body, limit)
        .map_err(|error| refusal(error, append.offset))?;
    Ok(progress)
}

/// Why receiving ended.
enum Stop {
    Whole,
    CutShort,
    Yield,
    Refused(Error),
}

async fn receive(receiving: &mut Receiving, chunks: &mut mpsc::Receiver<Chunk>) -> Stop {
    let mut asked: Option<Instant> = None;
    loop {
        let next = match asked {
            Some(since) => {
                let until = (since + GRACE).min(Instant::now() + PAUSE);
                match timeout_at(until, chunks.recv()).await {
                    Ok(chunk) => chunk,
                    Err(_) => return Stop::Yield,
                }
            }
            None => tokio::select! {
                chunk = timeout(SILENCE, chunks.recv()) => match chunk {
                    Ok(chunk) => chunk,
                    Err(_) => match receiving.park().await {
                        Ok(()) => continue,
                        Err(error) => return Stop::Refused(error),
                    },
                },
                () = receiving.asked() => {
                    asked = Some(Instant::now());
                    continue;
                }
            },
        };
        match next {
            Some(Chunk::Bytes(bytes)) => {
                if let Err(error) = receiving.take(bytes).await {
                    return Stop::Refused(error);
                }
            }
            Some(Chunk::End) => return Stop::Whole,
            None => return Stop::CutShort,
        }
    }
}

async fn complete(receiving: Receiving, append: &Append) -> Result<Appended, Error> {
    let progress = *receiving.progress();
    let is_whole = match append.completion {
        Completion::ByLength => progress.is_whole(),
        Completion::ByWord => append.is_last,
    };
    if !is_whole {
        let progress = receiving.pause().await?;
        return Ok(Appended {
            progress,
            file: None,
        });
    }
    let (held, hashes) = receiving.complete(progress.offset()).await?;
    let progress = held.record().progress;
    let file = finish::finish(held, hashes).await?;
    Ok(Appended { progress, file })
}
