//! An operator of OpenDAL as a place of files and folders.

use std::{panic::AssertUnwindSafe, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom_application::ports::{ByteStream, ObjectMeta, StoreError};
use cloakroom_domain::{ByteRange, Timestamp};
use futures_util::{FutureExt, StreamExt};
use opendal::{Buffer, Error, ErrorKind, Metadata, Operator, Writer};

use crate::stores::remote::{Entry, Remote, Sink, Trouble, limits, with_retries, within};

/// The most entries of a folder that are read.
const MOST_ENTRIES: usize = 65_536;

/// How long reading a folder may take.
const FOLDER: Duration = Duration::from_secs(20);

/// What differs between places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traits {
    pub(super) driver: &'static str,
    /// What is written at once, in bytes.
    pub(super) piece: usize,
    /// Whether a file is written in one request, and so measures a piece at most.
    pub(super) whole: bool,
}

pub(super) struct Files {
    pub(super) operator: Operator,
    pub(super) traits: Traits,
}

#[async_trait]
impl Remote for Files {
    fn driver(&self) -> &'static str {
        self.traits.driver
    }

    fn shows_halves(&self) -> bool {
        false
    }

    fn piece(&self) -> usize {
        self.traits.piece
    }

    async fn put(&self, path: &str, body: &[Bytes]) -> Result<(), StoreError> {
        let body = Buffer::from(body.to_vec());
        let limit = limits::write(body.len() as u64);
        let put = || async {
            let write = self.operator.write(path, body.clone());
            write.await.map(drop).map_err(|error| sorted(&error))
        };
        with_retries(limit, put).await
    }

    async fn open(&self, path: &str) -> Result<Box<dyn Sink>, StoreError> {
        if self.traits.whole {
            return Err(StoreError::Refused(
                format!(
                    "{} takes objects of {} MiB at most",
                    self.traits.driver,
                    self.traits.piece / (1024 * 1024)
                )
                .into(),
            ));
        }
        let open = || async {
            let writer = self.operator.writer(path).await;
            writer.map_err(|error| sorted(&error))
        };
        Ok(Box::new(Writing {
            writer: with_retries(limits::CALL, open).await?,
            sent: 0,
        }))
    }

    async fn read(
        &self,
        path: &str,
        range: Option<ByteRange>,
    ) -> Result<(u64, ByteStream), StoreError> {
        let size = self.stat(path).await?.size;
        let range = range.map_or(0..size, |range| range.start..range.end);
        if range.end > size {
            return Err(StoreError::Broken("a stretch beyond the end".into()));
        }
        let length = range.end - range.start;
        if length == 0 {
            return Ok((0, Box::pin(futures_util::stream::empty())));
        }
        let open = || async {
            let reader = self.operator.reader(path).await.map_err(|it| sorted(&it))?;
            let bytes = reader.into_bytes_stream(range.clone()).await;
            bytes.map_err(|error| sorted(&error))
        };
        let bytes = with_retries(limits::CALL, open).await?;
        let bytes = bytes.map(|chunk| chunk.map_err(|error| cut(&error)));
        Ok((length, Box::pin(bytes)))
    }

    async fn stat(&self, path: &str) -> Result<ObjectMeta, StoreError> {
        let stat = || async {
            let stat = self.operator.stat(path).await;
            stat.map_err(|error| sorted(&error))
        };
        let found = with_retries(limits::CALL, stat).await?;
        if !found.is_file() {
            return Err(StoreError::NotFound);
        }
        Ok(ObjectMeta {
            size: found.content_length(),
            modified_at: modified_at(&found).unwrap_or(Timestamp::from_micros(0)),
        })
    }

    async fn folder(&self, path: &str) -> Result<Vec<Entry>, StoreError> {
        // A name that is no text is enough to make some of its code panic.
        let look = || AssertUnwindSafe(self.entries(path)).catch_unwind();
        let look = || async {
            match look().await {
                Ok(outcome) => outcome,
                Err(_) => Err(StoreError::Broken("a folder that cannot be read".into())),
            }
        };
        match with_retries(FOLDER, look).await {
            Err(StoreError::NotFound) => Ok(Vec::new()),
            other => other,
        }
    }

    async fn remove(&self, path: &str) -> Result<bool, StoreError> {
        let remove = || async {
            match self.operator.delete(path).await {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                Err(error) => Err(sorted(&error)),
            }
        };
        with_retries(limits::CALL, remove).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.operator.check().await.map_err(|error| sorted(&error))
    }
}

