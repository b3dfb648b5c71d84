//! The ledger, the registry of stores and the tokens, in memory.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use cloakroom_domain::{
    Bucket, FileId, Location, StoreId, Timestamp, TokenHash, TokenId, VersionId,
};

use super::memory::{KeyRow, MemoryDatabase, State, VersionRow, micros};
use crate::ports::{
    Begun, CLAIM_LEASE, Doomed, IdempotencyClaim, KEY_LIFETIME, LedgerRow, NewToken, NewVersion,
    RepositoryError, Revocation, RevocationFeed, RowState, ServiceToken, StoreRecord,
    StoreRegistry, TokenRepository, VersionLedger,
};

pub(super) const ABANDONED: i64 = 10 * 60 * 1_000_000;

impl State {
    /// Claims the key for `version`; `Some` is the answer to a request that may not run.
    fn claim(&mut self, claim: &IdempotencyClaim, version: VersionId) -> Option<Begun> {
        let now = self.now();
        let key = (claim.principal.clone(), claim.key.clone());
        if let Some(row) = self.keys.get(&key) {
            let answer = row.answer.as_ref().filter(|_| row.expires_at > now);
            let is_running =
                row.answer.is_none() && row.locked_until > now && self.is_pending(&row.version);
            let same = row.fingerprint == claim.fingerprint;
            match answer {
                Some(file) if same => return Some(Begun::Replay(Box::new(file.clone()))),
                None if is_running && same => return Some(Begun::InProgress),
                Some(_) => return Some(Begun::Mismatch),
                None if is_running => return Some(Begun::Mismatch),
                None => {}
            }
            let loser = row.version;
            if self.is_pending(&loser) {
                self.doom(loser, ABANDONED);
            }
        }
        let row = KeyRow {
            fingerprint: claim.fingerprint.clone(),
            version,
            locked_until: now + micros(CLAIM_LEASE),
            expires_at: now + micros(KEY_LIFETIME),
            answer: None,
        };
        self.keys.insert(key, row);
        None
    }

    /// Refuses an address that another body has.
    pub(super) fn check_free(&self, location: &Location) -> Result<(), RepositoryError> {
        if self
            .versions
            .values()
            .any(|row| row.location.is_at(location))
        {
            return Err(RepositoryError::Conflict("the key is taken".into()));
        }
        Ok(())
    }

    /// Enters the pending row of a body, which is `upload`'s or stands on its own.
    pub(super) fn enter(
        &mut self,
        id: VersionId,
        file: FileId,
        upload: Option<FileId>,
        location: Location,
    ) {
        let row = VersionRow {
            file,
            upload,
            location,
            state: RowState::Pending,
            touched_at: self.now(),
            delete_after: 0,
            version: None,
        };
        self.versions.insert(id, row);
    }

    fn doomed(&self, wanted: impl Fn(&VersionId, &VersionRow) -> bool) -> Vec<Doomed> {
        self.versions
            .iter()
            .filter(|(id, row)| row.state == RowState::Deleting && wanted(id, row))
            .map(|(id, row)| Doomed {
                version: *id,
                location: row.location.clone(),
            })
            .collect()
    }

    fn row(&self, id: VersionId, row: &VersionRow) -> LedgerRow {
        let file = self.files.get(&row.file);
        LedgerRow {
            version: id,
            file: row.file.clone(),
            file_exists: file.is_some(),
            is_current: file.is_some_and(|file| file.current == id),
            state: row.state,
            location: row.location.clone(),
            stored_size: row.version.as_ref().map(|version| version.stored_size),
            sha256: row.version.as_ref().and_then(|version| version.sha256),
        }
    }
}

