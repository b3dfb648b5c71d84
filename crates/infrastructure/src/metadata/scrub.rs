//! The rows of the scrub.

use std::time::Duration;

use async_trait::async_trait;
use cloakroom_application::ports::{
    Damage, RepositoryError, SCRUB_LEASE, ScrubFinding, ScrubLease, ScrubProgress, ScrubRepository,
    ScrubState, ScrubTurn, ScrubbedVersion,
};
use cloakroom_domain::{FileId, Location, Sha256Digest, Timestamp, VersionId};

use super::{
    Database,
    ledger::micros,
    rows::{Read, VersionRow, into, into_all, signed, store_id, unsigned, version_id},
    session::{Statement, args},
    sql::{Sql, sql},
};

const STATE: Sql = sql! {
    "SELECT round, is_under_way, held_until > ", NOW, " AS is_held, started_at, completed_at, position, objects, bytes, ",
    NOW, " AS asked_at FROM scrub"
};

/// Goes on with the round, or begins the next.
const TAKE: Sql = sql! {
    "UPDATE scrub SET generation = generation + 1, held_until = ", NOW, " + $1, round = CASE WHEN is_under_way THEN \
     round ELSE round + 1 END, started_at = CASE WHEN is_under_way THEN started_at ELSE ", NOW, " END, position = CASE \
     WHEN is_under_way THEN position ELSE '' END, objects = CASE WHEN is_under_way THEN objects ELSE 0 END, bytes = \
     CASE WHEN is_under_way THEN bytes ELSE 0 END, is_under_way = TRUE WHERE held_until <= ", NOW, " AND \
     (is_under_way OR started_at IS NULL OR started_at <= ", NOW, " - $2) RETURNING generation, round, position"
};

const KEEP: Sql = sql! {
    "UPDATE scrub SET position = COALESCE($2, position), objects = objects + $3, bytes = bytes + $4, held_until = ",
    NOW, " + $5 WHERE generation = $1 AND is_under_way"
};

const COMPLETE: Sql = sql! {
    "UPDATE scrub SET is_under_way = FALSE, completed_at = ", NOW, ", position = '', objects = objects + $2, bytes = \
     bytes + $3, held_until = 0 WHERE generation = $1 AND is_under_way"
};

/// Of versions that are stored no more.
const FORGET: Sql = sql! {
    "DELETE FROM scrub_findings WHERE NOT EXISTS (SELECT 1 FROM file_versions AS v WHERE v.version_id = \
     scrub_findings.version_id AND v.state = 'stored')"
};

/// What was found is looked up row by row: a join would walk through findings of no concern.
pub(super) const PAGE: Sql = sql! {
    "SELECT file_versions.file_id, (SELECT f.damage FROM scrub_findings AS f WHERE f.version_id = \
     file_versions.version_id) AS damage, ", VERSION, " FROM file_versions WHERE file_versions.state = 'stored' AND \
     file_versions.version_id > $1 ORDER BY file_versions.version_id LIMIT $2"
};

const STORED: Sql = sql! {
    "SELECT file_versions.file_id, (SELECT f.damage FROM scrub_findings AS f WHERE f.version_id = \
     file_versions.version_id) AS damage, ", VERSION, " FROM file_versions WHERE file_versions.state = 'stored' AND \
     file_versions.version_id = $1"
};

const FIND: Sql = sql! {
    "INSERT INTO scrub_findings (version_id, damage, since, seen_at) SELECT v.version_id, $5, ", NOW, ", ", NOW,
    " FROM file_versions AS v WHERE v.version_id = $1 AND v.state = 'stored' AND v.store_id = $2 AND v.bucket = $3 \
     AND v.key = $4 ON CONFLICT (version_id) DO UPDATE SET damage = excluded.damage, seen_at = excluded.seen_at, since \
     = CASE WHEN scrub_findings.damage = excluded.damage THEN scrub_findings.since ELSE excluded.since END"
};

const MEND: Sql = sql!("DELETE FROM scrub_findings WHERE version_id = $1");

const LEARN: Sql = sql! {
    "UPDATE file_versions SET tagged_by_id = tagged_by_id OR sha256 IS NULL, sha256 = COALESCE(sha256, $5), crc64 = \
     COALESCE(crc64, $6) WHERE version_id = $1 AND state = 'stored' AND store_id = $2 AND bucket = $3 AND key = $4 \
     AND (sha256 IS NULL OR crc64 IS NULL)"
};

