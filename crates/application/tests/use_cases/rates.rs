//! Guessing credentials: who is stopped, and who is not.

use std::{
    net::Ipv4Addr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cloakroom_application::{
    App, Error, Rates,
    ports::{
        Authenticator, Credential, CredentialError, Presented, RateClass, RateKey, RatePolicies,
        RatePolicy,
    },
    rates::LocalRates,
    recognise,
};
use cloakroom_domain::{Principal, PrincipalKind};

use crate::support::World;

/// Knows the secrets that begin with `good`, and counts how often it is asked.
struct Good(Arc<AtomicUsize>, Principal);

#[async_trait]
impl Authenticator for Good {
    async fn authenticate(
        &self,
        credential: &Credential,
    ) -> Result<Option<Principal>, CredentialError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let (Credential::Bearer(secret) | Credential::Cookie(secret)) = credential else {
            return Ok(None);
        };
        Ok(secret.reveal().starts_with("good").then(|| self.1.clone()))
    }
}

struct Door {
    app: App,
    asked: Arc<AtomicUsize>,
}

const LIMIT: usize = 20;

impl Door {
    async fn new() -> Self {
        let world = World::new().await;
        let asked = Arc::new(AtomicUsize::new(0));
        let known = Good(Arc::clone(&asked), world.alice.principal.clone());
        let policy = RatePolicy {
            permits: NonZeroU32::new(u32::try_from(LIMIT).unwrap()).unwrap(),
            window: Duration::from_secs(3600),
        };
        let policies = RatePolicies {
            upload: policy,
            download: policy,
            auth_failure: policy,
        };
        let whole = &world.app;
        let app = App {
            files: whole.files.clone(),
            ledger: whole.ledger.clone(),
            buckets: whole.buckets.clone(),
            uploads: whole.uploads.clone(),
            turns: whole.turns.clone(),
            tokens: whole.tokens.clone(),
            registry: whole.registry.clone(),
            migrations: whole.migrations.clone(),
            stores: whole.stores.clone(),
            authenticators: vec![Arc::new(known)],
            hot: whole.hot.clone(),
            dependencies: whole.dependencies.clone(),
            permissions: whole.permissions.clone(),
            revocations: whole.revocations.clone(),
            links: whole.links.clone(),
            claims: whole.claims.clone(),
            scrubbing: whole.scrubbing.clone(),
            meter: whole.meter.clone(),
            rates: Rates::new(Arc::new(LocalRates::new(&policies))),
            background: whole.background.clone(),
            limits: whole.limits.clone(),
        };
        Self { app, asked }
    }

    /// How a request with these credentials ends that needs a caller: by its principal's kind, or why not.
    async fn knock(&self, credentials: Vec<Credential>, from: u32) -> Result<PrincipalKind, Error> {
        let from = RateKey::of_address(Ipv4Addr::from(from).into());
        let recognised = recognise(&self.app, credentials, from).await?;
        match recognised.attempt {
            Some(attempt) => Err(attempt.refused(&self.app.rates).await),
            None => Ok(recognised.caller.kind),
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn bearer(secret: &str) -> Vec<Credential> {
    vec![Credential::Bearer(Presented::new(secret.to_owned()))]
}

fn cookie(secret: &str) -> Vec<Credential> {
    vec![Credential::Cookie(Presented::new(secret.to_owned()))]
}

fn is_limited(outcome: &Result<PrincipalKind, Error>) -> bool {
    let Err(Error::RateLimited(verdict)) = outcome else {
        return false;
    };
    assert_eq!(verdict.class, RateClass::AuthFailure);
    assert!(verdict.refused.is_some());
    true
}

#[tokio::test]
async fn after_so_many_refusals_an_address_is_told_to_wait_and_nothing_is_looked_up() {
    for guess in [bearer as fn(&str) -> _, cookie] {
        let door = Door::new().await;
        for n in 0..LIMIT {
            let outcome = door.knock(guess(&format!("bad {n}")), 1).await;
            assert!(
                matches!(outcome, Err(Error::Unauthenticated)),
                "{outcome:?}"
            );
        }
        assert!(is_limited(&door.knock(guess("bad"), 1).await));
        let asked = door.asked();
        for n in 0..100 {
            assert!(is_limited(
                &door.knock(guess(&format!("more {n}")), 1).await
            ));
            // Also what would be good: otherwise guessing went on.
            assert!(is_limited(&door.knock(guess("good but new"), 1).await));
        }
        assert_eq!(door.asked(), asked);
        assert!(
            door.knock(guess("good but new"), 2).await.is_ok(),
            "another address"
        );
    }
}

#[tokio::test]
async fn who_was_recognised_a_while_ago_is_not_locked_out_by_a_guesser_at_the_same_address() {
    let door = Door::new().await;
    door.knock(bearer("good"), 1).await.unwrap();
    door.knock(cookie("good"), 1).await.unwrap();
    for n in 0..=LIMIT {
        door.knock(bearer(&format!("bad {n}")), 1)
            .await
            .unwrap_err();
    }
    assert_eq!(
        door.knock(bearer("good"), 1).await.unwrap(),
        PrincipalKind::User
    );
    let both = [cookie("stale"), cookie("good")].concat();
    assert_eq!(door.knock(both, 1).await.unwrap(), PrincipalKind::User);
    let behind = [bearer("bad"), cookie("good")].concat();
    assert!(is_limited(&door.knock(behind, 1).await));
}

#[tokio::test]
async fn old_cookies_do_not_stop_what_anybody_may_do() {
    let door = Door::new().await;
    let from = RateKey::of_address(Ipv4Addr::from(1).into());
    for _ in 0..200 {
        let recognised = recognise(&door.app, cookie("old"), from).await.unwrap();
        assert_eq!(recognised.caller.kind, PrincipalKind::Anonymous);
    }
    for _ in 0..=LIMIT {
        door.knock(cookie("old"), 1).await.unwrap_err();
    }
    let recognised = recognise(&door.app, cookie("old"), from).await.unwrap();
    assert_eq!(recognised.caller.kind, PrincipalKind::Anonymous);
    let nobody = recognise(&door.app, Vec::new(), from).await.unwrap();
    assert!(nobody.attempt.is_none());
}

#[tokio::test]
async fn a_hundred_guesses_at_once_are_told_no_more_often_than_the_limit() {
    let door = Door::new().await;
    let outcomes = futures_util::future::join_all((0..100).map(|n| {
        let door = &door;
        async move { door.knock(bearer(&format!("bad {n}")), 1).await }
    }))
    .await;
    let told = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(Error::Unauthenticated)));
    assert_eq!(told.count(), LIMIT);
    assert_eq!(
        outcomes.iter().filter(|it| is_limited(it)).count(),
        100 - LIMIT
    );
}

#[tokio::test]
async fn a_page_of_pictures_with_one_old_cookie_locks_nobody_out() {
    let door = Door::new().await;
    for _ in 0..10 * LIMIT {
        let outcome = door.knock(cookie("old"), 1).await;
        assert!(
            matches!(outcome, Err(Error::Unauthenticated)),
            "{outcome:?}"
        );
    }
    assert!(door.knock(bearer("good but new"), 1).await.is_ok());
    assert!(door.knock(cookie("good and newer"), 1).await.is_ok());
}
