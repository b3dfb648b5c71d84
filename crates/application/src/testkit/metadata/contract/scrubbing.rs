//! What every adapter promises of the scrub's rows: `scrub_contract!(factory)`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use cloakroom_domain::{FileId, Location, ObjectKey, Sha256Digest, VersionId};
use futures_util::future::join_all;

use super::{Desk, Fixture, Must, Upload, file_id, import::foreign};
use crate::ports::{Damage, SCRUB_LEASE, ScrubLease, ScrubProgress, ScrubRepository, ScrubTurn};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

/// An adapter over a database of its own, with this port.
#[async_trait]
pub trait ScrubFixture: Fixture {
    /// The scrub's port.
    fn scrub(&self) -> Arc<dyn ScrubRepository>;
    /// Lets time pass for the scrub.
    async fn idle(&self, time: Duration);
}

/// Makes a test of every case of the contract.
#[macro_export]
macro_rules! scrub_contract {
    ($factory:path) => {
        $crate::scrub_contract! { @cases $factory;
            one_scrubs_at_a_time_and_whoever_falls_silent_is_overtaken
            of_many_who_ask_at_once_one_scrubs
            a_round_begins_an_interval_after_the_one_before_began
            progress_adds_up_and_is_kept_for_whoever_goes_on
            stored_versions_are_paged_by_id_and_looked_up_one_by_one
            a_finding_stands_as_long_as_its_version_is_stored
            a_finding_is_for_the_very_place_that_was_read
            findings_are_paged_and_counted_by_kind
            hashes_are_learned_once_and_leave_the_validator_as_it_was
        }
    };
    (@cases $factory:path; $($case:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::testkit::metadata::contract::scrubbing::$case(&$factory().await).await;
            }
        )+
    };
}

async fn taken(scrub: &Arc<dyn ScrubRepository>, interval: Duration) -> ScrubLease {
    match scrub.take(interval).await.must() {
        ScrubTurn::Ours(lease) => lease,
        other => panic!("{other:?}"),
    }
}

fn progress(after: VersionId, objects: u64, bytes: u64) -> ScrubProgress {
    ScrubProgress {
        after: Some(after),
        objects,
        bytes,
    }
}

const NOTHING: ScrubProgress = ScrubProgress {
    after: None,
    objects: 0,
    bytes: 0,
};

/// As long as it shows signs of life it is left alone, and after that its changes have no effect.
pub async fn one_scrubs_at_a_time_and_whoever_falls_silent_is_overtaken(
    fixture: &dyn ScrubFixture,
) {
    let scrub = fixture.scrub();
    let before = scrub.state().await.must();
    assert_eq!(
        (before.round, before.is_under_way, before.is_held),
        (0, false, false)
    );
    assert!(before.started_at.is_none() && before.completed_at.is_none());
    let first = taken(&scrub, HOUR).await;
    assert_eq!((first.round, first.after), (1, None));
    for _ in 0..3 {
        fixture.idle(SCRUB_LEASE - SECOND).await;
        assert_eq!(scrub.take(Duration::ZERO).await.must(), ScrubTurn::Held);
        assert!(scrub.keep(first.generation, NOTHING).await.must());
    }
    let state = scrub.state().await.must();
    assert!(state.is_under_way && state.is_held && state.started_at.is_some());
    fixture.idle(SCRUB_LEASE + SECOND).await;
    assert!(!scrub.state().await.must().is_held);
    let second = taken(&scrub, HOUR).await;
    assert!(second.generation > first.generation);
    assert_eq!(second.round, 1, "the same round goes on");
    assert!(!scrub.keep(first.generation, NOTHING).await.must());
    assert!(!scrub.complete(first.generation, NOTHING).await.must());
    assert!(!scrub.keep(second.generation + 1, NOTHING).await.must());
    // One that was only late, and not overtaken, goes on.
    fixture.idle(SCRUB_LEASE + SECOND).await;
    assert!(scrub.keep(second.generation, NOTHING).await.must());
    assert!(scrub.complete(second.generation, NOTHING).await.must());
    assert!(!scrub.keep(second.generation, NOTHING).await.must());
    assert!(!scrub.complete(second.generation, NOTHING).await.must());
}

/// The others are told that it is held.
pub async fn of_many_who_ask_at_once_one_scrubs(fixture: &dyn ScrubFixture) {
    let scrub = fixture.scrub();
    for _ in 0..5 {
        let turns = join_all((0..6).map(|_| scrub.take(Duration::ZERO))).await;
        let turns: Vec<ScrubTurn> = turns.into_iter().map(Must::must).collect();
        let ours = turns
            .iter()
            .filter(|turn| matches!(turn, ScrubTurn::Ours(_)));
        assert_eq!(ours.count(), 1, "{turns:?}");
        let held = turns.iter().filter(|turn| **turn == ScrubTurn::Held);
        assert_eq!(held.count(), 5, "{turns:?}");
        fixture.idle(SCRUB_LEASE + SECOND).await;
    }
}

