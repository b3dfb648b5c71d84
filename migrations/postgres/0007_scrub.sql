-- The scrub: where it is, what it found, and which versions got their hash from it.

-- Such a version was served before its hash was known, by a validator that stays.
ALTER TABLE file_versions ADD COLUMN tagged_by_id BOOLEAN NOT NULL DEFAULT FALSE;

-- One row.
CREATE TABLE scrub (
    scrub_id BIGINT PRIMARY KEY CHECK (scrub_id = 1),
    round BIGINT NOT NULL CHECK (round >= 0),
    is_under_way BOOLEAN NOT NULL,
    started_at BIGINT,
    completed_at BIGINT,
    -- Every version up to this one was looked at in this round; empty before the first.
    position TEXT COLLATE "C" NOT NULL,
    objects BIGINT NOT NULL CHECK (objects >= 0),
    bytes BIGINT NOT NULL CHECK (bytes >= 0),
    -- Raised whenever somebody takes it.
    generation BIGINT NOT NULL,
    held_until BIGINT NOT NULL
);

INSERT INTO scrub (scrub_id, round, is_under_way, position, objects, bytes, generation, held_until)
VALUES (1, 0, FALSE, '', 0, 0, 0, 0);

-- What is wrong with a version, as long as that is stored.
CREATE TABLE scrub_findings (
    version_id TEXT COLLATE "C" PRIMARY KEY,
    damage TEXT NOT NULL CHECK (damage IN ('missing_object', 'wrong_size', 'wrong_hash', 'unreadable')),
    since BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);
