//! What an admin is told about why somebody may or may not.

use cloakroom_application::{
    Caller, Circuit, Error, Explanation, Rule, Said, Says, authorize, explain,
    ports::{Credential, Presented, Revocation},
    trash,
};
use cloakroom_domain::{Action, FileId, Preconditions, Principal, PrincipalKind};

use crate::{
    backend::{Act, NO, Scripted, YES, caller, user},
    support::World,
    uploaded,
};

fn admin() -> Caller {
    let token = Presented::new("admin".to_owned());
    caller(PrincipalKind::Admin, None, Credential::Bearer(token))
}

async fn explained(world: &World, about: &Principal, id: &FileId, action: Action) -> Explanation {
    explain(&world.app, &admin(), about, id, action)
        .await
        .unwrap()
}

/// The rule that decided, and what it said.
async fn decided(world: &World, about: &Principal, id: &FileId, action: Action) -> (Rule, Says) {
    let explanation = explained(world, about, id, action).await;
    let last = explanation.steps.last().unwrap();
    assert_eq!(last.says, explanation.decision());
    (last.rule, last.says)
}

#[tokio::test]
async fn the_rule_that_decided_is_named_and_nobody_is_asked() {
    let backend = Scripted::new(YES);
    let world = World::with(backend.permissions()).await;
    let id = uploaded(&world, b"x").await.id;
    let bob = user("8", "bobs-token").principal;
    let service = caller(
        PrincipalKind::Service,
        None,
        Credential::Bearer(Presented::new("s".to_owned())),
    );
    let nobody = Principal::anonymous();
    let read = Action::Read;
    for (about, id, action, expected) in [
        (&admin().principal, &id, read, (Rule::Admin, Says::Yes)),
        (&world.alice.principal, &id, read, (Rule::Owner, Says::Yes)),
        (&bob, &id, read, (Rule::Hook, Says::Ask)),
        (&bob, &id, Action::Write, (Rule::Hook, Says::No)),
        (&service.principal, &id, read, (Rule::Hook, Says::No)),
        (&nobody, &id, read, (Rule::Hook, Says::No)),
        (&bob, &FileId::random(), read, (Rule::File, Says::No)),
    ] {
        assert_eq!(decided(&world, about, id, action).await, expected);
    }
    assert!(backend.questions().is_empty());

    let owned = authorize(&world.app, &world.alice, &id, Action::Delete).await;
    let unconditional = Preconditions::default();
    trash(&world.app, &owned.unwrap(), &unconditional)
        .await
        .unwrap();
    assert_eq!(
        decided(&world, &world.alice.principal, &id, read).await,
        (Rule::File, Says::No)
    );
}

#[tokio::test]
async fn the_last_question_is_told_with_its_answer_and_whether_it_still_holds() {
    let backend = Scripted::new(YES);
    let world = World::with(backend.permissions()).await;
    let id = uploaded(&world, b"x").await.id;
    let bob = user("8", "bobs-token");
    let last = async || {
        let explanation = explained(&world, &bob, &id, Action::Read).await;
        explanation.hook.unwrap().last
    };
    assert_eq!(last().await, None);
    authorize(&world.app, &bob, &id, Action::Read)
        .await
        .unwrap();
    let said = last().await.unwrap();
    assert_eq!((said.said, said.kept), (Said::Yes, true));
    assert_eq!(said.reason.as_deref(), Some("because"));
    world.app.permissions.forget(&Revocation {
        file: Some(id.clone()),
        ..Revocation::default()
    });
    assert!(!last().await.unwrap().kept);
    for (act, expected) in [(NO, Said::No), (Act::Fail, Said::Failed)] {
        world.app.permissions.forget_everything();
        backend.will(act);
        let _ = authorize(&world.app, &bob, &id, Action::Read).await;
        assert_eq!(last().await.unwrap().said, expected);
    }
    for _ in 0..10 {
        let _ = authorize(&world.app, &bob, &id, Action::Read).await;
    }
    let hook = explained(&world, &bob, &id, Action::Read).await.hook;
    assert_eq!(hook.unwrap().circuit, Circuit::Open);
}

#[tokio::test]
async fn without_a_hook_it_says_so_and_only_admins_are_told_anything() {
    let world = World::new().await;
    let id = uploaded(&world, b"x").await.id;
    let bob = user("8", "bobs-token");
    let explanation = explained(&world, &bob, &id, Action::Read).await;
    assert_eq!(explanation.hook, None);
    assert_eq!(explanation.decision(), Says::No);
    let told = explain(&world.app, &bob, &bob, &id, Action::Read).await;
    assert!(matches!(told, Err(Error::KindForbidden)));
}
