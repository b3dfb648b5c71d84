-- Signed links, secrets that replicas share, files that have to be claimed, and runs of reconciling.

CREATE TABLE secrets (
    name TEXT COLLATE "C" PRIMARY KEY,
    value BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);

-- A link that was taken back has no row any more.
CREATE TABLE links (
    link_id TEXT COLLATE "C" PRIMARY KEY,
    file_id TEXT COLLATE "C" NOT NULL,
    -- NULL: the current one at each use.
    version BIGINT CHECK (version >= 1),
    disposition TEXT NOT NULL CHECK (disposition IN ('attachment', 'inline')),
    -- NULL: as often as one likes.
    max_uses BIGINT CHECK (max_uses >= 1),
    uses BIGINT NOT NULL CHECK (uses >= 0),
    last_used_at BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    CHECK (uses <= max_uses)
);

CREATE INDEX links_of_file ON links (file_id, created_at, link_id);
CREATE INDEX links_expiry ON links (expires_at, link_id);

-- When the file goes to the trash unless it is claimed; and whether it is there for that reason.
ALTER TABLE files ADD COLUMN claim_by BIGINT;
ALTER TABLE files ADD COLUMN unclaimed BOOLEAN NOT NULL DEFAULT FALSE;

CREATE INDEX files_to_claim ON files (claim_by, file_id) WHERE claim_by IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX files_of_account ON files (account_id, file_id);

CREATE TABLE reconciliations (
    reconcile_id TEXT COLLATE "C" PRIMARY KEY,
    account_id TEXT COLLATE "C" NOT NULL,
    -- How many ids were named, and how often one of a page was a file of the account.
    named BIGINT NOT NULL CHECK (named >= 0),
    known BIGINT NOT NULL CHECK (known >= 0),
    is_done BOOLEAN NOT NULL,
    made_before BIGINT NOT NULL,
    -- Up to which file it is settled what was found; empty before the first.
    settled_until TEXT COLLATE "C" NOT NULL,
    is_settled BOOLEAN NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX reconciliations_of_account ON reconciliations (account_id);
CREATE INDEX reconciliations_expiry ON reconciliations (expires_at);

CREATE TABLE reconcile_named (
    reconcile_id TEXT COLLATE "C" NOT NULL,
    file_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (reconcile_id, file_id)
);

CREATE TABLE reconcile_found (
    reconcile_id TEXT COLLATE "C" NOT NULL,
    file_id TEXT COLLATE "C" NOT NULL,
    is_trashed BOOLEAN NOT NULL,
    PRIMARY KEY (reconcile_id, file_id)
);
