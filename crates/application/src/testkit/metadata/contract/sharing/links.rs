//! Signed links, and the secrets of replicas.

use std::time::Duration;

use cloakroom_domain::{Disposition, Link, LinkId, LinkUses};
use futures_util::future::join_all;

use super::{super::Must, SharingFixture};
use crate::{
    ports::{LINK_GRACE, LinkMark, LinkState, MAX_LINKS, NewLink},
    testkit::metadata::contract::file_id,
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn link_to(file: &str) -> NewLink {
    NewLink {
        id: LinkId::random(),
        file: file_id(file),
        version: None,
        disposition: Disposition::Attachment,
        max_uses: None,
        lifetime: DAY,
    }
}

fn limited(uses: u64) -> NewLink {
    NewLink {
        max_uses: LinkUses::new(uses),
        ..link_to("a")
    }
}

async fn made(fixture: &dyn SharingFixture, new: NewLink) -> Link {
    fixture.links().create(new).await.must().must()
}

async fn state_of(fixture: &dyn SharingFixture, link: &Link) -> LinkState {
    let (_, state) = fixture.links().find(link.id).await.must().must();
    state
}

/// Every part of it.
pub async fn a_link_reads_back_as_it_was_made(fixture: &dyn SharingFixture) {
    let new = NewLink {
        version: Some(7),
        disposition: Disposition::Inline,
        max_uses: LinkUses::new(1_000_000),
        lifetime: HOUR,
        ..link_to("a1b2_Отчёт 2024.pdf")
    };
    let link = made(fixture, new.clone()).await;
    assert_eq!((link.id, &link.file), (new.id, &new.file));
    assert_eq!(
        (link.version, link.disposition),
        (new.version, new.disposition)
    );
    assert_eq!((link.max_uses, link.uses), (new.max_uses, 0));
    let lasts = link.expires_at.micros() - link.created_at.micros();
    assert_eq!(u128::from(lasts.unsigned_abs()), HOUR.as_micros());
    let found = fixture.links().find(link.id).await.must();
    assert_eq!(found, Some((link, LinkState::Good)));
    let none = fixture.links().find(LinkId::random()).await.must();
    assert_eq!(none, None);
}

/// However many come at once.
pub async fn of_many_uses_at_once_as_many_count_as_are_allowed(fixture: &dyn SharingFixture) {
    let link = made(fixture, limited(3)).await;
    let links = fixture.links();
    let uses = join_all((0..20).map(|_| links.count_use(link.id))).await;
    let counted = uses.into_iter().map(Must::must).filter(|used| *used);
    assert_eq!(counted.count(), 3);
    let (link, state) = links.find(link.id).await.must().must();
    assert_eq!((link.uses, state), (3, LinkState::UsedUp));
    assert!(!links.count_use(LinkId::random()).await.must());
}

/// So that whoever made it sees them.
pub async fn a_link_without_a_number_of_uses_counts_them_all_the_same(
    fixture: &dyn SharingFixture,
) {
    let link = made(fixture, link_to("a")).await;
    for _ in 0..3 {
        assert!(fixture.links().count_use(link.id).await.must());
    }
    let (link, state) = fixture.links().find(link.id).await.must().must();
    assert_eq!((link.uses, state), (3, LinkState::Good));
}

/// The hour begins with the use that was the last one.
pub async fn a_link_that_is_used_up_lingers_for_an_hour_after_its_last_use(
    fixture: &dyn SharingFixture,
) {
    let link = made(fixture, limited(2)).await;
    assert!(fixture.links().count_use(link.id).await.must());
    fixture.elapse(LINK_GRACE).await;
    assert_eq!(state_of(fixture, &link).await, LinkState::Good);
    assert!(fixture.links().count_use(link.id).await.must());
    fixture.elapse(LINK_GRACE - Duration::from_secs(60)).await;
    assert_eq!(state_of(fixture, &link).await, LinkState::UsedUp);
    assert!(!fixture.links().count_use(link.id).await.must());
    fixture.elapse(Duration::from_secs(60)).await;
    assert_eq!(state_of(fixture, &link).await, LinkState::Over);
}

/// Also one that lingers.
pub async fn an_expired_link_is_over_and_is_forgotten_later(fixture: &dyn SharingFixture) {
    let links = fixture.links();
    let short = NewLink {
        lifetime: HOUR,
        ..limited(1)
    };
    let used = made(fixture, short.clone()).await;
    let unused = NewLink {
        id: LinkId::random(),
        ..short
    };
    let unused = made(fixture, unused).await;
    assert!(links.count_use(used.id).await.must());
    assert_eq!(links.good_of_file(&used.file).await.must(), 1);
    fixture.elapse(HOUR).await;
    for link in [&used, &unused] {
        assert_eq!(state_of(fixture, link).await, LinkState::Over);
        assert!(!links.count_use(link.id).await.must());
    }
    assert_eq!(links.good_of_file(&used.file).await.must(), 0);
    assert_eq!(links.forget(HOUR, 10).await.must(), 0);
    fixture.elapse(HOUR).await;
    assert_eq!(links.forget(HOUR, 1).await.must(), 1);
    assert_eq!(links.forget(HOUR, 10).await.must(), 1);
    assert_eq!(links.find(used.id).await.must(), None);
}

/// At once, and once.
pub async fn a_revoked_link_is_gone_and_only_its_own_file_can_revoke_it(
    fixture: &dyn SharingFixture,
) {
    let links = fixture.links();
    let link = made(fixture, link_to("a")).await;
    assert!(!links.revoke(&file_id("b"), link.id).await.must());
    assert!(links.find(link.id).await.must().is_some());
    assert!(links.revoke(&link.file, link.id).await.must());
    assert!(!links.revoke(&link.file, link.id).await.must());
    assert_eq!(links.find(link.id).await.must(), None);
    assert!(!links.count_use(link.id).await.must());
}

/// Without gap, and none of another file.
pub async fn links_are_paged_newest_first(fixture: &dyn SharingFixture) {
    let links = fixture.links();
    let file = file_id("a");
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(made(fixture, link_to("a")).await);
        made(fixture, link_to("b")).await;
    }
    let place = |link: &Link| (link.created_at, link.id);
    all.sort_by_key(|link| std::cmp::Reverse(place(link)));
    let (mut after, mut paged) = (None, Vec::new());
    loop {
        let page = links.of_file(&file, after, 2).await.must();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else {
            break;
        };
        after = Some(LinkMark {
            created_at: last.created_at,
            id: last.id,
        });
        paged.extend(page);
    }
    assert_eq!(paged, all);
}

