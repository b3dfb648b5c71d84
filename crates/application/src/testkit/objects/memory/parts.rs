//! Objects in memory that are written over several requests.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use cloakroom_domain::{Bucket, ObjectKey, Sha256Digest, Timestamp};

use super::{
    super::faults::{Outcome, Step, lost},
    Inner, MemoryStore, State, now,
};
use crate::ports::{
    Ending, PartsWriter, Resumable, Resume, StoreError, StoredPart, Suspended, Unfinished,
    WritePosition,
};

/// Which parts the store has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Parts {
    #[default]
    None,
    /// Of so many bytes.
    Cut(usize),
    /// Of any size, and they grow.
    Growing,
}

/// An unfinished object.
pub(super) struct InParts {
    pub(super) bucket: Bucket,
    pub(super) key: ObjectKey,
    pub(super) begun_at: Timestamp,
    parts: BTreeMap<u32, Part>,
}

impl InParts {
    /// Keeps a part that somebody sent, in the place of the one before.
    pub(super) fn receive(&mut self, number: u32, bytes: BytesMut) -> String {
        let tag = tag(&bytes);
        let held_by = None;
        self.parts.insert(number, Part { bytes, held_by });
        tag
    }

    /// Every part.
    pub(super) fn stored(&self) -> Vec<StoredPart> {
        let stored = |(number, part): (&u32, &Part)| StoredPart {
            number: *number,
            size: part.bytes.len() as u64,
            tag: tag(&part.bytes),
        };
        self.parts.iter().map(stored).collect()
    }
}

struct Part {
    bytes: BytesMut,
    /// The writer that may still let it grow.
    held_by: Option<u64>,
}

impl MemoryStore {
    /// An empty store that can, in parts of so many bytes, as S3 does. What is shorter is handed back. Others
    /// may send parts to it, too.
    #[must_use]
    pub fn with_parts_of(bytes: usize) -> Self {
        Self::with(Parts::Cut(bytes.max(1)))
    }

    /// An empty store that can, in parts that grow, as a folder does.
    #[must_use]
    pub fn with_growing_parts() -> Self {
        Self::with(Parts::Growing)
    }

    fn with(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            parts,
            ..Inner::default()
        }))
    }

    /// Makes everything unfinished older by so much.
    pub fn age_unfinished(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        let earlier = |at: &mut Timestamp| *at = Timestamp::from_micros(at.micros() - by);
        let mut state = self.0.lock();
        let State {
            unfinished,
            in_parts,
            ..
        } = &mut *state;
        unfinished.values_mut().for_each(|(_, _, at)| earlier(at));
        in_parts
            .values_mut()
            .for_each(|it| earlier(&mut it.begun_at));
    }
}

impl State {
    /// The unfinished object that the id names; where parts grow there is one for a key, without an id.
    pub(super) fn named(&self, object: &Unfinished) -> Option<u64> {
        let named = object.write_id.as_deref();
        let mut all = self.in_parts.iter();
        let found = all.find(|(id, it)| {
            it.bucket == object.bucket
                && it.key == object.key
                && named.is_none_or(|named| named == id.to_string())
        });
        found.map(|(id, _)| *id)
    }

    pub(super) fn open(&mut self, object: &Unfinished) -> u64 {
        self.begun += 1;
        let opened = InParts {
            bucket: object.bucket.clone(),
            key: object.key.clone(),
            begun_at: now(),
            parts: BTreeMap::new(),
        };
        self.in_parts.insert(self.begun, opened);
        self.begun
    }

    fn has(&self, object: &Unfinished, size: u64) -> bool {
        let objects = self.buckets.get(&object.bucket);
        let found = objects.and_then(|objects| objects.get(&object.key));
        found.is_some_and(|(body, _)| body.len() as u64 == size)
    }

