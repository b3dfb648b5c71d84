//! The table of the FastAPI service that this one replaces, read and never written.

use std::{str::FromStr, time::Duration};

use async_trait::async_trait;
use cloakroom_application::ports::{ForeignFiles, ForeignRow, RepositoryError};
use sqlx::{
    AssertSqlSafe, ConnectOptions, PgConnection,
    postgres::{PgConnectOptions, PgRow},
};
use tokio::time::timeout;

use super::{
    OpenError,
    error::{Cut, Stake},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A page is a look-up in an index; counting reads the whole of it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the table is: the first on the search path called `files` that has its columns. Ours, which may be in the
/// same database, has others.
const FIND: &str = "SELECT quote_ident(n.nspname) || '.files' FROM pg_catalog.pg_class AS c \
     INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
     WHERE c.relname = 'files' AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
     AND n.nspname = ANY (current_schemas(false)) AND 7 = (SELECT count(*) FROM pg_catalog.pg_attribute AS a \
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname IN \
     ('file_id', 'size', 'content_type', 'filename', 'user_id', 'account_id', 'created_at')) \
     ORDER BY array_position(current_schemas(false), n.nspname) LIMIT 1";

/// The columns of [`Row`]. No text is longer than what could be of use.
const COLUMNS: &str = "file_id::text AS id, size::bigint AS size, left(content_type::text, 512) AS content_type, \
     left(filename::text, 4096) AS name, user_id::text AS user_id, account_id::text AS account_id, \
     CASE WHEN isfinite(created_at) THEN (extract(epoch FROM created_at) * 1000000)::bigint END AS created_at";

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    size: Option<i64>,
    content_type: Option<String>,
    name: Option<String>,
    user_id: Option<String>,
    account_id: Option<String>,
    created_at: Option<i64>,
}

/// The FastAPI service's `files` in PostgreSQL.
pub struct PneumaticFiles {
    options: PgConnectOptions,
    open: Option<Open>,
}

/// A connection, and the table's name as SQL has it.
struct Open {
    connection: PgConnection,
    table: String,
}

impl PneumaticFiles {
    /// The table in the database at a `postgres://` address, connected to when first asked.
    ///
    /// # Errors
    /// The address cannot be read.
    pub fn at(url: &str) -> Result<Self, OpenError> {
        let is_postgres = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme));
        if !is_postgres {
            return Err(OpenError::Address);
        }
        let options = PgConnectOptions::from_str(url).map_err(|_| OpenError::Address)?;
        let options = options
            .application_name("cloakroom import")
            .disable_statement_logging()
            .options([
                ("default_transaction_read_only", "on"),
                ("statement_timeout", "55000"),
                ("lock_timeout", "10000"),
            ]);
        Ok(Self {
            options,
            open: None,
        })
    }

    /// Asks for every row of a statement about the table. A connection that failed is not used again.
    async fn ask<T>(
        &mut self,
        statement: impl FnOnce(&str) -> String,
        after: Option<&str>,
    ) -> Result<Vec<T>, RepositoryError>
    where
        T: for<'r> sqlx::FromRow<'r, PgRow> + Send + Unpin,
    {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => within(CONNECT_TIMEOUT, self.options.connect())
                .await
                .map(Open::new)?,
        };
        if open.table.is_empty() {
            let found = sqlx::query_scalar(FIND).fetch_optional(&mut open.connection);
            let found: Option<String> = within(ANSWER_TIMEOUT, found).await?;
            open.table = found.ok_or_else(|| {
                let why = "there is no table `files` of the FastAPI service in that database";
                RepositoryError::Failed(why.into())
            })?;
        }
        // Planned for its values each time: the first page has none.
        let sql = AssertSqlSafe(statement(&open.table));
        let query = sqlx::query_as(sql).bind(after).persistent(false);
        let rows = within(ANSWER_TIMEOUT, query.fetch_all(&mut open.connection)).await?;
        self.open = Some(open);
        Ok(rows)
    }
}

impl Open {
    const fn new(connection: PgConnection) -> Self {
        Self {
            connection,
            table: String::new(),
        }
    }
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, RepositoryError> {
    let answer = match timeout(limit, answer).await {
        Ok(answer) => answer.map_err(Cut::Driver),
        Err(_) => Err(Cut::TimedOut),
    };
    answer.map_err(|cut| cut.into_repository(Stake::Nothing))
}

#[async_trait]
impl ForeignFiles for PneumaticFiles {
    async fn count(&mut self) -> Result<u64, RepositoryError> {
        let count = |table: &str| format!("SELECT count(*) FROM {table} WHERE $1::text IS NULL");
        let counted: Vec<(i64,)> = self.ask(count, None).await?;
        let count = counted.first().map_or(0, |(count,)| *count);
        Ok(count.unsigned_abs())
    }

    async fn page(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ForeignRow>, RepositoryError> {
        let page = |table: &str| {
            format!(
                "SELECT {COLUMNS} FROM {table} WHERE $1::text IS NULL OR file_id > $1 ORDER BY file_id LIMIT {limit}"
            )
        };
        let rows: Vec<Row> = self.ask(page, after).await?;
        let row = |row: Row| ForeignRow {
            id: row.id,
            size: row.size,
            content_type: row.content_type,
            name: row.name,
            user: row.user_id,
            account: row.account_id,
            created_at: row.created_at,
        };
        Ok(rows.into_iter().map(row).collect())
    }
}