pub(super) const FINDINGS: Sql = sql! {
    "SELECT v.file_id, f.version_id, v.number, v.store_id, f.damage, f.since, f.seen_at FROM scrub_findings AS f JOIN \
     file_versions AS v ON v.version_id = f.version_id WHERE v.state = 'stored' AND f.version_id > $1 AND v.version_id \
     > $1 ORDER BY f.version_id LIMIT $2"
};

const COUNTS: Sql = sql! {
    "SELECT f.damage, count(*) FROM scrub_findings AS f JOIN file_versions AS v ON v.version_id = f.version_id WHERE \
     v.state = 'stored' GROUP BY f.damage ORDER BY f.damage"
};

/// The row of `scrub`, and the clock.
#[derive(sqlx::FromRow)]
struct StateRow {
    round: i64,
    is_under_way: bool,
    is_held: bool,
    started_at: Option<i64>,
    completed_at: Option<i64>,
    position: String,
    objects: i64,
    bytes: i64,
    asked_at: i64,
}

impl TryFrom<StateRow> for ScrubState {
    type Error = RepositoryError;

    fn try_from(row: StateRow) -> Result<Self, RepositoryError> {
        Ok(Self {
            round: unsigned(row.round, "a round is negative")?,
            is_under_way: row.is_under_way,
            is_held: row.is_held,
            started_at: row.started_at.map(Timestamp::from_micros),
            completed_at: row.completed_at.map(Timestamp::from_micros),
            after: position(&row.position)?,
            objects: unsigned(row.objects, "a count is negative")?,
            bytes: unsigned(row.bytes, "a count is negative")?,
            now: Timestamp::from_micros(row.asked_at),
        })
    }
}

#[derive(sqlx::FromRow)]
struct StoredRow {
    file_id: String,
    damage: Option<String>,
    #[sqlx(flatten)]
    version: VersionRow,
}

impl TryFrom<StoredRow> for ScrubbedVersion {
    type Error = RepositoryError;

    fn try_from(row: StoredRow) -> Result<Self, RepositoryError> {
        Ok(Self {
            file: FileId::parse(row.file_id).or_broken("a file id cannot be read")?,
            version: into(row.version)?,
            found: row.damage.as_deref().map(damage).transpose()?,
        })
    }
}

#[derive(sqlx::FromRow)]
struct FindingRow {
    file_id: String,
    version_id: String,
    number: i64,
    store_id: String,
    damage: String,
    since: i64,
    seen_at: i64,
}

impl TryFrom<FindingRow> for ScrubFinding {
    type Error = RepositoryError;

    fn try_from(row: FindingRow) -> Result<Self, RepositoryError> {
        Ok(Self {
            file: FileId::parse(row.file_id).or_broken("a file id cannot be read")?,
            version: version_id(&row.version_id)?,
            number: unsigned(row.number, "a version's number is negative")?,
            store: store_id(&row.store_id)?,
            damage: damage(&row.damage)?,
            since: Timestamp::from_micros(row.since),
            seen_at: Timestamp::from_micros(row.seen_at),
        })
    }
}

fn damage(text: &str) -> Result<Damage, RepositoryError> {
    Damage::parse(text).or_broken("a finding cannot be read")
}

fn position(text: &str) -> Result<Option<VersionId>, RepositoryError> {
    let id = Some(text).filter(|text| !text.is_empty());
    id.map(version_id).transpose()
}

/// Where a page begins.
fn behind(after: Option<VersionId>) -> String {
    after.map(|id| id.to_string()).unwrap_or_default()
}

#[async_trait]
impl ScrubRepository for Database {
    async fn take(&self, interval: Duration) -> Result<ScrubTurn, RepositoryError> {
        let state = self.state().await?;
        if state.is_held {
            return Ok(ScrubTurn::Held);
        }
        if let Some(wait) = wait(&state, interval) {
            return Ok(ScrubTurn::NotDue(wait));
        }
        let args = args![micros(SCRUB_LEASE), micros(interval)];
        let taken: Option<(i64, i64, String)> = self.writer().await?.optional(TAKE, args).await?;
        let Some((generation, round, after)) = taken else {
            return Ok(ScrubTurn::Held);
        };
        Ok(ScrubTurn::Ours(ScrubLease {
            generation: unsigned(generation, "a generation is negative")?,
            round: unsigned(round, "a round is negative")?,
            after: position(&after)?,
        }))
    }

