//! What is sealed, under which master key, and what becomes of that when the key changes.

use cloakroom_domain::{KeyId, ObjectKey, SEALED_FORM, Seal, VersionId, sealed_size};

use super::{
    Desk, Fixture, Must, Upload, file_id,
    uploads::{Dock, new_upload, saved},
};
use crate::ports::{Begun, NewPiece, NewVersion, Resealed, Stretch, StretchAt};

/// A seal as if made under the master key whose id is this byte, eight times.
fn seal(version: VersionId, key: u8, secret: &[u8]) -> Seal {
    let mut wrapped_key = vec![SEALED_FORM];
    wrapped_key.extend_from_slice(&[key; 8]);
    wrapped_key.extend_from_slice(secret);
    Seal {
        version,
        encoding: Seal::ENCODING.to_owned(),
        wrapped_key,
        size: None,
    }
}

fn key(byte: u8) -> KeyId {
    KeyId::new([byte; 8])
}

/// Begins a body that is sealed under that key.
async fn begin(desk: &Desk, upload: &Upload, under: u8, secret: &[u8]) -> Seal {
    let id = VersionId::random();
    let seal = seal(id, under, secret);
    let new = NewVersion {
        id,
        file: upload.id.clone(),
        account: upload.owner.account.clone(),
        key: ObjectKey::parse(&format!("sealed/{id}")).must(),
        claim: None,
        seal: Some(seal.clone()),
    };
    match desk.ledger.begin(new).await.must() {
        Begun::Pending(location) => assert_eq!(location.seal, Some(seal.clone())),
        other => panic!("{other:?}"),
    }
    seal
}

/// From the INSERT to every way of reading it, with the size that the commit told.
pub async fn a_sealed_body_reads_back_with_its_seal(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let upload = Upload::new("f");
    let pending = begin(&desk, &upload, 7, &[0, 255, 39]).await;
    let row = &desk.ledger.scan(None, 9).await.must()[0];
    assert_eq!(row.location.seal, Some(pending.clone()));

    let file = desk.commit(pending.version, &upload).await.must();
    let stored = Seal {
        size: Some(file.current.size),
        ..pending
    };
    assert_eq!(file.current.location.seal, Some(stored.clone()));
    assert_eq!(file.current.stored_size, sealed_size(file.current.size));
    let found = desk.files.find_fresh(&upload.id).await.must().must();
    assert_eq!(found, file);
    let version = desk.files.version(&upload.id, 1).await.must().must();
    assert_eq!(version, file.current);
    let row = desk.ledger.at(&version.location).await.must().must();
    assert_eq!(row.location.seal, Some(stored));
    assert_eq!(row.stored_size, Some(file.current.stored_size));

    // Plain ones beside it stay plain.
    let plain = desk.put(&Upload::new("g")).await.current;
    assert_eq!(plain.location.seal, None);
    assert_eq!(plain.stored_size, plain.size);
}

/// The body that an upload of several requests writes, and each of its pieces.
pub async fn uploads_and_pieces_have_seals_of_their_own(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let mut new = new_upload("f");
    let body = seal(new.version, 1, b"body");
    new.seal = Some(body.clone());
    let id = new.id.clone();
    let record = dock.uploads.create(new).await.must();
    assert_eq!(record.location.seal, Some(body.clone()));
    let found = dock.record(&id).await;
    assert_eq!(found.location, record.location);

    let lease = dock.take(&id).await;
    assert_eq!(lease.record.location, record.location);
    let version = VersionId::random();
    let own = seal(version, 2, b"piece");
    let piece = NewPiece {
        version,
        key: ObjectKey::parse(&format!("piece/{version}")).must(),
        seal: Some(own.clone()),
    };
    let begun = dock
        .uploads
        .begin_piece(&id, lease.record.generation, piece);
    let location = begun.await.must().must();
    assert_eq!(location.seal, Some(own));
    let at = StretchAt::Piece { version, location };
    let stretches = vec![Stretch {
        start: 0,
        size: 7,
        at,
    }];
    let kept = saved(&lease, 0, 7, stretches.clone());
    assert!(dock.release(&lease, Some(kept)).await);
    assert_eq!(dock.stretches(&id).await, stretches);
    assert_eq!(dock.take(&id).await.tail, stretches);

    // A body that is plain has none, whatever its pieces have.
    let plain = dock.uploads.create(new_upload("g")).await.must();
    assert_eq!(plain.location.seal, None);
}

