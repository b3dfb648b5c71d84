//! Uploads of several requests: answers that are lost, callers that leave, and replicas that ask each other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cloakroom_application::{
    Permissions, Stores, Turns,
    cache::CachedTokens,
    ports::{
        Ask, Asked, Commit, CommitError, CommitTarget, FileRepository, Lease, NewUploadRow,
        RepositoryError, RowState, Saved, StoredPart, Stretch, UploadRepository, UploadTarget,
        VersionLedger,
    },
};
use cloakroom_domain::{
    AccountId, ContentType, FileId, FileName, Metadata, ObjectKey, Owner, Sha256Digest, UploadKind,
    UploadProgress, UploadState, VersionId, Visibility,
};
use cloakroom_infrastructure::metadata::{Database, DatabaseOptions, follow_changes};
use futures_util::future::join_all;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    faults::{LIMIT, behind_proxy, in_transaction, seed, works_within},
    proxy::Mode,
    support::{OwnDatabase, plain_piece, postgres, sqlite},
};

/// After this an upload is taken whether or not its holder was told.
const PATIENCE: Duration = Duration::from_secs(2);
const HOUR: Duration = Duration::from_secs(3600);

fn new_upload(id: &str) -> NewUploadRow {
    let account = AccountId::parse("1").unwrap();
    let (file, name) = (FileId::parse(id).unwrap(), FileName::clean(id));
    NewUploadRow {
        seal: None,
        version: VersionId::random(),
        key: ObjectKey::mint(&account, &file, &name),
        id: file,
        account: account.clone(),
        creator: "user:1:7".to_owned(),
        kind: UploadKind::Whole,
        length: None,
        target: UploadTarget {
            owner: Owner {
                account,
                user: None,
                token: None,
            },
            name,
            declared_type: None,
            visibility: Visibility::Private,
            metadata: Metadata::default(),
            digest: None,
            described: None,
        },
        lifetime: HOUR,
    }
}

fn commit_of(lease: &Lease) -> Commit {
    let target = &lease.record.target;
    Commit {
        version: lease.record.version,
        size: 10,
        sha256: Sha256Digest::of(b""),
        crc64: 0,
        content_type: ContentType::octet_stream(),
        target: CommitTarget::NewFile {
            claim_within: None,
            owner: target.owner.clone(),
            name: target.name.clone(),
            visibility: target.visibility,
            metadata: target.metadata.clone(),
        },
        claim: None,
        upload: Some(lease.record.generation),
        partials: Vec::new(),
    }
}

/// One part of ten bytes.
fn saved(lease: &Lease) -> Saved {
    let part = StoredPart {
        number: lease.record.next_number,
        size: 10,
        tag: "t".to_owned(),
    };
    Saved {
        progress: UploadProgress::restore(10, None).unwrap(),
        hashes: None,
        write_id: None,
        next_number: lease.record.next_number + 1,
        changed_from: 0,
        stretches: vec![Stretch::part(0, part)],
        lifetime: Some(HOUR),
    }
}

async fn taken(database: &Database, id: &FileId) -> Lease {
    match database.ask(id, Ask::First).await.unwrap() {
        Asked::Ours(lease) => *lease,
        other => panic!("{other:?}"),
    }
}

async fn turn_at(database: &Database, id: &FileId) -> u64 {
    match database.ask(id, Ask::First).await.unwrap() {
        Asked::Held(turn) => turn,
        other => panic!("{other:?}"),
    }
}

async fn held(database: &Database, id: &str) -> Lease {
    let record = database.create(new_upload(id)).await.unwrap();
    taken(database, &record.id).await
}