    fn join(&mut self, object: &Unfinished, parts: &[StoredPart]) -> Result<(), StoreError> {
        let size = parts.iter().map(|part| part.size).sum();
        if self.has(object, size) {
            return Ok(());
        }
        let taken = |objects: &BTreeMap<_, _>| objects.contains_key(&object.key);
        if self.buckets.get(&object.bucket).is_some_and(taken) {
            return Err(refused("another object is there"));
        }
        let id = self.named(object).ok_or_else(removed)?;
        let mut body = BytesMut::new();
        for part in parts {
            let kept = self
                .in_parts
                .get(&id)
                .and_then(|o| o.parts.get(&part.number));
            let size = usize::try_from(part.size).unwrap_or(usize::MAX);
            let bytes = kept.and_then(|kept| kept.bytes.get(..size));
            let bytes = bytes.ok_or_else(|| refused("there is no such part"))?;
            if !part.tag.is_empty() && part.tag != tag(bytes) {
                return Err(refused("the part has another tag"));
            }
            body.extend_from_slice(bytes);
        }
        self.in_parts
            .retain(|_, it| it.bucket != object.bucket || it.key != object.key);
        let objects = self.buckets.entry(object.bucket.clone()).or_default();
        objects.insert(object.key.clone(), (body.freeze(), now()));
        Ok(())
    }
}

#[async_trait]
impl Resumable for MemoryStore {
    async fn resume(
        &self,
        object: &Unfinished,
        resume: Resume,
    ) -> Result<Box<dyn PartsWriter>, StoreError> {
        self.0.faults.meet(Step::Resume).await?;
        let me = {
            let mut state = self.0.lock();
            state.begun += 1;
            state.begun
        };
        Ok(Box::new(Writer {
            inner: Arc::clone(&self.0),
            object: object.clone(),
            me,
            opened: None,
            next_number: resume.first_number.max(1),
            growing: resume.growing,
            grown: None,
            buffer: BytesMut::new(),
            untold: Vec::new(),
            has_told: false,
            failed: false,
        }))
    }

    async fn join(&self, object: &Unfinished, parts: &[StoredPart]) -> Result<(), StoreError> {
        if parts.is_empty() {
            return Err(refused("an object without parts"));
        }
        let outcome = self.0.faults.meet(Step::Join).await?;
        self.0.lock().join(object, parts)?;
        match outcome {
            Outcome::Go => Ok(()),
            Outcome::GoThenLose => Err(lost()),
        }
    }
}

struct Writer {
    inner: Arc<Inner>,
    object: Unfinished,
    me: u64,
    /// The unfinished object, if this writer opened it.
    opened: Option<u64>,
    next_number: u32,
    growing: Option<StoredPart>,
    /// The number of the part that grows.
    grown: Option<u32>,
    buffer: BytesMut,
    untold: Vec<StoredPart>,
    has_told: bool,
    failed: bool,
}

impl Writer {
    /// The unfinished object. One that was named and is gone does not come back.
    fn id(&mut self, state: &mut State) -> Result<u64, StoreError> {
        let known = match (self.opened, self.inner.parts, &self.object.write_id) {
            (Some(id), ..) => Some(id).filter(|id| state.in_parts.contains_key(id)),
            (None, Parts::Cut(_), None) => Some(state.open(&self.object)),
            (None, Parts::Cut(_), Some(_)) => state.named(&self.object),
            (None, ..) => {
                let named = state.named(&self.object);
                Some(named.unwrap_or_else(|| state.open(&self.object)))
            }
        };
        self.opened = known;
        known.ok_or_else(removed)
    }

    /// The number of the part that these bytes go to, which is there then.
    fn place(&mut self, object: &mut InParts) -> Result<u32, StoreError> {
        if let Some(number) = self.grown {
            return Ok(number);
        }
        let me = Some(self.me);
        if self.inner.parts == Parts::Growing
            && let Some(StoredPart { number, size, .. }) = self.growing.take()
        {
            let part = object.parts.get_mut(&number).ok_or_else(removed)?;
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if part.bytes.len() < size {
                return Err(StoreError::Broken("the part is too short".into()));
            }
            if part.held_by.is_none() {
                part.bytes.truncate(size);
                part.held_by = me;
                self.grown = Some(number);
                return Ok(number);
            }
        }
        let number = self.next_number;
        self.next_number += 1;
        let bytes = BytesMut::new();
        object.parts.insert(number, Part { bytes, held_by: me });
        self.grown = (self.inner.parts == Parts::Growing).then_some(number);
        Ok(number)
    }

