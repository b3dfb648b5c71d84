//! Who is calling, and may they. Every byte served went through [`Authorized`].

use std::{
    ops::Deref,
    time::{Duration, Instant},
};

use cloakroom_domain::{Action, File, FileId, Principal, PrincipalKind};

use crate::{
    App, Error, permissions,
    ports::{Credential, CredentialError},
};

/// A token service that answers so slowly that the credentials before took longer counts as one that does not. What
/// was begun by then may take as long again.
const PATIENCE: Duration = Duration::from_secs(1);

/// A thing that its caller may act on. Only this module makes one.
#[derive(Debug, Clone)]
pub struct Authorized<T>(T);

impl<T> Deref for Authorized<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Authorized<T> {
    /// The thing itself, without the proof.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// A recognised caller, with the credential that it was recognised by: other services are asked in its name.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who it is.
    pub principal: Principal,
    /// What was accepted; `None` for the anonymous caller.
    pub credential: Option<Credential>,
}

impl Deref for Caller {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        &self.principal
    }
}

/// Finds the caller behind the credentials, in their order: the first that is accepted wins.
///
/// # Errors
/// [`Error::Unauthenticated`] for a refused explicit credential; a refused cookie is passed over.
/// A failing token service or database is no refusal but an error of its own.
pub async fn identify(app: &App, credentials: Vec<Credential>) -> Result<Caller, Error> {
    let begun = Instant::now();
    for credential in credentials {
        if begun.elapsed() > PATIENCE {
            let slow = "too slow to look at every credential".into();
            return Err(CredentialError::Unavailable(slow).into());
        }
        for authenticator in &app.authenticators {
            if let Some(principal) = authenticator.authenticate(&credential).await? {
                return Ok(Caller {
                    principal,
                    credential: Some(credential),
                });
            }
        }
        if credential.is_explicit() {
            return Err(Error::Unauthenticated);
        }
    }
    Ok(Caller {
        principal: Principal::anonymous(),
        credential: None,
    })
}

/// Gives the right to act on a file outside the trash: by the rules that need nobody asked, else by the application
/// beside us, which is asked once the file is known to exist and while nothing is held.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Forbidden`], or for a caller without a credential [`Error::Unauthenticated`],
/// whether the file exists or not. [`Error::PermissionFailed`] or [`Error::PermissionTimedOut`] if the application had
/// to be asked and gave no answer.
pub async fn authorize(
    app: &App,
    who: &Caller,
    id: &FileId,
    action: Action,
) -> Result<Authorized<File>, Error> {
    let file = app
        .files
        .find(id)
        .await?
        .filter(|file| file.deleted_at.is_none());
    judge(app, who, file, action).await
}

/// The right to read that a link gives, whoever has it. Only [`crate::links`] asks, about a link that it has judged.
pub(crate) const fn linked(file: File) -> Authorized<File> {
    Authorized(file)
}

/// As [`authorize`], for a file that may be in the trash. Never answered from a cache.
///
/// # Errors
/// As [`authorize`].
pub async fn authorize_any_state(
    app: &App,
    who: &Caller,
    id: &FileId,
    action: Action,
) -> Result<Authorized<File>, Error> {
    let file = app.files.find_fresh(id).await?;
    judge(app, who, file, action).await
}

async fn judge(
    app: &App,
    who: &Caller,
    file: Option<File>,
    action: Action,
) -> Result<Authorized<File>, Error> {
    let anonymous = who.kind == PrincipalKind::Anonymous;
    match file {
        Some(file) if who.may_without_asking(&file, action) => Ok(Authorized(file)),
        _ if anonymous => Err(Error::Unauthenticated),
        Some(file) if permissions::allows(app, who, &file.id, action).await? => {
            Ok(Authorized(file))
        }
        Some(_) => Err(Error::Forbidden),
        None => Err(Error::NotFound),
    }
}
