//! One contract suite for every object store.
//!
//! An adapter's tests call [`object_store_contract!`](crate::object_store_contract) with an async function
//! that gives a [`Harness`]; each case becomes a test of its own.

mod deleting;
mod exceptions;
mod listing;
mod reading;
mod resumable;
mod writing;

use std::{any::Any, sync::Arc, time::Duration};

use bytes::Bytes;
use cloakroom_domain::{AccountId, Bucket, ByteRange, FileId, FileName, ObjectKey, Timestamp};

pub use deleting::*;
pub use exceptions::{EXCEPTIONS, Exception, WITHOUT_PARTS};
pub use listing::*;
pub use reading::*;
pub use resumable::*;
pub use writing::*;

use super::collect;
use crate::ports::{ObjectStore, ObjectWriter, StoreError, WriteHints};

/// The part size that adapters cut large objects into, in bytes.
pub const PART: usize = 8 * 1024 * 1024;

/// A store under test and a bucket of its own.
pub struct Harness {
    /// The adapter's name in [`EXCEPTIONS`].
    pub adapter: &'static str,
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// A bucket that nobody has written to yet.
    pub bucket: Bucket,
    _keep: Box<dyn Any + Send + Sync>,
}

impl Harness {
    /// A harness with a bucket of a random name.
    #[must_use]
    pub fn new(adapter: &'static str, store: Arc<dyn ObjectStore>) -> Self {
        Self {
            adapter,
            store,
            bucket: random_bucket(),
            _keep: Box::new(()),
        }
    }

    /// Keeps something alive as long as the harness, such as a temporary folder.
    #[must_use]
    pub fn keeping(mut self, keep: impl Any + Send + Sync) -> Self {
        self._keep = Box::new(keep);
        self
    }

    /// Whether the table of exceptions excuses this adapter from the case.
    #[must_use]
    pub fn excused(&self, case: &str) -> bool {
        exceptions::excuses(self.adapter, case)
    }

    /// Writes a whole object in one piece.
    pub(crate) async fn put(&self, key: &ObjectKey, body: &Bytes) {
        self.put_in_pieces(key, body, body.len().max(1), true).await;
    }

    /// Writes a whole object in pieces of `piece` bytes, its size announced or not.
    pub(crate) async fn put_in_pieces(
        &self,
        key: &ObjectKey,
        body: &Bytes,
        piece: usize,
        announced: bool,
    ) {
        let size = announced.then_some(body.len() as u64);
        let mut writer = self.begin(key, WriteHints { size }).await;
        for start in (0..body.len()).step_by(piece) {
            let piece = body.slice(start..body.len().min(start + piece));
            must(writer.write(piece).await, "write");
        }
        must(writer.finish().await, "finish");
    }

    pub(crate) async fn begin(&self, key: &ObjectKey, hints: WriteHints) -> Box<dyn ObjectWriter> {
        must(self.store.begin(&self.bucket, key, hints).await, "begin")
    }

    /// Reads an object, or a stretch of it, to the end.
    pub(crate) async fn get(
        &self,
        key: &ObjectKey,
        range: Option<ByteRange>,
    ) -> Result<Vec<u8>, StoreError> {
        collect(self.store.read(&self.bucket, key, range).await?).await
    }

    /// Asserts that nothing is visible at the key, by any way of looking.
    pub(crate) async fn assert_absent(&self, key: &ObjectKey) {
        let head = self.store.head(&self.bucket, key).await;
        assert!(
            matches!(head, Err(StoreError::NotFound)),
            "head gave {head:?}"
        );
        let read = self.get(key, None).await;
        assert!(
            matches!(read, Err(StoreError::NotFound)),
            "read gave {:?}",
            read.map(|b| b.len())
        );
        let page = self.store.list(&self.bucket, key.as_str(), None, 10).await;
        assert_eq!(must(page, "list").objects, [], "the list shows it");
    }

    /// Asserts that a second from now no unfinished write is left in the bucket.
    pub(crate) async fn assert_nothing_unfinished(&self) {
        // Dropping cleans up in the background, and a look too early would itself do the cleaning.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let reaped = self.reap(in_an_hour(), &[]).await;
        assert_eq!(reaped, 0, "unfinished writes were left");
    }

