-- Stores whose configuration changes, and the moving of every body to another store.

ALTER TABLE stores ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;

CREATE TABLE migrations (
    migration_id TEXT PRIMARY KEY,
    store_id TEXT NOT NULL,
    cleanup INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (
        state IN ('validating', 'copying', 'draining', 'done', 'done_with_failures', 'cancelled', 'failed')
    ),
    failure TEXT,
    -- Who carries it on; NULL while nobody does.
    holder TEXT,
    held_until INTEGER,
    generation INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;

-- One at a time. An index over a constant is what both dialects have for that.
CREATE UNIQUE INDEX migrations_live ON migrations ((1)) WHERE state IN ('validating', 'copying', 'draining');
CREATE INDEX migrations_newest ON migrations (started_at, migration_id);

-- What was moved. Movers at work in parallel count in rows of their own.
CREATE TABLE migration_counts (
    migration_id TEXT NOT NULL,
    lane INTEGER NOT NULL,
    objects INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (migration_id, lane)
) STRICT;

CREATE TABLE migration_failures (
    migration_id TEXT NOT NULL,
    version_id TEXT NOT NULL,
    file_id TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    reason TEXT NOT NULL,
    failed_at INTEGER NOT NULL,
    PRIMARY KEY (migration_id, version_id)
) STRICT;
