//! An object store in memory, with faults on demand.

mod parts;
mod presign;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use cloakroom_domain::{Bucket, ByteRange, ObjectKey, Timestamp};
use futures_util::{StreamExt, stream};

use self::parts::{InParts, Parts};
use super::faults::{Fault, Faults, Outcome, Step, lost};
use crate::ports::{
    ListPage, ListedObject, ObjectMeta, ObjectStore, ObjectWriter, Payload, Presign, Resumable,
    StoreError, WriteHints,
};

const CHUNK: usize = 64 * 1024;

/// Objects in memory. Clones share them.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    faults: Faults,
    parts: Parts,
}

#[derive(Default)]
struct State {
    buckets: BTreeMap<Bucket, BTreeMap<ObjectKey, (Bytes, Timestamp)>>,
    unfinished: HashMap<u64, (Bucket, ObjectKey, Timestamp)>,
    in_parts: BTreeMap<u64, InParts>,
    begun: u64,
}

impl MemoryStore {
    /// An empty store that cannot write an object over several requests.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Plants a fault at the `nth` call (1 is the next one) of a step from now on.
    pub fn fail_nth(&self, step: Step, nth: usize, fault: Fault) {
        self.0.faults.plant(step, Some(nth.max(1)), fault);
    }

    /// Plants a fault at every call of a step, until [`MemoryStore::heal`].
    pub fn fail_always(&self, step: Step, fault: Fault) {
        self.0.faults.plant(step, None, fault);
    }

    /// Removes every planted fault. What stalls already goes on stalling.
    pub fn heal(&self) {
        self.0.faults.clear();
    }

    /// Loses an object behind everyone's back; says whether there was one.
    #[must_use]
    pub fn lose(&self, bucket: &Bucket, key: &ObjectKey) -> bool {
        let mut state = self.0.lock();
        let objects = state.buckets.get_mut(bucket);
        objects.is_some_and(|objects| objects.remove(key).is_some())
    }

    /// Puts other bytes in the place of an object, behind everyone's back.
    pub fn replace(&self, bucket: &Bucket, key: &ObjectKey, body: &'static [u8]) {
        let mut state = self.0.lock();
        let objects = state.buckets.entry(bucket.clone()).or_default();
        objects.insert(key.clone(), (Bytes::from_static(body), now()));
    }

    /// Flips the lowest bit of one byte of an object; says whether there is such a byte.
    #[must_use]
    pub fn flip_bit(&self, bucket: &Bucket, key: &ObjectKey, at: usize) -> bool {
        let mut state = self.0.lock();
        let Some((body, _)) = state.buckets.get_mut(bucket).and_then(|o| o.get_mut(key)) else {
            return false;
        };
        let mut changed = BytesMut::from(&body[..]);
        let Some(byte) = changed.get_mut(at) else {
            return false;
        };
        *byte ^= 1;
        *body = changed.freeze();
        true
    }

    /// Every finished object: bucket, key, size in bytes.
    #[must_use]
    pub fn objects(&self) -> Vec<(Bucket, ObjectKey, u64)> {
        let state = self.0.lock();
        let all = state.buckets.iter().flat_map(|(bucket, objects)| {
            objects
                .iter()
                .map(|(key, (body, _))| (bucket.clone(), key.clone(), body.len() as u64))
        });
        all.collect()
    }

