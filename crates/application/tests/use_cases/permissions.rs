//! Asking the application beside us: kept answers, identical questions, limits, failures.

use std::time::Duration;

use cloakroom_application::{
    Caller, Error, authorize, authorize_any_state,
    ports::{Credential, Keep, Presented},
};
use cloakroom_domain::{Action, FileId, PrincipalKind};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    backend::{Act, NO, Scripted, YES, caller, user},
    support::World,
    uploaded,
};

pub const SECOND: Duration = Duration::from_secs(1);

pub async fn file(world: &World) -> FileId {
    uploaded(world, b"x").await.id
}

async fn files(world: &World, count: usize) -> Vec<FileId> {
    let mut files = Vec::new();
    for _ in 0..count {
        files.push(file(world).await);
    }
    files
}

pub async fn read(world: &World, who: &Caller, id: &FileId) -> Result<(), Error> {
    authorize(&world.app, who, id, Action::Read).await.map(drop)
}

pub fn bob() -> Caller {
    user("8", "bobs-token")
}

#[tokio::test(start_paused = true)]
async fn a_yes_gives_the_file_a_no_is_forbidden_and_what_is_not_there_is_not_asked_about() {
    let backend = Scripted::new(YES);
    let world = World::with(backend.permissions()).await;
    let id = file(&world).await;
    read(&world, &bob(), &id).await.unwrap();
    backend.will(NO);
    let refused = read(&world, &user("9", "another"), &id).await;
    assert!(matches!(refused, Err(Error::Forbidden)));
    let missing = FileId::random();
    let none = read(&world, &bob(), &missing).await;
    assert!(matches!(none, Err(Error::NotFound)));
    let (credential, checks) = &backend.asked()[0];
    assert!(*credential == bob().credential.unwrap());
    assert_eq!((&checks[0].file, checks[0].action), (&id, Action::Read));
    assert_eq!(backend.questions(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn owners_admins_services_visitors_without_credential_and_our_own_tokens_are_never_asked_about()
 {
    let backend = Scripted::new(YES);
    let world = World::with(backend.permissions()).await;
    let id = file(&world).await;
    read(&world, &user("7", "alices-token"), &id).await.unwrap();
    let bearer = |token: &str| Credential::Bearer(Presented::new(token.to_owned()));
    let admin = caller(PrincipalKind::Admin, None, bearer("a"));
    read(&world, &admin, &id).await.unwrap();
    let refused = [
        caller(PrincipalKind::Service, None, bearer("s")),
        user("8", "ckr_issued_by_ourselves"),
        caller(
            PrincipalKind::User,
            Some("8"),
            Credential::Cookie(Presented::new("ckr_development".to_owned())),
        ),
    ];
    for who in refused {
        let answer = read(&world, &who, &id).await;
        assert!(matches!(answer, Err(Error::Forbidden)), "{who:?}");
    }
    let mut nobody = bob();
    nobody.principal = cloakroom_domain::Principal::anonymous();
    nobody.credential = None;
    let answer = read(&world, &nobody, &id).await;
    assert!(matches!(answer, Err(Error::Unauthenticated)));
    assert!(backend.questions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn actions_that_the_backend_does_not_answer_for_are_no_without_a_question() {
    let backend = Scripted::new(YES);
    let world = World::with(backend.permissions()).await;
    let id = file(&world).await;
    for action in [Action::Write, Action::Delete, Action::Share] {
        let answer = authorize(&world.app, &bob(), &id, action).await;
        assert!(matches!(answer, Err(Error::Forbidden)));
        let answer = authorize_any_state(&world.app, &bob(), &id, action).await;
        assert!(matches!(answer, Err(Error::Forbidden)));
    }
    assert!(backend.questions().is_empty());
    let all = backend.permissions_with(|options| options.actions = Action::ALL.to_vec());
    let world = World::with(all).await;
    let id = file(&world).await;
    authorize(&world.app, &bob(), &id, Action::Write)
        .await
        .unwrap();
    read(&world, &bob(), &id).await.unwrap();
    assert_eq!(backend.questions(), [1, 1], "a yes is for its action");
}

/// How many questions the reads make when another follows after each pause.
async fn questions(act: Act, pauses: &[Duration]) -> usize {
    let backend = Scripted::new(act);
    let world = World::with(backend.permissions()).await;
    let id = file(&world).await;
    let _ = read(&world, &bob(), &id).await;
    for pause in pauses {
        sleep(*pause).await;
        let _ = read(&world, &bob(), &id).await;
    }
    backend.questions().len()
}

#[tokio::test(start_paused = true)]
async fn answers_are_kept_as_long_as_they_say_else_5_s_for_a_yes_and_1_s_for_a_no() {
    let ms = Duration::from_millis;
    assert_eq!(questions(YES, &[ms(4900)]).await, 1);
    assert_eq!(questions(YES, &[ms(5100)]).await, 2);
    assert_eq!(questions(NO, &[ms(900)]).await, 1);
    assert_eq!(questions(NO, &[ms(1100)]).await, 2);
    let kept = |time| Act::Say(true, Keep::For(time));
    assert_eq!(questions(kept(60 * SECOND), &[59 * SECOND]).await, 1);
    assert_eq!(questions(kept(60 * SECOND), &[61 * SECOND]).await, 2);
    assert_eq!(questions(kept(Duration::ZERO), &[Duration::ZERO]).await, 2);
    let for_ever = kept(Duration::MAX);
    assert_eq!(questions(for_ever, &[3599 * SECOND]).await, 1);
    assert_eq!(questions(for_ever, &[3601 * SECOND]).await, 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_for_one_credential_and_the_header_it_travels_in() {
    let backend = Scripted::new(YES);
    let world = World::with(backend.permissions()).await;
    let id = file(&world).await;
    let secret = || Presented::new("the-same-secret".to_owned());
    let kinds = [
        (PrincipalKind::User, Credential::Bearer(secret())),
        (PrincipalKind::Guest, Credential::Guest(secret())),
        (PrincipalKind::Public, Credential::Public(secret())),
        // The same as the first three: they are asked about in the same header.
        (PrincipalKind::User, Credential::Cookie(secret())),
        (PrincipalKind::Guest, Credential::GuestCookie(secret())),
        (PrincipalKind::Public, Credential::PublicCookie(secret())),
    ];
    for (kind, credential) in kinds {
        let who = caller(kind, None, credential);
        read(&world, &who, &id).await.unwrap();
    }
    assert_eq!(backend.questions().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn identical_questions_in_flight_are_asked_once_and_one_who_leaves_takes_nothing_along() {
    let backend = Scripted::new(YES).slow(SECOND);
    let world = World::with(backend.permissions()).await;
    let id = file(&world).await;
    let who = bob();
    let first = timeout(Duration::from_millis(10), read(&world, &who, &id));
    assert!(first.await.is_err(), "left");
    let others = join_all((0..50).map(|_| read(&world, &who, &id))).await;
    assert!(others.iter().all(Result::is_ok));
    assert_eq!(backend.questions(), [1]);
}

#[tokio::test(start_paused = true)]
async fn questions_beyond_the_limit_wait_and_those_nobody_waits_for_any_more_are_not_asked() {
    let backend = Scripted::new(YES).slow(SECOND);
    let world = World::with(backend.permissions_with(|options| options.concurrency = 2)).await;
    let ids = files(&world, 20).await;
    let who = bob();
    let begun = Instant::now();
    let answers = join_all(ids.iter().map(|id| read(&world, &who, id))).await;
    // Two a second for three seconds; the rest heard nothing in time.
    let (good, late): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.is_ok());
    assert!((4..=6).contains(&good.len()), "{}", good.len());
    assert!(
        late.iter()
            .all(|late| matches!(late, Err(Error::PermissionTimedOut)))
    );
    assert!(begun.elapsed() <= 3 * SECOND + Duration::from_millis(50));
    sleep(60 * SECOND).await;
    assert_eq!(backend.peak(), 2);
    let asked = backend.questions().len();
    assert!(asked <= 8, "{asked} questions, most of them for nobody");
}

#[tokio::test(start_paused = true)]
async fn a_silent_backend_is_timed_out_at_its_limit_and_a_failing_one_failed() {
    let backend = Scripted::new(Act::Hang);
    let world = World::with(backend.permissions()).await;
    let id = file(&world).await;
    let begun = Instant::now();
    let answer = read(&world, &bob(), &id).await;
    assert!(matches!(answer, Err(Error::PermissionTimedOut)));
    assert!(begun.elapsed() <= 3 * SECOND + Duration::from_millis(50));
    // The question itself ends with its caller's patience, and may be joined until then.
    sleep(SECOND).await;
    for act in [Act::Fail, Act::Short] {
        backend.will(act);
        let answer = read(&world, &bob(), &id).await;
        assert!(matches!(answer, Err(Error::PermissionFailed)), "{act:?}");
    }
    backend.will(YES);
    read(&world, &bob(), &id).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn past_ten_failures_the_circuit_opens_answers_at_once_then_probes_with_single_questions() {
    let backend = Scripted::new(Act::Fail).slow(Duration::from_millis(100));
    let world = World::with(backend.permissions()).await;
    let id = file(&world).await;
    for _ in 0..10 {
        assert!(read(&world, &bob(), &id).await.is_err());
    }
    let begun = Instant::now();
    for _ in 0..100 {
        let answer = read(&world, &bob(), &id).await;
        assert!(matches!(answer, Err(Error::PermissionFailed)));
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "at once");
    assert_eq!(backend.questions().len(), 10);
    sleep(SECOND).await;
    let ids = files(&world, 20).await;
    join_all(
        ids.iter()
            .map(|id| async { read(&world, &bob(), id).await }),
    )
    .await;
    assert_eq!(backend.questions().len(), 11, "one probe");
    backend.will(YES);
    sleep(SECOND).await;
    read(&world, &bob(), &id).await.unwrap();
    let all = join_all(
        ids.iter()
            .map(|id| async { read(&world, &bob(), id).await }),
    )
    .await;
    assert!(all.iter().all(Result::is_ok), "closed again");
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_is_given_no_ruling_does_not_open_the_circuit_for_others() {
    let backend = Scripted::new(Act::NoRuling);
    let world = World::with(backend.permissions()).await;
    let id = file(&world).await;
    for _ in 0..50 {
        let answer = read(&world, &bob(), &id).await;
        assert!(matches!(answer, Err(Error::PermissionFailed)));
    }
    backend.will(YES);
    read(&world, &bob(), &id).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_kept_yes_holds_while_the_circuit_is_open() {
    let backend = Scripted::new(Act::Say(true, Keep::For(60 * SECOND)));
    let world = World::with(backend.permissions()).await;
    let (kept, other) = (file(&world).await, file(&world).await);
    read(&world, &bob(), &kept).await.unwrap();
    backend.will(Act::Fail);
    for _ in 0..11 {
        assert!(read(&world, &bob(), &other).await.is_err());
    }
    read(&world, &bob(), &kept).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn questions_that_arrive_together_travel_together_by_credential_up_to_the_limit() {
    let backend = Scripted::new(YES)
        .batching(100)
        .slow(Duration::from_millis(50));
    let world = World::with(backend.permissions()).await;
    let ids = files(&world, 130).await;
    let (bob, eve) = (bob(), user("9", "eves-token"));
    let (bobs, eves) = tokio::join!(
        join_all(ids.iter().map(|id| read(&world, &bob, id))),
        join_all(ids[..5].iter().map(|id| read(&world, &eve, id))),
    );
    assert!(bobs.iter().chain(&eves).all(Result::is_ok));
    let mut sizes = backend.questions();
    sizes.sort_unstable();
    assert_eq!(sizes, [5, 30, 100]);
    for (credential, checks) in backend.asked() {
        let of_bob = credential == bob.credential.clone().unwrap();
        assert_eq!(of_bob, checks.len() != 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_fails_everybody_in_it_and_is_not_kept() {
    let backend = Scripted::new(Act::Short).batching(100);
    let world = World::with(backend.permissions()).await;
    let ids = files(&world, 3).await;
    let who = bob();
    let answers = join_all(ids.iter().map(|id| read(&world, &who, id))).await;
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Err(Error::PermissionFailed)))
    );
    backend.will(YES);
    let answers = join_all(ids.iter().map(|id| read(&world, &who, id))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(backend.questions(), [3, 3]);
}