const fn is_unknown<T>(outcome: &Result<T, RepositoryError>) -> bool {
    matches!(outcome, Err(RepositoryError::OutcomeUnknown(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_taken_by_a_request_that_never_heard_of_it_goes_to_who_insists() {
    let (own, proxy, database) = behind_proxy().await;
    let id = own.database.create(new_upload("f")).await.unwrap().id;
    works_within(&database, LIMIT).await;
    proxy.lose_the_answer_to_a_commit();
    let lost = database.ask(&id, Ask::First).await;
    assert!(is_unknown(&lost), "{lost:?}");
    proxy.set(Mode::Pass);
    works_within(&database, LIMIT).await;
    let turn = turn_at(&database, &id).await;
    let insisted = database.ask(&id, Ask::Insist(turn)).await.unwrap();
    let Asked::Ours(lease) = insisted else {
        panic!("{insisted:?}");
    };
    // Its numbers are not those that the lost one was given.
    assert!(lease.record.next_number > 1 && lease.record.generation == 2);
    assert_eq!(in_transaction(&own).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_saved_without_an_answer_can_be_saved_again() {
    let (own, proxy, database) = behind_proxy().await;
    works_within(&database, LIMIT).await;
    let lease = held(&database, "f").await;
    let (id, generation) = (&lease.record.id, lease.record.generation);
    proxy.lose_the_answer_to_a_commit();
    let lost = database.save(id, generation, saved(&lease)).await;
    assert!(is_unknown(&lost), "{lost:?}");
    let kept = own.database.stretches(id).await.unwrap();
    assert_eq!(kept, saved(&lease).stretches);
    proxy.set(Mode::Cut);
    let refused = database.save(id, generation, saved(&lease)).await;
    assert!(
        matches!(refused, Err(RepositoryError::Unavailable(_))),
        "{refused:?}"
    );
    proxy.set(Mode::Pass);
    works_within(&database, LIMIT).await;
    assert!(database.save(id, generation, saved(&lease)).await.unwrap());
    assert_eq!(own.database.stretches(id).await.unwrap(), kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_the_last_commit_leaves_a_file_and_a_finished_upload() {
    let (own, proxy, database) = behind_proxy().await;
    works_within(&database, LIMIT).await;
    let lease = held(&database, "f").await;
    let id = &lease.record.id;
    proxy.lose_the_answer_to_a_commit();
    let lost = database.commit(commit_of(&lease)).await;
    assert!(
        matches!(
            lost,
            Err(CommitError::Repository(RepositoryError::OutcomeUnknown(_)))
        ),
        "{lost:?}"
    );
    let files: &dyn FileRepository = &*own.database;
    let file = files.find(id).await.unwrap().unwrap();
    assert_eq!(file.current.id, lease.record.version);
    let record = UploadRepository::find(&*own.database, id).await.unwrap();
    assert_eq!(record.unwrap().state, UploadState::Finished);
}

/// Uploads whose caller leaves at some moment or other: all or nothing, and the next one goes on.
async fn leave_in_the_middle(own: &OwnDatabase) {
    seed(&own.database).await;
    for n in 0..60_u64 {
        let database = own.database.clone();
        let name = format!("f{n}");
        let upload = async move {
            let lease = held(&database, &name).await;
            let (id, generation) = (&lease.record.id, lease.record.generation);
            let key = ObjectKey::parse(&format!("piece/{name}")).unwrap();
            let begun = database.begin_piece(id, generation, plain_piece(key));
            begun.await.unwrap().unwrap();
            assert!(database.save(id, generation, saved(&lease)).await.unwrap());
            database.commit(commit_of(&lease)).await.unwrap();
        };
        // It takes a few milliseconds, so they are cut at every step.
        let _left = timeout(Duration::from_micros(n * 200), upload).await;
    }
    for n in 0..60 {
        let id = FileId::parse(format!("f{n}")).unwrap();
        let database = &own.database;
        let files: &dyn FileRepository = &**database;
        let asked = match database.ask(&id, Ask::First).await.unwrap() {
            Asked::Held(turn) => database.ask(&id, Ask::Insist(turn)).await.unwrap(),
            other => other,
        };
        let is_there = files.find(&id).await.unwrap().is_some();
        match asked {
            Asked::Missing => assert!(!is_there),
            Asked::Ended(record) => assert!(is_there && record.state == UploadState::Finished),
            Asked::Ours(lease) => {
                assert!(!is_there);
                database.commit(commit_of(&lease)).await.unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    for row in own.database.scan(None, 999).await.unwrap() {
        assert_ne!(row.state, RowState::Pending, "left behind");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_leave_at_any_moment_leave_whole_uploads_on_postgres() {
    let own = postgres().await;
    leave_in_the_middle(&own).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_leave_at_any_moment_leave_whole_uploads_on_sqlite() {
    let own = sqlite().await;
    leave_in_the_middle(&own).await;
}

/// Whoever takes it saves, lets go, or commits; others expire and sweep meanwhile. Nobody waits for ever for another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_on_a_few_uploads_never_deadlock() {
    let own = postgres().await;
    seed(&own.database).await;
    let ids: Vec<FileId> = (0..3)
        .map(|n| FileId::parse(format!("f{n}")).unwrap())
        .collect();
    for id in &ids {
        let new = new_upload(id.as_str());
        own.database.create(new).await.unwrap();
    }
    let work = (0..24_usize).map(|n| {
        let (database, id) = (own.database.clone(), ids[n % 3].clone());
        tokio::spawn(async move {
            for round in 0..8 {
                let asked = match database.ask(&id, Ask::First).await.unwrap() {
                    Asked::Held(turn) => database.ask(&id, Ask::Insist(turn)).await.unwrap(),
                    other => other,
                };
                database.expire(9).await.unwrap();
                let pending = database.expire_pending(Duration::ZERO, Duration::ZERO, 9);
                pending.await.unwrap();
                let Asked::Ours(lease) = asked else { continue };
                let generation = lease.record.generation;
                let key = ObjectKey::parse(&format!("{n}/{round}")).unwrap();
                let piece = database.begin_piece(&id, generation, plain_piece(key));
                piece.await.unwrap();
                let kept = database.save(&id, generation, saved(&lease)).await.unwrap();
                if round == 7 && kept {
                    match database.commit(commit_of(&lease)).await {
                        Ok(_) | Err(CommitError::Lost) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
            }
        })
    });
    for done in join_all(work).await {
        done.unwrap();
    }
    assert_eq!(in_transaction(&own).await, 0);
}

/// A replica that passes word on to the requests that hold uploads on it.
struct Replica {
    database: Arc<Database>,
    turns: Turns,
    follower: JoinHandle<()>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

fn replica(url: &str) -> Replica {
    let database = Arc::new(Database::connect(url, &DatabaseOptions::default()).unwrap());
    let turns = Turns::default();
    let follower = tokio::spawn(follow_changes(
        database.clone(),
        database.clone(),
        Arc::new(CachedTokens::new(database.clone())),
        Arc::new(Permissions::without_backend()),
        turns.clone(),
        Stores::fixed(Vec::new(), None),
        std::future::pending(),
    ));
    Replica {
        database,
        turns,
        follower,
    }
}

/// Two replicas, the second of which is known to hear what the first asks.
async fn two_replicas() -> (OwnDatabase, Replica, Replica) {
    let own = postgres().await;
    seed(&own.database).await;
    let (one, two) = (replica(&own.url), replica(&own.url));
    wait_until_heard(&one, &two, "first").await;
    (own, one, two)
}

async fn wait_until_heard(asks: &Replica, holds: &Replica, name: &str) {
    let lease = held(&holds.database, name).await;
    let holding = holds.turns.hold(&lease);
    let since = Instant::now();
    loop {
        turn_at(&asks.database, &lease.record.id).await;
        if timeout(Duration::from_millis(200), holding.asked())
            .await
            .is_ok()
        {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(20), "does not listen");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_on_another_replica_hears_that_it_is_asked_for_and_only_it() {
    let (_own, one, two) = two_replicas().await;
    for name in ["f", "id with spaces/Ä"] {
        let lease = held(&two.database, name).await;
        let other = held(&two.database, &format!("beside {name}")).await;
        let (holding, beside) = (two.turns.hold(&lease), two.turns.hold(&other));
        let turn = turn_at(&one.database, &lease.record.id).await;
        timeout(PATIENCE, holding.asked()).await.unwrap();
        assert!(!beside.is_asked());

        // Whoever gets it then is not disturbed by its own asking, which everybody has heard by the next one.
        let id = &lease.record.id;
        let (generation, keep) = (lease.record.generation, saved(&lease));
        let released = two.database.release(id, generation, Some(keep)).await;
        assert!(released.unwrap());
        let asked = one.database.ask(id, Ask::Again(turn)).await.unwrap();
        let Asked::Ours(next) = asked else {
            panic!("{asked:?}");
        };
        let next = one.turns.hold(&next);
        wait_until_heard(&two, &one, &format!("after {name}")).await;
        assert!(!next.is_asked());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_word_from_other_replicas_insisting_works_and_word_comes_again() {
    let (own, one, two) = two_replicas().await;
    let lease = held(&two.database, "f").await;
    let id = &lease.record.id;
    let holding = two.turns.hold(&lease);
    two.follower.abort();
    let turn = turn_at(&one.database, id).await;
    sleep(Duration::from_millis(200)).await;
    assert!(!holding.is_asked());
    let insisted = one.database.ask(id, Ask::Insist(turn)).await.unwrap();
    assert!(matches!(insisted, Asked::Ours(_)), "{insisted:?}");
    let generation = lease.record.generation;
    let late = two.database.save(id, generation, saved(&lease)).await;
    assert!(!late.unwrap());

    own.script(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            .to_owned(),
    )
    .await;
    wait_until_heard(&two, &one, "again").await;
}
