//! The metadata adapters, on real databases.

#[path = "metadata/support.rs"]
mod support;

/// The contract on SQLite.
mod sqlite {
    cloakroom_application::metadata_contract!(super::support::sqlite);
}

/// The contract on PostgreSQL.
mod postgres {
    cloakroom_application::metadata_contract!(super::support::postgres);
}
