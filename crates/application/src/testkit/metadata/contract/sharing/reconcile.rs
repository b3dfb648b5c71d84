//! Runs of reconciling.

use std::time::Duration;

use cloakroom_domain::{FileId, ReconcileId};

use super::{
    super::{Desk, Must, Upload, account, file_id, user_of},
    SharingFixture,
};
use crate::ports::{Found, MAX_RUNS, Named, NewRun, RUN_LIFETIME, Run};

const HOUR: Duration = Duration::from_secs(3600);
/// More than a run lingers once it has ended.
const LONGER: Duration = Duration::from_secs(5 * 60);

fn new_run(of: &str, age: Duration) -> NewRun {
    NewRun {
        id: ReconcileId::random(),
        account: account(of),
        age,
    }
}

/// A run over everything made so far: a store may count time in milliseconds, so one of them has to pass.
async fn begun(fixture: &dyn SharingFixture) -> Run {
    fixture.elapse(Duration::from_secs(1)).await;
    let new = new_run("1", Duration::ZERO);
    fixture.runs().begin(new).await.must().must()
}

fn files(names: &[&str]) -> Vec<FileId> {
    names.iter().map(|name| file_id(name)).collect()
}

/// Names what must be taken, and answers how many ids there are by then and how many of these are unknown.
async fn named(fixture: &dyn SharingFixture, run: &Run, ids: &[&str]) -> (u64, u64) {
    match fixture.runs().name(run.id, &files(ids)).await.must() {
        Named::Kept { run, unknown } => (run.named, unknown),
        other => panic!("{other:?}"),
    }
}

/// Everything that is found, in pages of `limit`.
async fn found(fixture: &dyn SharingFixture, run: &Run, limit: u32) -> Vec<FileId> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = fixture.runs().found(run.id, after.as_ref(), limit).await;
        let Found { files, next } = page.must().must();
        assert!(files.len() <= limit as usize);
        all.extend(files);
        if next.is_none() {
            return all;
        }
        after = next;
    }
}

/// Not of another account, not younger than the age, not in the trash already.
pub async fn what_nobody_named_is_found_and_nothing_else(fixture: &dyn SharingFixture) {
    let desk = Desk::open(fixture).await;
    for id in ["a", "b", "c", "Ж", "in trash"] {
        desk.put(&Upload::new(id)).await;
    }
    desk.put(&Upload::new("other").by(user_of("2", "7"))).await;
    let trashed = file_id("in trash");
    desk.files.trash(&trashed, 1).await.must().must();
    fixture.elapse(HOUR).await;
    desk.put(&Upload::new("young")).await;
    let runs = fixture.runs();
    let run = runs.begin(new_run("1", HOUR / 2)).await.must().must();
    assert_eq!(run.account, account("1"));
    assert_eq!((run.named, run.knows_any, run.is_done), (0, false, false));
    assert_eq!(named(fixture, &run, &["nobody's", "other"]).await, (2, 2));
    let known = runs.run(run.id).await.must().must();
    assert!(!known.knows_any);
    assert_eq!(named(fixture, &run, &["b"]).await, (3, 0));
    assert!(runs.found(run.id, None, 10).await.must().is_none());
    let run = runs.finish(run.id).await.must().must();
    assert!(run.is_done && run.knows_any);
    assert_eq!(found(fixture, &run, 10).await, files(&["a", "c", "Ж"]));
    assert!(runs.run(ReconcileId::random()).await.must().is_none());
    assert!(runs.finish(ReconcileId::random()).await.must().is_none());
    let nothing = runs.found(ReconcileId::random(), None, 1).await;
    assert!(nothing.must().is_none());
    let gone = runs.name(ReconcileId::random(), &files(&["a"])).await;
    assert_eq!(gone.must(), Named::Gone);
}

/// A request whose answer was lost is sent again.
pub async fn a_page_that_comes_twice_changes_nothing(fixture: &dyn SharingFixture) {
    let desk = Desk::open(fixture).await;
    for id in ["a", "b"] {
        desk.put(&Upload::new(id)).await;
    }
    let run = begun(fixture).await;
    for _ in 0..3 {
        assert_eq!(named(fixture, &run, &["a", "x", "\"q\\"]).await, (3, 2));
    }
    assert_eq!(named(fixture, &run, &["x", "y"]).await, (4, 2));
    for _ in 0..2 {
        fixture.runs().finish(run.id).await.must().must();
        assert_eq!(found(fixture, &run, 10).await, files(&["b"]));
        assert_eq!(named(fixture, &run, &["a", "x"]).await, (4, 1));
    }
}

