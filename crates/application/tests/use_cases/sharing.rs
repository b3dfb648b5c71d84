//! Links, claims and reconciling over in-memory adapters.

use std::{net::Ipv4Addr, time::Duration};

use cloakroom_application::{
    Caller, Error, Leftovers, LinkRequest, Links, ReconcileStep, authorize, claim, make_link,
    open_link,
    ports::{Presented, RateKey},
    reconcile, sweep,
};
use cloakroom_domain::{AccountId, Action, File, FileId, Principal, PrincipalKind};

use super::{support::World, uploaded};

const HOUR: Duration = Duration::from_secs(3600);

fn from() -> RateKey {
    RateKey::of_address(Ipv4Addr::LOCALHOST.into())
}

fn service_of(account: &str) -> Caller {
    Caller {
        principal: Principal {
            kind: PrincipalKind::Service,
            account: AccountId::parse(account).ok(),
            user: None,
            token: None,
        },
        credential: None,
    }
}

async fn link(world: &World, file: &File, max_uses: Option<u64>) -> Presented {
    let shared = authorize(&world.app, &world.alice, &file.id, Action::Share).await;
    let request = LinkRequest {
        max_uses,
        ..LinkRequest::default()
    };
    let made = make_link(&world.app, &shared.unwrap(), request).await;
    made.unwrap().token
}

#[tokio::test]
async fn a_link_used_up_by_another_between_the_look_and_the_use_is_refused() {
    let world = World::new().await;
    let file = uploaded(&world, b"hello").await;
    let token = link(&world, &file, Some(1)).await;
    let open = || open_link(&world.app, &token, None, (&file.id, None), from());
    let (first, second) = (open().await.unwrap(), open().await.unwrap());
    first.pass.count_use(&world.app).await.unwrap();
    let refused = second.pass.count_use(&world.app).await;
    assert!(matches!(refused, Err(Error::Unauthenticated)));
    // Who asks again by the receipt of the use that was counted is not counted again.
    let receipt = first.pass.receipt(&world.app).unwrap();
    let target = (&file.id, None);
    let again = open_link(&world.app, &token, Some(&receipt), target, from()).await;
    again.unwrap().pass.count_use(&world.app).await.unwrap();
    let forged = open_link(&world.app, &token, Some("AAAA"), target, from()).await;
    let forged = forged.unwrap().pass.count_use(&world.app).await;
    assert!(matches!(forged, Err(Error::Unauthenticated)));
}

#[tokio::test]
async fn without_a_key_no_link_is_made_and_none_is_good() {
    let mut world = World::new().await;
    let file = uploaded(&world, b"hello").await;
    let token = link(&world, &file, None).await;
    let database = world.database.clone();
    std::sync::Arc::get_mut(&mut world.app).unwrap().links = Links::without_key(database);
    let refused = open_link(&world.app, &token, None, (&file.id, None), from()).await;
    assert!(matches!(refused, Err(Error::Unauthenticated)));
    let shared = authorize(&world.app, &world.alice, &file.id, Action::Share).await;
    let none = make_link(&world.app, &shared.unwrap(), LinkRequest::default()).await;
    assert!(matches!(none, Err(Error::Internal(_))));
}

#[tokio::test]
async fn a_sweep_takes_what_nobody_claimed_only_while_the_setting_is_on() {
    let mut world = World::claiming_within(HOUR).await;
    let file = uploaded(&world, b"hello").await;
    let claimed = uploaded(&world, b"hello").await;
    claim(&world.app, &service_of("1"), &claimed.id)
        .await
        .unwrap();
    world.database.pass(HOUR);
    let app = std::sync::Arc::get_mut(&mut world.app).unwrap();
    app.claims.time = None;
    assert_eq!(sweep(&world.app).await.unwrap().unclaimed, 0);
    let app = std::sync::Arc::get_mut(&mut world.app).unwrap();
    app.claims.time = Some(HOUR);
    assert_eq!(sweep(&world.app).await.unwrap().unclaimed, 1);
    let read = async |id: &FileId| authorize(&world.app, &world.alice, id, Action::Read).await;
    assert!(read(&claimed.id).await.is_ok());
    assert!(matches!(read(&file.id).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn only_an_application_claims_and_only_its_accounts_files() {
    let world = World::claiming_within(HOUR).await;
    let file = uploaded(&world, b"hello").await;
    let foreign = claim(&world.app, &service_of("2"), &file.id).await;
    assert!(matches!(foreign, Err(Error::Forbidden)));
    let user = claim(&world.app, &world.alice, &file.id).await;
    assert!(matches!(user, Err(Error::KindForbidden)));
    let nobody = Caller {
        principal: Principal::anonymous(),
        credential: None,
    };
    let nobody = claim(&world.app, &nobody, &file.id).await;
    assert!(matches!(nobody, Err(Error::Unauthenticated)));
    let claimed = claim(&world.app, &service_of("1"), &file.id).await.unwrap();
    let again = claim(&world.app, &service_of("1"), &file.id).await.unwrap();
    assert_eq!((claimed.claim_by, again.revision), (None, claimed.revision));
}

#[tokio::test]
async fn nothing_that_may_still_be_claimed_is_found_to_be_without_use() {
    let world = World::claiming_within(HOUR).await;
    uploaded(&world, b"hello").await;
    let all = ReconcileStep {
        run: None,
        account: None,
        files: Vec::new(),
        end: Some(Leftovers::Report),
        after: None,
        nothing_referenced: false,
    };
    let service = service_of("1");
    let found = async |step: &ReconcileStep| {
        let reconciled = reconcile(&world.app, &service, step.clone()).await;
        reconciled.unwrap().found.unwrap().files.len()
    };
    assert_eq!(found(&all).await, 0);
    world.database.pass(HOUR);
    assert_eq!(found(&all).await, 1);
    let careless = ReconcileStep {
        end: Some(Leftovers::Trash),
        ..all
    };
    let refused = reconcile(&world.app, &service, careless).await;
    assert!(matches!(refused, Err(Error::BadValue(_))));
}
