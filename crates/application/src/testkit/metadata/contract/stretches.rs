//! What is kept of what arrived for an upload: numbers of parts, stretches, pieces.

use cloakroom_domain::{UploadProgress, VersionId};

use super::{
    Fixture, Must,
    uploads::{Dock, part, plain_piece, saved, version_of},
};
use crate::ports::{NUMBERS_AT_A_TIME, RepositoryError, RowState, Stretch, StretchAt};

/// A holder that let go gives back what it did not use; one that was overtaken may still be using it.
pub async fn numbers_are_never_given_twice(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let first = dock.held("f").await;
    let id = &first.record.id;
    assert_eq!(first.record.next_number, 1);
    assert!(dock.release(&first, None).await, "used none");
    let second = dock.take(id).await;
    assert_eq!(second.record.next_number, 1);
    let parts = vec![part(0, 5, 1), part(5, 5, 2)];
    assert!(
        dock.release(&second, Some(saved(&second, 2, 10, parts)))
            .await
    );

    let third = dock.take(id).await;
    assert_eq!(third.record.next_number, 3);
    let fourth = dock.overtake(id).await;
    assert_eq!(fourth.record.next_number, 3 + NUMBERS_AT_A_TIME);
    // It goes on for long, and tells now and then.
    let used = 40;
    let parts = vec![part(10, 5, 3 + NUMBERS_AT_A_TIME)];
    assert!(dock.save(&fourth, saved(&fourth, used, 15, parts)).await);
    let fifth = dock.overtake(id).await;
    let given = fourth.record.next_number + used + NUMBERS_AT_A_TIME;
    assert_eq!(fifth.record.next_number, given);
    assert!(dock.save(&fifth, saved(&fifth, 1, 15, Vec::new())).await);
    // It says nothing of what it used since.
    assert!(dock.release(&fifth, None).await);
    let sixth = dock.take(id).await;
    assert_eq!(sixth.record.next_number, given + 1 + NUMBERS_AT_A_TIME);
    assert!(
        dock.release(&sixth, Some(saved(&sixth, 0, 15, Vec::new())))
            .await
    );
    let seventh = dock.take(id).await;
    assert_eq!(seventh.record.next_number, sixth.record.next_number);
}

/// Also when others have held the upload and let go since.
pub async fn a_part_that_an_overtaken_holder_may_write_is_not_grown(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let first = dock.held("f").await;
    let id = &first.record.id;
    assert!(
        dock.save(&first, saved(&first, 1, 5, vec![part(0, 5, 1)]))
            .await
    );
    let second = dock.overtake(id).await;
    assert!(!second.is_alone);
    assert!(dock.release(&second, None).await);
    let third = dock.take(id).await;
    assert!(!third.is_alone, "the first may still write part 1");
    let number = third.record.next_number;
    let parts = vec![part(5, 5, number)];
    assert!(
        dock.release(&third, Some(saved(&third, 1, 10, parts)))
            .await
    );
    let fourth = dock.take(id).await;
    assert!(fourth.is_alone, "the third is done with its part");
    assert_eq!(fourth.tail, [part(5, 5, number)]);
}

