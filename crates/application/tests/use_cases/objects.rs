//! Objects over in-memory adapters: rights, puts at every failure, removals.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cloakroom_application::{
    Authorized, Caller, Destination, Error, NewUpload, ObjectsRequest, Slot, Started,
    authorize_bucket, authorize_object, begin, current, list_objects, open,
    ports::{BucketRepository, Expected, NewBucket, NewToken, TokenRepository},
    remove_bucket, remove_object, set_bucket, sweep,
    testkit::objects::{Fault, Step, collect},
};
use cloakroom_domain::{
    AccountId, BucketGrant, BucketKey, BucketName, BucketPolicy, BucketRight, ContentType, File,
    Metadata, Preconditions, Principal, PrincipalKind, TokenHash, TokenId, TypeRule,
};

use super::support::World;

fn admin() -> Caller {
    Caller {
        principal: Principal {
            kind: PrincipalKind::Admin,
            account: AccountId::parse("1").ok(),
            user: None,
            token: None,
        },
        credential: None,
    }
}

/// A caller with a token of that name.
async fn service(world: &World, name: &str) -> Caller {
    let hash = TokenHash::of(&format!("token of {name}"));
    let token = NewToken {
        id: TokenId::random(),
        name: name.to_owned(),
        kind: PrincipalKind::Service,
        account: None,
        user: None,
        hash,
    };
    world.database.create(token).await.unwrap();
    Caller {
        principal: Principal {
            kind: PrincipalKind::Service,
            account: None,
            user: None,
            token: Some(hash),
        },
        credential: None,
    }
}

fn name() -> BucketName {
    BucketName::parse("b").unwrap()
}

/// A bucket `b`, for the service `s`.
async fn shelf(world: &World, max_size: Option<u64>, types: &[&str]) -> Caller {
    let grants = vec![BucketGrant {
        service: "s".to_owned(),
        rights: BucketRight::ALL.to_vec(),
    }];
    let types = types.iter().map(|rule| TypeRule::parse(rule).unwrap());
    let mut policy = BucketPolicy::new(grants, types.collect()).unwrap();
    policy.max_size = max_size;
    let new = NewBucket {
        name: name(),
        account: None,
        policy,
    };
    set_bucket(&world.app, &admin(), new).await.unwrap();
    service(world, "s").await
}

async fn slot(world: &World, who: &Caller, right: BucketRight) -> Result<Authorized<Slot>, Error> {
    let key = BucketKey::parse("k").unwrap();
    authorize_object(&world.app, who, "b", &key, right).await
}

async fn put(
    world: &World,
    who: &Caller,
    expected: Expected,
    kind: Option<&str>,
    body: &'static [u8],
) -> Result<File, Error> {
    let new = NewUpload {
        destination: Destination::Object {
            slot: Box::new(slot(world, who, BucketRight::Write).await?),
            metadata: Metadata::default(),
            expected,
        },
        name: None,
        declared_type: kind.and_then(ContentType::parse),
        size: None,
        digest: None,
        idempotency: None,
    };
    let Started::Running(mut upload) = begin(&world.app, who, new).await? else {
        panic!("a replay without a key")
    };
    if let Err(error) = upload.write(Bytes::from_static(body)).await {
        upload.give_up().await;
        return Err(error);
    }
    upload.finish().await
}

async fn read(world: &World, who: &Caller) -> Result<Vec<u8>, Error> {
    let file = slot(world, who, BucketRight::Read).await?.into_file()?;
    let payload = open(&world.app, &current(file), None).await?;
    Ok(collect(payload).await.unwrap())
}

