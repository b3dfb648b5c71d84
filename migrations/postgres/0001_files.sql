-- Files, the ledger of their bodies, stores, tokens and idempotency keys.
--
-- Times are whole microseconds since 1970, by the database's clock. Ids and whatever a page is ordered by
-- compare bytewise. There are no foreign keys between these tables: pending bodies precede their file, bodies that
-- are being removed outlive it, and a reference to `stores` would have every upload lock the same row.

CREATE TABLE stores (
    store_id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT NOT NULL,
    driver TEXT NOT NULL,
    -- Sealed; NULL where the configuration of the process says it.
    config BYTEA,
    bucket TEXT COLLATE "C",
    bucket_prefix TEXT COLLATE "C",
    state TEXT NOT NULL CHECK (state IN ('current', 'active')),
    created_at BIGINT NOT NULL,
    CHECK ((bucket IS NULL) <> (bucket_prefix IS NULL))
);

CREATE UNIQUE INDEX stores_current ON stores (state) WHERE state = 'current';

CREATE TABLE files (
    file_id TEXT COLLATE "C" PRIMARY KEY,
    account_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C",
    owner_token_hash BYTEA CHECK (octet_length(owner_token_hash) = 32),
    -- Who owns it within the account, as one value that an index can hold: a user, a visitor's token, or services.
    owned_by TEXT COLLATE "C" NOT NULL GENERATED ALWAYS AS (
        CASE
            WHEN user_id IS NOT NULL THEN 'u' || user_id
            WHEN owner_token_hash IS NOT NULL THEN 't' || encode(owner_token_hash, 'hex')
            ELSE 's'
        END
    ) STORED,
    filename TEXT COLLATE "C" NOT NULL,
    visibility TEXT NOT NULL CHECK (visibility IN ('public', 'account', 'private')),
    metadata TEXT NOT NULL,
    -- The current version's type without parameters, and its family with the slash.
    media_type TEXT COLLATE "C" NOT NULL,
    media_family TEXT COLLATE "C" NOT NULL,
    current_version_id TEXT COLLATE "C" NOT NULL,
    -- The highest number given to a version so far; none is given twice.
    last_number BIGINT NOT NULL CHECK (last_number >= 1),
    current_since BIGINT NOT NULL,
    revision BIGINT NOT NULL CHECK (revision >= 1),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    last_read_on BIGINT
);

-- One index for each way to page: everything, one's own, what the account may see, and the trash.
CREATE INDEX files_newest ON files (created_at, file_id) WHERE deleted_at IS NULL;
CREATE INDEX files_by_name ON files (filename, file_id) WHERE deleted_at IS NULL;
CREATE INDEX files_by_type ON files (media_type, created_at, file_id) WHERE deleted_at IS NULL;
CREATE INDEX files_by_family ON files (media_family, created_at, file_id) WHERE deleted_at IS NULL;
CREATE INDEX files_user_newest ON files (user_id, created_at, file_id) WHERE deleted_at IS NULL;
CREATE INDEX files_user_by_name ON files (user_id, filename, file_id) WHERE deleted_at IS NULL;

CREATE INDEX files_own_newest ON files (account_id, owned_by, created_at, file_id) WHERE deleted_at IS NULL;
CREATE INDEX files_own_by_name ON files (account_id, owned_by, filename, file_id) WHERE deleted_at IS NULL;
CREATE INDEX files_own_by_type ON files (account_id, owned_by, media_type, created_at, file_id)
    WHERE deleted_at IS NULL;
CREATE INDEX files_own_by_family ON files (account_id, owned_by, media_family, created_at, file_id)
    WHERE deleted_at IS NULL;

CREATE INDEX files_seen_newest ON files (account_id, created_at, file_id)
    WHERE deleted_at IS NULL AND visibility <> 'private';
CREATE INDEX files_seen_by_name ON files (account_id, filename, file_id)
    WHERE deleted_at IS NULL AND visibility <> 'private';
CREATE INDEX files_seen_by_type ON files (account_id, media_type, created_at, file_id)
    WHERE deleted_at IS NULL AND visibility <> 'private';
CREATE INDEX files_seen_by_family ON files (account_id, media_family, created_at, file_id)
    WHERE deleted_at IS NULL AND visibility <> 'private';
CREATE INDEX files_seen_user_newest ON files (account_id, user_id, created_at, file_id)
    WHERE deleted_at IS NULL AND visibility <> 'private';
CREATE INDEX files_seen_user_by_name ON files (account_id, user_id, filename, file_id)
    WHERE deleted_at IS NULL AND visibility <> 'private';

CREATE INDEX files_trash_newest ON files (created_at, file_id) WHERE deleted_at IS NOT NULL;
CREATE INDEX files_trash_by_name ON files (filename, file_id) WHERE deleted_at IS NOT NULL;
CREATE INDEX files_trash_user_newest ON files (user_id, created_at, file_id) WHERE deleted_at IS NOT NULL;
CREATE INDEX files_trash_own_newest ON files (account_id, owned_by, created_at, file_id)
    WHERE deleted_at IS NOT NULL;
CREATE INDEX files_trash_own_by_name ON files (account_id, owned_by, filename, file_id)
    WHERE deleted_at IS NOT NULL;

CREATE TABLE file_versions (
    version_id TEXT COLLATE "C" PRIMARY KEY,
    file_id TEXT COLLATE "C" NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL,
    -- NULL until the version is stored.
    number BIGINT CHECK (number >= 1),
    store_id TEXT COLLATE "C" NOT NULL,
    bucket TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    size BIGINT CHECK (size >= 0),
    stored_size BIGINT CHECK (stored_size >= 0),
    encoding TEXT,
    wrapped_key BYTEA,
    sha256 BYTEA CHECK (octet_length(sha256) = 32),
    -- The bits of an unsigned number.
    crc64 BIGINT,
    content_type TEXT,
    state TEXT NOT NULL CHECK (state IN ('pending', 'stored', 'deleting')),
    -- Raised whenever another holder takes an upload over.
    generation BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    -- When the upload last said that it moves.
    touched_at BIGINT NOT NULL,
    delete_after BIGINT,
    UNIQUE (file_id, number),
    UNIQUE (store_id, bucket, key),
    CHECK (state <> 'pending' OR number IS NULL),
    CHECK (
        state <> 'stored'
        OR (number IS NOT NULL AND size IS NOT NULL AND stored_size IS NOT NULL AND content_type IS NOT NULL)
    ),
    CHECK ((state = 'deleting') = (delete_after IS NOT NULL))
);

CREATE INDEX file_versions_pending ON file_versions (touched_at, version_id) WHERE state = 'pending';
CREATE INDEX file_versions_due ON file_versions (delete_after, version_id) WHERE state = 'deleting';

CREATE TABLE idempotency_keys (
    principal TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT NOT NULL,
    -- The body that the request under this key writes.
    version_id TEXT COLLATE "C" NOT NULL,
    locked_until BIGINT NOT NULL,
    -- The file as the first request left it; NULL while that runs.
    answer TEXT,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (principal, key)
);

CREATE INDEX idempotency_keys_version ON idempotency_keys (version_id);
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);

CREATE TABLE service_tokens (
    token_id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('service', 'user', 'admin')),
    account_id TEXT COLLATE "C",
    user_id TEXT COLLATE "C",
    token_hash BYTEA NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
