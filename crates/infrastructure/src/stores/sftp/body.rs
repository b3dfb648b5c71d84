//! Bytes to and from a file, with several requests under way.

use std::{
    future::poll_fn,
    io::SeekFrom,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use cloakroom_application::ports::{ByteStream, StoreError};
use cloakroom_domain::ByteRange;
use futures_util::{
    TryStreamExt,
    future::BoxFuture,
    stream::{FuturesOrdered, FuturesUnordered, try_unfold},
};
use openssh_sftp_client::file::File;
use tokio::io::AsyncSeek;

use super::connection::Connection;
use crate::stores::remote::{Sink, limits, within};

/// What is asked for at once, and what may be under way of a file that is read, in bytes.
const READ: usize = 64 * 1024;
const READ_AHEAD: usize = 4 * READ;

/// No requests for less, except for the end of a stretch.
const LEAST: usize = 16 * 1024;

/// What is written at once, at most, in bytes, and how many such writes are under way.
const WRITE: usize = 128 * 1024;
const WRITES: usize = 64;

/// How long a stretch of a body may take that others share the connection with.
const STILL: Duration = Duration::from_secs(25);

/// After so many bytes they are flushed, so that the last flush does not take long.
const FLUSH: u64 = 64 * 1024 * 1024;

/// What a server and the client take in one request, as far as it was found out.
pub(super) struct Pace {
    read: AtomicUsize,
    /// What is known to be written in one request.
    fits: AtomicUsize,
    /// What is written in one request at most.
    write: AtomicUsize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            read: AtomicUsize::new(READ),
            fits: AtomicUsize::new(0),
            write: AtomicUsize::new(WRITE),
        }
    }
}

impl Pace {
    /// So much was written of what was sent in one request.
    fn learn(&self, taken: usize, sent: usize) {
        if taken < sent {
            self.write.fetch_min(taken, Ordering::Relaxed);
        }
        self.fits.fetch_max(taken, Ordering::Relaxed);
    }
}

/// A stretch of a file, read a little ahead.
pub(super) fn stream(connection: Arc<Connection>, file: File, range: ByteRange) -> ByteStream {
    let reading = Reading {
        source: Arc::new(Source { connection, file }),
        next: range.start,
        end: range.end,
        under_way: FuturesOrdered::new(),
    };
    Box::pin(try_unfold(reading, |mut reading| async move {
        reading.ask();
        let piece = reading.under_way.try_next().await?;
        Ok(piece.map(|piece| (piece, reading)))
    }))
}

/// Where it is read: one user of the connection, however many requests are under way.
struct Source {
    connection: Arc<Connection>,
    file: File,
}

struct Reading {
    source: Arc<Source>,
    next: u64,
    end: u64,
    under_way: FuturesOrdered<BoxFuture<'static, Result<Bytes, StoreError>>>,
}

impl Reading {
    fn ask(&mut self) {
        let step = self.source.connection.pace.read.load(Ordering::Relaxed);
        while self.next < self.end && (self.under_way.len() + 1) * step <= READ_AHEAD {
            let left = usize::try_from(self.end - self.next).unwrap_or(usize::MAX);
            let length = step.min(left);
            let piece = read(Arc::clone(&self.source), self.next, length);
            self.under_way.push_back(Box::pin(piece));
            self.next += length as u64;
        }
    }
}

/// So many bytes from there.
async fn read(source: Arc<Source>, start: u64, length: usize) -> Result<Bytes, StoreError> {
    let (connection, mut file) = (&source.connection, source.file.clone());
    let mut all = BytesMut::new();
    while all.len() < length {
        let asked = length - all.len();
        let wanted = u32::try_from(asked).unwrap_or(u32::MAX);
        seek(&mut file, start + all.len() as u64)?;
        let room = BytesMut::with_capacity(asked);
        let part = connection.ask(STILL, file.read(wanted, room)).await?;
        let part = part.ok_or_else(|| broken("the file ended early"))?;
        if part.is_empty() || part.len() > asked {
            return Err(broken("another stretch than was asked for"));
        }
        if part.len() < asked {
            let pace = &connection.pace.read;
            pace.fetch_min(part.len().max(LEAST), Ordering::Relaxed);
        }
        if all.is_empty() {
            all = part;
        } else {
            all.extend_from_slice(&part);
        }
    }
    Ok(all.freeze())
}

