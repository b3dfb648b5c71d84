//! Writing an object over several requests: the parts of one multipart upload, sent by one writer after the other.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom_application::ports::{
    Ending, PartsWriter, Resumable, Resume, StoreError, StoredPart, Suspended, Unfinished,
    WritePosition,
};
use tokio::task::{JoinError, JoinSet};

use super::{
    S3Store,
    buffer::Buffer,
    failure::again,
    listing::unfinished,
    upload::{IN_FLIGHT, Opening, Target, completed},
    writer::{MAX_PARTS, failed_before, part_size},
};

/// How long looking for what else is unfinished under the key of a new object may take.
const TIDY: Duration = Duration::from_secs(2);

#[async_trait]
impl Resumable for S3Store {
    async fn resume(
        &self,
        object: &Unfinished,
        resume: Resume,
    ) -> Result<Box<dyn PartsWriter>, StoreError> {
        let target = self.target(&object.bucket, &object.key)?;
        let first = resume.first_number.max(1);
        Ok(Box::new(S3PartsWriter {
            target,
            announced: resume.size,
            given: object.write_id.clone(),
            opening: None,
            buffer: Buffer::default(),
            next_number: first,
            sending: JoinSet::new(),
            done: BTreeMap::new(),
            next_told: first,
            has_told: false,
            failed: false,
            failure: None,
        }))
    }

    async fn join(&self, object: &Unfinished, parts: &[StoredPart]) -> Result<(), StoreError> {
        let target = self.target(&object.bucket, &object.key)?;
        let Some(id) = object.write_id.as_deref().filter(|_| !parts.is_empty()) else {
            return Err(StoreError::Refused("an object without parts".into()));
        };
        let bytes = parts.iter().map(|part| part.size).sum();
        let list = parts.iter().map(|part| {
            let number = i32::try_from(part.number).unwrap_or(i32::MAX);
            completed(number, Some(part.tag.clone()))
        });
        target.join(id, list.collect(), bytes).await?;
        match tokio::time::timeout(TIDY, target.give_up_others()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "uploads beside an object could not be given up; reaping will try again");
            }
            Err(_) => {
                tracing::warn!(
                    "uploads beside an object could not be looked for; reaping will try again"
                );
            }
        }
        Ok(())
    }
}

impl Target {
    /// Gives up whatever else is unfinished under the key: a crash may have left an upload whose id nobody learned.
    async fn give_up_others(&self) -> Result<(), StoreError> {
        let key = self.key.as_str();
        for upload in unfinished(&self.core, &self.bucket, key).await? {
            if upload.key == key {
                self.abort(&upload.id).await?;
            }
        }
        Ok(())
    }
}

/// A writer of parts, numbered from its first on without a gap.
struct S3PartsWriter {
    target: Target,
    announced: Option<u64>,
    /// The upload's id, if there was one before this writer.
    given: Option<String>,
    opening: Option<Opening>,
    buffer: Buffer,
    next_number: u32,
    sending: JoinSet<Result<StoredPart, StoreError>>,
    /// Parts that were not told yet, by their numbers.
    done: BTreeMap<u32, StoredPart>,
    /// The number of the part to be told next.
    next_told: u32,
    has_told: bool,
    failed: bool,
    /// Why, until it was said.
    failure: Option<StoreError>,
}

impl S3PartsWriter {
    /// The size of the part that is being filled. Two parts always fit the budget.
    fn part_size(&self) -> usize {
        let largest = u64::from(self.target.core.budget.parts.size) / 2;
        part_size(self.announced, self.next_number - 1, largest)
    }

