//! What a failure of a driver means to the caller.

use cloakroom_application::ports::RepositoryError;
use sqlx::error::DatabaseError;

/// Why a statement has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    #[error("the database did not answer in time")]
    TimedOut,
    #[error("the database connections are closed")]
    Closed,
    #[error(transparent)]
    Driver(sqlx::Error),
}

/// What a lost answer leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stake {
    /// Nothing: a read, or a statement of a transaction that is not committed.
    Nothing,
    /// Whether the change happened: a COMMIT, or a statement that is a transaction of its own.
    Change,
}

/// The kinds of failure that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The answer was lost, or the connection never was.
    Lost,
    /// The server says that it cannot now, and did not.
    Busy,
    Conflict,
    Other,
}

impl Cut {
    /// Whether the connection is of no more use.
    pub(super) fn breaks_connection(&self) -> bool {
        match self {
            Self::TimedOut | Self::Closed => true,
            Self::Driver(error) => kind(error) == Kind::Lost,
        }
    }

    pub(super) fn into_repository(self, stake: Stake) -> RepositoryError {
        let kind = match &self {
            Self::TimedOut => Kind::Lost,
            Self::Closed => Kind::Busy,
            Self::Driver(error) => kind(error),
        };
        match kind {
            Kind::Lost if stake == Stake::Change => RepositoryError::OutcomeUnknown(self.into()),
            Kind::Lost | Kind::Busy => RepositoryError::Unavailable(self.into()),
            Kind::Conflict => RepositoryError::Conflict(self.into()),
            Kind::Other => RepositoryError::Failed(self.into()),
        }
    }
}

fn kind(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::Database(error) => kind_of_code(error.as_ref()),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Kind::Lost,
        _ => Kind::Other,
    }
}

/// SQLSTATEs have five characters; the codes of SQLite are numbers of at most four digits.
fn kind_of_code(error: &dyn DatabaseError) -> Kind {
    let Some(code) = error.code() else {
        return Kind::Other;
    };
    if code.len() == 5 {
        of_sqlstate(&code)
    } else {
        of_sqlite(code.parse().unwrap_or_default())
    }
}

fn of_sqlstate(code: &str) -> Kind {
    match (&code[..2], code) {
        // Connection exceptions, shutting down or starting, and "the outcome is unknown" in so many words.
        ("08", _) | (_, "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "40003") => Kind::Lost,
        // Out of resources, cancelled by a time-out, no lock in time, read-only while failing over.
        ("53" | "58", _) | (_, "57014" | "55P03" | "25006") => Kind::Busy,
        ("23" | "40", _) => Kind::Conflict,
        _ => Kind::Other,
    }
}

/// By the primary result code, the low byte.
const fn of_sqlite(code: u32) -> Kind {
    match code & 0xff {
        // BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, FULL, CANTOPEN.
        5 | 6 | 7 | 8 | 9 | 13 | 14 => Kind::Busy,
        // IOERR: whether a commit reached the disk cannot be told.
        10 => Kind::Lost,
        // CONSTRAINT.
        19 => Kind::Conflict,
        _ => Kind::Other,
    }
}

/// A row or a value that cannot be what it is.
pub(super) fn broken(what: &'static str) -> RepositoryError {
    RepositoryError::Failed(what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_answer_is_an_unknown_outcome_only_where_a_change_is_at_stake() {
        let lost = |stake| Cut::TimedOut.into_repository(stake);
        assert!(matches!(
            lost(Stake::Change),
            RepositoryError::OutcomeUnknown(_)
        ));
        assert!(matches!(
            lost(Stake::Nothing),
            RepositoryError::Unavailable(_)
        ));
    }

    #[test]
    fn codes_of_both_databases_are_told_apart() {
        assert_eq!(of_sqlstate("23505"), Kind::Conflict);
        assert_eq!(of_sqlstate("40P01"), Kind::Conflict);
        assert_eq!(of_sqlstate("57P01"), Kind::Lost);
        assert_eq!(of_sqlstate("57014"), Kind::Busy);
        assert_eq!(of_sqlstate("42P01"), Kind::Other);
        assert_eq!(of_sqlite(2067), Kind::Conflict);
        assert_eq!(of_sqlite(517), Kind::Busy);
        assert_eq!(of_sqlite(778), Kind::Lost);
        assert_eq!(of_sqlite(1), Kind::Other);
    }
}
