//! What the service may stand on.

/// A database and a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setup {
    /// SQLite and a folder: nothing else installed.
    SqliteFs,
    /// SQLite and the shared Garage.
    SqliteGarage,
    /// The shared PostgreSQL and a folder.
    PostgresFs,
    /// The shared PostgreSQL and Garage: replicas that share nothing else.
    PostgresGarage,
}

impl Setup {
    /// Every one.
    #[must_use]
    pub const fn all() -> [Self; 4] {
        [
            Self::SqliteFs,
            Self::SqliteGarage,
            Self::PostgresFs,
            Self::PostgresGarage,
        ]
    }

    /// The smallest and the largest installation.
    #[must_use]
    pub const fn extremes() -> [Self; 2] {
        [Self::SqliteFs, Self::PostgresGarage]
    }

    /// Whether metadata is in PostgreSQL.
    #[must_use]
    pub const fn has_postgres(self) -> bool {
        matches!(self, Self::PostgresFs | Self::PostgresGarage)
    }

    /// Whether bytes are in Garage.
    #[must_use]
    pub const fn has_garage(self) -> bool {
        matches!(self, Self::SqliteGarage | Self::PostgresGarage)
    }
}
