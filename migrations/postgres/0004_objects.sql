-- Objects by bucket and key: buckets with who may do what in them, and names that lead to files.
--
-- The file of an object is owned by its bucket: `owner_token_hash` begins with "cloakroom bucket", as no hash does, and
-- goes on with the start of the hash of the bucket's name. So it is in no caller's list and no caller's own.

CREATE TABLE buckets (
    bucket TEXT COLLATE "C" PRIMARY KEY,
    account_id TEXT COLLATE "C" NOT NULL,
    -- A JSON object.
    policy TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- A name goes with its file, whoever removes that, and keeps its bucket from being removed. Within a transaction it may
-- come before its file does.
CREATE TABLE objects (
    bucket TEXT COLLATE "C" NOT NULL REFERENCES buckets (bucket),
    key TEXT COLLATE "C" NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 1024),
    file_id TEXT COLLATE "C" NOT NULL UNIQUE
        REFERENCES files (file_id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (bucket, key)
);
