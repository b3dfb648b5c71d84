//! Uploads of several requests, over every kind of store.

use std::time::Duration;

use bytes::Bytes;
use cloakroom_application::{
    Error, StoreOperation,
    ports::{UploadRecord, UploadRepository},
    testkit::objects::{Fault, MemoryStore, Step, sample},
    uploads::{
        Append, Appended, Appending, Checksum, Completion, End, NewResumable, append, create, join,
        status, terminate,
    },
};
use cloakroom_domain::{File, FileId, Metadata, Sha256Digest, UploadKind, UploadState, Visibility};

use crate::support::World;

/// A store without parts, one with parts of 100 bytes, one whose parts grow.
pub(crate) fn stores() -> [(&'static str, MemoryStore); 3] {
    [
        ("pieces", MemoryStore::new()),
        ("parts", MemoryStore::with_parts_of(100)),
        ("growing", MemoryStore::with_growing_parts()),
    ]
}

pub(crate) fn new(length: Option<u64>) -> NewResumable {
    NewResumable {
        kind: UploadKind::Whole,
        account: None,
        name: None,
        declared_type: None,
        visibility: Visibility::Private,
        metadata: Metadata::default(),
        digest: None,
        length,
        described: None,
    }
}

pub(crate) const fn bytes_at(offset: u64) -> Append {
    Append {
        offset,
        body: None,
        length: None,
        is_last: false,
        completion: Completion::ByLength,
        checksum: None,
        whole: None,
    }
}

impl World {
    pub(crate) async fn created(&self, new: NewResumable) -> FileId {
        create(&self.app, &self.alice, new).await.unwrap().id
    }

    pub(crate) async fn begun(&self, id: &FileId, what: Append) -> Result<Appending, Error> {
        append(&self.app, &self.alice, id, what).await
    }

    pub(crate) async fn send(
        &self,
        id: &FileId,
        what: Append,
        body: &[u8],
    ) -> Result<Appended, Error> {
        let appending = self.begun(id, what).await?;
        appending.write(Bytes::copy_from_slice(body)).await;
        appending.finish(End::Whole).await
    }

    pub(crate) async fn offset(&self, id: &FileId) -> Result<u64, Error> {
        let found = status(&self.app, &self.alice, id, Completion::ByLength).await?;
        Ok(found.progress.offset())
    }

    pub(crate) async fn upload(&self, id: &FileId) -> UploadRecord {
        UploadRepository::find(&*self.database, id)
            .await
            .unwrap()
            .unwrap()
    }

    /// The one file, with one object and one row, is this.
    pub(crate) async fn assert_file(&self, id: &FileId, body: &[u8], what: &str) {
        self.app.background.idle().await;
        self.database.pass(Duration::from_secs(3600));
        cloakroom_application::sweep(&self.app).await.unwrap();
        let file = self.file(id).await;
        assert_eq!(file.current.size, body.len() as u64, "{what}");
        assert_eq!(file.current.sha256, Some(Sha256Digest::of(body)), "{what}");
        assert_eq!(crate::read(self, &file).await.unwrap(), body, "{what}");
        assert_eq!(self.rows().await, 1, "{what}: rows");
        assert_eq!(self.store.objects().len(), 1, "{what}: objects");
        assert_eq!(self.store.unfinished(), 0, "{what}: unfinished");
    }

    async fn file(&self, id: &FileId) -> File {
        let found = self.app.files.find_fresh(id).await.unwrap();
        found.unwrap_or_else(|| panic!("{id} is no file"))
    }

    pub(crate) async fn assert_all_gone(&self, what: &str) {
        self.app.background.idle().await;
        self.database.pass(Duration::from_secs(3600));
        cloakroom_application::sweep(&self.app).await.unwrap();
        self.assert_nothing_left(what).await;
    }
}

#[tokio::test]
async fn however_it_is_cut_it_is_the_same_file() {
    for (kind, _) in stores() {
        for sizes in [
            &[250][..],
            &[1, 249],
            &[100, 100, 50],
            &[99, 2, 149],
            &[0, 30, 0, 30, 30, 30, 130],
            &[10; 25],
        ] {
            let store = stores().into_iter().find(|(name, _)| *name == kind);
            let world = World::over(store.unwrap().1).await;
            let body = sample(250, 1);
            let id = world.created(new(Some(250))).await;
            let mut offset = 0;
            for size in sizes {
                let chunk = &body[offset..offset + size];
                let sent = world.send(&id, bytes_at(offset as u64), chunk).await;
                offset += size;
                assert_eq!(sent.unwrap().progress.offset(), offset as u64);
                assert_eq!(world.offset(&id).await.unwrap(), offset as u64);
            }
            let what = format!("{kind} {sizes:?}");
            world.assert_file(&id, &body, &what).await;
            assert_eq!(world.upload(&id).await.state, UploadState::Finished);
        }
    }
}

#[tokio::test]
async fn an_upload_of_one_piece_is_not_copied() {
    let world = World::new().await;
    let body = sample(700, 2);
    let id = world.created(new(Some(700))).await;
    world.store.fail_always(Step::Read, Fault::Break);
    let sent = world.send(&id, bytes_at(0), &body).await.unwrap();
    assert!(sent.file.is_some());
    world.store.heal();
    world.assert_file(&id, &body, "one piece").await;
}

#[tokio::test]
async fn hundreds_of_pieces_are_written_together() {
    let world = World::new().await;
    let body = sample(800, 3);
    let id = world.created(new(Some(800))).await;
    let mut most = 0;
    for (n, chunk) in body.chunks(2).enumerate() {
        world
            .send(&id, bytes_at(n as u64 * 2), chunk)
            .await
            .unwrap();
        most = most.max(world.database.stretches(&id).await.unwrap().len());
    }
    assert!((100..=257).contains(&most), "{most}");
    world.assert_file(&id, &body, "pieces").await;
}

#[tokio::test(start_paused = true)]
async fn what_a_silent_client_sent_is_kept_and_it_may_go_on() {
    for (kind, store) in stores() {
        let world = World::over(store).await;
        let body = sample(250, 4);
        let id = world.created(new(Some(250))).await;
        let appending = world.begun(&id, bytes_at(0)).await.unwrap();
        let mut sent = 0;
        for size in [130, 20] {
            let chunk = Bytes::copy_from_slice(&body[sent..sent + size]);
            assert!(appending.write(chunk).await);
            sent += size;
            tokio::time::sleep(Duration::from_secs(6)).await;
            assert_eq!(
                world.upload(&id).await.progress.offset(),
                sent as u64,
                "{kind}"
            );
        }
        assert!(appending.write(Bytes::copy_from_slice(&body[sent..])).await);
        appending.finish(End::Whole).await.unwrap();
        world.assert_file(&id, &body, kind).await;
    }
}

#[tokio::test]
async fn a_request_that_breaks_off_or_is_dropped_keeps_what_came() {
    for (kind, store) in stores() {
        let world = World::over(store).await;
        let body = sample(300, 5);
        let id = world.created(new(Some(300))).await;
        let appending = world.begun(&id, bytes_at(0)).await.unwrap();
        appending.write(Bytes::copy_from_slice(&body[..140])).await;
        let cut = appending.finish(End::CutShort).await.unwrap();
        assert_eq!(cut.progress.offset(), 140, "{kind}");
        let appending = world.begun(&id, bytes_at(140)).await.unwrap();
        appending
            .write(Bytes::copy_from_slice(&body[140..200]))
            .await;
        drop(appending);
        world.app.background.idle().await;
        assert_eq!(world.offset(&id).await.unwrap(), 200, "{kind}");
        world.send(&id, bytes_at(200), &body[200..]).await.unwrap();
        world.assert_file(&id, &body, kind).await;
    }
}

#[tokio::test]
async fn a_newer_request_ends_the_one_before_it_and_loses_nothing() {
    for (kind, store) in stores() {
        let world = World::over(store).await;
        let body = sample(300, 6);
        let id = world.created(new(Some(300))).await;
        let stuck = world.begun(&id, bytes_at(0)).await.unwrap();
        stuck.write(Bytes::copy_from_slice(&body[..123])).await;
        assert_eq!(world.offset(&id).await.unwrap(), 123, "{kind}");
        stuck.closed().await;
        assert!(!stuck.write(Bytes::from_static(b"late")).await);
        let ended = stuck.finish(End::Whole).await;
        assert!(matches!(ended, Err(Error::UploadHeld)), "{kind}");

        let stuck = world.begun(&id, bytes_at(123)).await.unwrap();
        stuck.write(Bytes::copy_from_slice(&body[123..200])).await;
        let misplaced = world.send(&id, bytes_at(123), b"x").await.unwrap_err();
        let at = Error::WrongOffset {
            expected: 200,
            provided: 123,
        };
        assert_eq!(misplaced.to_string(), at.to_string(), "{kind}");
        drop(stuck);
        world.send(&id, bytes_at(200), &body[200..]).await.unwrap();
        world.assert_file(&id, &body, kind).await;
    }
}

#[tokio::test]
async fn a_chunk_with_another_checksum_is_as_if_it_had_never_come() {
    for (kind, store) in stores() {
        let world = World::over(store).await;
        let body = sample(400, 7);
        let id = world.created(new(Some(400))).await;
        for (from, to) in [(0, 250), (250, 400)] {
            let chunk = &body[from..to];
            let checked = Append {
                body: Some((to - from) as u64),
                checksum: Some(Checksum::Sha256(Sha256Digest::of(chunk))),
                ..bytes_at(from as u64)
            };
            let mut wrong = chunk.to_vec();
            wrong[60] ^= 1;
            for bad in [&wrong[..], &chunk[..40], &chunk[..120]] {
                let sent = world.send(&id, checked.clone(), bad).await;
                assert!(matches!(sent, Err(Error::ChunkMismatch)), "{kind}");
                assert_eq!(world.offset(&id).await.unwrap(), from as u64, "{kind}");
            }
            let cut = world.begun(&id, checked.clone()).await.unwrap();
            cut.write(Bytes::copy_from_slice(&chunk[..130])).await;
            let cut = cut.finish(End::CutShort).await.unwrap();
            assert_eq!(cut.progress.offset(), from as u64, "{kind}");
            world.send(&id, checked, chunk).await.unwrap();
        }
        world.assert_file(&id, &body, kind).await;
    }
}

#[tokio::test]
async fn a_store_that_fails_while_bytes_come_loses_no_offset() {
    for step in [Step::Begin, Step::Write, Step::Finish] {
        for fault in [Fault::Refuse, Fault::Unavailable, Fault::Break] {
            for (kind, store) in stores() {
                let world = World::over(store).await;
                let body = sample(500, 9);
                let id = world.created(new(Some(500))).await;
                world.send(&id, bytes_at(0), &body[..180]).await.unwrap();
                world.store.fail_always(step, fault);
                let sent = world.send(&id, bytes_at(180), &body[180..400]).await;
                let what = format!("{kind} {step:?} {fault:?}");
                world.store.heal();
                if let Err(error) = sent {
                    assert!(matches!(error, Error::Store { .. }), "{what}: {error}");
                }
                let kept = world.offset(&id).await.unwrap();
                assert!((180..=400).contains(&kept), "{what}: {kept}");
                let rest = &body[usize::try_from(kept).unwrap()..];
                world.send(&id, bytes_at(kept), rest).await.unwrap();
                world.assert_file(&id, &body, &what).await;
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_could_not_be_made_is_made_when_somebody_asks() {
    for fault in [Fault::Unavailable, Fault::LoseAnswer, Fault::Refuse] {
        let world = World::new().await;
        let body = sample(300, 10);
        let id = world.created(new(Some(300))).await;
        world.send(&id, bytes_at(0), &body[..200]).await.unwrap();
        // The last piece is stored, and then the object that both become is not.
        world.store.fail_nth(Step::Finish, 2, fault);
        let last = world.send(&id, bytes_at(200), &body[200..]).await;
        let is_store = |error: &Error| {
            let operation = StoreOperation::Upload;
            matches!(error, Error::Store { operation: found, .. } if *found == operation)
        };
        assert!(is_store(&last.unwrap_err()), "{fault:?}");
        assert!(world.app.files.find_fresh(&id).await.unwrap().is_none());
        assert_eq!(world.offset(&id).await.unwrap(), 300, "{fault:?}");
        world.assert_file(&id, &body, &format!("{fault:?}")).await;
    }
}

#[tokio::test]
async fn an_upload_that_ended_is_gone_for_every_request_and_leaves_nothing() {
    for (kind, store) in stores() {
        let world = World::over(store).await;
        let expired = world.created(new(None)).await;
        world.send(&expired, bytes_at(0), &[2; 130]).await.unwrap();
        let lifetime = world.app.limits.upload_expiry;
        world.database.pass(lifetime + Duration::from_secs(1));
        let given_up = world.created(new(Some(300))).await;
        world.send(&given_up, bytes_at(0), &[1; 130]).await.unwrap();
        terminate(&world.app, &world.alice, &given_up)
            .await
            .unwrap();
        for swept in [false, true] {
            for id in [&given_up, &expired] {
                assert!(matches!(world.offset(id).await, Err(Error::UploadGone)));
                let sent = world.send(id, bytes_at(130), b"x").await;
                assert!(matches!(sent, Err(Error::UploadGone)), "{kind} {swept}");
                let again = terminate(&world.app, &world.alice, id).await;
                assert!(matches!(again, Err(Error::UploadGone)), "{kind} {swept}");
            }
            if !swept {
                world.assert_all_gone(kind).await;
            }
        }
    }
}

#[tokio::test]
async fn partial_uploads_become_one_file_and_are_used_up() {
    for (kind, store) in stores() {
        let world = World::over(store).await;
        let body = sample(360, 11);
        let mut partials = Vec::new();
        for part in body.chunks(150) {
            let partial = NewResumable {
                kind: UploadKind::Partial,
                ..new(Some(part.len() as u64))
            };
            let id = world.created(partial).await;
            let (first, last) = part.split_at(20);
            world.send(&id, bytes_at(0), first).await.unwrap();
            let whole = world.send(&id, bytes_at(20), last).await.unwrap();
            assert!(whole.file.is_none(), "{kind}: a partial upload is no file");
            partials.push(id);
        }
        let joined = join(&world.app, &world.alice, &partials, new(None)).await;
        let joined = joined.unwrap();
        assert_eq!(joined.state, UploadState::Finished, "{kind}");
        let more = world.send(&joined.id, bytes_at(360), b"x").await;
        assert!(matches!(more, Err(Error::UploadComplete)), "{kind}");
        let again = join(&world.app, &world.alice, &partials, new(None)).await;
        assert!(matches!(again, Err(Error::UploadGone)), "{kind}");
        world.assert_file(&joined.id, &body, kind).await;
    }
}
