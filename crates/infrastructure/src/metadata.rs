//! PostgreSQL and SQLite behind the metadata ports.
