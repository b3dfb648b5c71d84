//! Buckets: set, found, paged, removed.

use cloakroom_domain::{BucketGrant, BucketPolicy, BucketRight, TypeRule};
use futures_util::future::join_all;

use super::{Must, ObjectsFixture, Shelf, account, name};
use crate::ports::{BucketRemoved, BucketSet, CommitError, Expected, NewBucket};

fn policy() -> BucketPolicy {
    let grants = vec![
        BucketGrant {
            service: "Отчёты \"1\"".to_owned(),
            rights: vec![BucketRight::Read, BucketRight::List],
        },
        BucketGrant {
            service: "billing".to_owned(),
            rights: Vec::new(),
        },
    ];
    let types = vec![TypeRule::parse("image/*").must()];
    let mut policy = BucketPolicy::new(grants, types).must();
    policy.public_read = true;
    policy.max_size = Some(u64::from(u32::MAX) + 1);
    policy
}

fn new(bucket: &str, of: Option<&str>, policy: BucketPolicy) -> NewBucket {
    NewBucket {
        name: name(bucket),
        account: of.map(account),
        policy,
    }
}

/// A bucket reads back as it was set, and as it was set last.
pub async fn a_bucket_reads_back_as_it_was_set(fixture: &dyn ObjectsFixture) {
    let buckets = fixture.buckets();
    let set = buckets.set_bucket(new("b", Some("1"), policy())).await;
    let BucketSet::Made(made) = set.must() else {
        panic!("not made")
    };
    assert_eq!((&made.policy, &made.account), (&policy(), &account("1")));
    assert_eq!(buckets.bucket(&name("b")).await.must(), Some(made.clone()));
    let plain = BucketPolicy::default();
    let set = buckets.set_bucket(new("b", None, plain.clone())).await;
    let BucketSet::Changed(changed) = set.must() else {
        panic!("not changed")
    };
    assert_eq!((&changed.policy, &changed.account), (&plain, &made.account));
    assert_eq!(changed.created_at, made.created_at);
    assert!(changed.updated_at >= made.updated_at);
    assert_eq!(buckets.bucket(&name("b")).await.must(), Some(changed));
    assert_eq!(buckets.bucket(&name("c")).await.must(), None);
}

/// A bucket is made for an account and stays with it.
pub async fn a_bucket_keeps_its_account(fixture: &dyn ObjectsFixture) {
    let buckets = fixture.buckets();
    let set = buckets.set_bucket(new("b", None, policy())).await.must();
    assert_eq!(set, BucketSet::NoAccount);
    let set = buckets.set_bucket(new("b", Some("1"), policy())).await;
    assert!(matches!(set.must(), BucketSet::Made(_)));
    let other = new("b", Some("2"), BucketPolicy::default());
    assert_eq!(
        buckets.set_bucket(other).await.must(),
        BucketSet::OtherAccount
    );
    let found = buckets.bucket(&name("b")).await.must().must();
    assert_eq!((found.account, found.policy), (account("1"), policy()));
}

/// Of many that make one bucket at once one does, and the others find it made.
pub async fn of_many_that_make_a_bucket_at_once_one_does(fixture: &dyn ObjectsFixture) {
    let buckets = fixture.buckets();
    let making = (0..8).map(|_| buckets.set_bucket(new("b", Some("1"), policy())));
    let made = join_all(making).await;
    let made = made
        .into_iter()
        .filter(|set| matches!(set, Ok(BucketSet::Made(_))));
    assert_eq!(made.count(), 1);
}

/// Pages of buckets join in the order of their names.
pub async fn buckets_are_paged_by_name(fixture: &dyn ObjectsFixture) {
    let shelf = Shelf::open(fixture).await;
    for bucket in ["c", "a-1", "a.1", "a_1", "a1"] {
        shelf.make(bucket).await;
    }
    let names = async |after: Option<&str>| {
        let after = after.map(name);
        let page = shelf.buckets.buckets(after.as_ref(), 4).await.must();
        let names: Vec<String> = page.iter().map(|b| b.name.to_string()).collect();
        names
    };
    assert_eq!(names(None).await, ["a-1", "a.1", "a1", "a_1"]);
    assert_eq!(names(Some("a_1")).await, ["b", "c"]);
    assert!(names(Some("c")).await.is_empty());
}

/// A bucket can be removed once there is no object in it any more.
pub async fn a_bucket_with_objects_in_it_stays(fixture: &dyn ObjectsFixture) {
    let shelf = Shelf::open(fixture).await;
    let remove = async || shelf.buckets.remove_bucket(&name("b")).await.must();
    let file = shelf.put("k").await;
    assert_eq!(remove().await, BucketRemoved::NotEmpty);
    shelf.remove("k", file.current.id).await.must();
    assert_eq!(remove().await, BucketRemoved::Gone);
    assert_eq!(remove().await, BucketRemoved::Missing);
    assert_eq!(shelf.buckets.bucket(&name("b")).await.must(), None);
}

/// What is on its way to a bucket that is removed meanwhile does not arrive.
pub async fn a_bucket_that_is_gone_takes_no_object(fixture: &dyn ObjectsFixture) {
    let shelf = Shelf::open(fixture).await;
    let version = shelf.pending().await;
    shelf.buckets.remove_bucket(&name("b")).await.must();
    let put = shelf.commit(version, "k", Expected::Anything, "{}");
    assert!(matches!(put.await, Err(CommitError::FileGone)));
    // A bucket that is made anew has nothing in it.
    shelf.make("b").await;
    assert!(shelf.keys("", None, 10).await.is_empty());
}