#[async_trait]
impl VersionLedger for MemoryDatabase {
    async fn begin(&self, new: NewVersion) -> Result<Begun, RepositoryError> {
        let mut state = self.state();
        let location = state.address(&new.account, new.key, new.seal)?;
        state.check_free(&location)?;
        if let Some(claim) = &new.claim
            && let Some(begun) = state.claim(claim, new.id)
        {
            return Ok(begun);
        }
        state.enter(new.id, new.file, None, location.clone());
        Ok(Begun::Pending(location))
    }

    async fn begin_copies(&self, copies: &[NewVersion]) -> Result<Vec<Location>, RepositoryError> {
        let mut state = self.state();
        let mut locations: Vec<Location> = Vec::with_capacity(copies.len());
        for new in copies.iter().cloned() {
            let location = state.address(&new.account, new.key, new.seal)?;
            state.check_free(&location)?;
            if locations.iter().any(|other| other.is_at(&location)) {
                return Err(RepositoryError::Conflict("the key is taken".into()));
            }
            locations.push(location);
        }
        for (new, location) in copies.iter().zip(&locations) {
            state.enter(new.id, new.file.clone(), None, location.clone());
        }
        Ok(locations)
    }

    async fn renew(&self, version: VersionId) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        for key in state.keys.values_mut() {
            if key.version == version && key.answer.is_none() {
                key.locked_until = now + micros(CLAIM_LEASE);
            }
        }
        if !state.is_pending(&version) {
            return Ok(false);
        }
        if let Some(row) = state.versions.get_mut(&version) {
            row.touched_at = now;
        }
        Ok(true)
    }

    async fn give_up(&self, version: VersionId, delay: Duration) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        state
            .keys
            .retain(|_, key| key.version != version || key.answer.is_some());
        let was_pending = state.is_pending(&version);
        if was_pending {
            state.doom(version, micros(delay));
        }
        Ok(was_pending)
    }

    async fn expire_pending(
        &self,
        age: Duration,
        delay: Duration,
        limit: u32,
    ) -> Result<u64, RepositoryError> {
        let mut state = self.state();
        let oldest = state.now() - micros(age);
        let mut stale: Vec<(i64, VersionId)> = state
            .versions
            .iter()
            .filter(|(_, row)| row.state == RowState::Pending && row.upload.is_none())
            .filter(|(_, row)| row.touched_at <= oldest)
            .map(|(id, row)| (row.touched_at, *id))
            .collect();
        stale.sort_unstable();
        stale.truncate(limit as usize);
        for (_, id) in &stale {
            state.doom(*id, micros(delay));
        }
        Ok(stale.len() as u64)
    }

    async fn due(&self, limit: u32) -> Result<Vec<Doomed>, RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        let mut due = state.doomed(|_, row| row.delete_after <= now);
        due.sort_by_key(|doomed| (state.versions[&doomed.version].delete_after, doomed.version));
        due.truncate(limit as usize);
        Ok(due)
    }

    async fn doomed(&self, versions: &[VersionId]) -> Result<Vec<Doomed>, RepositoryError> {
        Ok(self.state().doomed(|id, _| versions.contains(id)))
    }

    async fn forget(&self, versions: &[VersionId]) -> Result<(), RepositoryError> {
        self.state()
            .versions
            .retain(|id, row| row.state != RowState::Deleting || !versions.contains(id));
        Ok(())
    }

    async fn postpone(
        &self,
        versions: &[VersionId],
        delay: Duration,
    ) -> Result<(), RepositoryError> {
        let mut state = self.state();
        for doomed in state.doomed(|id, _| versions.contains(id)) {
            state.doom(doomed.version, micros(delay));
        }
        Ok(())
    }

    async fn expire_keys(&self, limit: u32) -> Result<u64, RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        let mut left = limit;
        state.keys.retain(|_, key| {
            let stale = key.expires_at <= now && (key.answer.is_some() || key.locked_until <= now);
            let goes = stale && left > 0;
            left -= u32::from(goes);
            !goes
        });
        Ok(u64::from(limit - left))
    }

    async fn scan(
        &self,
        after: Option<VersionId>,
        limit: u32,
    ) -> Result<Vec<LedgerRow>, RepositoryError> {
        let state = self.state();
        Ok(state
            .versions
            .iter()
            .filter(|(id, _)| after.is_none_or(|after| **id > after))
            .take(limit as usize)
            .map(|(id, row)| state.row(*id, row))
            .collect())
    }

    async fn at(&self, location: &Location) -> Result<Option<LedgerRow>, RepositoryError> {
        let state = self.state();
        Ok(state
            .versions
            .iter()
            .find(|(_, row)| row.location.is_at(location))
            .map(|(id, row)| state.row(*id, row)))
    }

    async fn buckets(&self) -> Result<Vec<(StoreId, Bucket)>, RepositoryError> {
        let state = self.state();
        let all: BTreeSet<(StoreId, Bucket)> = state
            .versions
            .values()
            .map(|row| (row.location.store, row.location.bucket.clone()))
            .collect();
        Ok(all.into_iter().collect())
    }

    async fn now(&self) -> Result<Timestamp, RepositoryError> {
        Ok(self.state().instant())
    }
}

