//! What the scrub finds, what it learns, and how it goes on.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cloakroom_application::{
    Error, ScrubEvent, ScrubReport, Scrubbed,
    ports::{
        Damage, FileImport, FileRepository, ImportedFile, ObjectStore, SCRUB_LEASE, ScrubTurn,
        StoreRegistry, WriteHints,
    },
    scrub, scrub_report,
    testkit::objects::{Fault, Step, sample},
};
use cloakroom_domain::{
    AccountId, Bucket, ContentType, File, FileId, FileName, Location, ObjectKey, Owner,
    Sha256Digest, Timestamp, UserId, VersionId,
};
use futures_util::FutureExt;
use tokio::time::Instant;

use crate::{support::World, uploaded};

const HOUR: Duration = Duration::from_secs(3600);

impl World {
    /// A round from its beginning, and what it told.
    async fn scrubbed(&self) -> (Scrubbed, Vec<ScrubEvent>) {
        let mut events = Vec::new();
        let outcome = scrub(&self.app, Duration::ZERO, &mut |event| events.push(event)).await;
        (outcome.unwrap(), events)
    }

    async fn found(&self) -> Vec<(FileId, Damage)> {
        let report = self.report().await;
        let findings = report.findings.into_iter();
        findings.map(|it| (it.file, it.damage)).collect()
    }

    async fn report(&self) -> ScrubReport {
        scrub_report(&self.app, None, None).await.unwrap()
    }

    /// A file of another service, whose hashes nobody knows.
    async fn taken_over(&self, body: &[u8], size: u64) -> File {
        let store = StoreRegistry::all(&*self.database)
            .await
            .unwrap()
            .remove(0)
            .id;
        let (id, account) = (FileId::random(), AccountId::parse("1").unwrap());
        let location = Location {
            store,
            bucket: Bucket::parse("old-1").unwrap(),
            key: ObjectKey::parse(id.as_str()).unwrap(),
            seal: None,
        };
        let hints = WriteHints::default();
        let mut writer = self
            .store
            .begin(&location.bucket, &location.key, hints)
            .await
            .unwrap();
        writer.write(Bytes::copy_from_slice(body)).await.unwrap();
        writer.finish().await.unwrap();
        let file = ImportedFile {
            id: id.clone(),
            owner: Owner {
                account,
                user: UserId::parse("7").ok(),
                token: None,
            },
            name: FileName::clean("old.bin"),
            content_type: ContentType::octet_stream(),
            size,
            version: VersionId::random(),
            location,
            created_at: Timestamp::from_micros(1),
        };
        self.database.take_over(&[file]).await.unwrap();
        self.fresh(&id).await
    }

    async fn fresh(&self, id: &FileId) -> File {
        self.app.files.find_fresh(id).await.unwrap().unwrap()
    }
}

fn looked(events: &[ScrubEvent]) -> (usize, u64) {
    let sizes = events.iter().filter_map(|event| match event {
        ScrubEvent::Looked(bytes) => Some(*bytes),
        _ => None,
    });
    sizes.fold((0, 0), |(n, sum), bytes| (n + 1, sum + bytes))
}

#[tokio::test]
async fn bytes_that_are_as_they_should_be_are_no_finding() {
    let world = World::new().await;
    uploaded(&world, b"").await;
    uploaded(&world, b"hello").await;
    uploaded(&world, b"hello again").await;
    let (outcome, events) = world.scrubbed().await;
    assert_eq!(outcome, Scrubbed::Round(1));
    assert_eq!(looked(&events), (3, 16));
    assert_eq!(events.len(), 3);
    let report = world.report().await;
    assert_eq!((report.state.objects, report.state.bytes), (3, 16));
    assert!(report.findings.is_empty() && report.counts.is_empty());
    assert!((report.progress - 1.0).abs() < f64::EPSILON);
    assert!(!report.state.is_under_way && report.state.completed_at.is_some());
}