/// However long that one took.
pub async fn a_round_begins_an_interval_after_the_one_before_began(fixture: &dyn ScrubFixture) {
    let scrub = fixture.scrub();
    let first = taken(&scrub, HOUR).await;
    fixture.idle(SECOND * 5).await;
    assert!(scrub.complete(first.generation, NOTHING).await.must());
    let state = scrub.state().await.must();
    assert!(!state.is_under_way && !state.is_held);
    let (started, completed) = (state.started_at.must(), state.completed_at.must());
    assert!(completed.micros() - started.micros() >= 5_000_000);
    match scrub.take(HOUR).await.must() {
        ScrubTurn::NotDue(wait) => {
            assert!(
                (HOUR - SECOND * 60..HOUR - SECOND * 4).contains(&wait),
                "{wait:?}"
            );
        }
        other => panic!("{other:?}"),
    }
    fixture.idle(HOUR - SECOND * 5).await;
    let second = taken(&scrub, HOUR).await;
    assert_eq!(second.round, 2);
    let state = scrub.state().await.must();
    assert!(state.is_under_way && state.completed_at.is_some());
    fixture.idle(HOUR * 2).await;
    assert!(scrub.complete(second.generation, NOTHING).await.must());
    assert_eq!(
        taken(&scrub, HOUR).await.round,
        3,
        "at once after one that took long"
    );
}

/// A new round begins at the beginning.
pub async fn progress_adds_up_and_is_kept_for_whoever_goes_on(fixture: &dyn ScrubFixture) {
    let scrub = fixture.scrub();
    let first = taken(&scrub, HOUR).await;
    let mut ids = [VersionId::random(), VersionId::random()];
    ids.sort_unstable();
    assert!(
        scrub
            .keep(first.generation, progress(ids[0], 3, 100))
            .await
            .must()
    );
    let only_bytes = ScrubProgress {
        bytes: 7,
        ..NOTHING
    };
    assert!(scrub.keep(first.generation, only_bytes).await.must());
    let state = scrub.state().await.must();
    assert_eq!(
        (state.after, state.objects, state.bytes),
        (Some(ids[0]), 3, 107)
    );
    fixture.idle(SCRUB_LEASE + SECOND).await;
    let second = taken(&scrub, HOUR).await;
    assert_eq!(second.after, Some(ids[0]));
    assert!(
        !scrub
            .keep(first.generation, progress(ids[1], 50, 50))
            .await
            .must()
    );
    let rest = progress(ids[1], 2, 5);
    assert!(scrub.complete(second.generation, rest).await.must());
    let state = scrub.state().await.must();
    assert_eq!((state.round, state.objects, state.bytes), (1, 5, 112));
    let next = taken(&scrub, Duration::ZERO).await;
    assert_eq!((next.round, next.after), (2, None));
    let state = scrub.state().await.must();
    assert_eq!((state.after, state.objects, state.bytes), (None, 0, 0));
}

/// Pending ones and those on their way out are left out.
pub async fn stored_versions_are_paged_by_id_and_looked_up_one_by_one(fixture: &dyn ScrubFixture) {
    let (desk, scrub) = (Desk::open(fixture).await, fixture.scrub());
    let mut stored = Vec::new();
    for n in 0..5 {
        let file = desk.put(&Upload::new(&format!("f{n}"))).await;
        stored.push((file.current.id, file));
    }
    stored.sort_by_key(|(id, _)| *id);
    let (pending, _) = desk.pending(&Upload::new("pending")).await;
    let doomed = desk.put(&Upload::new("doomed")).await;
    desk.files.purge(&doomed.id, None).await.must().must();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = scrub.page(after, 2).await.must();
        let Some(last) = page.last() else { break };
        after = Some(last.version.id);
        seen.extend(page);
    }
    assert_eq!(seen.len(), 5);
    for (found, (id, file)) in seen.iter().zip(&stored) {
        assert_eq!((&found.file, &found.version), (&file.id, &file.current));
        assert_eq!(found.found, None);
        assert_eq!(scrub.stored(*id).await.must().as_ref(), Some(found));
    }
    for gone in [pending, doomed.current.id, VersionId::random()] {
        assert_eq!(scrub.stored(gone).await.must(), None);
    }
}

async fn stored(desk: &Desk, name: &str) -> (FileId, VersionId, Location) {
    let file = desk.put(&Upload::new(name)).await;
    (file.id, file.current.id, file.current.location)
}