    async fn take(&mut self, mut data: Bytes) -> Result<(), StoreError> {
        while !data.is_empty() {
            if self.next_number > MAX_PARTS.unsigned_abs() {
                return Err(StoreError::Refused(
                    "the object has more parts than a store takes".into(),
                ));
            }
            let most = self.part_size();
            let budget = &self.target.core.budget;
            self.buffer.reserve(budget, None, most).await?;
            self.buffer.fill(&mut data);
            if self.buffer.len() >= most {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<(), StoreError> {
        while self.sending.len() >= IN_FLIGHT {
            let outcome = self.sending.join_next().await;
            self.note(outcome);
        }
        self.check()?;
        let part = std::mem::take(&mut self.buffer).seal();
        let (target, opening) = (self.target.clone(), self.opening());
        let number = self.next_number;
        self.next_number += 1;
        self.sending.spawn(async move {
            let id = opening.await.map_err(|error| again(&error))?;
            let sent = i32::try_from(number).unwrap_or(i32::MAX);
            let tag = target.send(&id, sent, &part).await?;
            Ok(StoredPart {
                number,
                size: part.len(),
                tag,
            })
        });
        Ok(())
    }

    /// The upload, which is opened when there is a part to send.
    fn opening(&mut self) -> Opening {
        let (target, given) = (&self.target, &self.given);
        let opening = self.opening.get_or_insert_with(|| match given {
            Some(id) => Target::opened(id),
            None => target.opening(),
        });
        opening.clone()
    }

    fn note(&mut self, outcome: Option<Result<Result<StoredPart, StoreError>, JoinError>>) {
        let failure = match outcome {
            None => return,
            Some(Ok(Ok(part))) => {
                self.done.insert(part.number, part);
                return;
            }
            Some(Ok(Err(error))) => error,
            Some(Err(died)) => StoreError::Unavailable(died.into()),
        };
        self.failed = true;
        self.failure.get_or_insert(failure);
    }

    /// An error once a part has failed.
    fn check(&mut self) -> Result<(), StoreError> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Parts up to the first that is missing.
    fn tell(&mut self) -> Vec<StoredPart> {
        let mut told = Vec::new();
        while let Some(part) = self.done.remove(&self.next_told) {
            self.next_told += 1;
            told.push(part);
        }
        self.has_told |= !told.is_empty();
        told
    }

    /// Whether there is an upload of which nobody but this writer knows.
    fn is_secret(&self) -> bool {
        self.given.is_none() && !self.has_told
    }
}

#[async_trait]
impl PartsWriter for S3PartsWriter {
    async fn write(&mut self, data: Bytes) -> Result<(), StoreError> {
        while let Some(outcome) = self.sending.try_join_next() {
            self.note(Some(outcome));
        }
        self.check()?;
        if self.failed {
            return Err(failed_before());
        }
        // Until the bytes are taken there is a hole, also if this future is dropped half way.
        self.failed = true;
        self.take(data).await?;
        self.failed = false;
        Ok(())
    }

    fn holds_up_others(&self) -> bool {
        self.buffer.holds_up_others()
    }

    fn until_cut(&self) -> Option<u64> {
        Some((self.part_size() - self.buffer.len()) as u64)
    }

    async fn durable(&mut self) -> Result<Vec<StoredPart>, StoreError> {
        while let Some(outcome) = self.sending.try_join_next() {
            self.note(Some(outcome));
        }
        Ok(self.tell())
    }

    fn position(&self) -> WritePosition {
        let opened = self.opening.as_ref().filter(|_| !self.is_secret());
        let opened = opened.and_then(|opening| opening.peek()?.as_ref().ok());
        WritePosition {
            write_id: opened
                .map(|id| id.to_string())
                .or_else(|| self.given.clone()),
            next_number: self.next_number,
        }
    }

    async fn suspend(&mut self, ending: Ending) -> Result<Suspended, StoreError> {
        self.check()?;
        if self.failed {
            return Err(failed_before());
        }
        let sent = match ending {
            Ending::Last if self.buffer.len() > 0 => self.send_part().await,
            Ending::Last | Ending::More => Ok(()),
        };
        // All of them, also behind one that failed: those before it count.
        while let Some(outcome) = self.sending.join_next().await {
            self.note(Some(outcome));
        }
        sent.and_then(|()| self.check())?;
        let rest = std::mem::take(&mut self.buffer).seal().into_pieces();
        Ok(Suspended {
            parts: self.tell(),
            rest,
        })
    }
}

impl Drop for S3PartsWriter {
    fn drop(&mut self) {
        let Some(opening) = self.opening.take().filter(|_| self.is_secret()) else {
            return;
        };
        let (target, mut sending) = (self.target.clone(), std::mem::take(&mut self.sending));
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            sending.shutdown().await;
            let Ok(id) = opening.await else { return };
            if let Err(error) = target.abort(&id).await {
                tracing::warn!(%error, "an upload could not be given up; reaping will try again");
            }
        });
    }
}
