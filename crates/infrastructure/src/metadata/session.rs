//! One operation's use of a connection: statements under a deadline, in a transaction or on their own.

use std::time::Duration;

use cloakroom_application::ports::RepositoryError;
use cloakroom_domain::FileId;
use serde_json::json;
use sqlx::{
    Arguments, AssertSqlSafe, Database, Encode, Executor, FromRow, Postgres, SqlSafeStr, SqlStr,
    Sqlite, Type, postgres::PgRow, sqlite::SqliteRow,
};
use tokio::time::{Instant, timeout_at};

use super::{
    error::{Cut, Stake, broken},
    pool::Lease,
    sql::{Sql, sql},
};

/// The longest that one operation takes. Waiting for a connection is included, unless the queue for one moves.
pub(super) const OPERATION_TIMEOUT: Duration = Duration::from_secs(4);

/// A row of either database.
pub(super) trait Record:
    for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin
{
}

impl<T> Record for T where
    T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin
{
}

/// A value to bind, typed also where it is NULL.
#[derive(Debug, Clone)]
pub(super) enum Arg {
    Text(Option<String>),
    Int(Option<i64>),
    Bytes(Option<Vec<u8>>),
}

macro_rules! arg_from {
    ($($from:ty => |$value:ident| $arg:expr;)+) => {
        $(impl From<$from> for Arg {
            fn from($value: $from) -> Self {
                $arg
            }
        })+
    };
}

arg_from! {
    &str => |value| Self::Text(Some(value.to_owned()));
    String => |value| Self::Text(Some(value));
    Option<&str> => |value| Self::Text(value.map(str::to_owned));
    Option<String> => |value| Self::Text(value);
    i64 => |value| Self::Int(Some(value));
    u32 => |value| Self::Int(Some(i64::from(value)));
    Option<i64> => |value| Self::Int(value);
    &[u8] => |value| Self::Bytes(Some(value.to_vec()));
    Option<&[u8]> => |value| Self::Bytes(value.map(<[u8]>::to_vec));
}

/// The values of a statement, in order.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::metadata::session::Arg::from($value)),*] };
}
pub(super) use args;

/// A statement, by how its plan is made.
pub(super) enum Statement {
    /// Prepared once per connection: a look-up whose plan does not depend on the values.
    Fixed(Sql),
    /// Planned for its very values each time: a page, whose limit the planner must know.
    Fresh(Sql),
    /// As `Fresh`, put together for a filter of fixed pieces; every value is bound.
    Composed(String),
}

impl From<Sql> for Statement {
    fn from(sql: Sql) -> Self {
        Self::Fixed(sql)
    }
}

impl Statement {
    const fn is_kept(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    fn text(self, dialect: fn(Sql) -> &'static str) -> SqlStr {
        match self {
            Self::Fixed(sql) | Self::Fresh(sql) => dialect(sql).into_sql_str(),
            Self::Composed(text) => AssertSqlSafe(text).into_sql_str(),
        }
    }
}

pub(super) enum Link {
    Postgres(Lease<Postgres>),
    Sqlite(Lease<Sqlite>),
}

/// The same for whichever database the link is to.
macro_rules! on {
    ($link:expr, |$lease:ident, $text:ident| $body:expr) => {
        match $link {
            Link::Postgres($lease) => {
                let $text: fn(Sql) -> &'static str = |sql| sql.postgres;
                $body
            }
            Link::Sqlite($lease) => {
                let $text: fn(Sql) -> &'static str = |sql| sql.sqlite;
                $body
            }
        }
    };
}

/// A connection with a deadline for all that is done with it.
pub(super) struct Session {
    link: Link,
    deadline: Instant,
    in_transaction: bool,
    stake: Stake,
}

impl Session {
    /// Statements on their own. `stake` says whether they change anything.
    pub(super) const fn new(link: Link, deadline: Instant, stake: Stake) -> Self {
        Self {
            link,
            deadline,
            in_transaction: false,
            stake,
        }
    }

    /// Starts a transaction; on SQLite one that holds the writer's lock from the start.
    pub(super) async fn begin(&mut self) -> Result<(), RepositoryError> {
        self.stake = Stake::Nothing;
        self.in_transaction = true;
        self.control(Sql {
            postgres: "BEGIN ISOLATION LEVEL READ COMMITTED",
            sqlite: "BEGIN IMMEDIATE",
        })
        .await
    }

    /// Makes the transaction's changes durable. Not to hear of it is an unknown outcome.
    pub(super) async fn commit(mut self) -> Result<(), RepositoryError> {
        self.stake = Stake::Change;
        self.end("COMMIT").await
    }

    /// Undoes the transaction and answers `value`. A failure to undo closes the connection, which undoes it too.
    pub(super) async fn leave<T>(mut self, value: T) -> T {
        if let Err(error) = self.end("ROLLBACK").await {
            tracing::debug!(%error, "a transaction was not rolled back; its connection is closed");
        }
        value
    }

