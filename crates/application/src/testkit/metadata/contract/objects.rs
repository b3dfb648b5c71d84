//! What every adapter promises of buckets and the objects in them: `objects_contract!(factory)`.

use std::{sync::Arc, time::Duration};

use cloakroom_domain::{
    BucketKey, BucketName, BucketPolicy, File, FileId, FileName, Metadata, Owner, VersionId,
};

use super::{Desk, Must, Upload, account, sharing::SharingFixture};
use crate::ports::{
    BucketRepository, BucketSet, CommitError, CommitTarget, Expected, NewBucket, ObjectFilter,
    ObjectTarget,
};

pub mod buckets;
pub mod names;
pub mod pages;

/// An adapter over a database of its own, with the port of this part.
pub trait ObjectsFixture: SharingFixture {
    /// The buckets port.
    fn buckets(&self) -> Arc<dyn BucketRepository>;
}

/// Makes a test of every case of the contract.
#[macro_export]
macro_rules! objects_contract {
    ($factory:path) => {
        $crate::objects_contract! { @cases $factory;
            buckets::a_bucket_reads_back_as_it_was_set
            buckets::a_bucket_keeps_its_account
            buckets::of_many_that_make_a_bucket_at_once_one_does
            buckets::buckets_are_paged_by_name
            buckets::a_bucket_with_objects_in_it_stays
            buckets::a_bucket_that_is_gone_takes_no_object
            names::a_key_leads_to_what_was_put_last
            names::an_object_is_nobodys_file
            names::of_many_puts_of_a_new_key_each_is_a_version
            names::of_many_puts_that_expect_nothing_one_applies
            names::of_many_puts_that_expect_a_version_one_applies
            names::a_removed_object_is_gone_and_its_bytes_wait
            names::a_removal_is_of_the_version_it_was_asked_for
            names::puts_and_removals_at_once_leave_no_name_without_a_file
            names::a_file_in_the_trash_or_purged_gives_its_name_back
            names::an_object_is_never_found_to_be_without_use
            pages::keys_that_differ_in_a_byte_are_different_objects
            pages::keys_are_in_the_order_of_their_bytes_and_pages_join
            pages::a_prefix_is_taken_literally
            pages::what_is_there_throughout_is_listed_once_while_others_write
        }
    };
    (@cases $factory:path; $($module:ident :: $case:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::testkit::metadata::contract::objects::$module::$case(&$factory().await).await;
            }
        )+
    };
}

fn name(text: &str) -> BucketName {
    BucketName::parse(text).must()
}

fn key(text: &str) -> BucketKey {
    BucketKey::parse(text).must()
}

/// The ports, and a bucket `b` of account 1.
struct Shelf {
    desk: Desk,
    buckets: Arc<dyn BucketRepository>,
    bucket: BucketName,
}

impl Shelf {
    async fn open(fixture: &dyn ObjectsFixture) -> Self {
        let shelf = Self {
            desk: Desk::open(fixture).await,
            buckets: fixture.buckets(),
            bucket: name("b"),
        };
        shelf.make("b").await;
        shelf
    }

    async fn make(&self, bucket: &str) {
        let new = NewBucket {
            name: name(bucket),
            account: Some(account("1")),
            policy: BucketPolicy::default(),
        };
        let set = self.buckets.set_bucket(new).await.must();
        assert!(matches!(set, BucketSet::Made(_)), "{set:?}");
    }

    /// A body on its way to a key that it is thought to be new.
    async fn pending(&self) -> VersionId {
        let upload = Upload::new(FileId::random().as_str());
        self.desk.pending(&upload).await.0
    }

    async fn commit(
        &self,
        version: VersionId,
        text: &str,
        expected: Expected,
        metadata: &str,
    ) -> Result<File, CommitError> {
        let target = ObjectTarget {
            bucket: self.bucket.clone(),
            key: key(text),
            owner: Owner::bucket(account("1"), &self.bucket),
            name: FileName::clean(key(text).last_segment()),
            metadata: Metadata::from_json(metadata.to_owned()).must(),
            expected,
            fresh: FileId::random(),
        };
        let target = CommitTarget::Object(Box::new(target));
        self.desk
            .commit_to(version, &Upload::new("x"), target)
            .await
    }

    async fn put(&self, text: &str) -> File {
        let version = self.pending().await;
        let put = self.commit(version, text, Expected::Anything, "{}");
        put.await.must()
    }

    async fn find(&self, text: &str) -> Option<File> {
        self.buckets.object(&self.bucket, &key(text)).await.must()
    }

    async fn remove(&self, text: &str, version: VersionId) -> Option<FileId> {
        let hour = Duration::from_secs(3600);
        let key = key(text);
        let buckets = &self.buckets;
        let removed = buckets.remove_object(&self.bucket, &key, version, hour);
        removed.await.must()
    }

    async fn keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Vec<String> {
        let filter = ObjectFilter {
            bucket: self.bucket.clone(),
            prefix: prefix.to_owned(),
            after: after.map(str::to_owned),
            limit,
        };
        let page = self.buckets.objects(&filter).await.must();
        page.iter()
            .map(|entry| entry.key.as_str().to_owned())
            .collect()
    }
}