    /// Removes unfinished writes bar those under the keys to spare, and says how many.
    pub(crate) async fn reap(&self, before: Timestamp, spare: &[&ObjectKey]) -> u64 {
        let spare = spare.iter().copied().cloned().collect();
        must(self.store.reap(&self.bucket, before, &spare).await, "reap")
    }
}

/// A key as the service makes them, with an account of one's own choice.
pub(crate) fn key_of(account: &str) -> ObjectKey {
    let account = must(AccountId::parse(account), "an account");
    ObjectKey::mint(&account, &FileId::random(), &FileName::clean("report.pdf"))
}

pub(crate) fn key() -> ObjectKey {
    key_of("1688")
}

pub(crate) fn must<T, E: std::fmt::Debug>(result: Result<T, E>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error:?}"),
    }
}

pub(crate) fn range(start: u64, end: u64) -> Option<ByteRange> {
    Some(ByteRange { start, end })
}

pub(crate) fn in_an_hour() -> Timestamp {
    shifted(3_600_000_000)
}

pub(crate) fn an_hour_ago() -> Timestamp {
    shifted(-3_600_000_000)
}

fn shifted(by: i64) -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(micros.saturating_add(by))
}

fn random_bucket() -> Bucket {
    let name = format!("t-{}", uuid::Uuid::new_v4().simple());
    must(Bucket::parse(&name), "a bucket")
}

/// Makes every case of the contract a test. Takes the path of an `async fn() -> Harness`; behind `without parts` that of
/// one whose store cannot write an object over several requests.
#[macro_export]
macro_rules! object_store_contract {
    ($harness:path) => {
        $crate::object_store_contract! { without parts $harness }
        $crate::object_store_contract! { @cases $harness;
            several_writers_make_one_object,
            large_parts_make_one_object,
            parts_are_cut_where_the_writer_says,
            parts_are_told_in_order_and_without_gaps,
            a_writer_that_was_given_nothing_leaves_nothing,
            a_dropped_writer_loses_nothing_that_it_told,
            a_part_that_grows_drops_what_lies_beyond_its_size,
            a_part_that_is_still_written_to_does_not_grow,
            bytes_of_an_old_writer_never_reach_the_object,
            an_object_does_not_change_under_a_writer_that_goes_on,
            joining_may_be_asked_for_again,
            parts_that_are_not_named_are_dropped,
            joining_nothing_is_refused,
            delete_removes_what_was_written_in_parts,
            delete_beside_a_join_leaves_nothing,
            reap_spares_objects_in_parts,
        }
    };
    (without parts $harness:path) => {
        $crate::object_store_contract! { @cases $harness;
            a_body_reads_back_whole_in_any_size,
            a_body_in_odd_chunks_reads_back_whole,
            a_body_of_unknown_size_reads_back_whole,
            an_announced_size_may_lie,
            an_empty_object_is_an_object,
            nothing_is_visible_before_finish,
            abort_leaves_nothing,
            dropping_a_writer_leaves_nothing,
            two_writers_at_once_do_not_mix,
            twelve_first_writes_to_a_new_bucket_all_succeed,
            ranges_give_exactly_their_bytes,
            a_range_beyond_the_end_is_an_error,
            what_is_not_there_is_not_found,
            a_reader_may_leave_half_way,
            head_tells_size_and_age,
            the_store_answers_a_probe,
            delete_removes_what_is_there_and_forgives_what_is_not,
            more_than_a_thousand_keys_are_deleted_at_once,
            delete_removes_an_unfinished_write,
            reap_removes_unfinished_writes,
            reap_leaves_younger_writes_alone,
            reap_spares_what_it_is_told_to,
            a_list_is_bytewise_and_pages_without_gaps,
            a_list_keeps_to_its_prefix,
            a_bucket_that_does_not_exist_is_empty,
            what_is_in_memory_becomes_a_small_object,
        }
    };
    (@cases $harness:path; $($case:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let harness = $harness().await;
                if !harness.excused(stringify!($case)) {
                    $crate::testkit::objects::contract::$case(&harness).await;
                }
            }
        )+
    };
}
