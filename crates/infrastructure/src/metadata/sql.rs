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
/// - `FOR_UPDATE`, `SKIP_LOCKED`: row locks; a writer of SQLite is alone anyway
/// - `FILES_TABLE`: how many tables are called `files` where ours would be
/// - `IMPORTED`: files to be taken over, as `r`, from the JSON array of objects in `$1`; `TOKEN_HASH`: of one of them
/// - `EACH`: a list, from the JSON array of texts in `$1`; `TEXTS`: the same as rows `texts.value`
/// - `LINK`: the columns of `LinkRow`; `RUN`: of `RunRow`
/// - `FILE`, `VERSION`: the columns of `FileRow` and of `VersionRow`; `TOKEN`: of `TokenRow`
/// - `ANY_VERSION`: the select of `AnyVersionRow`
/// - `UPLOAD`: the columns of `UploadRow`; `STRETCH`: the select of `StretchRow`
/// - `COMPLETING`: whether somebody makes a file of an upload and shows signs of life, with that lease in `$1`
/// - `HELD`: whether an upload is held by generation `$2`, with the lease in `$1`
/// - `EXPIRING`, `ENDED`: the conditions of the indexes over uploads
/// - `STRETCHES`: stretches to be kept, as `r`, from the JSON array of objects in `$1`
macro_rules! dialect {
    (postgres NOW) => { "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint" };
    (sqlite NOW) => { "CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000" };
    (postgres FOR_UPDATE) => { " FOR UPDATE" };
    (sqlite FOR_UPDATE) => { "" };
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
         file_versions.sha256, file_versions.crc64, file_versions.content_type, file_versions.created_at AS stored_at"
    };
    (postgres TEXTS) => { "jsonb_array_elements_text($1::jsonb) AS texts (value) " };
    (sqlite TEXTS) => { "json_each($1) AS texts " };
    ($_dialect:ident LINK) => {
        "link_id, file_id, version, disposition, max_uses, uses, created_at, expires_at"
    };
    ($_dialect:ident RUN) => {
        "reconcile_id, account_id, named, known, is_done, made_before, settled_until, is_settled, expires_at"
    };
    ($_dialect:ident TOKEN) => { "token_id, name, kind, account_id, user_id, created_at, revoked_at" };
    ($_dialect:ident ANY_VERSION) => {
        "SELECT v.version_id, v.file_id, f.file_id IS NOT NULL AS file_exists, \
         COALESCE(f.current_version_id = v.version_id, FALSE) AS is_current, v.state, v.store_id, v.bucket, v.key, \
         v.stored_size, v.sha256 FROM file_versions AS v LEFT JOIN files AS f ON f.file_id = v.file_id "
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
             uploads.next_number, uploads.hashes, uploads.held, uploads.generation, uploads.expires_at, uploads.failure"
        )
    };
    ($_dialect:ident STRETCH) => {
        "SELECT start, size, number, tag, version_id, store_id, bucket, key FROM upload_stretches WHERE upload_id = $1 "
    };
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
