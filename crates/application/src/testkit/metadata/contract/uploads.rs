//! Uploads that take several requests: who holds one, and who gets it next.

use std::{sync::Arc, time::Duration};

use cloakroom_domain::{
    ContentType, FileId, FileName, Metadata, ObjectKey, Sha256Digest, UploadKind, UploadProgress,
    UploadState, VersionId, Visibility,
};
use futures_util::future::join_all;

use super::{Desk, Fixture, Must, account, file_id, user_of, visitor_of};
use crate::ports::{
    Ask, Asked, Lease, LedgerRow, NewPiece, NewUploadRow, RepositoryError, RowState, Saved,
    StoredPart, Stretch, StretchAt, UploadRecord, UploadRepository, UploadTarget,
};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const LIFETIME: Duration = Duration::from_secs(3600);

/// The ports of a fixture, and the steps of an upload of several requests.
pub(super) struct Dock {
    pub(super) desk: Desk,
    pub(super) uploads: Arc<dyn UploadRepository>,
}

pub(super) fn new_upload(id: &str) -> NewUploadRow {
    let (file, owner) = (file_id(id), user_of("1", "7"));
    let name = FileName::clean("a.bin");
    NewUploadRow {
        version: VersionId::random(),
        key: ObjectKey::mint(&owner.account, &file, &name),
        seal: None,
        id: file,
        account: owner.account.clone(),
        creator: "user:1:7".to_owned(),
        kind: UploadKind::Whole,
        length: Some(100_000),
        target: UploadTarget {
            owner,
            name,
            declared_type: None,
            visibility: Visibility::Private,
            metadata: Metadata::default(),
            digest: None,
            described: None,
        },
        lifetime: LIFETIME,
    }
}

pub(super) const fn plain_piece(version: VersionId, key: ObjectKey) -> NewPiece {
    NewPiece {
        version,
        key,
        seal: None,
    }
}

pub(super) fn part(start: u64, size: u64, number: u32) -> Stretch {
    let tag = format!("\"tag {number}\"");
    Stretch::part(start, StoredPart { number, size, tag })
}

/// What a holder of this lease keeps that has used `used` numbers and is at `offset`.
pub(super) fn saved(lease: &Lease, used: u32, offset: u64, stretches: Vec<Stretch>) -> Saved {
    Saved {
        progress: UploadProgress::restore(offset, lease.record.progress.length()).must(),
        hashes: None,
        write_id: None,
        next_number: lease.record.next_number + used,
        changed_from: stretches.first().map_or(offset, |first| first.start),
        stretches,
        lifetime: Some(LIFETIME),
    }
}

impl Dock {
    pub(super) async fn open(fixture: &dyn Fixture) -> Self {
        Self {
            desk: Desk::open(fixture).await,
            uploads: fixture.uploads(),
        }
    }

    pub(super) async fn create(&self, id: &str) -> UploadRecord {
        self.uploads.create(new_upload(id)).await.must()
    }

    /// Asks for what nobody holds.
    pub(super) async fn take(&self, id: &FileId) -> Lease {
        match self.uploads.ask(id, Ask::First).await.must() {
            Asked::Ours(lease) => *lease,
            other => panic!("{other:?}"),
        }
    }

    /// Creates one and asks for it.
    pub(super) async fn held(&self, id: &str) -> Lease {
        let record = self.create(id).await;
        self.take(&record.id).await
    }

    /// Asks for what somebody holds, and answers the turn.
    pub(super) async fn wait_for(&self, id: &FileId) -> u64 {
        match self.uploads.ask(id, Ask::First).await.must() {
            Asked::Held(turn) => turn,
            other => panic!("{other:?}"),
        }
    }