#[async_trait]
impl StoreRegistry for MemoryDatabase {
    async fn seed(&self, record: StoreRecord) -> Result<Vec<StoreRecord>, RepositoryError> {
        let mut state = self.state();
        if state.stores.is_empty() {
            state.stores.push(StoreRecord {
                is_current: true,
                ..record
            });
        }
        Ok(state.stores.clone())
    }

    async fn all(&self) -> Result<Vec<StoreRecord>, RepositoryError> {
        Ok(self.state().stores.clone())
    }

    async fn reconfigure(
        &self,
        id: StoreId,
        expected: u64,
        config: &[u8],
    ) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let mut each = state.stores.iter_mut();
        let store = each.find(|store| store.id == id && store.revision == expected);
        Ok(store
            .map(|store| {
                store.config = Some(config.to_vec());
                store.revision += 1;
            })
            .is_some())
    }

    async fn ping(&self) -> Result<(), RepositoryError> {
        Ok(())
    }
}

/// There is nobody else to tell.
#[async_trait]
impl RevocationFeed for MemoryDatabase {
    async fn announce(&self, _: &Revocation) -> Result<(), RepositoryError> {
        Ok(())
    }
}

#[async_trait]
impl TokenRepository for MemoryDatabase {
    async fn create(&self, token: NewToken) -> Result<ServiceToken, RepositoryError> {
        let mut state = self.state();
        if state
            .tokens
            .iter()
            .any(|(hash, kept)| *hash == token.hash || kept.id == token.id)
        {
            return Err(RepositoryError::Conflict("the token exists".into()));
        }
        let kept = ServiceToken {
            id: token.id,
            name: token.name,
            kind: token.kind,
            account: token.account,
            user: token.user,
            created_at: state.instant(),
            revoked_at: None,
        };
        state.tokens.push((token.hash, kept.clone()));
        Ok(kept)
    }

    async fn by_hash(&self, hash: &TokenHash) -> Result<Option<ServiceToken>, RepositoryError> {
        let state = self.state();
        let found = state
            .tokens
            .iter()
            .find(|(kept, token)| kept == hash && token.revoked_at.is_none());
        Ok(found.map(|(_, token)| token.clone()))
    }

    async fn list(&self) -> Result<Vec<ServiceToken>, RepositoryError> {
        let state = self.state();
        Ok(state
            .tokens
            .iter()
            .rev()
            .map(|(_, token)| token.clone())
            .collect())
    }

    async fn revoke(&self, id: TokenId) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let now = state.instant();
        let token = state
            .tokens
            .iter_mut()
            .find(|(_, token)| token.id == id && token.revoked_at.is_none());
        Ok(token
            .map(|(_, token)| token.revoked_at = Some(now))
            .is_some())
    }
}
