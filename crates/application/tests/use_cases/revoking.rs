//! Taking back what was answered: nothing that was said before counts after it.

use std::time::Duration;

use cloakroom_application::{
    Error,
    ports::{Credential, Keep, Presented, Revocation},
    revoke,
};
use cloakroom_domain::{AccountId, FileId, PrincipalKind, UserId};
use tokio::time::sleep;

use crate::{
    backend::{Act, NO, Scripted, YES, caller},
    permissions::{SECOND, bob, file, read},
    support::World,
};

fn of_file(id: &FileId) -> Revocation {
    Revocation {
        file: Some(id.clone()),
        ..Revocation::default()
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_revoked_by_file_user_or_account_is_asked_again_and_nothing_else() {
    let backend = Scripted::new(YES);
    let world = World::with(backend.permissions()).await;
    let id = file(&world).await;
    read(&world, &bob(), &id).await.unwrap();
    let user = |id: &str| Revocation {
        user: UserId::parse(id).ok(),
        ..Revocation::default()
    };
    let account = |id: &str| Revocation {
        account: AccountId::parse(id).ok(),
        ..Revocation::default()
    };
    let both = Revocation {
        file: Some(FileId::random()),
        ..user("8")
    };
    let mut expected = 1;
    for (revocation, forgets) in [
        (of_file(&id), true),
        (of_file(&FileId::random()), false),
        (user("8"), true),
        (user("no such user"), false),
        (account("1"), true),
        (account("no such account"), false),
        (both, true),
    ] {
        world.app.permissions.forget(&revocation);
        read(&world, &bob(), &id).await.unwrap();
        expected += usize::from(forgets);
        assert_eq!(backend.questions().len(), expected, "{revocation:?}");
    }
    world.app.permissions.forget_everything();
    read(&world, &bob(), &id).await.unwrap();
    assert_eq!(backend.questions().len(), expected + 1);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_during_a_question_wins_over_its_answer() {
    let backend = Scripted::new(YES).slow(SECOND);
    let world = World::with(backend.permissions()).await;
    let id = file(&world).await;
    let who = bob();
    let asking = read(&world, &who, &id);
    let revoking = async {
        sleep(SECOND / 2).await;
        backend.will(NO);
        world.app.permissions.forget(&of_file(&id));
        // Whoever comes now does not wait with the one before.
        let late = read(&world, &who, &id).await;
        assert!(matches!(late, Err(Error::Forbidden)));
    };
    let (early, ()) = tokio::join!(asking, revoking);
    assert!(matches!(early, Err(Error::Forbidden)), "{early:?}");
    assert_eq!(backend.questions().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn while_revocations_are_not_heard_of_an_answer_lives_a_second_at_most() {
    let backend = Scripted::new(Act::Say(true, Keep::For(60 * SECOND)));
    let world = World::with(backend.permissions()).await;
    let id = file(&world).await;
    world.app.permissions.hearing_ends();
    for expected in [1, 1, 2] {
        read(&world, &bob(), &id).await.unwrap();
        assert_eq!(backend.questions().len(), expected);
        sleep(Duration::from_millis(600)).await;
    }
    world.app.permissions.hearing_begins();
    for _ in 0..2 {
        read(&world, &bob(), &id).await.unwrap();
        assert_eq!(
            backend.questions().len(),
            3,
            "what was kept meanwhile is forgotten"
        );
        sleep(30 * SECOND).await;
    }
}

#[tokio::test]
async fn services_and_admins_revoke_others_do_not_and_something_must_be_named() {
    let world = World::new().await;
    let bearer = || Credential::Bearer(Presented::new("t".to_owned()));
    let id = FileId::random();
    let try_as = async |kind, what: &Revocation| {
        let who = caller(kind, None, bearer());
        revoke(&world.app, &who, what).await
    };
    for kind in [PrincipalKind::Service, PrincipalKind::Admin] {
        try_as(kind, &of_file(&id)).await.unwrap();
        let nothing = try_as(kind, &Revocation::default()).await;
        assert!(matches!(nothing, Err(Error::MissingField(_))));
    }
    for kind in [
        PrincipalKind::User,
        PrincipalKind::Guest,
        PrincipalKind::Public,
    ] {
        let refused = try_as(kind, &of_file(&id)).await;
        assert!(matches!(refused, Err(Error::KindForbidden)));
    }
    let refused = try_as(PrincipalKind::Anonymous, &of_file(&id)).await;
    assert!(matches!(refused, Err(Error::Unauthenticated)));
}