    /// Sends bytes of the buffer as a part, or lets the last one grow by them.
    async fn send(&mut self, bytes: usize) -> Result<(), StoreError> {
        if bytes == 0 {
            return Ok(());
        }
        let outcome = self.inner.faults.meet(Step::Part).await?;
        let inner = Arc::clone(&self.inner);
        let mut state = inner.lock();
        let id = self.id(&mut state)?;
        let object = state.in_parts.get_mut(&id).ok_or_else(removed)?;
        let number = self.place(object)?;
        let part = object.parts.get_mut(&number).ok_or_else(removed)?;
        part.bytes.extend_from_slice(&self.buffer.split_to(bytes));
        if outcome == Outcome::GoThenLose {
            return Err(lost());
        }
        self.untold.push(StoredPart {
            number,
            size: part.bytes.len() as u64,
            tag: match inner.parts {
                Parts::Cut(_) => tag(&part.bytes),
                _ => String::new(),
            },
        });
        Ok(())
    }

    async fn take(&mut self, data: &Bytes) -> Result<(), StoreError> {
        self.inner.faults.meet(Step::Write).await?;
        self.buffer.extend_from_slice(data);
        if let Parts::Cut(size) = self.inner.parts {
            while self.buffer.len() >= size {
                self.send(size).await?;
            }
        }
        Ok(())
    }

    fn tell(&mut self) -> Vec<StoredPart> {
        self.has_told |= !self.untold.is_empty();
        std::mem::take(&mut self.untold)
    }
}

#[async_trait]
impl PartsWriter for Writer {
    async fn write(&mut self, data: Bytes) -> Result<(), StoreError> {
        if self.failed {
            return Err(refused("this write failed before"));
        }
        self.failed = true;
        self.take(&data).await?;
        self.failed = false;
        Ok(())
    }

    fn until_cut(&self) -> Option<u64> {
        match self.inner.parts {
            Parts::Cut(size) => Some((size - self.buffer.len()) as u64),
            Parts::None | Parts::Growing => None,
        }
    }

    async fn durable(&mut self) -> Result<Vec<StoredPart>, StoreError> {
        if self.inner.parts == Parts::Growing && !self.failed {
            self.failed = true;
            self.send(self.buffer.len()).await?;
            self.failed = false;
        }
        Ok(self.tell())
    }

    fn position(&self) -> WritePosition {
        let opened = self.opened.filter(|_| self.has_told);
        let opened = opened.filter(|_| self.inner.parts != Parts::Growing);
        WritePosition {
            write_id: opened
                .map(|id| id.to_string())
                .or_else(|| self.object.write_id.clone()),
            next_number: self.next_number,
        }
    }

    async fn suspend(&mut self, ending: Ending) -> Result<Suspended, StoreError> {
        if self.failed {
            return Err(refused("this write failed before"));
        }
        if self.inner.parts == Parts::Growing || ending == Ending::Last {
            self.failed = true;
            self.send(self.buffer.len()).await?;
            self.failed = false;
        }
        let rest = Some(self.buffer.split().freeze()).filter(|rest| !rest.is_empty());
        Ok(Suspended {
            parts: self.tell(),
            rest: rest.into_iter().collect(),
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        let Some(id) = self.opened else { return };
        // Nobody was told of it.
        let is_own = self.object.write_id.is_none() && self.inner.parts != Parts::Growing;
        if is_own && !self.has_told {
            state.in_parts.remove(&id);
        } else if let Some(object) = state.in_parts.get_mut(&id) {
            for part in object.parts.values_mut() {
                part.held_by = part.held_by.filter(|by| *by != self.me);
            }
        }
    }
}

fn tag(bytes: &[u8]) -> String {
    Sha256Digest::of(bytes).hex()
}

fn refused(why: &str) -> StoreError {
    StoreError::Refused(why.into())
}

fn removed() -> StoreError {
    refused("the unfinished object was removed")
}