/// Each once, also that of a body which nobody has finished; and what cannot be read.
pub async fn the_keys_in_use_are_told(fixture: &dyn Fixture) {
    let (desk, seals) = (Desk::open(fixture).await, fixture.seals());
    desk.put(&Upload::new("plain")).await;
    assert!(seals.keys_in_use().await.must().is_empty());
    for (file, under) in [("a", 2), ("b", 1), ("c", 2), ("d", 200)] {
        begin(&desk, &Upload::new(file), under, b"secret").await;
    }
    let known = [Some(key(1)), Some(key(2)), Some(key(200))];
    assert_eq!(seals.keys_in_use().await.must(), known);
    assert_eq!(seals.count_under(key(2)).await.must(), 2);
    assert_eq!(seals.count_under(key(3)).await.must(), 0);

    let id = VersionId::random();
    let new = NewVersion {
        id,
        file: file_id("e"),
        account: Upload::new("e").owner.account,
        key: ObjectKey::parse("odd").must(),
        claim: None,
        seal: Some(Seal {
            version: id,
            encoding: "other".to_owned(),
            wrapped_key: vec![9, 9],
            size: None,
        }),
    };
    desk.ledger.begin(new).await.must();
    let all = seals.keys_in_use().await.must();
    assert!(all.contains(&None) && all.len() == 4, "{all:?}");
}

/// Page by page, and what was sealed again is not found under the old key any more.
pub async fn bodies_under_a_key_are_paged_and_kept_again(fixture: &dyn Fixture) {
    let (desk, seals) = (Desk::open(fixture).await, fixture.seals());
    let mut old = Vec::new();
    for n in 0..5 {
        old.push(begin(&desk, &Upload::new(&format!("f{n}")), 1, b"old").await);
    }
    let other = begin(&desk, &Upload::new("other"), 2, b"other").await;
    old.sort_by_key(|seal| seal.version);
    let first = seals.sealed_under(key(1), None, 3).await.must();
    assert_eq!(first, old[..3]);
    let after = Some(first[2].version);
    let second = seals.sealed_under(key(1), after, 3).await.must();
    assert_eq!(second, old[3..]);

    let changes: Vec<Resealed> = first
        .iter()
        .map(|before| Resealed {
            before: before.clone(),
            wrapped_key: seal(before.version, 2, b"'new'\0").wrapped_key,
        })
        .collect();
    assert_eq!(seals.keep_resealed(&changes).await.must(), 3);
    assert_eq!(seals.keep_resealed(&[]).await.must(), 0);
    assert_eq!(seals.sealed_under(key(1), None, 9).await.must(), old[3..]);
    let mut now = seals.sealed_under(key(2), None, 9).await.must();
    now.retain(|seal| *seal != other);
    let kept: Vec<_> = now.iter().map(|seal| &seal.wrapped_key).collect();
    let meant: Vec<_> = changes.iter().map(|change| &change.wrapped_key).collect();
    assert_eq!(kept, meant);
}

/// Of two that seal again, the second changes nothing.
pub async fn a_key_that_has_changed_meanwhile_stays(fixture: &dyn Fixture) {
    let (desk, seals) = (Desk::open(fixture).await, fixture.seals());
    let before = begin(&desk, &Upload::new("f"), 1, b"old").await;
    let to = |under| Resealed {
        before: before.clone(),
        wrapped_key: seal(before.version, under, b"new").wrapped_key,
    };
    assert_eq!(seals.keep_resealed(&[to(2)]).await.must(), 1);
    assert_eq!(seals.keep_resealed(&[to(3)]).await.must(), 0);
    assert_eq!(seals.keys_in_use().await.must(), [Some(key(2))]);
}
