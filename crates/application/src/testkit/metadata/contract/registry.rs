//! The registry of stores, and the tokens.

use cloakroom_domain::{Bucket, BucketRule, PrincipalKind, TokenHash, TokenId};
use futures_util::future::join_all;

use super::{Fixture, Must, account, store, user};
use crate::ports::{NewToken, RepositoryError};

/// A second seed enters nothing, and is told what there is.
pub async fn the_first_store_is_seeded_once(fixture: &dyn Fixture) {
    let stores = fixture.stores();
    assert!(stores.all().await.must().is_empty());
    let first = store(BucketRule::PerAccount("pre".to_owned()));
    let second = store(BucketRule::Fixed(Bucket::parse("b").must()));
    assert_eq!(stores.seed(first.clone()).await.must(), [first.clone()]);
    assert_eq!(stores.seed(second).await.must(), [first.clone()]);
    assert_eq!(stores.all().await.must(), [first]);
}

/// Replicas that start together agree.
pub async fn of_many_seeds_at_once_one_is_entered(fixture: &dyn Fixture) {
    let stores = fixture.stores();
    let seeds = (0..8).map(|n| {
        let bucket = Bucket::parse(&format!("b{n}")).must();
        stores.seed(store(BucketRule::Fixed(bucket)))
    });
    let outcomes: Vec<_> = join_all(seeds).await.into_iter().map(Must::must).collect();
    let all = stores.all().await.must();
    assert_eq!(all.len(), 1);
    assert!(all[0].is_current);
    assert!(outcomes.iter().all(|outcome| *outcome == all));
}

/// The cheap look of a health check.
pub async fn the_database_answers(fixture: &dyn Fixture) {
    fixture.stores().ping().await.must();
}

fn token(name: &str) -> NewToken {
    NewToken {
        id: TokenId::random(),
        name: name.to_owned(),
        kind: PrincipalKind::Service,
        account: Some(account("1")),
        user: None,
        hash: TokenHash::of(name),
    }
}

/// A revoked token is unknown, and stays on the list.
pub async fn a_token_is_found_by_its_hash_until_it_is_revoked(fixture: &dyn Fixture) {
    let tokens = fixture.tokens();
    let new = NewToken {
        kind: PrincipalKind::User,
        user: Some(user("7")),
        ..token("one")
    };
    let id = new.id;
    let made = tokens.create(new).await.must();
    assert_eq!((made.id, made.name.as_str()), (id, "one"));
    assert_eq!(made.kind, PrincipalKind::User);
    assert_eq!(
        (&made.account, &made.user),
        (&Some(account("1")), &Some(user("7")))
    );
    assert_eq!(made.revoked_at, None);
    let found = tokens.by_hash(&TokenHash::of("one")).await.must();
    assert_eq!(found, Some(made));
    let unknown = tokens.by_hash(&TokenHash::of("two")).await.must();
    assert!(unknown.is_none());

    assert!(tokens.revoke(id).await.must());
    assert!(!tokens.revoke(id).await.must());
    assert!(!tokens.revoke(TokenId::random()).await.must());
    let revoked = tokens.by_hash(&TokenHash::of("one")).await.must();
    assert!(revoked.is_none());
    let all = tokens.list().await.must();
    assert!(all.len() == 1 && all[0].revoked_at.is_some());
}

/// The newest first; of the same instant, in any one order.
pub async fn tokens_are_listed_newest_first(fixture: &dyn Fixture) {
    let tokens = fixture.tokens();
    for name in ["a", "b", "c"] {
        tokens.create(token(name)).await.must();
    }
    let all = tokens.list().await.must();
    assert_eq!(all.len(), 3);
    assert!(all.is_sorted_by(|a, b| a.created_at >= b.created_at));
}

/// Neither the same hash nor the same handle twice.
pub async fn a_token_is_kept_once(fixture: &dyn Fixture) {
    let tokens = fixture.tokens();
    let first = token("a");
    tokens.create(first.clone()).await.must();
    let same_hash = NewToken {
        id: TokenId::random(),
        ..first.clone()
    };
    let same_id = NewToken {
        hash: TokenHash::of("b"),
        ..first
    };
    for twice in [same_hash, same_id] {
        let refused = tokens.create(twice).await;
        let is_conflict = matches!(refused, Err(RepositoryError::Conflict(_)));
        assert!(is_conflict, "{refused:?}");
    }
}