/// The tail begins at the last part, or at the beginning.
pub async fn what_is_saved_replaces_what_begins_there_or_later(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let beside = dock.held("beside").await;
    assert!(
        dock.save(&beside, saved(&beside, 1, 9, vec![part(0, 9, 1)]))
            .await
    );
    let lease = dock.held("f").await;
    let id = &lease.record.id;
    let (one, two) = (
        dock.piece(&lease, 20, 3).await,
        dock.piece(&lease, 23, 2).await,
    );
    let mut first = vec![part(0, 10, 1), part(10, 10, 2), one.clone(), two.clone()];
    let mut keep = saved(&lease, 2, 25, first.clone());
    keep.hashes = Some(vec![0, 1, 255]);
    keep.write_id = Some("write/ü=".to_owned());
    assert!(dock.save(&lease, keep).await);
    assert_eq!(dock.stretches(id).await, first);
    let record = dock.record(id).await;
    assert_eq!(record.progress.offset(), 25);
    assert_eq!(record.hashes.as_deref(), Some(&[0, 1, 255][..]));
    assert_eq!(record.write_id.as_deref(), Some("write/ü="));

    // The last part grows over the first piece; the second stays, at the same place.
    let merged = vec![part(10, 13, 2), two.clone()];
    assert!(
        dock.save(&lease, saved(&lease, 2, 25, merged.clone()))
            .await
    );
    first.splice(1.., merged.clone());
    assert_eq!(dock.stretches(id).await, first);
    assert_eq!(dock.due().await, [version_of(&one)]);
    assert_eq!(dock.count(id, RowState::Pending).await, 2);
    let record = dock.record(id).await;
    assert!(record.hashes.is_none() && record.write_id.is_none());

    // Nothing new, and a length that was learned.
    let mut nothing = saved(&lease, 2, 25, Vec::new());
    nothing.progress = UploadProgress::restore(25, Some(30)).must();
    assert!(dock.release(&lease, Some(nothing)).await);
    assert_eq!(dock.stretches(id).await, first);
    assert_eq!(dock.record(id).await.progress.length(), Some(30));
    let next = dock.take(id).await;
    assert_eq!(next.tail, merged);
    let mut all = saved(&next, 0, 0, Vec::new());
    all.progress = UploadProgress::restore(0, Some(30)).must();
    assert!(dock.save(&next, all).await);
    assert!(dock.stretches(id).await.is_empty());
    assert_eq!(dock.due().await.len(), 2);
    assert_eq!(dock.stretches(&beside.record.id).await, [part(0, 9, 1)]);
}

/// In the store and bucket of the body, pending, and found again by whoever comes next.
pub async fn a_piece_has_a_row_of_its_own(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let lease = dock.held("f").await;
    let pieces = vec![
        dock.piece(&lease, 0, 3).await,
        dock.piece(&lease, 3, 4).await,
    ];
    for piece in &pieces {
        let StretchAt::Piece { version, location } = &piece.at else {
            panic!("a part");
        };
        let body = &lease.record.location;
        assert_eq!(
            (location.store, &location.bucket),
            (body.store, &body.bucket)
        );
        let row = dock.desk.ledger.at(location).await.must().must();
        assert_eq!((row.version, row.state), (*version, RowState::Pending));
    }
    assert!(
        dock.release(&lease, Some(saved(&lease, 0, 7, pieces.clone())))
            .await
    );
    let next = dock.take(&lease.record.id).await;
    assert_eq!(next.tail, pieces);
    assert!(next.is_alone);
    let again = lease.record.location.key.clone();
    let (id, generation) = (&next.record.id, next.record.generation);
    let piece = plain_piece(VersionId::random(), again);
    let taken = dock.uploads.begin_piece(id, generation, piece);
    let taken = taken.await;
    assert!(
        matches!(taken, Err(RepositoryError::Conflict(_))),
        "{taken:?}"
    );
}

/// As many as a store takes parts.
pub async fn ten_thousand_stretches_are_kept(fixture: &dyn Fixture) {
    let dock = Dock::open(fixture).await;
    let lease = dock.held("f").await;
    let id = &lease.record.id;
    let parts: Vec<Stretch> = (0..10_000_u32)
        .map(|n| part(u64::from(n) * 10, 10, n + 1))
        .collect();
    for thousand in parts.chunks(1000) {
        let last = thousand.last().must();
        let keep = saved(&lease, 10_000, last.start + 10, thousand.to_vec());
        assert!(dock.save(&lease, keep).await);
    }
    assert_eq!(dock.stretches(id).await, parts);
    let keep = saved(&lease, 10_000, 100_000, parts.clone());
    assert!(dock.release(&lease, Some(keep)).await, "all at once");
    assert_eq!(dock.take(id).await.tail, parts[9_999..]);
    assert_eq!(dock.stretches(id).await, parts);
}
