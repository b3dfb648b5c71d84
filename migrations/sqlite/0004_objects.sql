-- Objects by bucket and key: buckets with who may do what in them, and names that lead to files.
--
-- The file of an object is owned by its bucket: `owner_token_hash` begins with "cloakroom bucket", as no hash does, and
-- goes on with the start of the hash of the bucket's name. So it is in no caller's list and no caller's own.

CREATE TABLE buckets (
    bucket TEXT PRIMARY KEY,
    account_id TEXT NOT NULL,
    -- A JSON object.
    policy TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- A name goes with its file, whoever removes that, and keeps its bucket from being removed. Within a transaction it may
-- come before its file does.
CREATE TABLE objects (
    bucket TEXT NOT NULL REFERENCES buckets (bucket),
    key TEXT NOT NULL CHECK (length(CAST(key AS BLOB)) BETWEEN 1 AND 1024),
    file_id TEXT NOT NULL UNIQUE
        REFERENCES files (file_id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (bucket, key)
) STRICT;
