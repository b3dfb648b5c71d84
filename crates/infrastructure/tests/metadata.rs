//! The metadata adapters, on real databases.

#[cfg(test)]
#[path = "metadata/faults.rs"]
mod faults;
#[cfg(test)]
#[path = "metadata/proxy.rs"]
mod proxy;
#[cfg(test)]
#[path = "metadata/revoking.rs"]
mod revoking;
#[cfg(test)]
#[path = "metadata/schemas.rs"]
mod schemas;
#[cfg(test)]
#[path = "metadata/support.rs"]
mod support;
#[cfg(test)]
#[path = "metadata/together.rs"]
mod together;
#[cfg(test)]
#[path = "metadata/uploading.rs"]
mod uploading;

/// The contract on SQLite.
mod sqlite {
    cloakroom_application::metadata_contract!(super::support::sqlite);
    cloakroom_application::sharing_contract!(super::support::sqlite);
    cloakroom_application::scrub_contract!(super::support::sqlite);
    cloakroom_application::objects_contract!(super::support::sqlite);
}

/// The contract on PostgreSQL.
mod postgres {
    cloakroom_application::metadata_contract!(super::support::postgres);
    cloakroom_application::sharing_contract!(super::support::postgres);
    cloakroom_application::scrub_contract!(super::support::postgres);
    cloakroom_application::objects_contract!(super::support::postgres);
}
