//! Asking the application beside us, where the rules of our own do not decide: kept answers, identical questions
//! asked once, a bounded number at a time, and a backend that fails left alone.

mod breaker;
mod forgotten;
mod kept;
mod questions;

use std::{sync::Arc, time::Duration};

use cloakroom_domain::{AccountId, Action, FileId, PrincipalKind, TokenHash, UserId};
use tokio::time::{Instant, timeout_at};

pub use self::{
    breaker::Circuit,
    kept::{LastAsked, Said},
};

use self::{
    forgotten::Forgotten,
    questions::{Hook, Question},
};
use crate::{
    App, Caller, Error,
    authenticators::ISSUED_PREFIX,
    claims::is_application,
    ports::{Credential, PermissionBackend, Revocation, Ruling},
};

/// How the permission backend is asked.
#[derive(Debug, Clone)]
pub struct PermissionOptions {
    /// What it is asked about; everything else is no.
    pub actions: Vec<Action>,
    /// Questions at a time; at least one.
    pub concurrency: usize,
    /// The longest that a caller waits for an answer, its turn included; and the longest that a question takes.
    pub patience: Duration,
    /// So many answers are kept.
    pub entries: u64,
}

/// Who may do what, as the application beside us says; nobody anything where there is none.
pub struct Permissions {
    forgotten: Arc<Forgotten>,
    hook: Option<Arc<Hook>>,
}

impl Permissions {
    /// With nobody to ask.
    #[must_use]
    pub fn without_backend() -> Self {
        Self {
            forgotten: Arc::new(Forgotten::new()),
            hook: None,
        }
    }

    /// Asks that backend.
    #[must_use]
    pub fn of(backend: Arc<dyn PermissionBackend>, options: PermissionOptions) -> Self {
        let forgotten = Arc::new(Forgotten::new());
        let hook = Hook::new(backend, options, Arc::clone(&forgotten));
        Self {
            forgotten,
            hook: Some(Arc::new(hook)),
        }
    }

    /// Forgets kept answers, here. An answer to a question of before counts for nothing either.
    pub fn forget(&self, revocation: &Revocation) {
        self.forgotten.forget(revocation);
    }

    /// Forgets every kept answer, here.
    pub fn forget_everything(&self) {
        self.forgotten.forget_everything();
    }

    /// From now on what other replicas take back is heard of. What was answered while it was not is forgotten.
    pub fn hearing_begins(&self) {
        if !self.forgotten.is_hearing() {
            self.forgotten.forget_everything();
            self.forgotten.set_hearing(true);
        }
    }

    /// From now on it is not heard of: everything is forgotten, and no answer is used for longer than a second.
    pub fn hearing_ends(&self) {
        if self.forgotten.is_hearing() {
            self.forgotten.set_hearing(false);
            self.forgotten.forget_everything();
        }
    }

    /// What an operator may want to know about the hook; `None` where there is none.
    pub(crate) fn state(&self) -> Option<HookState<'_>> {
        self.hook.as_ref().map(|hook| HookState {
            actions: hook.actions(),
            circuit: hook.circuit(),
        })
    }

    /// What was asked last, on this replica, about a caller, a file and an action.
    pub(crate) fn last_asked(&self, subject: &Subject, action: Action) -> Option<LastAsked> {
        self.hook.as_ref()?.last_asked(subject, action)
    }
}

/// The hook as it is configured, and how it does.
pub(crate) struct HookState<'a> {
    pub(crate) actions: &'a [Action],
    pub(crate) circuit: Circuit,
}

/// Whether the application beside us says that the caller may. Whoever came with a credential that only we know is
/// not asked about, and neither is anyone about an action that the backend does not answer for: that is no.
///
/// # Errors
/// [`Error::PermissionFailed`] and [`Error::PermissionTimedOut`]; neither is a yes.
pub(crate) async fn allows(
    app: &App,
    who: &Caller,
    file: &FileId,
    action: Action,
) -> Result<bool, Error> {
    let Some(hook) = &app.permissions.hook else {
        return Ok(false);
    };
    let Some((asker, credential)) = Asker::of(who) else {
        return Ok(false);
    };
    if !hook.actions().contains(&action) {
        return Ok(false);
    }
    let subject = Subject {
        file: file.clone(),
        user: who.user.clone(),
        account: who.account.clone(),
    };
    let key = Key {
        asker,
        file: file.clone(),
        action,
    };
    if let Some(allow) = hook.kept(&key, &subject) {
        return Ok(allow);
    }
    let deadline = Instant::now() + hook.patience();
    let question = Question::new(key, subject, credential.clone());
    let settled = timeout_at(deadline, hook.settle(&app.background, question)).await;
    match settled.unwrap_or(Err(Trouble::TimedOut)) {
        Ok(allow) => Ok(allow),
        Err(Trouble::Failed) => Err(Error::PermissionFailed),
        Err(Trouble::TimedOut) => Err(Error::PermissionTimedOut),
    }
}

/// Whom an answer is for: a credential, by the header that it travels in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Asker {
    header: Header,
    credential: TokenHash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Header {
    Authorization,
    Guest,
    Public,
}

impl Asker {
    /// `None` for callers that the backend is not asked about: it cannot know them, or has no say.
    fn of(who: &Caller) -> Option<(Self, &Credential)> {
        match who.kind {
            PrincipalKind::User | PrincipalKind::Guest | PrincipalKind::Public => {}
            PrincipalKind::Anonymous | PrincipalKind::Service | PrincipalKind::Admin => {
                return None;
            }
        }
        let credential = who.credential.as_ref()?;
        let (header, secret) = match credential {
            Credential::Bearer(secret) | Credential::Cookie(secret) => {
                (Header::Authorization, secret)
            }
            Credential::Guest(secret) | Credential::GuestCookie(secret) => (Header::Guest, secret),
            Credential::Public(secret) | Credential::PublicCookie(secret) => {
                (Header::Public, secret)
            }
            Credential::Malformed => return None,
        };
        if secret.reveal().starts_with(ISSUED_PREFIX) {
            return None;
        }
        let asker = Self {
            header,
            credential: TokenHash::of(secret.reveal()),
        };
        Some((asker, credential))
    }
}

/// What an answer is to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    asker: Asker,
    file: FileId,
    action: Action,
}

/// What an answer is about, as far as it can be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Subject {
    pub(crate) file: FileId,
    pub(crate) user: Option<UserId>,
    pub(crate) account: Option<AccountId>,
}

/// Why there is no answer. What happened is in the log, once for everybody who waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Failed,
    TimedOut,
}

/// What a question led to.
type Outcome = Result<Ruling, Trouble>;

/// Takes back what was answered, on every replica: each thing named is forgotten by itself.
///
/// Any service may, about anything: forgetting gives nobody a right, it only makes the next request ask again.
///
/// # Errors
/// [`Error::Unauthenticated`], [`Error::KindForbidden`] for other kinds of callers, [`Error::MissingField`] if nothing
/// is named, [`Error::Repository`] if the other replicas could not be told.
pub async fn revoke(app: &App, who: &Caller, revocation: &Revocation) -> Result<(), Error> {
    may_revoke(who)?;
    if revocation.is_empty() {
        return Err(Error::MissingField("file_id, user_id or account_id"));
    }
    app.permissions.forget(revocation);
    app.revocations.announce(revocation).await?;
    Ok(())
}

/// Whether the caller may take answers back, before its body is read.
///
/// # Errors
/// [`Error::Unauthenticated`], [`Error::KindForbidden`].
pub const fn may_revoke(who: &Caller) -> Result<(), Error> {
    is_application(who)
}
