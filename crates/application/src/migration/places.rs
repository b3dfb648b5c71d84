//! The rows of copies, from the pending one to the place of the body: many in a transaction.

use std::sync::Arc;

use cloakroom_domain::{Location, MigrationId};

use super::together::Together;
use crate::{
    App,
    ports::{Migration, NewVersion, RepositoryError, Source, Switch, Switched},
    with_causes,
};

/// Who enters copies, and who puts those that were read back in the places of their bodies.
pub(super) struct Places {
    beginning: Together<NewVersion, Location>,
    switching: Together<Switch, Switched>,
}

impl Places {
    pub(super) fn of(app: &Arc<App>, migration: &Migration) -> Self {
        let (beginner, switcher) = (app.clone(), app.clone());
        let (id, generation) = (migration.id, migration.generation);
        Self {
            beginning: Together::new(move |copies| begin(beginner.clone(), copies)),
            switching: Together::new(move |ready| switch(switcher.clone(), id, generation, ready)),
        }
    }

    /// Commits the pending row of a copy, and answers where it goes.
    pub(super) async fn begin(&self, copy: NewVersion) -> Result<Location, RepositoryError> {
        self.beginning.run(copy).await
    }

    /// Puts a copy in the place of its body.
    pub(super) async fn switch(&self, switch: Switch) -> Result<Switched, RepositoryError> {
        self.switching.run(switch).await
    }
}

async fn begin(app: Arc<App>, copies: Vec<NewVersion>) -> Vec<Result<Location, RepositoryError>> {
    let each = |kind: fn(Source) -> RepositoryError, why: &RepositoryError| {
        let why = with_causes(why);
        let one = |_: &NewVersion| Err(kind(why.clone().into()));
        copies.iter().map(one).collect()
    };
    let nowhere = || RepositoryError::Failed("a copy was given no address".into());
    match app.ledger.begin_copies(&copies).await {
        Ok(locations) => locations.into_iter().map(Ok).collect(),
        Err(error @ RepositoryError::Unavailable(_)) => each(RepositoryError::Unavailable, &error),
        // A row that was committed after all expires.
        Err(error @ RepositoryError::OutcomeUnknown(_)) => {
            each(RepositoryError::OutcomeUnknown, &error)
        }
        // Not all of them are to blame.
        Err(_) => {
            let mut outcomes = Vec::with_capacity(copies.len());
            for alone in copies.chunks(1) {
                let begun = app.ledger.begin_copies(alone).await;
                outcomes.push(begun.and_then(|at| at.into_iter().next().ok_or_else(nowhere)));
            }
            outcomes
        }
    }
}

async fn switch(
    app: Arc<App>,
    id: MigrationId,
    generation: u64,
    switches: Vec<Switch>,
) -> Vec<Result<Switched, RepositoryError>> {
    let unknown = |why: String| Err(RepositoryError::OutcomeUnknown(why.into()));
    match app.migrations.switch(id, generation, &switches).await {
        Ok(Switched::Done) => switches.iter().map(|_| Ok(Switched::Done)).collect(),
        Err(RepositoryError::OutcomeUnknown(why)) => {
            let why = why.to_string();
            switches.iter().map(|_| unknown(why.clone())).collect()
        }
        // Nothing has changed; not all of them are to blame.
        Ok(Switched::Changed | Switched::Lost) | Err(_) => {
            let mut outcomes = Vec::with_capacity(switches.len());
            for alone in switches.chunks(1) {
                outcomes.push(app.migrations.switch(id, generation, alone).await);
            }
            outcomes
        }
    }
}