/// It would come too late.
pub async fn after_the_last_page_no_other_id_is_taken(fixture: &dyn SharingFixture) {
    let desk = Desk::open(fixture).await;
    desk.put(&Upload::new("a")).await;
    let run = begun(fixture).await;
    named(fixture, &run, &["x"]).await;
    fixture.runs().finish(run.id).await.must().must();
    let late = fixture.runs().name(run.id, &files(&["a", "x"])).await;
    assert_eq!(late.must(), Named::Done);
    assert_eq!(found(fixture, &run, 10).await, files(&["a"]));
}

/// Whatever happens to the files meanwhile.
pub async fn what_was_found_stays_found_and_pages_join(fixture: &dyn SharingFixture) {
    let desk = Desk::open(fixture).await;
    let ids: Vec<String> = (0..25).map(|n| format!("f{n:02}")).collect();
    for id in &ids {
        desk.put(&Upload::new(id)).await;
    }
    let run = begun(fixture).await;
    named(fixture, &run, &["f03", "f20"]).await;
    fixture.runs().finish(run.id).await.must().must();
    let expected: Vec<FileId> = ids.iter().map(|id| file_id(id)).collect();
    let expected: Vec<FileId> = expected
        .into_iter()
        .filter(|id| !["f03", "f20"].contains(&id.as_str()))
        .collect();
    assert_eq!(found(fixture, &run, 4).await, expected);
    desk.files.trash(&expected[0], 1).await.must().must();
    desk.files.purge(&expected[1], None).await.must().must();
    desk.put(&Upload::new("f00a")).await;
    assert_eq!(found(fixture, &run, 23).await, expected);
    assert_eq!(found(fixture, &run, 1).await, expected);
}

/// What somebody took out again stays out.
pub async fn the_trash_takes_what_was_found_once(fixture: &dyn SharingFixture) {
    let desk = Desk::open(fixture).await;
    let runs = fixture.runs();
    for id in ["a", "b", "c", "d"] {
        desk.put(&Upload::new(id)).await;
    }
    let run = begun(fixture).await;
    named(fixture, &run, &["d"]).await;
    runs.finish(run.id).await.must().must();
    let left = found(fixture, &run, 10).await;
    assert_eq!(left, files(&["a", "b", "c"]));
    desk.files.trash(&left[2], 1).await.must().must();
    let mut trashed = runs
        .trash(run.id, &files(&["a", "b", "c", "d", "x"]))
        .await
        .must();
    trashed.sort();
    assert_eq!(trashed, files(&["a", "b"]));
    for (id, revision) in [("a", 2), ("b", 2), ("c", 2), ("d", 1)] {
        let file = desk.files.find_fresh(&file_id(id)).await.must().must();
        assert_eq!(file.revision, revision, "{id}");
        assert_eq!(file.deleted_at.is_some(), id != "d", "{id}");
    }
    desk.files.untrash(&left[0], None).await.must().must();
    assert!(runs.trash(run.id, &left).await.must().is_empty());
    assert!(fixture.claims().claim(&left[1]).await.must().is_none());
    assert_eq!(found(fixture, &run, 10).await, left);
}

/// Done or not.
pub async fn a_run_ends_after_a_day_and_leaves_no_rows(fixture: &dyn SharingFixture) {
    let desk = Desk::open(fixture).await;
    desk.put(&Upload::new("a")).await;
    let runs = fixture.runs();
    let open = begun(fixture).await;
    named(fixture, &open, &["a", "b", "c"]).await;
    let done = begun(fixture).await;
    named(fixture, &done, &["b"]).await;
    runs.finish(done.id).await.must().must();
    assert_eq!(found(fixture, &done, 10).await.len(), 1);
    fixture.elapse(RUN_LIFETIME - LONGER).await;
    assert_eq!(runs.forget(10).await.must(), 0);
    assert!(runs.run(open.id).await.must().is_some());
    fixture.elapse(LONGER).await;
    for run in [&open, &done] {
        assert!(runs.run(run.id).await.must().is_none());
        assert!(runs.finish(run.id).await.must().is_none());
        let gone = runs.name(run.id, &files(&["a"])).await.must();
        assert_eq!(gone, Named::Gone);
    }
    assert!(runs.found(done.id, None, 10).await.must().is_none());
    fixture.elapse(LONGER).await;
    let mut rounds = 0;
    while runs.forget(2).await.must() > 0 {
        rounds += 1;
        assert!(rounds < 10);
    }
}

/// Room comes back with time, and for others there is room.
pub async fn an_account_has_a_bounded_number_of_runs(fixture: &dyn SharingFixture) {
    let runs = fixture.runs();
    for _ in 0..MAX_RUNS {
        begun(fixture).await;
    }
    let begin = |of: &'static str| runs.begin(new_run(of, HOUR));
    assert!(begin("1").await.must().is_none());
    assert!(begin("2").await.must().is_some());
    fixture.elapse(RUN_LIFETIME).await;
    assert!(begin("1").await.must().is_some());
}
