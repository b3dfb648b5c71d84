//! Asking the application beside us who may do what, and telling the other replicas what it took back.

use std::time::Duration;

use async_trait::async_trait;
use cloakroom_domain::{AccountId, Action, FileId, UserId};

use super::{Credential, RepositoryError, Source};

/// What is asked: may the caller do this to that file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Check {
    /// The file.
    pub file: FileId,
    /// What the caller wants.
    pub action: Action,
}

/// How long an answer may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The backend did not say.
    Usual,
    /// For so long; zero is not at all.
    For(Duration),
}

/// The backend's answer to one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// Yes or no.
    pub allow: bool,
    /// For how long.
    pub keep: Keep,
    /// Why, for operators; a few hundred bytes at most.
    pub reason: Option<String>,
}

/// Why there is no answer. It is never a yes, and it is not a no.
#[derive(Debug, thiserror::Error)]
pub enum PermissionError {
    /// The backend cannot be reached, or answered what is no answer.
    #[error("the permission backend failed")]
    Failed(#[source] Source),
    /// The backend did not answer in time.
    #[error("the permission backend did not answer in time")]
    TimedOut,
}

/// Knows who may do what, by the credential that the caller itself came with.
#[async_trait]
pub trait PermissionBackend: Send + Sync {
    /// Asks the checks in one question, at most [`most_checks`](Self::most_checks) of them. There are as many
    /// rulings as checks, in their order. Ends within a time limit of its own, and reads a bounded answer.
    async fn ask(
        &self,
        credential: &Credential,
        checks: &[Check],
    ) -> Result<Vec<Ruling>, PermissionError>;

    /// How many checks fit into one question; at least one.
    fn most_checks(&self) -> usize;
}

/// What kept answers are to be forgotten of: each thing that is named, by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocation {
    /// Everybody's answers about this file.
    pub file: Option<FileId>,
    /// Every answer to this user.
    pub user: Option<UserId>,
    /// Every answer to callers of this account.
    pub account: Option<AccountId>,
}

impl Revocation {
    /// Whether nothing is named.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.file.is_none() && self.user.is_none() && self.account.is_none()
    }
}

/// Where replicas hear from each other what is to be forgotten.
#[async_trait]
pub trait RevocationFeed: Send + Sync {
    /// Tells every replica that listens. Once it returns, it cannot be lost but with the listener's connection.
    async fn announce(&self, revocation: &Revocation) -> Result<(), RepositoryError>;
}
