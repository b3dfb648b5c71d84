-- Files, the ledger of their bodies, stores, tokens and idempotency keys.
--
-- Times are whole microseconds since 1970, by the database's clock. Ids and whatever a page is ordered by
-- compare bytewise. There are no foreign keys between these tables: pending bodies precede their file, bodies that
-- are being removed outlive it, and a reference to `stores` would have every upload lock the same row.

CREATE TABLE stores (
    store_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    driver TEXT NOT NULL,
    -- Sealed; NULL where the configuration of the process says it.
    config BLOB,
    bucket TEXT,
    bucket_prefix TEXT,
    state TEXT NOT NULL CHECK (state IN ('current', 'active')),
    created_at INTEGER NOT NULL,
    CHECK ((bucket IS NULL) <> (bucket_prefix IS NULL))
) STRICT;

CREATE UNIQUE INDEX stores_current ON stores (state) WHERE state = 'current';

CREATE TABLE files (
    file_id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL,
    user_id TEXT,
    owner_token_hash BLOB CHECK (length(owner_token_hash) = 32),
    -- Who owns it within the account, as one value that an index can hold: a user, a visitor's token, or services.
    owned_by TEXT NOT NULL GENERATED ALWAYS AS (
        CASE
            WHEN user_id IS NOT NULL THEN 'u' || user_id
            WHEN owner_token_hash IS NOT NULL THEN 't' || lower(hex(owner_token_hash))
            ELSE 's'
        END
    ) STORED,
    filename TEXT NOT NULL,
    visibility TEXT NOT NULL CHECK (visibility IN ('public', 'account', 'private')),
    metadata TEXT NOT NULL,
    -- The current version's type without parameters, and its family with the slash.
    media_type TEXT NOT NULL,
    media_family TEXT NOT NULL,
    current_version_id TEXT NOT NULL,
    -- The highest number given to a version so far; none is given twice.
    last_number INTEGER NOT NULL CHECK (last_number >= 1),
    current_since INTEGER NOT NULL,
    revision INTEGER NOT NULL CHECK (revision >= 1),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    last_read_on INTEGER
) STRICT;

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
    version_id TEXT PRIMARY KEY,
    file_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    -- NULL until the version is stored.
    number INTEGER CHECK (number >= 1),
    store_id TEXT NOT NULL,
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    size INTEGER CHECK (size >= 0),
    stored_size INTEGER CHECK (stored_size >= 0),
    encoding TEXT,
    wrapped_key BLOB,
    sha256 BLOB CHECK (length(sha256) = 32),
    -- The bits of an unsigned number.
    crc64 INTEGER,
    content_type TEXT,
    state TEXT NOT NULL CHECK (state IN ('pending', 'stored', 'deleting')),
    -- Raised whenever another holder takes an upload over.
    generation INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    -- When the upload last said that it moves.
    touched_at INTEGER NOT NULL,
    delete_after INTEGER,
    UNIQUE (file_id, number),
    UNIQUE (store_id, bucket, key),
    CHECK (state <> 'pending' OR number IS NULL),
    CHECK (
        state <> 'stored'
        OR (number IS NOT NULL AND size IS NOT NULL AND stored_size IS NOT NULL AND content_type IS NOT NULL)
    ),
    CHECK ((state = 'deleting') = (delete_after IS NOT NULL))
) STRICT;

CREATE INDEX file_versions_pending ON file_versions (touched_at, version_id) WHERE state = 'pending';
CREATE INDEX file_versions_due ON file_versions (delete_after, version_id) WHERE state = 'deleting';

CREATE TABLE idempotency_keys (
    principal TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    -- The body that the request under this key writes.
    version_id TEXT NOT NULL,
    locked_until INTEGER NOT NULL,
    -- The file as the first request left it; NULL while that runs.
    answer TEXT,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (principal, key)
) STRICT;

CREATE INDEX idempotency_keys_version ON idempotency_keys (version_id);
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);

CREATE TABLE service_tokens (
    token_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('service', 'user', 'admin')),
    account_id TEXT,
    user_id TEXT,
    token_hash BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
