//! Runs in which an application tells which files it still refers to.

use async_trait::async_trait;
use cloakroom_application::ports::{
    Found, MAX_NAMED, MAX_RUNS, Named, NewRun, RUN_LIFETIME, ReconcileRepository, RepositoryError,
    Run,
};
use cloakroom_domain::{AccountId, FileId, ReconcileId, Timestamp};
use serde_json::json;

use super::{
    Database,
    changes::FILES_CHANNEL,
    error::broken,
    ledger::micros,
    rows::{into, signed},
    session::{Session, Statement, args},
    sql::{Sql, sql},
    unclaimed::ids,
};

/// So many files are looked at in a transaction, and so many transactions are made for a page.
const WINDOW: u32 = 5_000;
const WINDOWS: u32 = 4;

/// Rows of a run that has ended go this much later: whoever was writing some when it ended has done so by then.
const LINGER_MICROS: i64 = 60 * 1_000_000;

const BEGIN: Sql = sql! {
    "INSERT INTO reconciliations (reconcile_id, account_id, named, known, is_done, made_before, settled_until, \
     is_settled, expires_at) SELECT $1, $2, 0, 0, FALSE, ", NOW, " - $3, '', FALSE, ", NOW, " + $4 WHERE (SELECT \
     count(*) FROM reconciliations WHERE account_id = $2 AND expires_at > ", NOW, ") < $5 RETURNING ", RUN
};

const FIND: Sql = sql! {
    "SELECT ", RUN, " FROM reconciliations WHERE reconcile_id = $1 AND expires_at > ", NOW
};

const LOCK: Sql = sql! {
    "SELECT ", RUN, " FROM reconciliations WHERE reconcile_id = $1 AND expires_at > ", NOW, FOR_UPDATE
};

const KNOWN: Sql = sql! {
    "SELECT count(*) FROM files WHERE account_id = $2 AND file_id ", EACH
};

const NOT_NAMED: Sql = sql! {
    "SELECT count(*) FROM ", TEXTS, "WHERE NOT EXISTS (SELECT 1 FROM reconcile_named AS n WHERE n.reconcile_id = $2 \
     AND n.file_id = texts.value)"
};

const NAME: Sql = sql! {
    "INSERT INTO reconcile_named (reconcile_id, file_id) SELECT $2, texts.value FROM ", TEXTS, "WHERE TRUE ON \
     CONFLICT DO NOTHING"
};

const COUNT: Sql = sql! {
    "UPDATE reconciliations SET named = named + $2, known = known + $3 WHERE reconcile_id = $1 RETURNING ", RUN
};

const FINISH: Sql = sql! {
    "UPDATE reconciliations SET is_done = TRUE WHERE reconcile_id = $1 AND expires_at > ", NOW, " RETURNING ", RUN
};

pub(super) const WINDOW_END: Sql = sql! {
    "SELECT max(w.file_id), count(*) FROM (SELECT file_id FROM files WHERE account_id = $1 AND file_id > $2 ORDER \
     BY file_id LIMIT $3) AS w"
};

const SETTLE: Sql = sql! {
    "INSERT INTO reconcile_found (reconcile_id, file_id, is_trashed) SELECT $1, f.file_id, FALSE FROM files AS f \
     WHERE f.account_id = $2 AND f.file_id > $3 AND f.file_id <= $4 AND f.created_at < $5 AND f.deleted_at IS NULL \
     AND ", NOT_AN_OBJECT, " AND NOT EXISTS (SELECT 1 FROM reconcile_named AS n WHERE n.reconcile_id = $1 AND n.file_id = f.file_id)"
};

const SETTLED_UNTIL: Sql = sql! {
    "UPDATE reconciliations SET settled_until = $2 WHERE reconcile_id = $1"
};

const SETTLED: Sql = sql!("UPDATE reconciliations SET is_settled = TRUE WHERE reconcile_id = $1");

pub(super) const FOUND: Sql = sql! {
    "SELECT file_id FROM reconcile_found WHERE reconcile_id = $1 AND file_id > $2 ORDER BY file_id LIMIT $3"
};

const MARK: Sql = sql! {
    "UPDATE reconcile_found SET is_trashed = TRUE WHERE reconcile_id = $2 AND NOT is_trashed AND file_id ", EACH,
    " RETURNING file_id"
};

const TRASH: Sql = sql! {
    "UPDATE files SET deleted_at = ", NOW, ", revision = revision + 1, updated_at = ", NOW, " WHERE deleted_at IS \
     NULL AND file_id ", EACH, " RETURNING file_id"
};

