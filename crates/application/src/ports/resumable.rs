//! Objects that are written over several requests, by one process after the other.

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom_domain::{Bucket, ObjectKey};

use super::StoreError;

/// A stretch of an unfinished object that is durable in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPart {
    /// Its number, from 1 on. A later stretch has a higher number; numbers may be left out.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// What the store knows its content by; empty where it knows none.
    pub tag: String,
}

/// An unfinished object to go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Where the object will be.
    pub bucket: Bucket,
    /// Its key in there.
    pub key: ObjectKey,
    /// What the store calls the unfinished object; `None` until it has told.
    pub write_id: Option<String>,
}

/// How to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resume {
    /// The number of the first part that this writer may write; higher ones are its own, too. A number is never used by
    /// two writers, for the one before may still be sending.
    pub first_number: u32,
    /// The last part, if whoever wrote it is known to write no more. A store whose parts can grow goes on in it, from
    /// its stated size on; what lies beyond is dropped. Where somebody still writes to it, it is left alone and the
    /// first number is used, as without it.
    pub growing: Option<StoredPart>,
    /// The announced length of the whole object in bytes, which decides how large parts must be. It may lie.
    pub size: Option<u64>,
}

/// Where a writer is: what the next one has to know besides the parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritePosition {
    /// What the store calls the unfinished object; `None` while there is nothing of it.
    pub write_id: Option<String>,
    /// The lowest number that this writer has not used.
    pub next_number: u32,
}

/// Whether more is to come after a writer is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// More will be written, so what is shorter than a part cannot be one.
    More,
    /// These were the last bytes: a short last part is one.
    Last,
}

/// What a writer leaves.
#[derive(Debug, Default)]
pub struct Suspended {
    /// Parts that are durable and were not told before, in order.
    pub parts: Vec<StoredPart>,
    /// The bytes behind them, which the store cannot keep as a part. They are fewer than a part's, and hold their share
    /// of the store's memory until they are dropped: [`ObjectStore::put`](super::ObjectStore::put) writes them as a
    /// piece without asking for more.
    pub rest: Vec<Bytes>,
}

/// The ability to write an object over several requests.
#[async_trait]
pub trait Resumable: Send + Sync {
    /// Goes on with an unfinished object, or begins it. May ask the store nothing yet.
    async fn resume(
        &self,
        object: &Unfinished,
        resume: Resume,
    ) -> Result<Box<dyn PartsWriter>, StoreError>;

    /// Makes the object of these parts, in this order (their numbers ascend), durable and visible. Parts that are not
    /// named are dropped, and so is whatever else is unfinished under the key. No parts are [`StoreError::Refused`].
    ///
    /// It may be asked again after an answer was lost: an object of the right size that is there already counts as
    /// made. After an error the parts are still there, unless the object is.
    async fn join(&self, object: &Unfinished, parts: &[StoredPart]) -> Result<(), StoreError>;
}

/// An unfinished object being written. Dropping it leaves what is durable, and drops the rest.
#[async_trait]
pub trait PartsWriter: Send {
    /// Takes the next bytes; waits while the adapter's buffers are full. One that fails, or is dropped before it ends,
    /// ends the writer: only what [`PartsWriter::durable`] tells counts from then on.
    async fn write(&mut self, data: Bytes) -> Result<(), StoreError>;

    /// Whether it has held memory for long, of a client that sends slowly, while other writers wait for some: `true`
    /// once for each of them, so that whoever is told has to give up.
    fn holds_up_others(&self) -> bool {
        false
    }

    /// How many more bytes the part has room for that is being filled: parts become durable as a whole.
    /// `None`: they may be cut anywhere.
    fn until_cut(&self) -> Option<u64>;

    /// Parts that are durable by now and were not told before, in order and without a gap. A part that has grown is
    /// told again, with its new size. Does not wait for parts on their way; a store whose parts grow flushes what it was
    /// given. Answers also after a failed write.
    async fn durable(&mut self) -> Result<Vec<StoredPart>, StoreError>;

    /// What the next writer has to know.
    fn position(&self) -> WritePosition;

    /// Makes durable whatever can be, and says what it left; the writer then holds no memory. Fails once a write has
    /// failed.
    async fn suspend(&mut self, ending: Ending) -> Result<Suspended, StoreError>;
}
