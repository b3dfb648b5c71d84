//! The application that is asked who may do what.

use std::sync::Arc;

use cloakroom_application::{PermissionOptions, Permissions};
use cloakroom_infrastructure::permission::{HttpPermissions, PermissionSettings};

use crate::{config::Permission, failure::Failure};

/// What asks it, or nothing where its address is not configured. It need not be there yet.
///
/// # Errors
/// No client can be made on this machine.
pub(super) fn of(config: &Permission) -> Result<Permissions, Failure> {
    let Some(url) = config.url.clone() else {
        return Ok(Permissions::without_backend());
    };
    let backend = HttpPermissions::new(PermissionSettings {
        url,
        protocol: config.protocol,
        timeout: config.timeout,
        connections: config.concurrency,
    });
    let backend = backend.map_err(|error| {
        Failure::because("the permission backend (CLOAKROOM_PERMISSION_URL)", &error)
    })?;
    let options = PermissionOptions {
        actions: config.actions.clone(),
        concurrency: config.concurrency,
        patience: config.timeout,
        entries: config.cache,
    };
    Ok(Permissions::of(Arc::new(backend), options))
}