fn broken(why: &'static str) -> StoreError {
    StoreError::Broken(why.into())
}

fn seek(file: &mut File, to: u64) -> Result<(), StoreError> {
    let sought = Pin::new(file).start_seek(SeekFrom::Start(to));
    sought.map_err(|error| StoreError::Broken(error.into()))
}

/// A file being written.
pub(super) struct Writing {
    connection: Arc<Connection>,
    file: File,
    sent: u64,
    flushed: u64,
}

impl Writing {
    pub(super) const fn new(connection: Arc<Connection>, file: File) -> Self {
        Self {
            connection,
            file,
            sent: 0,
            flushed: 0,
        }
    }

    /// Writes at the end and waits for all answers. The requests go out in order, for some servers know no other.
    pub(super) async fn append(&mut self, pieces: &[Bytes]) -> Result<(), StoreError> {
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        let limit = limits::write(length);
        let (connection, file, pace) = (&*self.connection, &self.file, &self.connection.pace);
        let mut under_way = FuturesUnordered::new();
        for piece in pieces {
            let mut rest = piece.clone();
            while !rest.is_empty() {
                let most = pace.write.load(Ordering::Relaxed).min(rest.len());
                if most > pace.fits.load(Ordering::Relaxed) {
                    // What the next request begins with is known when this one is answered.
                    while under_way.try_next().await?.is_some() {}
                    let part = rest.slice(..most);
                    let taken = send(connection, file.clone(), self.sent, part, limit).await?;
                    pace.learn(taken, most);
                    self.sent += taken as u64;
                    drop(rest.split_to(taken));
                    continue;
                }
                if under_way.len() >= WRITES {
                    under_way.try_next().await?;
                }
                let (part, offset) = (rest.split_to(most), self.sent);
                let mut write = Box::pin(async move {
                    let taken = send(connection, file.clone(), offset, part, limit).await?;
                    if taken == most {
                        Ok(())
                    } else {
                        Err(broken("a write of another length"))
                    }
                });
                self.sent += most as u64;
                match poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await {
                    Poll::Ready(written) => written?,
                    Poll::Pending => under_way.push(write),
                }
            }
        }
        while under_way.try_next().await?.is_some() {}
        Ok(())
    }

    /// Flushes it to the server's disk, where that can be asked for.
    async fn flush(&mut self, limit: Duration) -> Result<(), StoreError> {
        self.flushed = self.sent;
        match self
            .connection
            .ask_patiently(limit, self.file.sync_all())
            .await
        {
            Err(fault) if fault.is_unknown_request() => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// Flushes and closes it, and waits for both answers: a server may keep all bytes until then.
    pub(super) async fn close(mut self) -> Result<(), StoreError> {
        let limit = limits::rename(self.sent);
        within(limit, async {
            self.flush(limit).await?;
            let closed = self.connection.ask_patiently(limit, self.file.close());
            Ok(closed.await?)
        })
        .await
    }
}

/// Writes so much of it as goes in one request, and says how much.
async fn send(
    connection: &Connection,
    mut file: File,
    offset: u64,
    bytes: Bytes,
    limit: Duration,
) -> Result<usize, StoreError> {
    seek(&mut file, offset)?;
    let bytes = [bytes];
    let taken = connection.ask(limit, file.write_zero_copy(&bytes)).await?;
    if taken == 0 || taken > bytes[0].len() {
        return Err(broken("a write of another length"));
    }
    Ok(taken)
}

#[async_trait]
impl Sink for Writing {
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        within(limits::write(length), self.append(&pieces)).await?;
        if self.sent - self.flushed >= FLUSH {
            self.flush(limits::write(FLUSH)).await?;
        }
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<(), StoreError> {
        self.close().await
    }

    async fn abort(self: Box<Self>) {
        // Once this is answered nothing more arrives.
        let closed = self.connection.ask(limits::ATTEMPT, self.file.close());
        closed.await.ok();
    }
}

#[cfg(test)]
mod tests;