/// Room comes back with time.
pub async fn a_file_has_a_bounded_number_of_links_that_have_not_expired(
    fixture: &dyn SharingFixture,
) {
    let links = fixture.links();
    for _ in 0..MAX_LINKS / 50 {
        let some = join_all((0..50).map(|_| links.create(link_to("a")))).await;
        assert!(some.into_iter().all(|made| made.must().is_some()));
    }
    assert!(links.create(link_to("a")).await.must().is_none());
    assert!(links.create(link_to("b")).await.must().is_some());
    fixture.elapse(DAY).await;
    assert!(links.create(link_to("a")).await.must().is_some());
}

/// Of several replicas, the first.
pub async fn a_secret_is_entered_once(fixture: &dyn SharingFixture) {
    let secrets = fixture.secrets();
    let candidates: Vec<[u8; 32]> = (0..8).map(|n| [n; 32]).collect();
    let told = join_all(candidates.iter().map(|bytes| secrets.secret("a", bytes))).await;
    let told: Vec<Vec<u8>> = told.into_iter().map(Must::must).collect();
    assert!(told.iter().all(|secret| *secret == told[0]));
    assert!(candidates.iter().any(|bytes| bytes.as_slice() == told[0]));
    assert_eq!(secrets.secret("b", b"other").await.must(), b"other");
}
