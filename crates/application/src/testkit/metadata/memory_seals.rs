//! What is sealed under which key, in memory.

use std::collections::BTreeSet;

use async_trait::async_trait;
use cloakroom_domain::{KeyId, Location, Seal, VersionId};

use super::memory::{MemoryDatabase, State};
use crate::ports::{MOST_COUNTED, RepositoryError, Resealed, SealLedger, StretchAt};

impl State {
    fn seals(&self) -> impl Iterator<Item = (&VersionId, &Seal)> {
        let rows = self.versions.iter();
        rows.filter_map(|(id, row)| row.location.seal.as_ref().map(|seal| (id, seal)))
    }

    fn reseal(&mut self, change: &Resealed) -> bool {
        let (id, before) = (change.before.version, &change.before.wrapped_key);
        let current = self.versions.get(&id);
        let current = current.and_then(|row| row.location.seal.as_ref());
        if current.is_none_or(|seal| seal.wrapped_key != *before) {
            return false;
        }
        let change_at = |at: &mut Location| {
            if let Some(seal) = at.seal.as_mut().filter(|seal| seal.version == id) {
                seal.wrapped_key.clone_from(&change.wrapped_key);
            }
        };
        if let Some(row) = self.versions.get_mut(&id) {
            change_at(&mut row.location);
            if let Some(version) = &mut row.version {
                change_at(&mut version.location);
            }
        }
        for upload in self.uploads.values_mut() {
            change_at(&mut upload.record.location);
            for stretch in upload.stretches.values_mut() {
                if let StretchAt::Piece { location, .. } = &mut stretch.at {
                    change_at(location);
                }
            }
        }
        true
    }
}

#[async_trait]
impl SealLedger for MemoryDatabase {
    async fn keys_in_use(&self) -> Result<Vec<Option<KeyId>>, RepositoryError> {
        let state = self.state();
        let keys: BTreeSet<Option<KeyId>> = state.seals().map(|(_, seal)| seal.key_id()).collect();
        Ok(keys.into_iter().collect())
    }

    async fn count_under(&self, key: KeyId) -> Result<u64, RepositoryError> {
        let state = self.state();
        let under = state.seals().filter(|(_, seal)| seal.key_id() == Some(key));
        Ok(under.take(MOST_COUNTED as usize).count() as u64)
    }

    async fn sealed_under(
        &self,
        key: KeyId,
        after: Option<VersionId>,
        limit: u32,
    ) -> Result<Vec<Seal>, RepositoryError> {
        let state = self.state();
        let under = state
            .seals()
            .filter(|(id, seal)| seal.key_id() == Some(key) && after.is_none_or(|at| **id > at));
        Ok(under
            .map(|(_, seal)| seal.clone())
            .take(limit as usize)
            .collect())
    }

    async fn keep_resealed(&self, keys: &[Resealed]) -> Result<u64, RepositoryError> {
        let mut state = self.state();
        Ok(keys.iter().filter(|change| state.reseal(change)).count() as u64)
    }
}
