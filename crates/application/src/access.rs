//! Who is calling, and may they. Every byte served went through [`Authorized`].

use std::{
    ops::Deref,
    time::{Duration, Instant},
};

use cloakroom_domain::{
    Action, BucketKey, BucketName, BucketRight, File, FileId, ObjectBucket, Principal,
    PrincipalKind, TokenHash,
};

use crate::{
    App, Error,
    objects::{Slot, rights},
    permissions,
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

impl Authorized<Slot> {
    /// The object to read.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub fn into_file(self) -> Result<Authorized<File>, Error> {
        self.0.object.map(Authorized).ok_or(Error::NotFound)
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

impl Caller {
    /// Refuses everybody but an admin.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], [`Error::KindForbidden`].
    pub const fn must_be_admin(&self) -> Result<(), Error> {
        match self.principal.kind {
            PrincipalKind::Admin => Ok(()),
            PrincipalKind::Anonymous => Err(Error::Unauthenticated),
            _ => Err(Error::KindForbidden),
        }
    }

    /// The hash of a service's token.
    pub(crate) fn service_token(&self) -> Option<TokenHash> {
        let is_service = self.principal.kind == PrincipalKind::Service;
        self.principal.token.filter(|_| is_service)
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
        // An object: what may be done to it is its bucket's to say, and not at this place.
        Some(file) if file.owner.is_bucket() => Err(Error::Forbidden),
        Some(file) if permissions::allows(app, who, &file.id, action).await? => {
            Ok(Authorized(file))
        }
        Some(_) => Err(Error::Forbidden),
        None => Err(Error::NotFound),
    }
}

/// Gives a right in a bucket, by its policy. A name that no bucket can have is that of none.
///
/// # Errors
/// A caller without any right in it cannot tell a bucket from none: [`Error::Unauthenticated`] without a credential,
/// else [`Error::NotFound`]. One with another right: [`Error::Forbidden`], or [`Error::KindForbidden`] if callers of its
/// kind never have this one.
pub async fn authorize_bucket(
    app: &App,
    who: &Caller,
    name: &str,
    right: BucketRight,
) -> Result<Authorized<ObjectBucket>, Error> {
    let bucket = match BucketName::parse(name) {
        Ok(name) => app.buckets.bucket(&name).await?,
        Err(_) => None,
    };
    let rights = match &bucket {
        Some(bucket) => rights(app, who, bucket).await?,
        None => Vec::new(),
    };
    match bucket {
        Some(bucket) if rights.contains(&right) => Ok(Authorized(bucket)),
        _ if who.kind == PrincipalKind::Anonymous => Err(Error::Unauthenticated),
        Some(_) if !rights.is_empty() => Err(match who.kind {
            PrincipalKind::Service => Error::Forbidden,
            _ => Error::KindForbidden,
        }),
        _ => Err(Error::NotFound),
    }
}

/// Gives a right to an object, or to a key that leads to none yet. What there is under the key is looked up once the
/// right is known.
///
/// # Errors
/// As [`authorize_bucket`].
pub async fn authorize_object(
    app: &App,
    who: &Caller,
    bucket: &str,
    key: &BucketKey,
    right: BucketRight,
) -> Result<Authorized<Slot>, Error> {
    let Authorized(bucket) = authorize_bucket(app, who, bucket, right).await?;
    let object = app.buckets.object(&bucket.name, key).await?;
    Ok(Authorized(Slot {
        bucket,
        key: key.clone(),
        object,
    }))
}