#[tokio::test]
async fn damage_of_every_kind_is_found_told_once_and_gone_when_it_is_mended() {
    let world = World::new().await;
    let mut files = Vec::new();
    for body in [&b"good"[..], b"flipped", b"lost", b"longer"] {
        files.push(uploaded(&world, body).await);
    }
    let at = |n: usize| &files[n].current.location;
    assert!(world.store.flip_bit(&at(1).bucket, &at(1).key, 3));
    assert!(world.store.lose(&at(2).bucket, &at(2).key));
    world
        .store
        .replace(&at(3).bucket, &at(3).key, b"longer than it was");
    let expected = [
        (files[1].id.clone(), Damage::WrongHash),
        (files[2].id.clone(), Damage::Missing),
        (files[3].id.clone(), Damage::WrongSize),
    ];
    let sorted = |mut found: Vec<(FileId, Damage)>| {
        found.sort_unstable();
        found
    };
    for round in 1..=2 {
        let (outcome, events) = world.scrubbed().await;
        assert_eq!(outcome, Scrubbed::Round(round));
        assert_eq!(sorted(world.found().await), sorted(expected.to_vec()));
        let faults: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                ScrubEvent::Found(fault) => Some(fault),
                _ => None,
            })
            .collect();
        assert_eq!(faults.len(), 3);
        assert!(faults.iter().all(|fault| fault.is_new == (round == 1)));
    }
    assert!(world.store.flip_bit(&at(1).bucket, &at(1).key, 3));
    world.store.replace(&at(2).bucket, &at(2).key, b"lost");
    let (_, events) = world.scrubbed().await;
    let mended = events
        .iter()
        .filter(|it| matches!(it, ScrubEvent::Mended(..)));
    assert_eq!(mended.count(), 2);
    assert_eq!(world.found().await, expected[2..]);
    world.database.purge(&files[3].id, None).await.unwrap();
    assert!(world.found().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_told_and_read_again_in_the_next_round() {
    for (step, fault) in [
        (Step::Read, Fault::Refuse),
        (Step::Read, Fault::Break),
        (Step::Read, Fault::Unavailable),
        (Step::Read, Fault::Stall),
        (Step::Body, Fault::Break),
        (Step::Body, Fault::Stall),
    ] {
        let world = World::new().await;
        let file = uploaded(&world, b"hello").await;
        world.store.fail_always(step, fault);
        let (outcome, _) = world.scrubbed().await;
        assert_eq!(outcome, Scrubbed::Round(1));
        let found = world.found().await;
        assert_eq!(found, [(file.id, Damage::Unreadable)], "{step:?} {fault:?}");
        world.store.heal();
        world.scrubbed().await;
        assert!(world.found().await.is_empty(), "{step:?} {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_waited_for_and_its_objects_are_no_findings() {
    let world = World::new().await;
    uploaded(&world, b"hello").await;
    // Silent, without anybody whom it lets in, or cutting every body off.
    for (round, (read, probe)) in (1..).zip([
        ((Step::Read, Fault::Unavailable), Fault::Unavailable),
        ((Step::Read, Fault::Refuse), Fault::Refuse),
        ((Step::Body, Fault::Break), Fault::Unavailable),
    ]) {
        world.store.fail_always(read.0, read.1);
        world.store.fail_always(Step::Probe, probe);
        let store = world.store.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(300)).await;
            store.heal();
        });
        let begun = Instant::now();
        let (outcome, _) = world.scrubbed().await;
        assert_eq!(outcome, Scrubbed::Round(round));
        assert!(begun.elapsed() >= Duration::from_secs(300));
        assert!(world.found().await.is_empty());
    }
    // One that never comes back holds up the others for a while, and not for ever.
    world.store.fail_always(Step::Read, Fault::Unavailable);
    world.store.fail_always(Step::Probe, Fault::Unavailable);
    let begun = Instant::now();
    world.scrubbed().await;
    assert!(begun.elapsed() < Duration::from_secs(700));
    assert_eq!(world.found().await.len(), 1);
}

#[tokio::test]
async fn hashes_of_what_was_taken_over_are_learned_and_its_validator_stays() {
    let world = World::new().await;
    let body = sample(100_000, 21);
    let old = world.taken_over(&body, 100_000).await;
    let short = world.taken_over(b"short", 6).await;
    let tag = old.current.etag();
    assert_eq!(old.current.sha256, None);
    world.scrubbed().await;
    let now = world.fresh(&old.id).await;
    assert_eq!(now.current.sha256, Some(Sha256Digest::of(&body)));
    assert!(now.current.crc64.is_some());
    assert_eq!(now.current.etag(), tag);
    assert_eq!(now.revision, old.revision);
    assert_eq!(world.fresh(&short.id).await.current.sha256, None);
    assert_eq!(world.found().await, [(short.id, Damage::WrongSize)]);
    let at = &now.current.location;
    assert!(world.store.flip_bit(&at.bucket, &at.key, 77_777));
    world.scrubbed().await;
    assert!(world.found().await.contains(&(old.id, Damage::WrongHash)));
}

#[tokio::test]
async fn files_that_go_while_others_are_read_are_no_findings() {
    let world = World::new().await;
    let mut files = Vec::new();
    for _ in 0..20 {
        files.push(uploaded(&world, b"going").await);
    }
    let mut seen = 0;
    let mut hear = |event| {
        assert!(matches!(event, ScrubEvent::Looked(_)), "{event:?}");
        seen += 1;
        // The page was read, and then every file goes.
        for file in std::mem::take(&mut files) {
            let at = &file.current.location;
            assert!(world.store.lose(&at.bucket, &at.key));
            let purged = world.database.purge(&file.id, None).now_or_never();
            assert!(purged.unwrap().unwrap().is_some());
        }
    };
    let outcome = scrub(&world.app, Duration::ZERO, &mut hear).await;
    assert_eq!(outcome.unwrap(), Scrubbed::Round(1));
    assert_eq!(seen, 20);
    assert!(world.found().await.is_empty());
}

