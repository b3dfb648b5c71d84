//! Reconciling: the application tells which files it still refers to, and hears which nobody does.

use cloakroom_domain::{AccountId, FileId, ReconcileId};

use crate::{
    App, Caller, Error,
    claims::is_application,
    ports::{Found, MAX_NAMED, MAX_RUNS, Named, NewRun, Run},
};

/// So many ids are named in a request, and so many files are found in an answer.
pub const RECONCILE_PAGE: usize = 10_000;
const FOUND_PAGE: u32 = 1_000;

/// What to do with what nobody refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    /// Tell it.
    Report,
    /// Put it in the trash, and tell it.
    Trash,
}

/// A step of a run, as it was asked for.
#[derive(Debug, Clone)]
pub struct ReconcileStep {
    /// The run; a new one if not said.
    pub run: Option<ReconcileId>,
    /// Whose files, for callers who name an account.
    pub account: Option<AccountId>,
    /// Ids that the application refers to.
    pub files: Vec<FileId>,
    /// What to do, once every id was named.
    pub end: Option<Leftovers>,
    /// Where to go on in what was found; from the start if not said.
    pub after: Option<FileId>,
    /// That the application refers to no file at all, and means it.
    pub nothing_referenced: bool,
}

/// What came of a step.
#[derive(Debug, Clone)]
pub struct Reconciled {
    /// The run.
    pub run: Run,
    /// How many of the ids in this step are no files of the account.
    pub unknown: u64,
    /// What nobody refers to, once every id was named.
    pub found: Option<Found>,
}

/// Takes a step of a run. Every step may be repeated: it changes nothing then, and has the same answer.
///
/// # Errors
/// As [`is_application`]; [`Error::NotFound`] if there is no such run, it has ended, or it is another account's;
/// [`Error::MissingField`] if a new one has no account; [`Error::Conflict`] if too many go on, or an id comes after
/// the last; [`Error::BadValue`] for too many ids, and for an end in which everything would go to the trash.
pub async fn reconcile(
    app: &App,
    who: &Caller,
    mut step: ReconcileStep,
) -> Result<Reconciled, Error> {
    is_application(who)?;
    if step.files.len() > RECONCILE_PAGE {
        let most = format!("ids may hold {RECONCILE_PAGE} at a time");
        return Err(Error::BadValue(most));
    }
    step.files.sort_unstable();
    step.files.dedup();
    let run = match step.run {
        Some(id) => known_run(app, who, id, step.account.as_ref()).await?,
        None => new_run(app, who, step.account.take()).await?,
    };
    let (run, unknown) = name(app, run, &step.files).await?;
    let Some(end) = step.end else {
        return Ok(Reconciled {
            run,
            unknown,
            found: None,
        });
    };
    if end == Leftovers::Trash && !run.knows_any && !step.nothing_referenced {
        return Err(Error::BadValue(
            "no file of the account was named, so every file would go to the trash; say nothing_referenced if that \
             is meant"
                .to_owned(),
        ));
    }
    let finished = app.claims.runs.finish(run.id).await?;
    let run = finished.ok_or(Error::NotFound)?;
    let found = app
        .claims
        .runs
        .found(run.id, step.after.as_ref(), FOUND_PAGE);
    let found = found.await?.ok_or(Error::NotFound)?;
    if end == Leftovers::Trash && !found.files.is_empty() {
        let trashed = app.claims.runs.trash(run.id, &found.files).await;
        // Also where the answer was lost.
        app.files.forget(Some(&found.files));
        let trashed = trashed?.len();
        tracing::info!(run = %run.id, trashed, "files that nobody refers to went to the trash");
    }
    Ok(Reconciled {
        run,
        unknown,
        found: Some(found),
    })
}

/// The account that the caller may reconcile, of those that it may name.
fn account_of(who: &Caller, named: Option<AccountId>) -> Result<AccountId, Error> {
    let own = who.account.clone();
    if who.is_admin() {
        return named.or(own).ok_or(Error::MissingField("account_id"));
    }
    let own = own.ok_or(Error::KindForbidden)?;
    match named {
        Some(other) if other != own => Err(Error::KindForbidden),
        _ => Ok(own),
    }
}

async fn new_run(app: &App, who: &Caller, account: Option<AccountId>) -> Result<Run, Error> {
    let new = NewRun {
        id: ReconcileId::random(),
        account: account_of(who, account)?,
        age: app.claims.youngest(),
    };
    app.claims.runs.begin(new).await?.ok_or_else(|| {
        tracing::debug!(
            limit = MAX_RUNS,
            "an account has as many runs as it may have"
        );
        Error::Conflict("10 runs of the account go on; each ends by itself after 24 hours")
    })
}

async fn known_run(
    app: &App,
    who: &Caller,
    id: ReconcileId,
    account: Option<&AccountId>,
) -> Result<Run, Error> {
    let run = app.claims.runs.run(id).await?.ok_or(Error::NotFound)?;
    let own = who.is_admin() || who.account.as_ref() == Some(&run.account);
    if !own || account.is_some_and(|account| *account != run.account) {
        return Err(Error::NotFound);
    }
    Ok(run)
}

async fn name(app: &App, run: Run, files: &[FileId]) -> Result<(Run, u64), Error> {
    if files.is_empty() {
        return Ok((run, 0));
    }
    match app.claims.runs.name(run.id, files).await? {
        Named::Kept { run, unknown } => Ok((run, unknown)),
        Named::TooMany => Err(Error::BadValue(format!(
            "a run may have {MAX_NAMED} ids at most"
        ))),
        Named::Done => Err(Error::Conflict(
            "the run is done, and one of these ids was not named before",
        )),
        Named::Gone => Err(Error::NotFound),
    }
}
