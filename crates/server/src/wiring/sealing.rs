//! The master keys, held against what is sealed.

use std::sync::Arc;

use cloakroom_application::ports::{RepositoryError, SealLedger, Sealing};
use cloakroom_domain::KeyId;
use cloakroom_infrastructure::sealing::MasterKeys;

use crate::{config::Config, failure::Failure};

/// The configured keys, or none.
pub(crate) fn keys(config: &Config) -> Arc<MasterKeys> {
    Arc::new(config.encryption.keys.clone().unwrap_or_default())
}

/// Refuses to go on without a key that bodies are sealed under, unless the operator has said that it is lost: a service
/// that forgot its keys would store what comes next as it is.
///
/// # Errors
/// The database cannot be asked, or a key is missing.
pub(crate) async fn check(config: &Config, seals: &dyn SealLedger) -> Result<(), Failure> {
    let keys = keys(config);
    let in_use = seals.keys_in_use().await;
    let in_use = in_use.map_err(|error| unreadable(&error))?;
    if in_use.contains(&None) {
        tracing::error!("bodies are sealed in a way that this version does not know");
    }
    let lost = config.encryption.lost_keys.as_deref().unwrap_or_default();
    let missing = in_use.into_iter().flatten().filter(|id| !keys.knows(*id));
    let (given_up, missing): (Vec<KeyId>, Vec<KeyId>) = missing.partition(|id| lost.contains(id));
    for id in given_up {
        tracing::warn!(key = %id, "files that are sealed under this lost key cannot be read");
    }
    if missing.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = missing.iter().map(KeyId::to_string).collect();
    Err(Failure::usage(format!(
        "files are sealed under the master key {}, which is not among CLOAKROOM_ENCRYPTION_KEY; expected it to be there, \
         behind the key that seals if it is an old one, or to be named in CLOAKROOM_ENCRYPTION_LOST_KEYS if it is lost \
         for good",
        ids.join(" and the master key ")
    )))
}

/// As a command tells that the database would not say which keys are in use.
pub(crate) fn unreadable(error: &RepositoryError) -> Failure {
    Failure::because("the keys that are in use", error)
}