    /// Runs a word that ends the transaction. If it fails, the connection is still in one and does not go back.
    async fn end(&mut self, word: &'static str) -> Result<(), RepositoryError> {
        self.control(Sql {
            postgres: word,
            sqlite: word,
        })
        .await?;
        self.in_transaction = false;
        on!(&mut self.link, |lease, _text| lease.settle());
        Ok(())
    }

    /// Runs a statement without values, unprepared.
    async fn control(&mut self, sql: Sql) -> Result<(), RepositoryError> {
        let answer = on!(&mut self.link, |lease, text| match lease.take() {
            Ok(connection) => {
                let done = connection.execute(text(sql));
                in_time(self.deadline, async { done.await.map(drop) }).await
            }
            Err(cut) => Err(cut),
        });
        self.settle(answer)
    }

    /// Every row.
    pub(super) async fn all<T: Record>(
        &mut self,
        statement: impl Into<Statement>,
        args: Vec<Arg>,
    ) -> Result<Vec<T>, RepositoryError> {
        let statement = statement.into();
        let kept = statement.is_kept();
        let answer = on!(&mut self.link, |lease, text| match ready(lease, args) {
            Ok((connection, arguments)) => {
                let query = sqlx::query_as_with(statement.text(text), arguments).persistent(kept);
                in_time(self.deadline, query.fetch_all(connection)).await
            }
            Err(cut) => Err(cut),
        });
        self.settle(answer)
    }

    /// The row, if there is one.
    pub(super) async fn optional<T: Record>(
        &mut self,
        statement: impl Into<Statement>,
        args: Vec<Arg>,
    ) -> Result<Option<T>, RepositoryError> {
        Ok(self.all(statement, args).await?.into_iter().next())
    }

    /// The row that must be there.
    pub(super) async fn one<T: Record>(
        &mut self,
        statement: impl Into<Statement>,
        args: Vec<Arg>,
    ) -> Result<T, RepositoryError> {
        let row = self.optional(statement, args).await?;
        row.ok_or_else(|| broken("a row is missing"))
    }

    /// Runs a change and counts the rows it touched.
    pub(super) async fn run(
        &mut self,
        statement: impl Into<Statement>,
        args: Vec<Arg>,
    ) -> Result<u64, RepositoryError> {
        let statement = statement.into();
        let kept = statement.is_kept();
        let answer = on!(&mut self.link, |lease, text| match ready(lease, args) {
            Ok((connection, arguments)) => {
                let query = sqlx::query_with(statement.text(text), arguments).persistent(kept);
                let done = query.execute(connection);
                in_time(self.deadline, async {
                    done.await.map(|done| done.rows_affected())
                })
                .await
            }
            Err(cut) => Err(cut),
        });
        self.settle(answer)
    }

    /// Tells the other replicas, when the transaction commits. A SQLite file has none.
    pub(super) async fn notify(
        &mut self,
        channel: &'static str,
        payload: &str,
    ) -> Result<(), RepositoryError> {
        if matches!(self.link, Link::Postgres(_)) {
            self.run(sql!("SELECT pg_notify($1, $2)"), args![channel, payload])
                .await?;
        }
        Ok(())
    }

    /// As [`Self::notify`], once for each of these files.
    pub(super) async fn notify_all(
        &mut self,
        channel: &'static str,
        files: &[FileId],
    ) -> Result<(), RepositoryError> {
        if matches!(self.link, Link::Postgres(_)) {
            let files: Vec<&str> = files.iter().map(FileId::as_str).collect();
            let args = args![json!(files).to_string(), channel];
            let tell = sql!("SELECT count(pg_notify($2, texts.value)) FROM ", TEXTS);
            self.run(tell, args).await?;
        }
        Ok(())
    }

    fn settle<T>(&mut self, answer: Result<T, Cut>) -> Result<T, RepositoryError> {
        let broke = answer.as_ref().is_err_and(Cut::breaks_connection);
        let idle = !self.in_transaction;
        on!(&mut self.link, |lease, _text| if broke {
            lease.condemn();
        } else if idle {
            lease.settle();
        });
        answer.map_err(|cut| cut.into_repository(self.stake))
    }
}

async fn in_time<T>(
    deadline: Instant,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Cut> {
    match timeout_at(deadline, answer).await {
        Ok(answer) => answer.map_err(Cut::Driver),
        Err(_) => Err(Cut::TimedOut),
    }
}

/// The connection, and the values as its database takes them.
fn ready<DB: Database>(
    lease: &mut Lease<DB>,
    args: Vec<Arg>,
) -> Result<(&mut DB::Connection, DB::Arguments), Cut>
where
    Option<String>: Encode<'static, DB> + Type<DB>,
    Option<i64>: Encode<'static, DB> + Type<DB>,
    Option<Vec<u8>>: Encode<'static, DB> + Type<DB>,
{
    let mut arguments = DB::Arguments::default();
    for arg in args {
        match arg {
            Arg::Text(value) => arguments.add(value),
            Arg::Int(value) => arguments.add(value),
            Arg::Bytes(value) => arguments.add(value),
        }
        .map_err(|error| Cut::Driver(sqlx::Error::Encode(error)))?;
    }
    Ok((lease.take()?, arguments))
}
