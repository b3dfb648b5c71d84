//! SQL as one body for both dialects: what differs is a named piece.

/// A statement in both dialects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sql {
    pub(super) postgres: &'static str,
    pub(super) sqlite: &'static str,
}

/// Puts a statement together from texts and the named pieces of [`dialect!`].
macro_rules! sql {
    ($($piece:tt),+ $(,)?) => {
        $crate::metadata::sql::Sql {
            postgres: concat!($($crate::metadata::sql::dialect!(postgres $piece)),+),
            sqlite: concat!($($crate::metadata::sql::dialect!(sqlite $piece)),+),
        }
    };
}

/// The pieces in which the dialects differ, and the lists of columns.
///
/// - `NOW`: the database's clock in microseconds, as of the start of the statement so that an index can be asked with it
/// - `FOR_UPDATE`, `FOR_SHARE`, `FOR_UPDATE_OF_FILES`, `SKIP_LOCKED`: row locks; a writer of SQLite is alone anyway
/// - `MIGRATING`: whether a migration is under way; `MIGRATION`: the select of `MigrationRow`, as `m`
/// - `FILES_TABLE`: how many tables are called `files` where ours would be
/// - `IMPORTED`: files to be taken over, as `r`, from the JSON array of objects in `$1`; `TOKEN_HASH`: of one of them
/// - `EACH`: a list, from the JSON array of texts in `$1`; `TEXTS`: the same as rows `texts.value`
/// - `LINK`: the columns of `LinkRow`; `RUN`: of `RunRow`; `BUCKET`: of `BucketRow`
/// - `NOT_AN_OBJECT`: whether no bucket owns the file `f`
/// - `FILE`, `VERSION`: the columns of `FileRow` and of `VersionRow`; `TOKEN`: of `TokenRow`
/// - `ANY_VERSION`: the select of `AnyVersionRow`
/// - `UPLOAD`: the columns of `UploadRow`; `STRETCH`: the select of `StretchRow`
/// - `COMPLETING`: whether somebody makes a file of an upload and shows signs of life, with that lease in `$1`
/// - `HELD`: whether an upload is held by generation `$2`, with the lease in `$1`
/// - `EXPIRING`, `ENDED`: the conditions of the indexes over uploads
/// - `RESEALED`: keys of bodies to be kept, as `r`, from the JSON array of objects in `$1`
/// - `SWITCHES`: bodies and the copies that take their places, as `r`, from the JSON array of objects in `$1`;
///   `TO_SWITCH`: the ids of the bodies, as a list
/// - `STRETCHES`: stretches to be kept, as `r`, from the JSON array of objects in `$1`
macro_rules! dialect {
    (postgres NOW) => { "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint" };
    (sqlite NOW) => { "CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000" };
    (postgres FOR_UPDATE) => { " FOR UPDATE" };
    (sqlite FOR_UPDATE) => { "" };
    (postgres FOR_UPDATE_OF_FILES) => { " FOR UPDATE OF files" };
    (sqlite FOR_UPDATE_OF_FILES) => { "" };
    (postgres SKIP_LOCKED) => { " FOR UPDATE SKIP LOCKED" };
    (sqlite SKIP_LOCKED) => { "" };
    (postgres EACH) => { "= ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)))" };
    (sqlite EACH) => { "IN (SELECT value FROM json_each($1))" };
    (postgres MIGRATIONS_TABLE) => {
        "SELECT count(*) FROM pg_catalog.pg_class WHERE oid = to_regclass('_sqlx_migrations')"
    };
    (sqlite MIGRATIONS_TABLE) => {
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'"
    };
    (postgres FILES_TABLE) => { "SELECT count(*) FROM pg_catalog.pg_class WHERE oid = to_regclass('files')" };
    (sqlite FILES_TABLE) => { "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'files'" };
    (postgres IMPORTED) => {
        "jsonb_to_recordset($1::jsonb) AS r (version_id text, file_id text, account_id text, user_id text, \
         token text, filename text, store_id text, bucket text, key text, size bigint, content_type text, \
         media_type text, media_family text, created_at bigint) "
    };
    (sqlite IMPORTED) => {
        "(SELECT value ->> 'version_id' AS version_id, value ->> 'file_id' AS file_id, value ->> 'account_id' AS \
         account_id, value ->> 'user_id' AS user_id, value ->> 'token' AS token, value ->> 'filename' AS filename, \
         value ->> 'store_id' AS store_id, value ->> 'bucket' AS bucket, value ->> 'key' AS key, value ->> 'size' AS \
         size, value ->> 'content_type' AS content_type, value ->> 'media_type' AS media_type, value ->> \
         'media_family' AS media_family, value ->> 'created_at' AS created_at FROM json_each($1)) AS r "
    };
    (postgres TOKEN_HASH) => { "decode(r.token, 'hex')" };
    (sqlite TOKEN_HASH) => { "unhex(r.token)" };
    ($_dialect:ident FILE) => {
        "files.file_id, files.account_id, files.user_id, files.owner_token_hash, files.filename, files.visibility, files.metadata, \
         files.current_version_id, files.last_number, files.current_since, files.revision, files.created_at, files.updated_at, files.deleted_at, \
         files.claim_by"
    };
    ($_dialect:ident VERSION) => {
        "file_versions.version_id, file_versions.number, file_versions.store_id, file_versions.bucket, file_versions.key, file_versions.size, file_versions.stored_size, file_versions.encoding, file_versions.wrapped_key, \
         file_versions.sha256, file_versions.crc64, file_versions.tagged_by_id, file_versions.content_type, file_versions.created_at AS stored_at"
    };
    (postgres TEXTS) => { "jsonb_array_elements_text($1::jsonb) AS texts (value) " };
    (sqlite TEXTS) => { "json_each($1) AS texts " };
    ($_dialect:ident LINK) => {
        "link_id, file_id, version, disposition, max_uses, uses, created_at, expires_at"
    };
    ($_dialect:ident BUCKET) => { "bucket, account_id, policy, created_at, updated_at" };
    // The letters are "cloakroom bucket" in hexadecimal.
    ($_dialect:ident NOT_AN_OBJECT) => { "f.owned_by NOT LIKE 't636c6f616b726f6f6d206275636b6574%'" };
    ($_dialect:ident RUN) => {
        "reconcile_id, account_id, named, known, is_done, made_before, settled_until, is_settled, expires_at"
    };
    ($_dialect:ident TOKEN) => { "token_id, name, kind, account_id, user_id, created_at, revoked_at" };
    ($_dialect:ident ANY_VERSION) => {
        "SELECT v.version_id, v.file_id, f.file_id IS NOT NULL AS file_exists, \
         COALESCE(f.current_version_id = v.version_id, FALSE) AS is_current, v.state, v.store_id, v.bucket, v.key, \
         v.size, v.stored_size, v.encoding, v.wrapped_key, v.sha256 FROM file_versions AS v LEFT JOIN files AS f ON f.file_id = v.file_id "
    };
    (postgres FOR_SHARE) => { " FOR SHARE" };
    (sqlite FOR_SHARE) => { "" };
    ($_dialect:ident MIGRATING) => { "state IN ('validating', 'copying', 'draining')" };
    ($_dialect:ident MIGRATION) => {
        "SELECT m.migration_id, m.store_id, m.cleanup, m.state, m.failure, m.generation, m.started_at, m.finished_at, \
         (SELECT CAST(COALESCE(sum(c.objects), 0) AS BIGINT) FROM migration_counts AS c WHERE c.migration_id = \
         m.migration_id) AS objects, (SELECT CAST(COALESCE(sum(c.bytes), 0) AS BIGINT) FROM migration_counts AS c WHERE \
         c.migration_id = m.migration_id) AS bytes, (SELECT count(*) FROM migration_failures AS f WHERE f.migration_id \
         = m.migration_id) AS failures FROM migrations AS m"
    };
    ($_dialect:ident EXPIRING) => {
        "(uploads.state IN ('open', 'completing') OR (uploads.state = 'finished' AND uploads.kind = 'partial'))"
    };
    ($_dialect:ident ENDED) => {
        "(uploads.state IN ('failed', 'expired', 'terminated') OR (uploads.state = 'finished' AND uploads.kind <> \
         'partial'))"
    };
    ($dialect:ident COMPLETING) => {
        concat!(
            "(uploads.state = 'completing' AND uploads.held AND uploads.touched_at > ",
            $crate::metadata::sql::dialect!($dialect NOW), " - $1)"
        )
    };
    ($dialect:ident HELD) => {
        concat!(
            "uploads.generation = $2 AND uploads.held AND uploads.state IN ('open', 'completing') AND \
             (uploads.expires_at > ", $crate::metadata::sql::dialect!($dialect NOW), " OR ",
            $crate::metadata::sql::dialect!($dialect COMPLETING), ")"
        )
    };
    ($dialect:ident UPLOAD) => {
        concat!(
            "uploads.upload_id, uploads.creator, uploads.kind, CASE WHEN ",
            $crate::metadata::sql::dialect!($dialect EXPIRING), " AND uploads.expires_at <= ",
            $crate::metadata::sql::dialect!($dialect NOW), " AND NOT ",
            $crate::metadata::sql::dialect!($dialect COMPLETING), " THEN 'expired' ELSE uploads.state END AS state, \
             uploads.received, uploads.length, uploads.account_id, uploads.user_id, uploads.owner_token_hash, \
             uploads.filename, uploads.declared_type, uploads.visibility, uploads.metadata, uploads.digest, \
             uploads.described, uploads.version_id, uploads.store_id, uploads.bucket, uploads.key, uploads.write_id, \
             uploads.next_number, uploads.hashes, uploads.held, uploads.generation, uploads.expires_at, uploads.failure, \
             uploads.used_by, \
             (SELECT v.encoding FROM file_versions AS v WHERE v.version_id = uploads.version_id) AS encoding, \
             (SELECT v.wrapped_key FROM file_versions AS v WHERE v.version_id = uploads.version_id) AS wrapped_key"
        )
    };
    ($_dialect:ident STRETCH) => {
        "SELECT start, size, number, tag, version_id, store_id, bucket, key, (SELECT v.encoding FROM file_versions AS v \
         WHERE v.version_id = upload_stretches.version_id) AS encoding, (SELECT v.wrapped_key FROM file_versions AS v \
         WHERE v.version_id = upload_stretches.version_id) AS wrapped_key FROM upload_stretches WHERE upload_id = $1 "
    };
    (postgres RESEALED) => {
        "(SELECT version_id, decode(was, 'hex') AS was, decode(becomes, 'hex') AS becomes FROM \
         jsonb_to_recordset($1::jsonb) AS j (version_id text, was text, becomes text)) AS r"
    };
    (sqlite RESEALED) => {
        "(SELECT value ->> 'version_id' AS version_id, unhex(value ->> 'was') AS was, unhex(value ->> 'becomes') AS \
         becomes FROM json_each($1)) AS r"
    };
    (postgres SWITCHES) => {
        "(SELECT version_id, copy_id, file_id, account_id, from_store, from_bucket, from_key, size, stored_size, store_id, \
         bucket, key, encoding, decode(wrapped_key, 'hex') AS wrapped_key, delay FROM jsonb_to_recordset($1::jsonb) AS j (version_id \
         text, copy_id text, file_id text, account_id text, from_store text, from_bucket text, from_key text, size bigint, stored_size bigint, store_id \
         text, bucket text, key text, encoding text, wrapped_key text, delay bigint)) AS r"
    };
    (sqlite SWITCHES) => {
        "(SELECT value ->> 'version_id' AS version_id, value ->> 'copy_id' AS copy_id, value ->> 'file_id' \
         AS file_id, value ->> 'account_id' AS account_id, value ->> 'from_store' AS \
         from_store, value ->> 'from_bucket' AS from_bucket, value ->> 'from_key' AS from_key, value ->> 'size' AS size, \
         value ->> 'stored_size' AS stored_size, value ->> 'store_id' AS store_id, value ->> 'bucket' AS bucket, value \
         ->> 'key' AS key, value ->> 'encoding' AS encoding, unhex(value ->> 'wrapped_key') AS wrapped_key, value ->> \
         'delay' AS delay FROM json_each($1)) AS r"
    };
    (postgres TO_SWITCH) => { "= ANY (ARRAY(SELECT jsonb_array_elements($1::jsonb) ->> 'version_id'))" };
    (sqlite TO_SWITCH) => { "IN (SELECT value ->> 'version_id' FROM json_each($1))" };
    (postgres STRETCHES) => {
        "jsonb_to_recordset($1::jsonb) AS r (start bigint, size bigint, number bigint, tag text, version_id text, store_id \
         text, bucket text, key text)"
    };
    (sqlite STRETCHES) => {
        "(SELECT value ->> 'start' AS start, value ->> 'size' AS size, value ->> 'number' AS number, value ->> 'tag' AS \
         tag, value ->> 'version_id' AS version_id, value ->> 'store_id' AS store_id, value ->> 'bucket' AS bucket, \
         value ->> 'key' AS key FROM json_each($1)) AS r"
    };
    ($_dialect:ident $text:literal) => { $text };
}

pub(super) use {dialect, sql};