#[tokio::test]
async fn what_moves_while_it_is_read_is_read_where_it_is_by_then() {
    for is_whole in [true, false] {
        let world = World::new().await;
        let mut files = Vec::new();
        for _ in 0..20 {
            files.push(uploaded(&world, b"moving").await);
        }
        let mut hear = |_| {
            for file in std::mem::take(&mut files) {
                let from = file.current.location;
                let to = Location {
                    bucket: Bucket::parse("moved").unwrap(),
                    ..from.clone()
                };
                assert!(world.store.lose(&from.bucket, &from.key));
                let body: &[u8] = if is_whole { b"moving" } else { b"movinG" };
                world.store.replace(&to.bucket, &to.key, body);
                world.database.relocate(file.current.id, to);
            }
        };
        let outcome = scrub(&world.app, Duration::ZERO, &mut hear).await;
        assert_eq!(outcome.unwrap(), Scrubbed::Round(1));
        let found = world.found().await;
        assert_eq!(found.len(), if is_whole { 0 } else { 19 });
        assert!(found.iter().all(|(_, damage)| *damage == Damage::WrongHash));
    }
}

#[tokio::test(start_paused = true)]
async fn a_round_that_was_cut_short_goes_on_where_it_was_under_another_holder() {
    let mut world = World::new().await;
    for _ in 0..40 {
        uploaded(&world, &[7; 1000]).await;
    }
    // A second for each.
    Arc::get_mut(&mut world.app).unwrap().scrubbing.rate = 4096;
    let mut nobody = |_| {};
    let cut = scrub(&world.app, HOUR, &mut nobody);
    let cut = tokio::time::timeout(Duration::from_secs(20), cut).await;
    assert!(cut.is_err(), "it takes 40 s");
    let rows = &world.app.scrubbing.rows;
    assert_eq!(rows.take(HOUR).await.unwrap(), ScrubTurn::Held);
    let state = rows.state().await.unwrap();
    assert!((15..=20).contains(&state.objects), "{}", state.objects);
    assert!(state.after.is_some());
    let progress = world.report().await.progress;
    assert!((0.05..0.95).contains(&progress), "{progress}");
    // By the clock of the database.
    world.database.pass(SCRUB_LEASE + Duration::from_secs(1));
    let mut events = Vec::new();
    let outcome = scrub(&world.app, HOUR, &mut |event| events.push(event)).await;
    assert_eq!(outcome.unwrap(), Scrubbed::Round(1));
    assert!((20..=25).contains(&events.len()), "{}", events.len());
    let state = rows.state().await.unwrap();
    assert_eq!(state.objects, 40);
    let outcome = scrub(&world.app, HOUR, &mut |_| {}).await.unwrap();
    assert!(matches!(outcome, Scrubbed::NotDue(_)), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_was_overtaken_stops_also_in_the_middle_of_an_object() {
    let mut world = World::new().await;
    Arc::get_mut(&mut world.app).unwrap().limits.max_file_size = 1 << 20;
    let body: &'static [u8] = Box::leak(sample(1_000_000, 22).to_vec().into_boxed_slice());
    uploaded(&world, body).await;
    Arc::get_mut(&mut world.app).unwrap().scrubbing.rate = 10_000;
    let app = Arc::clone(&world.app);
    let slow = tokio::spawn(async move { scrub(&app, HOUR, &mut |_| {}).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.database.pass(SCRUB_LEASE + Duration::from_secs(1));
    let taken = world.app.scrubbing.rows.take(HOUR).await.unwrap();
    assert!(matches!(taken, ScrubTurn::Ours(_)), "{taken:?}");
    let begun = Instant::now();
    assert_eq!(slow.await.unwrap().unwrap(), Scrubbed::Elsewhere);
    assert!(begun.elapsed() < SCRUB_LEASE, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_kept_over_objects_of_every_size() {
    let mut world = World::new().await;
    Arc::get_mut(&mut world.app).unwrap().limits.max_file_size = 1 << 20;
    let body: &'static [u8] = Box::leak(sample(600_000, 23).to_vec().into_boxed_slice());
    for end in [600_000, 300_000, 50_000, 40_000, 9_999, 1] {
        uploaded(&world, &body[..end]).await;
    }
    Arc::get_mut(&mut world.app).unwrap().scrubbing.rate = 100_000;
    let begun = Instant::now();
    let (_, events) = world.scrubbed().await;
    let (objects, bytes) = looked(&events);
    assert_eq!((objects, bytes), (6, 1_000_000));
    let took = begun.elapsed().as_secs_f64();
    assert!((9.8..11.0).contains(&took), "{took}");
}

#[tokio::test]
async fn a_report_has_pages_and_refuses_what_is_no_limit() {
    let world = World::new().await;
    for _ in 0..5 {
        let file = uploaded(&world, b"lost").await;
        let at = &file.current.location;
        assert!(world.store.lose(&at.bucket, &at.key));
    }
    world.scrubbed().await;
    let (mut after, mut seen) = (None, 0);
    loop {
        let page = scrub_report(&world.app, after, Some(2)).await.unwrap();
        assert!(page.findings.len() <= 2);
        assert_eq!(page.counts, [(Damage::Missing, 5)]);
        seen += page.findings.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, 5);
    for limit in [0, 1001] {
        let refused = scrub_report(&world.app, None, Some(limit)).await;
        assert!(matches!(refused, Err(Error::BadValue(_))));
    }
}