const FORGET_NAMED: Sql = sql! {
    "WITH old AS MATERIALIZED (SELECT n.reconcile_id, n.file_id FROM reconciliations AS r JOIN reconcile_named AS n \
     ON n.reconcile_id = r.reconcile_id WHERE r.expires_at <= ", NOW, " - $1 LIMIT $2) DELETE FROM reconcile_named \
     WHERE (reconcile_id, file_id) IN (SELECT reconcile_id, file_id FROM old)"
};

const FORGET_FOUND: Sql = sql! {
    "WITH old AS MATERIALIZED (SELECT n.reconcile_id, n.file_id FROM reconciliations AS r JOIN reconcile_found AS n \
     ON n.reconcile_id = r.reconcile_id WHERE r.expires_at <= ", NOW, " - $1 LIMIT $2) DELETE FROM reconcile_found \
     WHERE (reconcile_id, file_id) IN (SELECT reconcile_id, file_id FROM old)"
};

const FORGET_RUNS: Sql = sql! {
    "DELETE FROM reconciliations WHERE expires_at <= ", NOW, " - $1 AND NOT EXISTS (SELECT 1 FROM reconcile_named AS \
     n WHERE n.reconcile_id = reconciliations.reconcile_id) AND NOT EXISTS (SELECT 1 FROM reconcile_found AS n WHERE \
     n.reconcile_id = reconciliations.reconcile_id)"
};

/// Columns of `reconciliations`; the piece `RUN` selects them.
#[derive(sqlx::FromRow)]
struct RunRow {
    reconcile_id: String,
    account_id: String,
    named: i64,
    known: i64,
    is_done: bool,
    made_before: i64,
    settled_until: String,
    is_settled: bool,
    expires_at: i64,
}

impl TryFrom<RunRow> for Run {
    type Error = RepositoryError;

    fn try_from(row: RunRow) -> Result<Self, RepositoryError> {
        Ok(Self {
            id: ReconcileId::parse(&row.reconcile_id)
                .map_err(|_| broken("a run's id cannot be read"))?,
            account: AccountId::parse(row.account_id)
                .map_err(|_| broken("an account cannot be read"))?,
            named: row.named.unsigned_abs(),
            knows_any: row.known > 0,
            is_done: row.is_done,
            made_before: Timestamp::from_micros(row.made_before),
            expires_at: Timestamp::from_micros(row.expires_at),
        })
    }
}

/// Ids as the pieces `EACH` and `TEXTS` take them.
fn texts(files: &[FileId]) -> String {
    let files: Vec<&str> = files.iter().map(FileId::as_str).collect();
    json!(files).to_string()
}

#[async_trait]
impl ReconcileRepository for Database {
    async fn begin(&self, new: NewRun) -> Result<Option<Run>, RepositoryError> {
        let args = args![
            new.id.to_string(),
            new.account.as_str(),
            micros(new.age),
            micros(RUN_LIFETIME),
            MAX_RUNS,
        ];
        let row: Option<RunRow> = self.writer().await?.optional(BEGIN, args).await?;
        row.map(into).transpose()
    }

    async fn run(&self, id: ReconcileId) -> Result<Option<Run>, RepositoryError> {
        let row = find(&mut self.reader().await?, id).await?;
        row.map(into).transpose()
    }

    async fn name(&self, id: ReconcileId, files: &[FileId]) -> Result<Named, RepositoryError> {
        let mut session = self.transaction().await?;
        match keep(&mut session, id, files).await {
            Ok(kept @ Named::Kept { .. }) => session.commit().await.map(|()| kept),
            refused => session.leave(refused).await,
        }
    }

    async fn finish(&self, id: ReconcileId) -> Result<Option<Run>, RepositoryError> {
        let mut session = self.writer().await?;
        let row: Option<RunRow> = session.optional(FINISH, args![id.to_string()]).await?;
        row.map(into).transpose()
    }

    async fn found(
        &self,
        id: ReconcileId,
        after: Option<&FileId>,
        limit: u32,
    ) -> Result<Option<Found>, RepositoryError> {
        let after = after.map_or("", FileId::as_str);
        for window in 0..=WINDOWS {
            let mut session = self.reader().await?;
            // Before the page: what is settled by then, the page has.
            let Some(run) = find(&mut session, id).await?.filter(|run| run.is_done) else {
                return Ok(None);
            };
            let args = args![id.to_string(), after, limit + 1];
            let rows: Vec<(String,)> = session.all(Statement::Fresh(FOUND), args).await?;
            drop(session);
            let is_full = rows.len() > limit as usize;
            if is_full || run.is_settled || window == WINDOWS {
                return page(rows, limit, after, &run).map(Some);
            }
            self.settle(id).await?;
        }
        Ok(None)
    }