    /// Takes what somebody holds and does not let go of.
    pub(super) async fn overtake(&self, id: &FileId) -> Lease {
        let turn = self.wait_for(id).await;
        match self.uploads.ask(id, Ask::Insist(turn)).await.must() {
            Asked::Ours(lease) => *lease,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn save(&self, lease: &Lease, saved: Saved) -> bool {
        let (id, generation) = (&lease.record.id, lease.record.generation);
        self.uploads.save(id, generation, saved).await.must()
    }

    pub(super) async fn release(&self, lease: &Lease, saved: Option<Saved>) -> bool {
        let (id, generation) = (&lease.record.id, lease.record.generation);
        self.uploads.release(id, generation, saved).await.must()
    }

    /// A piece from `start` on, whose row is committed.
    pub(super) async fn piece(&self, lease: &Lease, start: u64, size: u64) -> Stretch {
        let (record, version) = (&lease.record, VersionId::random());
        let key = ObjectKey::mint(&account("1"), &record.id, &record.target.name);
        let begun =
            self.uploads
                .begin_piece(&record.id, record.generation, plain_piece(version, key));
        let location = begun.await.must().must();
        let at = StretchAt::Piece { version, location };
        Stretch { start, size, at }
    }

    pub(super) async fn record(&self, id: &FileId) -> UploadRecord {
        self.uploads.find(id).await.must().must()
    }

    pub(super) async fn state(&self, id: &FileId) -> UploadState {
        self.record(id).await.state
    }

    pub(super) async fn stretches(&self, id: &FileId) -> Vec<Stretch> {
        self.uploads.stretches(id).await.must()
    }

    pub(super) async fn rows(&self) -> Vec<LedgerRow> {
        self.desk.ledger.scan(None, 500).await.must()
    }

    /// How many bodies and pieces of the upload are in that state.
    pub(super) async fn count(&self, id: &FileId, state: RowState) -> usize {
        let rows = self.rows().await;
        let of = |row: &&LedgerRow| row.file == *id && row.state == state;
        rows.iter().filter(of).count()
    }

    pub(super) async fn due(&self) -> Vec<VersionId> {
        let due = self.desk.ledger.due(500).await.must();
        due.into_iter().map(|doomed| doomed.version).collect()
    }
}

pub(super) fn version_of(stretch: &Stretch) -> VersionId {
    match &stretch.at {
        StretchAt::Piece { version, .. } => *version,
        StretchAt::Part { .. } => panic!("a part"),
    }
}

/// With the row of its body, held by nobody.
pub async fn an_upload_reads_back_as_it_was_created(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let plain = new_upload("plain");
    let mut full = new_upload("Отчёт 1");
    full.kind = UploadKind::Partial;
    full.length = None;
    full.creator = "public:ß".to_owned();
    full.target.owner = visitor_of("2", "token");
    full.target.declared_type = ContentType::parse("text/plain; charset=utf-8");
    full.target.visibility = Visibility::Public;
    full.target.metadata = Metadata::from_json("{\"a\":\"б\\u0000\"}".to_owned()).must();
    full.target.digest = Some(Sha256Digest::of(b"x"));
    full.target.described = Some("filename 0L8=,a".to_owned());
    for new in [plain, full] {
        let record = dock.uploads.create(new.clone()).await.must();
        assert_eq!(
            dock.uploads.find(&new.id).await.must(),
            Some(record.clone())
        );
        assert_eq!((&record.id, &record.creator), (&new.id, &new.creator));
        assert_eq!((record.kind, record.version), (new.kind, new.version));
        assert_eq!(record.target, new.target);
        assert_eq!(
            record.progress,
            UploadProgress::restore(0, new.length).must()
        );
        assert_eq!(record.state, UploadState::Open);
        assert_eq!((record.next_number, record.is_held), (1, false));
        assert!(record.write_id.is_none() && record.hashes.is_none() && record.failure.is_none());
        let now = dock.desk.ledger.now().await.must().micros();
        let left = record.expires_at.micros() - now;
        assert!((3_500_000_000..=3_600_000_000).contains(&left), "{left}");
        assert!(dock.stretches(&new.id).await.is_empty());

        let body = dock.desk.ledger.at(&record.location).await.must().must();
        assert_eq!((body.version, body.state), (new.version, RowState::Pending));
        assert_eq!(record.location.key, new.key);
        let again = NewUploadRow {
            version: VersionId::random(),
            key: ObjectKey::parse(&format!("again/{}", new.version)).must(),
            ..new
        };
        let refused = dock.uploads.create(again).await;
        assert!(
            matches!(refused, Err(RepositoryError::Conflict(_))),
            "{refused:?}"
        );
    }
    assert_eq!(dock.rows().await.len(), 2, "what was refused left a row");
    let nobody = file_id("nobody's");
    assert!(dock.uploads.find(&nobody).await.must().is_none());
    assert_eq!(
        dock.uploads.ask(&nobody, Ask::First).await.must(),
        Asked::Missing
    );
}

/// And every other is told to wait, the last of them as the newest.
pub async fn of_many_requests_at_once_one_gets_it(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let id = dock.create("f").await.id;
    let asked = join_all((0..12).map(|_| dock.uploads.ask(&id, Ask::First))).await;
    let (mut turns, mut ours) = (Vec::new(), Vec::new());
    for asked in asked {
        match asked.must() {
            Asked::Held(turn) => turns.push(turn),
            Asked::Ours(lease) => ours.push(lease),
            other => panic!("{other:?}"),
        }
    }
    let [lease] = &ours[..] else {
        panic!("{} got it", ours.len());
    };
    assert!(lease.is_alone && lease.record.is_held && lease.tail.is_empty());
    turns.sort_unstable();
    turns.dedup();
    assert_eq!(turns.len(), 11, "two have the same turn");
    let newest = turns.pop().must();
    assert!(turns.iter().all(|turn| *turn > lease.turn));
    for turn in turns {
        for ask in [Ask::Again(turn), Ask::Insist(turn)] {
            assert_eq!(dock.uploads.ask(&id, ask).await.must(), Asked::Superseded);
        }
    }
    let again = dock.uploads.ask(&id, Ask::Again(newest)).await.must();
    assert_eq!(again, Asked::Held(newest));
}

/// Whoever asked before is superseded, whether or not it was told to wait.
pub async fn the_newest_request_gets_what_the_holder_lets_go_of(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let lease = dock.held("f").await;
    let id = &lease.record.id;
    let ask = async |ask| dock.uploads.ask(id, ask).await.must();
    let older = dock.wait_for(id).await;
    let newer = dock.wait_for(id).await;
    assert_eq!(ask(Ask::Again(newer)).await, Asked::Held(newer));
    assert!(dock.release(&lease, None).await);
    assert_eq!(ask(Ask::Again(older)).await, Asked::Superseded);
    let Asked::Ours(second) = ask(Ask::Again(newer)).await else {
        panic!("not given");
    };
    assert!(second.is_alone && second.record.generation > lease.record.generation);
    assert_eq!(second.turn, newer);

    let waiting = dock.wait_for(id).await;
    assert!(dock.release(&second, None).await);
    let third = dock.take(id).await;
    assert!(third.turn > waiting);
    assert_eq!(ask(Ask::Again(waiting)).await, Asked::Superseded);
    assert_eq!(ask(Ask::Insist(waiting)).await, Asked::Superseded);

    let waiting = dock.wait_for(id).await;
    assert!(dock.release(&third, None).await);
    let Asked::Ours(insisted) = ask(Ask::Insist(waiting)).await else {
        panic!("not given");
    };
    assert!(insisted.is_alone, "the holder had let go");
}

/// It says so, and what the new holder has stays as it is.
pub async fn a_change_under_an_old_generation_has_no_effect(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let mut new = new_upload("f");
    new.kind = UploadKind::Partial;
    dock.uploads.create(new).await.must();
    let old = dock.take(&file_id("f")).await;
    let piece = dock.piece(&old, 10, 3).await;
    let kept = vec![part(0, 10, 1), piece];
    assert!(dock.save(&old, saved(&old, 1, 13, kept.clone())).await);
    let new = dock.overtake(&old.record.id).await;
    assert!(!new.is_alone);
    assert_eq!(new.tail, kept);

    let (id, generation) = (&old.record.id, old.record.generation);
    let before = (dock.record(id).await, dock.rows().await.len());
    let other = || saved(&old, 9, 50, vec![part(0, 50, 9)]);
    let uploads = &dock.uploads;
    assert!(!dock.save(&old, other()).await);
    assert!(!dock.release(&old, Some(other())).await);
    assert!(!dock.release(&old, None).await);
    assert!(!uploads.completing(id, generation).await.must());
    let finished = uploads.finish_partial(id, generation, LIFETIME);
    assert!(!finished.await.must());
    for state in [UploadState::Failed, UploadState::Terminated] {
        let ended = uploads.end(id, generation, state, Some("old"), Duration::ZERO);
        assert!(!ended.await.must());
    }
    let key = ObjectKey::parse("late").must();
    let piece = plain_piece(VersionId::random(), key);
    let begun = uploads.begin_piece(id, generation, piece);
    assert_eq!(begun.await.must(), None);
    assert_eq!((dock.record(id).await, dock.rows().await.len()), before);
    assert_eq!(dock.stretches(id).await, kept);
    assert!(dock.due().await.is_empty());

    // One that never was is none either, and neither is the present one once it has let go.
    let (next, present) = (new.record.generation + 1, new.record.generation);
    assert!(!uploads.completing(id, next).await.must());
    assert!(dock.release(&new, None).await);
    assert!(!uploads.completing(id, present).await.must());
    assert!(!uploads.completing(&file_id("other"), present).await.must());
}
