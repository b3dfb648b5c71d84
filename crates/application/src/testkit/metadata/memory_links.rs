//! Links and secrets, in memory.

use std::{cmp::Reverse, time::Duration};

use async_trait::async_trait;
use cloakroom_domain::{FileId, Link, LinkId, Timestamp};

use super::memory::{LinkRow, MemoryDatabase, micros};
use crate::ports::{
    LINK_GRACE, LinkMark, LinkRepository, LinkState, MAX_LINKS, NewLink, RepositoryError,
    SecretRepository,
};

impl LinkRow {
    fn has_expired(&self, now: i64) -> bool {
        self.link.expires_at.micros() <= now
    }

    fn has_uses(&self) -> bool {
        let limit = self.link.max_uses;
        limit.is_none_or(|limit| self.link.uses < u64::from(limit.get()))
    }

    fn state(&self, now: i64) -> LinkState {
        let lingers = |at: i64| at + micros(LINK_GRACE) > now;
        match (self.has_expired(now), self.has_uses()) {
            (true, _) => LinkState::Over,
            (false, true) => LinkState::Good,
            (false, false) if self.last_used_at.is_some_and(lingers) => LinkState::UsedUp,
            (false, false) => LinkState::Over,
        }
    }
}

#[async_trait]
impl LinkRepository for MemoryDatabase {
    async fn create(&self, new: NewLink) -> Result<Option<Link>, RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        let alive = state
            .links
            .values()
            .filter(|row| row.link.file == new.file && !row.has_expired(now));
        if alive.count() >= MAX_LINKS as usize {
            return Ok(None);
        }
        let link = Link {
            id: new.id,
            file: new.file,
            version: new.version,
            disposition: new.disposition,
            max_uses: new.max_uses,
            uses: 0,
            created_at: Timestamp::from_micros(now),
            expires_at: Timestamp::from_micros(now + micros(new.lifetime)),
        };
        let row = LinkRow {
            link: link.clone(),
            last_used_at: None,
        };
        state.links.insert(new.id, row);
        Ok(Some(link))
    }

    async fn find(&self, id: LinkId) -> Result<Option<(Link, LinkState)>, RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        let row = state.links.get(&id);
        Ok(row.map(|row| (row.link.clone(), row.state(now))))
    }

    async fn count_use(&self, id: LinkId) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        let row = state.links.get_mut(&id);
        let Some(row) = row.filter(|row| row.state(now) == LinkState::Good) else {
            return Ok(false);
        };
        row.link.uses += 1;
        row.last_used_at = Some(now);
        Ok(true)
    }

    async fn of_file(
        &self,
        file: &FileId,
        after: Option<LinkMark>,
        limit: u32,
    ) -> Result<Vec<Link>, RepositoryError> {
        let state = self.state();
        let place = |link: &Link| (link.created_at, link.id);
        let mut found: Vec<Link> = state
            .links
            .values()
            .map(|row| row.link.clone())
            .filter(|link| link.file == *file)
            .filter(|link| after.is_none_or(|mark| place(link) < (mark.created_at, mark.id)))
            .collect();
        found.sort_by_key(|link| Reverse(place(link)));
        found.truncate(limit as usize);
        Ok(found)
    }

    async fn good_of_file(&self, file: &FileId) -> Result<u64, RepositoryError> {
        let mut state = self.state();
        let now = state.now();
        let of_file = state.links.values().filter(|row| row.link.file == *file);
        let good = of_file.filter(|row| row.state(now) == LinkState::Good);
        Ok(good.count() as u64)
    }

    async fn revoke(&self, file: &FileId, id: LinkId) -> Result<bool, RepositoryError> {
        let mut state = self.state();
        let is_its = state
            .links
            .get(&id)
            .is_some_and(|row| row.link.file == *file);
        if is_its {
            state.links.remove(&id);
        }
        Ok(is_its)
    }

    async fn forget(&self, age: Duration, limit: u32) -> Result<u64, RepositoryError> {
        let mut state = self.state();
        let oldest = state.now() - micros(age);
        let old = state.links.values().filter(|row| row.has_expired(oldest));
        let old: Vec<LinkId> = old.map(|row| row.link.id).take(limit as usize).collect();
        for id in &old {
            state.links.remove(id);
        }
        Ok(old.len() as u64)
    }
}

#[async_trait]
impl SecretRepository for MemoryDatabase {
    async fn secret(&self, name: &str, candidate: &[u8]) -> Result<Vec<u8>, RepositoryError> {
        let mut state = self.state();
        let secret = state.secrets.entry(name.to_owned());
        Ok(secret.or_insert_with(|| candidate.to_vec()).clone())
    }
}