    async fn keep(&self, generation: u64, done: ScrubProgress) -> Result<bool, RepositoryError> {
        let args = args![
            signed(generation)?,
            done.after.map(|id| id.to_string()),
            signed(done.objects)?,
            signed(done.bytes)?,
            micros(SCRUB_LEASE),
        ];
        let kept = self.writer().await?.run(KEEP, args).await?;
        Ok(kept == 1)
    }

    async fn complete(
        &self,
        generation: u64,
        done: ScrubProgress,
    ) -> Result<bool, RepositoryError> {
        let mut session = self.transaction().await?;
        let args = args![
            signed(generation)?,
            signed(done.objects)?,
            signed(done.bytes)?,
        ];
        if session.run(COMPLETE, args).await? != 1 {
            return session.leave(Ok(false)).await;
        }
        session.run(FORGET, args![]).await?;
        session.commit().await?;
        Ok(true)
    }

    async fn state(&self) -> Result<ScrubState, RepositoryError> {
        let row: StateRow = self.reader().await?.one(STATE, args![]).await?;
        into(row)
    }

    async fn page(
        &self,
        after: Option<VersionId>,
        limit: u32,
    ) -> Result<Vec<ScrubbedVersion>, RepositoryError> {
        let args = args![behind(after), limit];
        let mut session = self.reader().await?;
        let rows: Vec<StoredRow> = session.all(Statement::Fresh(PAGE), args).await?;
        into_all(rows)
    }

    async fn stored(&self, version: VersionId) -> Result<Option<ScrubbedVersion>, RepositoryError> {
        let mut session = self.reader().await?;
        let row: Option<StoredRow> = session.optional(STORED, args![version.to_string()]).await?;
        row.map(into).transpose()
    }

    async fn find(
        &self,
        version: VersionId,
        at: &Location,
        damage: Damage,
    ) -> Result<bool, RepositoryError> {
        let args = args![
            version.to_string(),
            at.store.to_string(),
            at.bucket.as_str(),
            at.key.as_str(),
            damage.as_str(),
        ];
        let found = self.writer().await?.run(FIND, args).await?;
        Ok(found == 1)
    }

    async fn mend(&self, version: VersionId) -> Result<(), RepositoryError> {
        let mut session = self.writer().await?;
        session.run(MEND, args![version.to_string()]).await?;
        Ok(())
    }

    async fn learn(
        &self,
        version: VersionId,
        at: &Location,
        sha256: Sha256Digest,
        crc64: u64,
    ) -> Result<bool, RepositoryError> {
        let args = args![
            version.to_string(),
            at.store.to_string(),
            at.bucket.as_str(),
            at.key.as_str(),
            &sha256.bytes()[..],
            crc64.cast_signed(),
        ];
        let learned = self.writer().await?.run(LEARN, args).await?;
        Ok(learned == 1)
    }

    async fn findings(
        &self,
        after: Option<VersionId>,
        limit: u32,
    ) -> Result<Vec<ScrubFinding>, RepositoryError> {
        let args = args![behind(after), limit];
        let mut session = self.reader().await?;
        let rows: Vec<FindingRow> = session.all(Statement::Fresh(FINDINGS), args).await?;
        into_all(rows)
    }

    async fn counts(&self) -> Result<Vec<(Damage, u64)>, RepositoryError> {
        let mut session = self.reader().await?;
        let rows: Vec<(String, i64)> = session.all(COUNTS, args![]).await?;
        rows.into_iter()
            .map(|(kind, count)| Ok((damage(&kind)?, unsigned(count, "a count is negative")?)))
            .collect()
    }
}

/// How long it is until a round begins; `None`: one goes on, or it is time.
fn wait(state: &ScrubState, interval: Duration) -> Option<Duration> {
    let began = state.started_at.filter(|_| !state.is_under_way)?;
    let ago = state.now.micros().saturating_sub(began.micros());
    let left = micros(interval).saturating_sub(ago);
    (left > 0).then(|| Duration::from_micros(left.unsigned_abs()))
}
