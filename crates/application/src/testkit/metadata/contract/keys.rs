//! Idempotency keys: one request runs, the others hear of it.

use std::time::Duration;

use cloakroom_domain::FileName;
use futures_util::future::join_all;

use super::{Desk, Fixture, Must, Upload};
use crate::ports::{Begun, CLAIM_LEASE, CommitError, FileChanges, KEY_LIFETIME};

const SECOND: Duration = Duration::from_secs(1);

impl Desk {
    async fn ask(&self, upload: &Upload) -> Begun {
        self.begin(upload).await.must().1
    }
}

/// As it was then, whatever became of the file.
pub async fn the_same_key_gives_the_same_answer_again(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f").claiming("k");
    let made = desk.put(&upload).await;
    let again = Upload::new("g").claiming("k");
    let Begun::Replay(replay) = desk.ask(&again).await else {
        panic!("not a replay");
    };
    assert_eq!(*replay, made);

    let changes = FileChanges {
        name: Some(FileName::clean("other")),
        ..FileChanges::default()
    };
    desk.files.update(&made.id, 1, changes).await.must().must();
    desk.files.purge(&made.id, None).await.must().must();
    let Begun::Replay(replay) = desk.ask(&again).await else {
        panic!("not a replay");
    };
    assert_eq!(*replay, made);
    // Nothing was begun for those who asked again.
    assert_eq!(desk.ledger.scan(None, 9).await.must().len(), 1);
}

/// While the first one runs.
pub async fn a_key_in_use_is_in_progress(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f").claiming("k");
    let (version, _) = desk.pending(&upload).await;
    assert!(matches!(desk.ask(&upload).await, Begun::InProgress));
    assert!(matches!(desk.ask(&upload).await, Begun::InProgress));
    desk.commit(version, &upload).await.must();
    assert!(matches!(desk.ask(&upload).await, Begun::Replay(_)));
}

/// While the first one runs, and afterwards.
pub async fn a_key_with_another_fingerprint_is_a_mismatch(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f").claiming("k");
    let mut other = upload.clone();
    if let Some(claim) = &mut other.claim {
        claim.fingerprint = "POST /files 4".to_owned();
    }
    let (version, _) = desk.pending(&upload).await;
    assert!(matches!(desk.ask(&other).await, Begun::Mismatch));
    desk.commit(version, &upload).await.must();
    assert!(matches!(desk.ask(&other).await, Begun::Mismatch));
}

/// Nor do different keys of one caller.
pub async fn keys_of_different_callers_never_meet(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f").claiming("k");
    let mut stranger = upload.clone();
    if let Some(claim) = &mut stranger.claim {
        claim.principal = "user:2:7".to_owned();
    }
    desk.pending(&upload).await;
    desk.pending(&stranger).await;
    desk.pending(&upload.clone().claiming("K")).await;
}

/// The others are told that it runs.
pub async fn of_fifty_at_once_one_begins(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let uploads: Vec<Upload> = (0..50)
        .map(|n| Upload::new(&format!("f{n}")).claiming("k"))
        .collect();
    let outcomes = join_all(uploads.iter().map(|upload| desk.begin(upload))).await;
    let (mut began, mut in_progress) = (0, 0);
    for outcome in outcomes {
        match outcome.must().1 {
            Begun::Pending(_) => began += 1,
            Begun::InProgress => in_progress += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((began, in_progress), (1, 49));
    assert_eq!(desk.ledger.scan(None, 99).await.must().len(), 1);
}

/// The next request is the first again, also with another fingerprint.
pub async fn a_failure_frees_the_key(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f").claiming("k");
    let (version, _) = desk.pending(&upload).await;
    assert!(desk.ledger.give_up(version, SECOND).await.must());
    let mut other = upload.clone();
    if let Some(claim) = &mut other.claim {
        claim.fingerprint = "POST /files 4".to_owned();
    }
    let (version, _) = desk.pending(&other).await;
    desk.commit(version, &other).await.must();
}

/// Its commit and its renewal fail from then on, and its body is removed.
pub async fn a_key_whose_holder_fell_silent_is_taken_over(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f").claiming("k");
    let (silent, _) = desk.pending(&upload).await;
    fixture.pass(CLAIM_LEASE - SECOND).await;
    assert!(matches!(desk.ask(&upload).await, Begun::InProgress));
    fixture.pass(SECOND * 2).await;
    let next = Upload::new("g").claiming("k");
    let (version, _) = desk.pending(&next).await;
    let lost = desk.commit(silent, &upload).await;
    assert!(matches!(lost, Err(CommitError::Lost)), "{lost:?}");
    assert!(!desk.ledger.renew(silent).await.must());
    assert_eq!(desk.ledger.doomed(&[silent]).await.must().len(), 1);
    // Giving up what was lost does not free what another holds.
    desk.ledger.give_up(silent, Duration::ZERO).await.must();
    assert!(matches!(desk.ask(&upload).await, Begun::InProgress));

    let made = desk.commit(version, &next).await.must();
    let Begun::Replay(replay) = desk.ask(&upload).await else {
        panic!("not a replay");
    };
    assert_eq!(*replay, made);
}

/// For as long as the upload moves.
pub async fn a_renewal_holds_the_key(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f").claiming("k");
    let (version, _) = desk.pending(&upload).await;
    for _ in 0..3 {
        fixture.pass(CLAIM_LEASE - SECOND).await;
        assert!(desk.ledger.renew(version).await.must());
    }
    assert!(matches!(desk.ask(&upload).await, Begun::InProgress));
    desk.commit(version, &upload).await.must();
}

/// Even within its lease.
pub async fn a_key_whose_row_expired_is_free(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f").claiming("k");
    desk.pending(&upload).await;
    let expired = desk
        .ledger
        .expire_pending(Duration::ZERO, Duration::ZERO, 9);
    assert_eq!(expired.await.must(), 1);
    desk.pending(&upload).await;
}

/// Then it is a new key, whether or not it was removed.
pub async fn an_answer_is_kept_for_a_day(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f").claiming("k");
    desk.put(&upload).await;
    desk.put(&Upload::new("g").claiming("other")).await;
    fixture.pass(KEY_LIFETIME - SECOND * 60).await;
    assert_eq!(desk.ledger.expire_keys(9).await.must(), 0);
    assert!(matches!(desk.ask(&upload).await, Begun::Replay(_)));
    fixture.pass(SECOND * 61).await;
    let again = Upload::new("h").claiming("k");
    let (version, _) = desk.pending(&again).await;
    // One key is used anew, the other is removed.
    assert_eq!(desk.ledger.expire_keys(9).await.must(), 1);
    assert_eq!(desk.ledger.expire_keys(9).await.must(), 0);
    desk.commit(version, &again).await.must();
}

/// An upload may take longer than a key lives.
pub async fn a_key_in_use_does_not_expire(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f").claiming("k");
    let (version, _) = desk.pending(&upload).await;
    fixture.pass(KEY_LIFETIME + SECOND).await;
    assert!(desk.ledger.renew(version).await.must());
    assert_eq!(desk.ledger.expire_keys(9).await.must(), 0);
    assert!(matches!(desk.ask(&upload).await, Begun::InProgress));
    desk.commit(version, &upload).await.must();
    assert!(matches!(desk.ask(&upload).await, Begun::Replay(_)));
}
