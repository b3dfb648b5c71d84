-- Stores whose configuration changes, and the moving of every body to another store.

ALTER TABLE stores ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;

CREATE TABLE migrations (
    migration_id TEXT COLLATE "C" PRIMARY KEY,
    store_id TEXT COLLATE "C" NOT NULL,
    cleanup BOOLEAN NOT NULL,
    state TEXT NOT NULL CHECK (
        state IN ('validating', 'copying', 'draining', 'done', 'done_with_failures', 'cancelled', 'failed')
    ),
    failure TEXT,
    -- Who carries it on; NULL while nobody does.
    holder TEXT,
    held_until BIGINT,
    generation BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    finished_at BIGINT
);

-- One at a time. An index over a constant is what both dialects have for that.
CREATE UNIQUE INDEX migrations_live ON migrations ((1)) WHERE state IN ('validating', 'copying', 'draining');
CREATE INDEX migrations_newest ON migrations (started_at, migration_id);

-- What was moved. Movers at work in parallel count in rows of their own.
CREATE TABLE migration_counts (
    migration_id TEXT COLLATE "C" NOT NULL,
    lane BIGINT NOT NULL,
    objects BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (migration_id, lane)
);

CREATE TABLE migration_failures (
    migration_id TEXT COLLATE "C" NOT NULL,
    version_id TEXT COLLATE "C" NOT NULL,
    file_id TEXT COLLATE "C" NOT NULL,
    attempts BIGINT NOT NULL,
    reason TEXT NOT NULL,
    failed_at BIGINT NOT NULL,
    PRIMARY KEY (migration_id, version_id)
);
