-- Uploads that take several requests.
--
-- The body that an upload writes, and the pieces that are too short for a part of it, are pending rows of
-- `file_versions` which name their upload: they live as long as that does, however long they do not move.

ALTER TABLE file_versions ADD COLUMN upload_id TEXT;

CREATE INDEX file_versions_of_uploads ON file_versions (upload_id) WHERE state = 'pending' AND upload_id IS NOT NULL;

-- What may expire for not having moved is only what no upload governs.
DROP INDEX file_versions_pending;
CREATE INDEX file_versions_pending ON file_versions (touched_at, version_id) WHERE state = 'pending' AND upload_id IS NULL;

CREATE TABLE uploads (
    -- The file's id, once there is one.
    upload_id TEXT PRIMARY KEY,
    creator TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('whole', 'partial', 'joined', 'direct')),
    state TEXT NOT NULL
        CHECK (state IN ('open', 'completing', 'finished', 'failed', 'expired', 'terminated')),
    -- Bytes that are durable, and bytes that there will be.
    received INTEGER NOT NULL CHECK (received >= 0),
    length INTEGER CHECK (length >= received),
    account_id TEXT NOT NULL,
    user_id TEXT,
    owner_token_hash BLOB CHECK (length(owner_token_hash) = 32),
    filename TEXT NOT NULL,
    declared_type TEXT,
    visibility TEXT NOT NULL CHECK (visibility IN ('public', 'account', 'private')),
    metadata TEXT NOT NULL,
    digest BLOB CHECK (length(digest) = 32),
    described TEXT,
    -- The body: a row of file_versions until the upload ends otherwise than as a file.
    version_id TEXT NOT NULL,
    store_id TEXT NOT NULL,
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    -- What the store calls the unfinished object.
    write_id TEXT,
    -- The lowest number of a part that was given to nobody.
    next_number INTEGER NOT NULL CHECK (next_number >= 1),
    -- What it is again if the holder lets go without having written.
    free_number INTEGER NOT NULL CHECK (free_number >= 1),
    -- Parts with lower numbers may still be written to, by a holder that was overtaken.
    loose_below INTEGER NOT NULL CHECK (loose_below >= 1),
    -- The state of the hashes at `received`; NULL where the bytes must be read again.
    hashes BLOB,
    held INTEGER NOT NULL,
    -- Raised with every holder.
    generation INTEGER NOT NULL,
    -- Raised with every request that asks for it.
    turn INTEGER NOT NULL,
    failure TEXT,
    created_at INTEGER NOT NULL,
    -- The last sign of life.
    touched_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- The conditions stand in the statements as they stand here.
CREATE INDEX uploads_expiry ON uploads (expires_at, upload_id)
    WHERE state IN ('open', 'completing') OR (state = 'finished' AND kind = 'partial');
CREATE INDEX uploads_ended ON uploads (touched_at, upload_id)
    WHERE state IN ('failed', 'expired', 'terminated') OR (state = 'finished' AND kind <> 'partial');

-- What of an upload is durable, and where.
CREATE TABLE upload_stretches (
    upload_id TEXT NOT NULL,
    start INTEGER NOT NULL CHECK (start >= 0),
    size INTEGER NOT NULL CHECK (size > 0),
    -- A part of the unfinished object ...
    number INTEGER CHECK (number >= 1),
    tag TEXT,
    -- ... or a piece of its own: its row of file_versions, and where it is.
    version_id TEXT,
    store_id TEXT,
    bucket TEXT,
    key TEXT,
    PRIMARY KEY (upload_id, start),
    CHECK ((number IS NULL) = (tag IS NULL)),
    CHECK ((number IS NULL) <> (version_id IS NULL)),
    CHECK ((version_id IS NULL) = (store_id IS NULL)),
    CHECK ((version_id IS NULL) = (bucket IS NULL)),
    CHECK ((version_id IS NULL) = (key IS NULL))
) STRICT;
