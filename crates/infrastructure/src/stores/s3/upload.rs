//! A multipart upload: parts in parallel, joined at the end, and nothing left if it does not get there.

use std::sync::Arc;

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use cloakroom_application::ports::StoreError;
use cloakroom_domain::{Bucket, ObjectKey};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::task::JoinSet;

use super::{
    buffer::Part,
    client::{Core, join_limits, write_limits},
    failure::{again, classify},
    lenient::OpenedByAnyName,
    progress::Progress,
};

/// Parts of one object under way at once.
pub(super) const IN_FLIGHT: usize = 3;

/// How often giving up is tried before it is left to reaping.
const ABORT_TRIES: u32 = 3;

/// The id of an upload that is being opened.
pub(super) type Opening = Shared<BoxFuture<'static, Result<Arc<str>, Arc<StoreError>>>>;

/// The object that is being uploaded.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) core: Arc<Core>,
    pub(super) bucket: Bucket,
    pub(super) key: ObjectKey,
}

/// An upload of parts. Dropping it gives it up in the background.
pub(super) struct Upload {
    work: Option<Work>,
    done: Vec<CompletedPart>,
    begun: i32,
    bytes: u64,
}

/// What is under way, and must be cleaned up unless the upload is finished.
struct Work {
    target: Target,
    opening: Opening,
    parts: JoinSet<Result<CompletedPart, StoreError>>,
}

impl Upload {
    /// Opens an upload; does not wait for it.
    pub(super) fn open(target: Target) -> Self {
        let opening = target.opening();
        Self {
            work: Some(Work {
                target,
                opening,
                parts: JoinSet::new(),
            }),
            done: Vec::new(),
            begun: 0,
            bytes: 0,
        }
    }

    /// Parts begun so far.
    pub(super) fn parts(&self) -> i32 {
        self.begun
    }

    /// Sends a part; waits only while too many are under way.
    pub(super) async fn send(&mut self, part: Part) -> Result<(), StoreError> {
        self.settle(IN_FLIGHT - 1).await?;
        self.begun += 1;
        self.bytes += part.len();
        let number = self.begun;
        if let Some(work) = &mut self.work {
            let (target, opening) = (work.target.clone(), work.opening.clone());
            work.parts.spawn(async move {
                let id = opening.await.map_err(|error| again(&error))?;
                let tag = target.send(&id, number, &part).await?;
                Ok(completed(number, Some(tag)))
            });
        }
        Ok(())
    }

    /// Waits for the parts and joins them.
    pub(super) async fn finish(mut self) -> Result<(), StoreError> {
        self.settle(0).await?;
        let Some(work) = &self.work else {
            return Ok(());
        };
        let id = work.opening.clone().await.map_err(|error| again(&error))?;
        let mut parts = std::mem::take(&mut self.done);
        parts.sort_by_key(CompletedPart::part_number);
        work.target.join(&id, parts, self.bytes).await?;
        self.work = None;
        Ok(())
    }

    /// Gives the upload up, and waits for that.
    pub(super) async fn abort(mut self) -> Result<(), StoreError> {
        match self.work.take() {
            Some(work) => work.give_up().await,
            None => Ok(()),
        }
    }

    /// Collects parts that are done until at most `left` are under way.
    async fn settle(&mut self, left: usize) -> Result<(), StoreError> {
        let Some(work) = &mut self.work else {
            return Ok(());
        };
        loop {
            let outcome = match work.parts.try_join_next() {
                Some(outcome) => outcome,
                None if work.parts.len() <= left => return Ok(()),
                None => match work.parts.join_next().await {
                    Some(outcome) => outcome,
                    None => return Ok(()),
                },
            };
            match outcome {
                Ok(part) => self.done.push(part?),
                Err(died) => return Err(StoreError::Unavailable(died.into())),
            }
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else {
            return;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = work.give_up().await {
                    tracing::warn!(%error, "an upload could not be given up; reaping will try again");
                }
            });
        }
    }
}

impl Work {
    async fn give_up(mut self) -> Result<(), StoreError> {
        // A part that arrives after the end might stay: none may be under way.
        self.parts.shutdown().await;
        match self.opening.await {
            Ok(id) => self.target.abort(&id).await,
            // One may have been opened whose id nobody heard.
            Err(error) if matches!(*error, StoreError::Unavailable(_)) => Err(again(&error)),
            Err(_) => Ok(()),
        }
    }
}

