//! What the plans are made over: tables with so many rows that a walk shows.

use cloakroom_application::ports::{StoreRecord, StoreRegistry};
use cloakroom_domain::{Bucket, BucketRule, StoreId};

use super::{
    super::{
        Database,
        session::args,
        sql::{Sql, sql},
    },
    ROWS,
};

/// Files of ten users in three accounts, a few of them in the trash, with two versions each. All that is left in one
/// store is to be removed.
const SEED_FILES: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
     INSERT INTO files (file_id, account_id, user_id, filename, visibility, metadata, media_type, media_family, \
     current_version_id, last_number, current_since, revision, created_at, updated_at, deleted_at, claim_by) \
     SELECT 'f' || i, 'a' || (i % 3), 'u' || (i % 10), 'name' || i, \
     CASE WHEN i % 5 = 0 THEN 'account' ELSE 'private' END, '{}', CASE WHEN i % 7 = 0 THEN 'image/png' \
     ELSE 'text/plain' END, CASE WHEN i % 7 = 0 THEN 'image/' ELSE 'text/' END, 'v' || i, 1, i, 1, i, i, \
     CASE WHEN i % 50 = 0 THEN i END, CASE WHEN i % 3 = 0 THEN i END FROM n"
};

const SEED_LINKS: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
     INSERT INTO links (link_id, file_id, disposition, uses, created_at, expires_at) SELECT 'l' || i, 'f' || (i % 400), \
     'inline', 0, i, ", NOW, " + i * CAST(1000000 AS BIGINT) - 100000000 FROM n"
};

const SEED_FOUND: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
     INSERT INTO reconcile_found (reconcile_id, file_id, is_trashed) SELECT 'r' || (i % 3), 'f' || i, FALSE FROM n"
};

const SEED_VERSIONS: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
     INSERT INTO file_versions (version_id, file_id, account_id, number, store_id, bucket, key, size, stored_size, \
     content_type, state, created_at, touched_at, delete_after) \
     SELECT 'v' || i, 'f' || i, 'a', CASE WHEN i % 30 <> 1 THEN 1 END, CASE i % 30 WHEN 0 THEN 't' ELSE 's' END, 'b' || (i % 9), 'k' || i, 1, 1, \
     'text/plain', CASE i % 30 WHEN 0 THEN 'deleting' WHEN 1 THEN 'pending' ELSE 'stored' END, i, i, \
     CASE WHEN i % 30 = 0 THEN ", NOW, " + i * CAST(1000000 AS BIGINT) - 100000000 END FROM n"
};

const SEED_KEYS: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
     INSERT INTO idempotency_keys (principal, key, fingerprint, version_id, locked_until, answer, expires_at) \
     SELECT 'p' || i, 'k', '', 'v' || i, i, '', ", NOW, " + i * CAST(1000000 AS BIGINT) - 100000000 FROM n"
};

/// Uploads of every kind and state, with the rows of their bodies; some are over or ended long ago.
const SEED_UPLOADS: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
     INSERT INTO uploads (upload_id, creator, kind, state, received, account_id, filename, visibility, metadata, \
     version_id, store_id, bucket, key, next_number, free_number, loose_below, held, generation, turn, created_at, \
     touched_at, expires_at, partials) SELECT 'u' || i, 'c', CASE WHEN i % 11 = 0 THEN 'partial' ELSE 'whole' END, CASE i % 4 \
     WHEN 0 THEN 'open' WHEN 1 THEN 'completing' WHEN 2 THEN 'finished' ELSE 'expired' END, 0, 'a', 'f', 'private', \
     '{}', 'w' || i, 's', 'b', 'w' || i, 1, 1, 1, i % 2 = 1, 0, 0, i, ", NOW, " + (i - 100) * CAST(1000000 AS \
     BIGINT), ", NOW, " + (i - 100) * CAST(1000000 AS BIGINT), CASE WHEN i % 20 = 0 THEN '[]' END FROM n"
};

const SEED_BODIES: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
     INSERT INTO file_versions (version_id, file_id, upload_id, account_id, store_id, bucket, key, state, created_at, \
     touched_at) SELECT 'w' || i, 'u' || i, 'u' || i, 'a', 's', 'b', 'w' || i, 'pending', 0, 0 FROM n"
};

/// Half of the bodies sealed, under two keys.
const SEED_SEALS: Sql = Sql {
    postgres: "UPDATE file_versions SET encoding = 'sealed-1', wrapped_key = decode(CASE WHEN substr(version_id, \
               2)::bigint % 3 = 0 THEN '0102020202020202020a' ELSE '0103030303030303030b' END, 'hex') WHERE \
               substr(version_id, 2)::bigint % 2 = 0",
    sqlite: "UPDATE file_versions SET encoding = 'sealed-1', wrapped_key = unhex(CASE WHEN substr(version_id, 2) % 3 = \
             0 THEN '0102020202020202020a' ELSE '0103030303030303030b' END) WHERE substr(version_id, 2) % 2 = 0",
};

const SEED_STRETCHES: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
     INSERT INTO upload_stretches (upload_id, start, size, number, tag) SELECT 'u' || (i % 20), i, 1, i, '' FROM n"
};

const SEED_FINDINGS: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
     INSERT INTO scrub_findings (version_id, damage, since, seen_at) SELECT 'v' || i, 'wrong_hash', i, i FROM n"
};

const SEED_BUCKETS: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1 / 10000) \
     INSERT INTO buckets (bucket, account_id, policy, created_at, updated_at) SELECT 'b' || i, 'a', '{}', 1, 1 FROM n"
};

const SEED_OBJECTS: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
     INSERT INTO objects (bucket, key, file_id) SELECT 'b' || (1 + i % 2), 'dir' || (i % 7) || '/' || i, 'f' || i FROM n"
};

pub(super) async fn seeded(database: Database) -> Database {
    database.migrate().await.unwrap();
    let store = StoreRecord {
        id: StoreId::random(),
        driver: "fs".to_owned(),
        buckets: BucketRule::Fixed(Bucket::parse("b").unwrap()),
        config: None,
        revision: 0,
        is_current: true,
    };
    database.seed(store).await.unwrap();
    let rows = i64::try_from(ROWS).unwrap();
    for seed in [
        SEED_FILES,
        SEED_VERSIONS,
        SEED_KEYS,
        SEED_UPLOADS,
        SEED_BODIES,
        SEED_SEALS,
        SEED_STRETCHES,
        SEED_LINKS,
        SEED_FOUND,
        SEED_FINDINGS,
        SEED_BUCKETS,
        SEED_OBJECTS,
    ] {
        let mut session = database.writer().await.unwrap();
        session.run(seed, args![rows]).await.unwrap();
    }
    database
}

pub(super) async fn analyze(database: &Database) {
    let mut session = database.writer().await.unwrap();
    session.run(sql!("ANALYZE"), args![]).await.unwrap();
}
