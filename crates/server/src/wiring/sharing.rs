//! Signed links, and what the application has to claim.

use std::sync::Arc;

use cloakroom_application::{Claims, LinkKey, Links, ports::SecretRepository};
use cloakroom_infrastructure::metadata::Database;
use rand::{TryRng, rngs::SysRng};

use crate::{config::Config, failure::Failure};

/// The name of the key that the service made up for itself.
const KEY_NAME: &str = "links";

/// What makes links and judges them.
///
/// # Errors
/// There is no key, for the database does not answer or the system has no random bytes to give.
pub(super) async fn links(config: &Config, database: &Arc<Database>) -> Result<Links, Failure> {
    let settings = &config.links;
    let bytes = match &settings.key {
        Some(key) => key.reveal().as_bytes().to_vec(),
        None => made_up(database).await?,
    };
    let key = LinkKey::new(&bytes);
    let key = key.map_err(|error| Failure::because("the key of links", &error))?;
    Ok(Links::new(
        database.clone(),
        key,
        settings.lifetime,
        settings.max_lifetime,
    ))
}

/// The key in the database, which the first of all replicas enters.
async fn made_up(database: &Database) -> Result<Vec<u8>, Failure> {
    let mut candidate = [0; LinkKey::MIN_BYTES];
    SysRng
        .try_fill_bytes(&mut candidate)
        .map_err(|error| Failure::because("the system gives no random bytes", &error))?;
    let kept = database.secret(KEY_NAME, &candidate).await;
    kept.map_err(|error| Failure::because("the key of links cannot be kept", &error))
}

/// What keeps track of files that the application has to claim.
pub(super) fn claims(config: &Config, database: &Arc<Database>) -> Claims {
    Claims {
        files: database.clone(),
        runs: database.clone(),
        time: config.claims.time,
        reconcile_age: config.claims.reconcile_age,
    }
}
