//! Telling the request that holds an upload that a newer one wants it, within this process.
//!
//! Who holds and who asks is in the database; this is only the nudge. Replicas pass it on to each other, and where
//! one is lost the newer request takes the upload all the same, after a while.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cloakroom_domain::FileId;
use tokio_util::sync::CancellationToken;

use crate::ports::Lease;

/// The uploads that requests of this process hold. Its size is bounded by their number.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    holders: Mutex<HashMap<FileId, Vec<Holder>>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Holder {
    number: u64,
    turn: u64,
    asked: CancellationToken,
}

impl Inner {
    fn holders(&self) -> MutexGuard<'_, HashMap<FileId, Vec<Holder>>> {
        // Nothing inside can be left half done.
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns {
    /// Enters a holder, until what it gets is dropped.
    #[must_use]
    pub fn hold(&self, lease: &Lease) -> Holding {
        let id = lease.record.id.clone();
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let asked = CancellationToken::new();
        let holder = Holder {
            number,
            turn: lease.turn,
            asked: asked.clone(),
        };
        self.0.holders().entry(id.clone()).or_default().push(holder);
        Holding {
            turns: self.clone(),
            id,
            number,
            asked,
        }
    }

    /// Tells whoever holds the upload under an earlier turn to yield. Nobody does so here: nothing happens.
    ///
    /// A holder that came after the asking is left alone, however late word of it arrives.
    pub fn ask(&self, id: &FileId, turn: u64) {
        for holder in self.0.holders().get(id).into_iter().flatten() {
            if holder.turn < turn {
                holder.asked.cancel();
            }
        }
    }
}

/// A holder's place among the [`Turns`]; dropping it gives the place up.
#[derive(Debug)]
pub struct Holding {
    turns: Turns,
    id: FileId,
    number: u64,
    asked: CancellationToken,
}

impl Holding {
    /// Ready once a newer request wants the upload, and from then on.
    pub async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// Whether a newer request wants the upload.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.is_cancelled()
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut all = self.turns.0.holders();
        if let Some(holders) = all.get_mut(&self.id) {
            holders.retain(|holder| holder.number != self.number);
            if holders.is_empty() {
                all.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cloakroom_domain::{
        AccountId, Bucket, FileName, Location, Metadata, ObjectKey, Owner, StoreId, Timestamp,
        UploadKind, UploadProgress, UploadState, VersionId, Visibility,
    };
    use futures_util::FutureExt;

    use super::*;
    use crate::ports::{UploadRecord, UploadTarget};

    fn lease(id: &str, turn: u64) -> Lease {
        let target = UploadTarget {
            owner: Owner {
                account: AccountId::parse("1").unwrap(),
                user: None,
                token: None,
            },
            name: FileName::clean("f"),
            declared_type: None,
            visibility: Visibility::Private,
            metadata: Metadata::default(),
            digest: None,
            described: None,
        };
        let record = UploadRecord {
            id: FileId::parse(id).unwrap(),
            creator: String::new(),
            kind: UploadKind::Whole,
            state: UploadState::Open,
            progress: UploadProgress::begin(None, 1).unwrap(),
            target,
            version: VersionId::random(),
            location: Location::plain(
                StoreId::random(),
                Bucket::parse("files").unwrap(),
                ObjectKey::parse("key").unwrap(),
            ),
            write_id: None,
            next_number: 1,
            hashes: None,
            is_held: true,
            generation: turn,
            expires_at: Timestamp::from_micros(0),
            failure: None,
            used_by: None,
        };
        Lease {
            record,
            tail: Vec::new(),
            is_alone: true,
            turn,
        }
    }

    #[tokio::test]
    async fn whoever_holds_the_upload_hears_that_it_is_asked_for() {
        let turns = Turns::default();
        let (mine, other) = (lease("mine", 1), lease("other", 1));
        let (held, beside) = (turns.hold(&mine), turns.hold(&other));
        assert!(held.asked().now_or_never().is_none());
        let waiting = tokio::spawn({
            let (turns, id) = (turns.clone(), mine.record.id.clone());
            async move { turns.ask(&id, 2) }
        });
        held.asked().await;
        waiting.await.unwrap();
        // It stays so, for whoever looks late.
        held.asked().await;
        assert!(held.is_asked() && !beside.is_asked());
    }

    #[test]
    fn a_holder_that_came_after_the_asking_is_left_alone() {
        let turns = Turns::default();
        let (old, new) = (lease("f", 1), lease("f", 2));
        let (overtaken, holding) = (turns.hold(&old), turns.hold(&new));
        turns.ask(&new.record.id, 2);
        assert!(overtaken.is_asked() && !holding.is_asked());
        turns.ask(&new.record.id, 3);
        assert!(holding.is_asked());
    }

    #[test]
    fn what_is_held_no_more_takes_no_room() {
        let turns = Turns::default();
        let lease = lease("f", 1);
        let (first, second) = (turns.hold(&lease), turns.hold(&lease));
        drop(first);
        turns.ask(&lease.record.id, 2);
        assert!(second.is_asked());
        drop(second);
        assert!(turns.0.holders().is_empty());
        turns.ask(&lease.record.id, 3);
        assert!(turns.0.holders().is_empty());
    }
}
