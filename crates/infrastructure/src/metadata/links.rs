//! Signed links, and secrets that every replica shares.

use std::time::Duration;

use async_trait::async_trait;
use cloakroom_application::ports::{
    LINK_GRACE, LinkMark, LinkRepository, LinkState, MAX_LINKS, NewLink, RepositoryError,
    SecretRepository,
};
use cloakroom_domain::{Disposition, FileId, Link, LinkId, LinkUses, Timestamp};

use super::{
    Database,
    error::broken,
    ledger::micros,
    rows::{into, into_all, signed},
    session::{Statement, args},
    sql::{Sql, sql},
};

const CREATE: Sql = sql! {
    "INSERT INTO links (link_id, file_id, version, disposition, max_uses, uses, created_at, expires_at) SELECT $1, \
     $2, $3, $4, $5, 0, ", NOW, ", ", NOW, " + $6 WHERE (SELECT count(*) FROM links WHERE file_id = $2 AND \
     expires_at > ", NOW, ") < $7 RETURNING ", LINK
};

pub(super) const FIND: Sql = sql! {
    "SELECT ", LINK, ", CASE WHEN expires_at <= ", NOW, " THEN 'over' WHEN max_uses IS NULL OR uses < max_uses THEN \
     'good' WHEN last_used_at + $2 > ", NOW, " THEN 'used_up' ELSE 'over' END AS state FROM links WHERE link_id = $1"
};

const COUNT_USE: Sql = sql! {
    "UPDATE links SET uses = uses + 1, last_used_at = ", NOW, " WHERE link_id = $1 AND expires_at > ", NOW,
    " AND (max_uses IS NULL OR uses < max_uses)"
};

pub(super) const OF_FILE: Sql = sql! {
    "SELECT ", LINK, " FROM links WHERE file_id = $1 AND (created_at, link_id) < ($2, $3) ORDER BY created_at DESC, \
     link_id DESC LIMIT $4"
};

const GOOD_OF_FILE: Sql = sql! {
    "SELECT count(*) FROM links WHERE file_id = $1 AND expires_at > ", NOW,
    " AND (max_uses IS NULL OR uses < max_uses)"
};

const REVOKE: Sql = sql!("DELETE FROM links WHERE link_id = $1 AND file_id = $2");

pub(super) const FORGET: Sql = sql! {
    "WITH old AS MATERIALIZED (SELECT link_id FROM links WHERE expires_at <= ", NOW, " - $1 ORDER BY expires_at, \
     link_id LIMIT $2", SKIP_LOCKED, ") DELETE FROM links WHERE link_id IN (SELECT link_id FROM old)"
};

const ENTER_SECRET: Sql = sql! {
    "INSERT INTO secrets (name, value, created_at) VALUES ($1, $2, ", NOW, ") ON CONFLICT (name) DO NOTHING"
};

const SECRET: Sql = sql!("SELECT value FROM secrets WHERE name = $1");

/// Columns of `links`; the piece `LINK` selects them.
#[derive(sqlx::FromRow)]
struct LinkRow {
    link_id: String,
    file_id: String,
    version: Option<i64>,
    disposition: String,
    max_uses: Option<i64>,
    uses: i64,
    created_at: i64,
    expires_at: i64,
}

#[derive(sqlx::FromRow)]
struct FoundRow {
    #[sqlx(flatten)]
    link: LinkRow,
    state: String,
}

impl TryFrom<LinkRow> for Link {
    type Error = RepositoryError;

    fn try_from(row: LinkRow) -> Result<Self, RepositoryError> {
        let number =
            |number: i64| u64::try_from(number).map_err(|_| broken("a number is negative"));
        let uses = |limit: i64| {
            let uses = LinkUses::new(number(limit)?);
            uses.ok_or_else(|| broken("a number of uses cannot be read"))
        };
        Ok(Self {
            id: LinkId::parse(&row.link_id).map_err(|_| broken("a link's id cannot be read"))?,
            file: FileId::parse(row.file_id).map_err(|_| broken("a file id cannot be read"))?,
            version: row.version.map(number).transpose()?,
            disposition: Disposition::parse(&row.disposition)
                .ok_or_else(|| broken("a disposition cannot be read"))?,
            max_uses: row.max_uses.map(uses).transpose()?,
            uses: number(row.uses)?,
            created_at: Timestamp::from_micros(row.created_at),
            expires_at: Timestamp::from_micros(row.expires_at),
        })
    }
}

#[async_trait]
impl LinkRepository for Database {
    async fn create(&self, new: NewLink) -> Result<Option<Link>, RepositoryError> {
        let args = args![
            new.id.to_string(),
            new.file.as_str(),
            new.version.map(signed).transpose()?,
            new.disposition.as_str(),
            new.max_uses.map(|uses| i64::from(uses.get())),
            micros(new.lifetime),
            MAX_LINKS,
        ];
        let row: Option<LinkRow> = self.writer().await?.optional(CREATE, args).await?;
        row.map(into).transpose()
    }

    async fn find(&self, id: LinkId) -> Result<Option<(Link, LinkState)>, RepositoryError> {
        let args = args![id.to_string(), micros(LINK_GRACE)];
        let row: Option<FoundRow> = self.reader().await?.optional(FIND, args).await?;
        let Some(FoundRow { link, state }) = row else {
            return Ok(None);
        };
        let state = match state.as_str() {
            "good" => LinkState::Good,
            "used_up" => LinkState::UsedUp,
            _ => LinkState::Over,
        };
        Ok(Some((into(link)?, state)))
    }

    async fn count_use(&self, id: LinkId) -> Result<bool, RepositoryError> {
        let args = args![id.to_string()];
        Ok(self.writer().await?.run(COUNT_USE, args).await? == 1)
    }

    async fn of_file(
        &self,
        file: &FileId,
        after: Option<LinkMark>,
        limit: u32,
    ) -> Result<Vec<Link>, RepositoryError> {
        let (at, id) = after.map_or((i64::MAX, String::new()), |mark| {
            (mark.created_at.micros(), mark.id.to_string())
        });
        let args = args![file.as_str(), at, id, limit];
        let mut session = self.reader().await?;
        let rows: Vec<LinkRow> = session.all(Statement::Fresh(OF_FILE), args).await?;
        into_all(rows)
    }

    async fn good_of_file(&self, file: &FileId) -> Result<u64, RepositoryError> {
        let mut session = self.reader().await?;
        let (count,): (i64,) = session.one(GOOD_OF_FILE, args![file.as_str()]).await?;
        Ok(count.unsigned_abs())
    }

    async fn revoke(&self, file: &FileId, id: LinkId) -> Result<bool, RepositoryError> {
        let args = args![id.to_string(), file.as_str()];
        Ok(self.writer().await?.run(REVOKE, args).await? == 1)
    }

    async fn forget(&self, age: Duration, limit: u32) -> Result<u64, RepositoryError> {
        let mut session = self.writer().await?;
        session
            .run(Statement::Fresh(FORGET), args![micros(age), limit])
            .await
    }
}

#[async_trait]
impl SecretRepository for Database {
    async fn secret(&self, name: &str, candidate: &[u8]) -> Result<Vec<u8>, RepositoryError> {
        let mut session = self.writer().await?;
        session.run(ENTER_SECRET, args![name, candidate]).await?;
        let (value,): (Vec<u8>,) = session.one(SECRET, args![name]).await?;
        Ok(value)
    }
}
