//! Claim or expire: what the application never used goes to the trash by itself.

use std::{sync::Arc, time::Duration};

use cloakroom_domain::{File, FileId, Owner, PrincipalKind};

use crate::{
    App, Caller, Error,
    ports::{ClaimRepository, FileRepository, ReconcileRepository},
};

/// How soon files have to be claimed, and what keeps track of it.
#[derive(Clone)]
pub struct Claims {
    /// Files that have to be claimed.
    pub files: Arc<dyn ClaimRepository>,
    /// Runs in which the application tells what it still refers to.
    pub runs: Arc<dyn ReconcileRepository>,
    /// How soon new files have to be claimed; `None`: they need not, and none expires.
    pub time: Option<Duration>,
    /// Files younger than this are never found to be without use.
    pub reconcile_age: Duration,
}

impl Claims {
    /// How soon a file of that owner, made now, has to be claimed. What services uploaded is theirs already.
    #[must_use]
    pub const fn within(&self, owner: &Owner) -> Option<Duration> {
        if owner.user.is_none() && owner.token.is_none() {
            return None;
        }
        self.time
    }

    /// The age below which nothing is found to be without use: it may not even have had the time to be claimed.
    pub(crate) fn youngest(&self) -> Duration {
        self.reconcile_age.max(self.time.unwrap_or_default())
    }
}

/// Has files forgotten by the cache when it goes out of scope: also if the caller left.
pub(crate) struct Forgetting<'a> {
    pub(crate) files: &'a Arc<dyn FileRepository>,
    pub(crate) id: &'a FileId,
}

impl Drop for Forgetting<'_> {
    fn drop(&mut self) {
        self.files.forget(Some(std::slice::from_ref(self.id)));
    }
}

/// Whether the caller speaks for an application: an admin, or a service.
///
/// # Errors
/// [`Error::Unauthenticated`], [`Error::KindForbidden`].
pub const fn is_application(who: &Caller) -> Result<(), Error> {
    match who.principal.kind {
        PrincipalKind::Service | PrincipalKind::Admin => Ok(()),
        PrincipalKind::Anonymous => Err(Error::Unauthenticated),
        _ => Err(Error::KindForbidden),
    }
}

/// Claims a file for the application. One that is claimed already stays as it is; one that went to the trash because
/// nobody had claimed it comes back.
///
/// # Errors
/// As [`is_application`]; [`Error::NotFound`] if there is no such file, or it was put in the trash otherwise;
/// [`Error::Forbidden`] to a service of another account, and for an object of a bucket.
pub async fn claim(app: &App, who: &Caller, id: &FileId) -> Result<File, Error> {
    is_application(who)?;
    let file = app.files.find_fresh(id).await?.ok_or(Error::NotFound)?;
    let is_its = who.account.as_ref() == Some(file.account()) && !file.owner.is_bucket();
    if !who.is_admin() && !is_its {
        return Err(Error::Forbidden);
    }
    if file.claim_by.is_some() {
        let forgetting = Forgetting {
            files: &app.files,
            id,
        };
        let claimed = app.claims.files.claim(id).await;
        drop(forgetting);
        if let Some(file) = claimed? {
            return Ok(file);
        }
    }
    let file = app.files.find_fresh(id).await?;
    file.filter(|file| file.deleted_at.is_none())
        .ok_or(Error::NotFound)
}

/// Puts up to `limit` files in the trash that nobody claimed in time, where that is asked for.
pub(crate) async fn expire(app: &App, limit: u32) -> Result<u64, Error> {
    if app.claims.time.is_none() {
        return Ok(0);
    }
    let expired = app.claims.files.expire_unclaimed(limit).await?;
    app.files.forget(Some(&expired));
    Ok(expired.len() as u64)
}