#[tokio::test]
async fn an_object_is_put_read_replaced_and_removed() {
    let world = World::new().await;
    let who = shelf(&world, None, &[]).await;
    let first = put(&world, &who, Expected::Nothing, Some("a/b"), b"one")
        .await
        .unwrap();
    assert_eq!(first.current.content_type.as_str(), "a/b");
    put(&world, &who, Expected::Anything, None, b"two")
        .await
        .unwrap();
    assert_eq!(read(&world, &who).await.unwrap(), b"two");
    let bucket = authorize_bucket(&world.app, &who, "b", BucketRight::List)
        .await
        .unwrap();
    let page = list_objects(&world.app, &bucket, ObjectsRequest::default())
        .await
        .unwrap();
    assert_eq!((page.items.len(), page.next), (1, None));
    let gone = slot(&world, &who, BucketRight::Delete).await.unwrap();
    let refused = remove_bucket(&world.app, &admin(), &name()).await;
    assert!(matches!(refused, Err(Error::Conflict(_))));
    remove_object(&world.app, &gone, &Preconditions::default())
        .await
        .unwrap();
    assert!(matches!(read(&world, &who).await, Err(Error::NotFound)));
    let again = remove_object(&world.app, &gone, &Preconditions::default()).await;
    assert!(matches!(again, Err(Error::NotFound)));
    // The bytes wait for readers, and go then.
    sweep(&world.app).await.unwrap();
    assert_eq!(world.store.objects().len(), 2);
    world.database.pass(Duration::from_secs(24 * 3600 + 1));
    sweep(&world.app).await.unwrap();
    world.assert_nothing_left("after the delay").await;
    remove_bucket(&world.app, &admin(), &name()).await.unwrap();
    assert!(matches!(read(&world, &who).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_condition_that_held_at_first_is_held_to_when_it_commits() {
    let world = World::new().await;
    let who = shelf(&world, None, &[]).await;
    let old = put(&world, &who, Expected::Anything, None, b"one")
        .await
        .unwrap();
    for expected in [Expected::Nothing, Expected::Version(old.current.id)] {
        put(&world, &who, Expected::Anything, None, b"between")
            .await
            .unwrap();
        let late = put(&world, &who, expected, None, b"late").await;
        assert!(
            matches!(late, Err(Error::PreconditionFailed)),
            "{expected:?}"
        );
    }
    assert_eq!(read(&world, &who).await.unwrap(), b"between");
    world.app.background.idle().await;
    assert_eq!(world.store.objects().len(), 3);
}

#[tokio::test]
async fn what_a_bucket_does_not_take_leaves_nothing() {
    let world = World::new().await;
    let who = shelf(&world, Some(5), &["text/plain"]).await;
    let large = put(
        &world,
        &who,
        Expected::Anything,
        Some("text/plain"),
        b"123456",
    )
    .await;
    assert!(matches!(large, Err(Error::TooLarge { limit: 5 })));
    let typed = put(&world, &who, Expected::Anything, Some("a/b"), b"1").await;
    assert!(matches!(typed, Err(Error::TypeRefused(kind)) if kind == "a/b"));
    let guessed = put(&world, &who, Expected::Anything, None, b"%PDF-").await;
    assert!(matches!(guessed, Err(Error::TypeRefused(_))));
    world.assert_nothing_left("refused").await;
}

#[tokio::test]
async fn a_store_that_fails_at_any_step_leaves_the_name_as_it_was() {
    for step in [Step::Begin, Step::Write, Step::Finish] {
        let world = World::new().await;
        let who = shelf(&world, None, &[]).await;
        world.store.fail_always(step, Fault::Refuse);
        let failed = put(&world, &who, Expected::Anything, None, b"x").await;
        assert!(matches!(failed, Err(Error::Store { .. })), "{step:?}");
        assert!(matches!(read(&world, &who).await, Err(Error::NotFound)));
        world.assert_nothing_left("a failed put").await;
    }
}

#[tokio::test]
async fn a_bucket_that_goes_while_a_body_comes_is_not_found() {
    let world = World::new().await;
    let who = shelf(&world, None, &[]).await;
    let late = slot(&world, &who, BucketRight::Write).await.unwrap();
    remove_bucket(&world.app, &admin(), &name()).await.unwrap();
    let new = NewUpload {
        destination: Destination::Object {
            slot: Box::new(late),
            metadata: Metadata::default(),
            expected: Expected::Anything,
        },
        ..super::support::private_file()
    };
    let Started::Running(upload) = begin(&world.app, &who, new).await.unwrap() else {
        panic!("a replay without a key")
    };
    assert!(matches!(upload.finish().await, Err(Error::NotFound)));
    world.assert_nothing_left("a put into nowhere").await;
}

#[tokio::test]
async fn rights_are_by_the_name_of_the_token_and_hidden_where_there_are_none() {
    let world = World::new().await;
    let who = shelf(&world, None, &[]).await;
    let other = service(&world, "other").await;
    for right in BucketRight::ALL {
        assert!(slot(&world, &who, right).await.is_ok());
        assert!(slot(&world, &admin(), right).await.is_ok());
        for stranger in [&other, &world.alice] {
            let refused = slot(&world, stranger, right).await;
            assert!(matches!(refused, Err(Error::NotFound)));
        }
        let anonymous = Caller {
            principal: Principal::anonymous(),
            credential: None,
        };
        let refused = slot(&world, &anonymous, right).await;
        assert!(matches!(refused, Err(Error::Unauthenticated)));
    }
    let database: Arc<dyn BucketRepository> = world.database.clone();
    assert!(database.bucket(&name()).await.unwrap().is_some());
    let foreign = set_bucket(
        &world.app,
        &who,
        NewBucket {
            name: name(),
            account: None,
            policy: BucketPolicy::default(),
        },
    );
    assert!(matches!(foreign.await, Err(Error::KindForbidden)));
}