    /// Writes begun and neither finished, aborted nor dropped, and objects in parts that are not joined.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        let state = self.0.lock();
        state.unfinished.len() + state.in_parts.len()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, bucket: &Bucket, key: &ObjectKey) -> Result<(Bytes, Timestamp), StoreError> {
        let state = self.lock();
        let found = state
            .buckets
            .get(bucket)
            .and_then(|objects| objects.get(key));
        found.cloned().ok_or(StoreError::NotFound)
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn begin(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        _hints: WriteHints,
    ) -> Result<Box<dyn ObjectWriter>, StoreError> {
        self.0.faults.meet(Step::Begin).await?;
        let mut state = self.0.lock();
        state.begun += 1;
        let id = state.begun;
        state
            .unfinished
            .insert(id, (bucket.clone(), key.clone(), now()));
        Ok(Box::new(MemoryWriter {
            inner: Arc::clone(&self.0),
            id,
            body: BytesMut::new(),
            failed: false,
        }))
    }

    async fn read(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        range: Option<ByteRange>,
    ) -> Result<Payload, StoreError> {
        self.0.faults.meet(Step::Read).await?;
        let (body, _) = self.0.find(bucket, key)?;
        let body = match range {
            None => body,
            Some(range) if range.end <= body.len() as u64 => {
                body.slice(range.start as usize..range.end as usize)
            }
            Some(_) => return Err(StoreError::Broken("a range beyond the end".into())),
        };
        Ok(payload(body, self.0.faults.due(Step::Body)))
    }

    async fn head(&self, bucket: &Bucket, key: &ObjectKey) -> Result<ObjectMeta, StoreError> {
        self.0.faults.meet(Step::Head).await?;
        let (body, modified_at) = self.0.find(bucket, key)?;
        Ok(ObjectMeta {
            size: body.len() as u64,
            modified_at,
        })
    }

    async fn delete(&self, bucket: &Bucket, keys: &[ObjectKey]) -> Vec<Result<(), StoreError>> {
        let lose = match self.0.faults.meet(Step::Delete).await {
            Ok(outcome) => outcome == Outcome::GoThenLose,
            Err(error) => return keys.iter().map(|_| Err(same(&error))).collect(),
        };
        let mut state = self.0.lock();
        state
            .unfinished
            .retain(|_, (b, key, _)| b != bucket || !keys.contains(key));
        state
            .in_parts
            .retain(|_, object| object.bucket != *bucket || !keys.contains(&object.key));
        if let Some(objects) = state.buckets.get_mut(bucket) {
            for key in keys {
                objects.remove(key);
            }
        }
        keys.iter()
            .map(|_| if lose { Err(lost()) } else { Ok(()) })
            .collect()
    }

    async fn list(
        &self,
        bucket: &Bucket,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        self.0.faults.meet(Step::List).await?;
        let state = self.0.lock();
        let Some(objects) = state.buckets.get(bucket) else {
            return Ok(ListPage::default());
        };
        let after = cursor.and_then(|cursor| ObjectKey::parse(cursor).ok());
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found: Vec<ListedObject> = objects
            .range((from, Bound::Unbounded))
            .filter(|(key, _)| key.as_str().starts_with(prefix))
            .take(limit + 1)
            .map(|(key, (body, modified_at))| ListedObject {
                bucket: bucket.clone(),
                key: key.clone(),
                size: body.len() as u64,
                modified_at: *modified_at,
            })
            .collect();
        let more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().map(|object| object.key.to_string());
        Ok(ListPage {
            objects: found,
            next: last.filter(|_| more),
        })
    }

    async fn reap(
        &self,
        bucket: &Bucket,
        before: Timestamp,
        spare: &BTreeSet<ObjectKey>,
    ) -> Result<u64, StoreError> {
        let stays = |b: &Bucket, key: &ObjectKey, begun_at: Timestamp| {
            b != bucket || begun_at >= before || spare.contains(key)
        };
        let mut state = self.0.lock();
        let was = state.unfinished.len() + state.in_parts.len();
        state
            .unfinished
            .retain(|_, (b, key, begun_at)| stays(b, key, *begun_at));
        state
            .in_parts
            .retain(|_, object| stays(&object.bucket, &object.key, object.begun_at));
        Ok((was - state.unfinished.len() - state.in_parts.len()) as u64)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let met = self.0.faults.meet(Step::Probe);
        match tokio::time::timeout(Duration::from_secs(2), met).await {
            Ok(outcome) => outcome.map(|_| ()),
            Err(_) => Err(lost()),
        }
    }

    fn driver(&self) -> &'static str {
        "memory"
    }

    fn presign(&self) -> Option<&dyn Presign> {
        matches!(self.0.parts, Parts::Cut(_)).then_some(self)
    }

    fn resumable(&self) -> Option<&dyn Resumable> {
        (self.0.parts != Parts::None).then_some(self)
    }
}

struct MemoryWriter {
    inner: Arc<Inner>,
    id: u64,
    body: BytesMut,
    failed: bool,
}

#[async_trait]
impl ObjectWriter for MemoryWriter {
    async fn write(&mut self, data: Bytes) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::Refused("this write failed before".into()));
        }
        if let Err(error) = self.inner.faults.meet(Step::Write).await {
            self.failed = true;
            return Err(error);
        }
        self.body.extend_from_slice(&data);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::Refused("this write failed before".into()));
        }
        let outcome = self.inner.faults.meet(Step::Finish).await?;
        let body = std::mem::take(&mut self.body).freeze();
        {
            let mut state = self.inner.lock();
            let Some((bucket, key, _)) = state.unfinished.remove(&self.id) else {
                return Err(StoreError::Refused("this write was removed".into()));
            };
            let objects = state.buckets.entry(bucket).or_default();
            objects.insert(key, (body, now()));
        }
        match outcome {
            Outcome::Go => Ok(()),
            Outcome::GoThenLose => Err(lost()),
        }
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        self.inner.lock().unfinished.remove(&self.id);
    }
}

/// Small bodies at once, others in chunks; a planted fault strikes half way.
fn payload(body: Bytes, fault: Option<Fault>) -> Payload {
    if body.len() <= CHUNK && fault.is_none() {
        return Payload::Ready(body);
    }
    let sent = if fault.is_some() {
        body.slice(..body.len() / 2)
    } else {
        body
    };
    let starts: Vec<usize> = (0..sent.len()).step_by(CHUNK).collect();
    let chunks =
        stream::iter(starts).map(move |start| Ok(sent.slice(start..sent.len().min(start + CHUNK))));
    Payload::Stream(match fault {
        None => chunks.boxed(),
        Some(Fault::Stall) => chunks.chain(stream::pending()).boxed(),
        Some(_) => {
            let end = stream::iter([Err(StoreError::Broken("planted".into()))]);
            chunks.chain(end).boxed()
        }
    })
}

fn same(error: &StoreError) -> StoreError {
    match error {
        StoreError::NotFound => StoreError::NotFound,
        StoreError::Refused(_) => StoreError::Refused("planted".into()),
        StoreError::Unavailable(_) => lost(),
        StoreError::Broken(_) => StoreError::Broken("planted".into()),
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
