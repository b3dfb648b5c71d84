//! Bodies that are too large for a buffer, on their way to a WebDAV server.

use std::{io, pin::pin, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom_application::ports::StoreError;
use futures_util::stream;
use reqwest::{Method, RequestBuilder, header::CONTENT_LENGTH};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

use super::{
    client::Client,
    failure::{sorted, unsent},
    multistatus,
};
use crate::stores::remote::{Sink, limits};

/// How long the server may take none of the bytes that it is offered.
const STALL: Duration = Duration::from_secs(10);

/// How long a request that is given up may take to end.
const GOODBYE: Duration = Duration::from_secs(2);

/// What is read from a temporary file at once, in bytes.
const READ: usize = 256 * 1024;

enum Piece {
    Bytes(Bytes),
    End,
}

/// A body being sent as it comes.
pub(super) struct Upload {
    pieces: mpsc::Sender<Piece>,
    /// Until it has ended.
    request: Option<JoinHandle<Result<(), StoreError>>>,
    look: Look,
    /// The length that was said, if one was.
    length: Option<u64>,
    sent: u64,
}

/// How a file is looked at afterwards.
struct Look {
    client: Client,
    path: String,
}

impl Upload {
    /// Sends a body to a path, of a length that is known or not.
    pub(super) fn open(
        client: &Client,
        path: &str,
        length: Option<u64>,
    ) -> Result<Self, StoreError> {
        let (pieces, coming) = mpsc::channel(1);
        let mut request = client.request(Method::PUT, path);
        if let Some(length) = length {
            request = request.header(CONTENT_LENGTH, length);
        }
        let request = request.body(reqwest::Body::wrap_stream(body(coming)));
        Ok(Self {
            pieces,
            request: Some(tokio::spawn(send(request))),
            look: Look {
                client: client.clone(),
                path: path.to_owned(),
            },
            length,
            sent: 0,
        })
    }

    /// Hands a piece over unless the request ends or nobody takes it. Whether somebody did.
    async fn hand_over(&mut self, piece: Piece) -> Result<bool, StoreError> {
        let Some(request) = &mut self.request else {
            return Err(StoreError::Unavailable("the request has ended".into()));
        };
        let handing = pin!(timeout(STALL, self.pieces.send(piece)));
        tokio::select! {
            biased;
            ended = request => {
                self.request = None;
                Err(early(ended))
            }
            handed = handing => match handed {
                Ok(sent) => Ok(sent.is_ok()),
                Err(late) => Err(StoreError::Unavailable(late.into())),
            },
        }
    }

    async fn pass(&mut self, data: Bytes) -> Result<(), StoreError> {
        if data.is_empty() {
            return Ok(());
        }
        self.sent += data.len() as u64;
        if self.hand_over(Piece::Bytes(data)).await? {
            return Ok(());
        }
        // Whoever sends the body is gone; why, the request knows in a moment.
        match self.ended(GOODBYE).await {
            Ok(()) => Err(early(Ok(Ok(())))),
            Err(error) => Err(error),
        }
    }

    /// How the request ended, which it does within the time.
    async fn ended(&mut self, limit: Duration) -> Result<(), StoreError> {
        let Some(mut request) = self.request.take() else {
            return Err(StoreError::Unavailable("the request has ended".into()));
        };
        match timeout(limit, &mut request).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(died)) => Err(StoreError::Unavailable(died.into())),
            Err(late) => {
                request.abort();
                Err(StoreError::Unavailable(late.into()))
            }
        }
    }
}

/// What it means that a request ended while its body was being sent.
fn early(ended: Result<Result<(), StoreError>, tokio::task::JoinError>) -> StoreError {
    match ended {
        Ok(Ok(())) => StoreError::Broken("the server answered before it had all bytes".into()),
        Ok(Err(error)) => error,
        Err(died) => StoreError::Unavailable(died.into()),
    }
}

/// The pieces up to their end. Without an end the body breaks off, and no server can take it for whole.
fn body(
    coming: mpsc::Receiver<Piece>,
) -> impl stream::Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::try_unfold(coming, |mut coming| async move {
        match coming.recv().await {
            Some(Piece::Bytes(bytes)) => Ok(Some((bytes, coming))),
            Some(Piece::End) => Ok(None),
            None => Err(io::Error::other("the write was given up")),
        }
    })
}

async fn send(request: RequestBuilder) -> Result<(), StoreError> {
    let response = request.send().await.map_err(|error| unsent(&error))?;
    match response.status() {
        status if status == reqwest::StatusCode::MULTI_STATUS => Err(multistatus::unexpected()),
        status if status.is_success() => Ok(()),
        status => Err(sorted(status)),
    }
}

#[async_trait]
impl Sink for Upload {
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        for piece in pieces {
            self.pass(piece).await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        // A body whose length was said is at its end by itself.
        if self.length != Some(self.sent) {
            self.hand_over(Piece::End).await?;
        }
        let limit = STALL + limits::rename(self.sent);
        self.ended(limit).await?;
        // Not every proxy in between passes a long body on whole.
        let found = self.look.client.look(&self.look.path).await?;
        if found.size == Some(self.sent) {
            Ok(())
        } else {
            Err(StoreError::Broken(
                "the server kept another number of bytes than it was sent".into(),
            ))
        }
    }

    async fn abort(mut self: Box<Self>) {
        // Without its end the body breaks off.
        let (unused, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.pieces, unused));
        self.ended(GOODBYE).await.ok();
    }
}

/// A body that is kept in a temporary file until its length is known, for servers that want it said before.
pub(super) struct Spool {
    client: Client,
    path: String,
    file: File,
    length: u64,
}

impl Spool {
    pub(super) async fn open(client: &Client, path: &str) -> Result<Self, StoreError> {
        let made = tokio::task::spawn_blocking(tempfile::tempfile).await;
        let made = made.map_err(|died| StoreError::Unavailable(died.into()))?;
        Ok(Self {
            client: client.clone(),
            path: path.to_owned(),
            file: File::from_std(made.map_err(|error| own_disk(&error))?),
            length: 0,
        })
    }
}

fn own_disk(error: &io::Error) -> StoreError {
    StoreError::Refused(format!("the temporary file on this machine: {error}").into())
}

#[async_trait]
impl Sink for Spool {
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        for piece in pieces {
            self.length += piece.len() as u64;
            let write = self.file.write_all(&piece).await;
            write.map_err(|error| own_disk(&error))?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        self.file.flush().await.map_err(|error| own_disk(&error))?;
        self.file.rewind().await.map_err(|error| own_disk(&error))?;
        let mut upload = Upload::open(&self.client, &self.path, Some(self.length))?;
        let mut left = self.length;
        while left > 0 {
            let mut piece = Vec::with_capacity(READ);
            let mut stretch = (&mut self.file).take(READ as u64);
            while stretch
                .read_buf(&mut piece)
                .await
                .map_err(|error| own_disk(&error))?
                > 0
            {}
            if piece.is_empty() {
                return Err(own_disk(&io::ErrorKind::UnexpectedEof.into()));
            }
            left -= piece.len() as u64;
            upload.pass(Bytes::from(piece)).await?;
        }
        Box::new(upload).finish().await
    }

    async fn abort(self: Box<Self>) {}
}