impl Target {
    /// Begins to open an upload.
    pub(super) fn opening(&self) -> Opening {
        let opener = self.clone();
        // A task of its own: if the writer goes before the answer comes, the id is still learned and given up.
        let opened = tokio::spawn(async move { opener.open().await });
        let opening = async move {
            match opened.await {
                Ok(outcome) => outcome.map_err(Arc::new),
                Err(died) => Err(Arc::new(StoreError::Unavailable(died.into()))),
            }
        };
        opening.boxed().shared()
    }

    /// An upload that was opened before.
    pub(super) fn opened(id: &str) -> Opening {
        std::future::ready(Ok(Arc::from(id))).boxed().shared()
    }

    /// Opens an upload, and gives its id.
    pub(super) async fn open(&self) -> Result<Arc<str>, StoreError> {
        let open = || {
            let client = &self.core.client;
            let open = client
                .create_multipart_upload()
                .bucket(self.bucket.as_str());
            let open = open.key(self.key.as_str()).customize();
            open.interceptor(OpenedByAnyName).send()
        };
        let opened = self.core.with_bucket(&self.bucket, open).await?;
        match opened.upload_id {
            Some(id) => Ok(id.into()),
            None => Err(StoreError::Broken("an upload without an id".into())),
        }
    }

    /// Sends a part, and gives the tag that the store knows it by.
    pub(super) async fn send(
        &self,
        id: &str,
        number: i32,
        part: &Part,
    ) -> Result<String, StoreError> {
        let send = self.core.client.upload_part();
        let send = send.bucket(self.bucket.as_str()).key(self.key.as_str());
        let length = i64::try_from(part.len()).unwrap_or(i64::MAX);
        let progress = Progress::begin();
        let send = send
            .upload_id(id)
            .part_number(number)
            .content_length(length)
            .body(part.body(&progress))
            .customize()
            .config_override(write_limits(part.len()))
            .disable_payload_signing();
        let sent = progress
            .watch(send.send())
            .await
            .map_err(|error| unless_missing(&error))?;
        Ok(sent.e_tag.unwrap_or_default())
    }

    /// Makes the object of the parts, of so many bytes together.
    pub(super) async fn join(
        &self,
        id: &str,
        parts: Vec<CompletedPart>,
        bytes: u64,
    ) -> Result<(), StoreError> {
        let list = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        let join = self.core.client.complete_multipart_upload();
        let joined = join
            .bucket(self.bucket.as_str())
            .key(self.key.as_str())
            .upload_id(id)
            .multipart_upload(list)
            .customize()
            .config_override(join_limits(bytes))
            .send()
            .await;
        match joined {
            Ok(_) => Ok(()),
            Err(error) => match unless_missing(&error) {
                // An answer that was lost and asked for again: the upload is gone because it became the object.
                StoreError::Refused(_) if self.measures(bytes).await => Ok(()),
                error => Err(error),
            },
        }
    }

    async fn measures(&self, bytes: u64) -> bool {
        let head = self.core.client.head_object();
        let head = head.bucket(self.bucket.as_str()).key(self.key.as_str());
        let found = head.send().await.ok().and_then(|head| head.content_length);
        found.is_some_and(|length| u64::try_from(length) == Ok(bytes))
    }

    /// Gives the upload up.
    pub(super) async fn abort(&self, id: &str) -> Result<(), StoreError> {
        let mut tried = 1;
        loop {
            match self
                .core
                .abort_upload(&self.bucket, self.key.as_str(), id)
                .await
            {
                Ok(_) => return Ok(()),
                Err(StoreError::Unavailable(_)) if tried < ABORT_TRIES => tried += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Core {
    /// Gives an upload up, and says whether it was there.
    pub(super) async fn abort_upload(
        &self,
        bucket: &Bucket,
        key: &str,
        id: &str,
    ) -> Result<bool, StoreError> {
        let abort = self.client.abort_multipart_upload();
        let abort = abort.bucket(bucket.as_str()).key(key).upload_id(id);
        match abort.send().await.map_err(|error| classify(&error)) {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A part as it is named when parts are joined.
pub(super) fn completed(number: i32, tag: Option<String>) -> CompletedPart {
    CompletedPart::builder()
        .part_number(number)
        .set_e_tag(tag)
        .build()
}

/// An upload that vanishes under its writer is no object that is not found.
fn unless_missing<E>(
    error: &aws_sdk_s3::error::SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
) -> StoreError
where
    E: aws_sdk_s3::error::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match classify(error) {
        StoreError::NotFound => StoreError::Refused("the unfinished upload was removed".into()),
        other => other,
    }
}