impl Files {
    async fn entries(&self, path: &str) -> Result<Vec<Entry>, StoreError> {
        let folder = format!("{path}/");
        let lister = self.operator.lister(&folder).await;
        let mut lister = lister.map_err(|error| sorted(&error))?;
        let mut entries = Vec::new();
        while let Some(entry) = lister.next().await {
            let entry = entry.map_err(|error| sorted(&error))?;
            let found = entry.metadata();
            let Some(name) = entry.path().strip_prefix(&folder) else {
                continue;
            };
            let name = name.trim_end_matches('/');
            if name.is_empty() || name.contains('/') {
                continue;
            }
            if entries.len() >= MOST_ENTRIES {
                return Err(StoreError::Broken("a folder with too many entries".into()));
            }
            entries.push(Entry {
                name: name.to_owned(),
                is_folder: found.is_dir(),
                size: found.content_length(),
                modified_at: modified_at(found),
            });
        }
        Ok(entries)
    }
}

/// A file being written.
struct Writing {
    writer: Writer,
    sent: u64,
}

#[async_trait]
impl Sink for Writing {
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        // All at once, for one block.
        let data = Buffer::from(pieces);
        self.sent += data.len() as u64;
        let limit = limits::write(data.len() as u64);
        let write = async {
            let write = self.writer.write(data).await;
            write.map_err(|error| sorted(&error))
        };
        within(limit, write).await
    }

    async fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        let limit = limits::rename(self.sent);
        let close = async {
            let close = self.writer.close().await;
            close.map(drop).map_err(|error| sorted(&error))
        };
        within(limit, close).await
    }

    async fn abort(mut self: Box<Self>) {
        // Not every place has a way to; what was sent is removed by its name.
        let abort = self.writer.abort();
        tokio::time::timeout(limits::ATTEMPT, abort).await.ok();
    }
}

fn modified_at(found: &Metadata) -> Option<Timestamp> {
    let time = found.last_modified()?.into_inner();
    Some(Timestamp::from_micros(time.as_microsecond()))
}

/// Sorts an error of OpenDAL into the port's kinds. Its own text may hold addresses and answers, so it stays here.
pub(super) fn sorted(error: &Error) -> StoreError {
    let told = Box::new(Trouble(described(error)));
    match error.kind() {
        ErrorKind::NotFound => StoreError::NotFound,
        ErrorKind::RateLimited | ErrorKind::Conflict => StoreError::Unavailable(told),
        _ if error.is_temporary() => StoreError::Unavailable(told),
        ErrorKind::RangeNotSatisfied | ErrorKind::Unexpected => StoreError::Broken(told),
        _ => StoreError::Refused(told),
    }
}

/// A body that broke off.
fn cut(error: &std::io::Error) -> StoreError {
    let kind = error.kind();
    StoreError::Broken(Box::new(Trouble(format!("the body broke off: {kind}"))))
}

fn described(error: &Error) -> String {
    let first = std::error::Error::source(error);
    let causes = std::iter::successors(first, |cause| cause.source());
    // The causes are of the connection, and never hold an answer.
    let mut text = format!("{:?}", error.kind());
    for cause in causes.take(4) {
        if cause.downcast_ref::<Error>().is_none() {
            text.extend(format!(": {cause}").chars().take(200));
        }
    }
    text
}