    async fn trash(
        &self,
        id: ReconcileId,
        files: &[FileId],
    ) -> Result<Vec<FileId>, RepositoryError> {
        let mut session = self.transaction().await?;
        let args = args![texts(files), id.to_string()];
        let marked: Vec<(String,)> = session.all(MARK, args).await?;
        if marked.is_empty() {
            return session.leave(Ok(Vec::new())).await;
        }
        let marked = texts(&ids(marked)?);
        let trashed: Vec<(String,)> = session.all(TRASH, args![marked]).await?;
        let trashed = ids(trashed)?;
        session.notify_all(FILES_CHANNEL, &trashed).await?;
        session.commit().await?;
        Ok(trashed)
    }

    async fn forget(&self, limit: u32) -> Result<u64, RepositoryError> {
        let mut gone = 0;
        for forget in [FORGET_NAMED, FORGET_FOUND] {
            let args = args![LINGER_MICROS, limit];
            let mut session = self.writer().await?;
            gone += session.run(Statement::Fresh(forget), args).await?;
        }
        let mut session = self.writer().await?;
        gone += session.run(FORGET_RUNS, args![LINGER_MICROS]).await?;
        Ok(gone)
    }
}

impl Database {
    /// Settles the next window: which of its files nobody referred to.
    async fn settle(&self, id: ReconcileId) -> Result<(), RepositoryError> {
        let mut session = self.transaction().await?;
        let run: Option<RunRow> = session.optional(LOCK, args![id.to_string()]).await?;
        let Some(run) = run.filter(|run| run.is_done && !run.is_settled) else {
            return session.leave(Ok(())).await;
        };
        let (account, from) = (run.account_id.as_str(), run.settled_until.as_str());
        let window = args![account, from, WINDOW];
        let (end, looked_at): (Option<String>, i64) =
            session.one(Statement::Fresh(WINDOW_END), window).await?;
        if let Some(end) = end {
            let args = args![id.to_string(), account, from, end.as_str(), run.made_before,];
            session.run(Statement::Fresh(SETTLE), args).await?;
            session
                .run(SETTLED_UNTIL, args![id.to_string(), end])
                .await?;
        }
        if looked_at < i64::from(WINDOW) {
            session.run(SETTLED, args![id.to_string()]).await?;
        }
        session.commit().await
    }
}

async fn find(session: &mut Session, id: ReconcileId) -> Result<Option<RunRow>, RepositoryError> {
    session.optional(FIND, args![id.to_string()]).await
}

/// Keeps a page of ids, in a transaction that holds the run.
async fn keep(
    session: &mut Session,
    id: ReconcileId,
    files: &[FileId],
) -> Result<Named, RepositoryError> {
    let run: Option<RunRow> = session.optional(LOCK, args![id.to_string()]).await?;
    let Some(run) = run else {
        return Ok(Named::Gone);
    };
    let page = texts(files);
    let of_account = args![page.as_str(), run.account_id.as_str()];
    let (known,): (i64,) = session.one(KNOWN, of_account).await?;
    let unknown = (files.len() as u64).saturating_sub(known.unsigned_abs());
    if run.is_done {
        let args = args![page, id.to_string()];
        let (missing,): (i64,) = session.one(NOT_NAMED, args).await?;
        let run = into(run)?;
        return Ok(match missing {
            0 => Named::Kept { run, unknown },
            _ => Named::Done,
        });
    }
    let new = session.run(NAME, args![page, id.to_string()]).await?;
    if run.named.unsigned_abs() + new > MAX_NAMED {
        return Ok(Named::TooMany);
    }
    let args = args![id.to_string(), signed(new)?, known];
    let run: RunRow = session.one(COUNT, args).await?;
    Ok(Named::Kept {
        run: into(run)?,
        unknown,
    })
}

/// What was found behind `after`, and where to go on.
fn page(
    rows: Vec<(String,)>,
    limit: u32,
    after: &str,
    run: &RunRow,
) -> Result<Found, RepositoryError> {
    let is_full = rows.len() > limit as usize;
    let mut files = ids(rows)?;
    files.truncate(limit as usize);
    let last = files.last().map_or(after, FileId::as_str);
    let next = match (is_full, run.is_settled) {
        (true, _) => Some(last),
        (false, true) => None,
        (false, false) => Some(last.max(run.settled_until.as_str())),
    };
    let next = next.map(|id| FileId::parse(id).map_err(|_| broken("a file id cannot be read")));
    let next = next.transpose()?;
    Ok(Found { files, next })
}
