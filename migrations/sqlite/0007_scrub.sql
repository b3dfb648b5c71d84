-- The scrub: where it is, what it found, and which versions got their hash from it.

-- Such a version was served before its hash was known, by a validator that stays.
ALTER TABLE file_versions ADD COLUMN tagged_by_id INTEGER NOT NULL DEFAULT 0;

-- One row.
CREATE TABLE scrub (
    scrub_id INTEGER PRIMARY KEY CHECK (scrub_id = 1),
    round INTEGER NOT NULL CHECK (round >= 0),
    is_under_way INTEGER NOT NULL,
    started_at INTEGER,
    completed_at INTEGER,
    -- Every version up to this one was looked at in this round; empty before the first.
    position TEXT NOT NULL,
    objects INTEGER NOT NULL CHECK (objects >= 0),
    bytes INTEGER NOT NULL CHECK (bytes >= 0),
    -- Raised whenever somebody takes it.
    generation INTEGER NOT NULL,
    held_until INTEGER NOT NULL
) STRICT;

INSERT INTO scrub (scrub_id, round, is_under_way, position, objects, bytes, generation, held_until)
VALUES (1, 0, 0, '', 0, 0, 0, 0);

-- What is wrong with a version, as long as that is stored.
CREATE TABLE scrub_findings (
    version_id TEXT PRIMARY KEY,
    damage TEXT NOT NULL CHECK (damage IN ('missing_object', 'wrong_size', 'wrong_hash', 'unreadable')),
    since INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT;