/// Its age is that of the damage; another damage is another finding.
pub async fn a_finding_stands_as_long_as_its_version_is_stored(fixture: &dyn ScrubFixture) {
    let (desk, scrub) = (Desk::open(fixture).await, fixture.scrub());
    let (file, version, at) = stored(&desk, "f").await;
    assert!(scrub.find(version, &at, Damage::WrongHash).await.must());
    let first = scrub.findings(None, 9).await.must().remove(0);
    assert_eq!(
        (&first.file, first.version, first.number),
        (&file, version, 1)
    );
    assert_eq!((first.store, first.damage), (at.store, Damage::WrongHash));
    assert_eq!(first.since, first.seen_at);
    let found = scrub.stored(version).await.must().must().found;
    assert_eq!(found, Some(Damage::WrongHash));
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(scrub.find(version, &at, Damage::WrongHash).await.must());
    let again = scrub.findings(None, 9).await.must().remove(0);
    assert_eq!(again.since, first.since);
    assert!(again.seen_at > first.seen_at);
    assert!(scrub.find(version, &at, Damage::Missing).await.must());
    let other = scrub.findings(None, 9).await.must().remove(0);
    assert!(other.damage == Damage::Missing && other.since > first.since);

    scrub.mend(version).await.must();
    scrub.mend(version).await.must();
    assert!(scrub.findings(None, 9).await.must().is_empty());
    assert_eq!(scrub.stored(version).await.must().must().found, None);

    assert!(scrub.find(version, &at, Damage::Missing).await.must());
    let beside = stored(&desk, "beside").await;
    assert!(
        scrub
            .find(beside.1, &beside.2, Damage::Unreadable)
            .await
            .must()
    );
    desk.files.purge(&file, None).await.must().must();
    let left = scrub.findings(None, 9).await.must();
    assert_eq!(left.len(), 1);
    assert_eq!(scrub.counts().await.must(), [(Damage::Unreadable, 1)]);
    let lease = taken(&scrub, HOUR).await;
    assert!(scrub.complete(lease.generation, NOTHING).await.must());
    assert_eq!(scrub.findings(None, 9).await.must(), left);
}

/// What moved, is on its way out, or is not there has none.
pub async fn a_finding_is_for_the_very_place_that_was_read(fixture: &dyn ScrubFixture) {
    let (desk, scrub) = (Desk::open(fixture).await, fixture.scrub());
    let (file, version, at) = stored(&desk, "f").await;
    let elsewhere = Location {
        key: ObjectKey::parse("elsewhere").must(),
        ..at.clone()
    };
    assert!(
        !scrub
            .find(version, &elsewhere, Damage::Missing)
            .await
            .must()
    );
    let nobody = VersionId::random();
    assert!(!scrub.find(nobody, &at, Damage::Missing).await.must());
    desk.files.purge(&file, None).await.must().must();
    assert!(!scrub.find(version, &at, Damage::Missing).await.must());
    assert!(scrub.findings(None, 9).await.must().is_empty());
    assert!(scrub.counts().await.must().is_empty());
}

/// By the version's id.
pub async fn findings_are_paged_and_counted_by_kind(fixture: &dyn ScrubFixture) {
    let (desk, scrub) = (Desk::open(fixture).await, fixture.scrub());
    let mut ids = Vec::new();
    for n in 0..7 {
        let (_, version, at) = stored(&desk, &format!("f{n}")).await;
        let damage = Damage::ALL[n % 3];
        assert!(scrub.find(version, &at, damage).await.must());
        ids.push(version);
    }
    ids.sort_unstable();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = scrub.findings(after, 3).await.must();
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        after = Some(last.version);
        seen.extend(page.into_iter().map(|finding| finding.version));
    }
    assert_eq!(seen, ids);
    let mut counts = scrub.counts().await.must();
    counts.sort_unstable();
    let expected = [
        (Damage::Missing, 3),
        (Damage::WrongSize, 2),
        (Damage::WrongHash, 2),
    ];
    assert_eq!(counts, expected);
}

/// What is known stays, whoever says otherwise.
pub async fn hashes_are_learned_once_and_leave_the_validator_as_it_was(fixture: &dyn ScrubFixture) {
    let (desk, scrub) = (Desk::open(fixture).await, fixture.scrub());
    let store = fixture.stores().all().await.must().remove(0).id;
    let file = foreign(store, "old");
    fixture
        .imports()
        .take_over(std::slice::from_ref(&file))
        .await
        .must();
    let before = desk.files.find(&file.id).await.must().must();
    assert!(before.current.sha256.is_none() && before.current.crc64.is_none());
    let (version, at) = (file.version, &file.location);
    let hash = Sha256Digest::of(b"abc");
    let elsewhere = Location {
        key: ObjectKey::parse("elsewhere").must(),
        ..at.clone()
    };
    assert!(!scrub.learn(version, &elsewhere, hash, 5).await.must());
    assert!(scrub.learn(version, at, hash, u64::MAX - 5).await.must());
    let after = desk.files.find(&file.id).await.must().must();
    assert_eq!(after.current.sha256, Some(hash));
    assert_eq!(after.current.crc64, Some(u64::MAX - 5));
    assert_eq!(after.current.etag(), before.current.etag());
    assert_eq!(
        (after.revision, after.updated_at),
        (before.revision, before.updated_at)
    );
    let other = Sha256Digest::of(b"other");
    assert!(!scrub.learn(version, at, other, 5).await.must());
    assert_eq!(desk.files.find(&file.id).await.must().must(), after);

    let (own, version, at) = stored(&desk, "own").await;
    let before = desk.files.find(&own).await.must().must();
    assert!(!scrub.learn(version, &at, other, 5).await.must());
    assert_eq!(desk.files.find(&own).await.must().must(), before);
    assert!(!before.current.tagged_by_id);
    let nobody = file_id("nobody's");
    assert!(desk.files.find(&nobody).await.must().is_none());
}
