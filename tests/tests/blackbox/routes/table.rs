//! Which route answers which caller with which status.

/// The kinds of caller, in the order of the columns.
pub const CALLERS: [&str; 9] = [
    "owner",
    "colleague",
    "stranger",
    "service",
    "foreign service",
    "admin",
    "guest",
    "refused",
    "anonymous",
];

pub type Statuses = [u16; CALLERS.len()];

/// What each caller gets of a private file, a file of the account and a public one.
pub struct Row {
    pub method: &'static str,
    pub path: &'static str,
    pub body: Option<&'static str>,
    pub private: Statuses,
    pub account: Statuses,
    pub public: Statuses,
}

const fn row(
    method: &'static str,
    path: &'static str,
    body: Option<&'static str>,
    private: Statuses,
    account: Statuses,
    public: Statuses,
) -> Row {
    Row {
        method,
        path,
        body,
        private,
        account,
        public,
    }
}

/// The same for every file, or of no file.
const fn alike(
    method: &'static str,
    path: &'static str,
    body: Option<&'static str>,
    all: Statuses,
) -> Row {
    row(method, path, body, all, all, all)
}

const READ_PRIVATE: Statuses = [200, 403, 403, 403, 403, 200, 403, 401, 401];
const READ_ACCOUNT: Statuses = [200, 200, 403, 200, 403, 200, 200, 401, 401];
const READ_PUBLIC: Statuses = [200, 200, 200, 200, 200, 200, 200, 401, 200];
const CHANGE: Statuses = READ_PRIVATE;
const GONE: Statuses = [204, 403, 403, 403, 403, 204, 403, 401, 401];
/// An upload is its creator's.
const UPLOAD_SEEN: Statuses = [200, 404, 404, 404, 404, 404, 404, 401, 401];
const UPLOAD_CHANGED: Statuses = [204, 404, 404, 404, 404, 404, 404, 401, 401];
/// A folder has no addresses to send bytes to.
const NOT_DIRECT: Statuses = [409, 409, 409, 409, 409, 422, 409, 401, 401];
const NO_DIRECT: Statuses = [404, 404, 404, 404, 404, 404, 404, 401, 401];
/// Of a bucket in which nobody was granted anything: as of none.
const UNGRANTED: Statuses = [404, 404, 404, 404, 404, 200, 404, 401, 401];
/// Of one in which both services were.
const GRANTED: Statuses = [404, 404, 404, 200, 200, 200, 404, 401, 401];
/// What is an admin's, and not hidden.
const UNLISTED: Statuses = [403, 403, 403, 403, 403, 200, 403, 401, 401];
const ANNOUNCED: Statuses = [204; CALLERS.len()];
const ANYBODY: Statuses = [200; CALLERS.len()];
const DIRECT: &str = r#"{"filename": "a", "size": 1, "content_type": "text/plain"}"#;
/// Without a file: 422 for those who may ask.
const EXPLAIN: Statuses = [403, 403, 403, 403, 403, 422, 403, 401, 401];
const OPERATOR: Statuses = [403, 403, 403, 403, 403, 200, 403, 401, 401];
const NOT_MOVING: Statuses = [403, 403, 403, 403, 403, 409, 403, 401, 401];
const NEVER_MOVED: Statuses = [403, 403, 403, 403, 403, 404, 403, 401, 401];

pub const TABLE: &[Row] = &[
    row(
        "get",
        "/objects/{bucket}",
        None,
        UNGRANTED,
        GRANTED,
        UNLISTED,
    ),
    row(
        "head",
        "/objects/{bucket}",
        None,
        UNGRANTED,
        GRANTED,
        UNLISTED,
    ),
    row(
        "get",
        "/objects/{bucket}/{key}",
        None,
        UNGRANTED,
        GRANTED,
        READ_PUBLIC,
    ),
    row(
        "head",
        "/objects/{bucket}/{key}",
        None,
        UNGRANTED,
        GRANTED,
        READ_PUBLIC,
    ),
    row(
        "put",
        "/objects/{bucket}/{key}",
        Some("x"),
        UNGRANTED,
        GRANTED,
        UNLISTED,
    ),
    row(
        "delete",
        "/objects/{bucket}/{key}",
        None,
        [404, 404, 404, 404, 404, 204, 404, 401, 401],
        [404, 404, 404, 204, 204, 204, 404, 401, 401],
        [403, 403, 403, 403, 403, 204, 403, 401, 401],
    ),
    alike("get", "/buckets", None, UNLISTED),
    alike("head", "/buckets", None, UNLISTED),
    alike("get", "/buckets/{bucket}", None, UNLISTED),
    alike("head", "/buckets/{bucket}", None, UNLISTED),
    alike("put", "/buckets/{bucket}", Some("{}"), UNLISTED),
    alike(
        "delete",
        "/buckets/{bucket}",
        None,
        [403, 403, 403, 403, 403, 204, 403, 401, 401],
    ),
    alike("get", "/health", None, ANYBODY),
    alike("head", "/health", None, ANYBODY),
    alike("get", "/health/live", None, ANYBODY),
    alike("head", "/health/live", None, ANYBODY),
    alike("get", "/health/ready", None, ANYBODY),
    alike("head", "/health/ready", None, ANYBODY),
    alike(
        "post",
        "/access/revoke",
        Some(r#"{"file_id": "x"}"#),
        [403, 403, 403, 204, 204, 204, 403, 401, 401],
    ),
    alike("get", "/access/explain", None, EXPLAIN),
    alike("head", "/access/explain", None, EXPLAIN),
    alike("get", "/scrub", None, OPERATOR),
    alike("head", "/scrub", None, OPERATOR),
    alike("get", "/metrics", None, OPERATOR),
    alike("head", "/metrics", None, OPERATOR),
    alike("get", "/backend-config", None, OPERATOR),
    alike("head", "/backend-config", None, OPERATOR),
    alike(
        "patch",
        "/backend-config",
        Some(r#"{"config": {"path": 1}}"#),
        EXPLAIN,
    ),
    alike(
        "post",
        "/migrate",
        Some(r#"{"driver": "none", "config": {}}"#),
        EXPLAIN,
    ),
    alike("delete", "/migrate", None, NOT_MOVING),
    alike("get", "/migrate/status", None, NEVER_MOVED),
    alike("head", "/migrate/status", None, NEVER_MOVED),
    alike(
        "get",
        "/files",
        None,
        [200, 200, 200, 200, 200, 200, 200, 401, 401],
    ),
    alike(
        "head",
        "/files",
        None,
        [200, 200, 200, 200, 200, 200, 200, 401, 401],
    ),
    alike(
        "post",
        "/files",
        Some("x"),
        [201, 201, 201, 201, 201, 422, 201, 401, 401],
    ),
    alike(
        "post",
        "/files/upload",
        Some("x"),
        [400, 400, 400, 400, 400, 400, 400, 401, 401],
    ),
    alike("options", "/files", None, ANNOUNCED),
    alike("options", "/files/uploads/{file_id}", None, ANNOUNCED),
    alike("head", "/files/uploads/{file_id}", None, UPLOAD_SEEN),
    alike("post", "/files/uploads/{file_id}", None, UPLOAD_SEEN),
    alike(
        "patch",
        "/files/uploads/{file_id}",
        Some("x"),
        UPLOAD_CHANGED,
    ),
    alike("delete", "/files/uploads/{file_id}", None, UPLOAD_CHANGED),
    alike("post", "/files/direct", Some(DIRECT), NOT_DIRECT),
    alike("get", "/files/direct/{file_id}", None, NO_DIRECT),
    alike("head", "/files/direct/{file_id}", None, NO_DIRECT),
    alike("delete", "/files/direct/{file_id}", None, NO_DIRECT),
    alike(
        "post",
        "/files/direct/{file_id}/complete",
        Some(r#"{"parts": []}"#),
        NO_DIRECT,
    ),
    row(
        "get",
        "/files/{file_id}",
        None,
        READ_PRIVATE,
        READ_ACCOUNT,
        READ_PUBLIC,
    ),
    row(
        "head",
        "/files/{file_id}",
        None,
        READ_PRIVATE,
        READ_ACCOUNT,
        READ_PUBLIC,
    ),
    row(
        "get",
        "/files/{file_id}/info",
        None,
        READ_PRIVATE,
        READ_ACCOUNT,
        READ_PUBLIC,
    ),
    row(
        "head",
        "/files/{file_id}/info",
        None,
        READ_PRIVATE,
        READ_ACCOUNT,
        READ_PUBLIC,
    ),
    row(
        "get",
        "/files/{file_id}/versions",
        None,
        READ_PRIVATE,
        READ_ACCOUNT,
        READ_PUBLIC,
    ),
    row(
        "head",
        "/files/{file_id}/versions",
        None,
        READ_PRIVATE,
        READ_ACCOUNT,
        READ_PUBLIC,
    ),
    row(
        "get",
        "/files/{file_id}/versions/{version}",
        None,
        READ_PRIVATE,
        READ_ACCOUNT,
        READ_PUBLIC,
    ),
    row(
        "head",
        "/files/{file_id}/versions/{version}",
        None,
        READ_PRIVATE,
        READ_ACCOUNT,
        READ_PUBLIC,
    ),
    alike("put", "/files/{file_id}", Some("x"), CHANGE),
    alike("patch", "/files/{file_id}/info", Some("{}"), CHANGE),
    alike("post", "/files/{file_id}/restore", None, CHANGE),
    alike(
        "post",
        "/files/{file_id}/versions/{version}/restore",
        None,
        CHANGE,
    ),
    alike(
        "post",
        "/files/reconcile",
        Some("{}"),
        [403, 403, 403, 200, 200, 422, 403, 401, 401],
    ),
    alike(
        "post",
        "/files/{file_id}/claim",
        None,
        [403, 403, 403, 200, 403, 200, 403, 401, 401],
    ),
    alike("get", "/files/{file_id}/links", None, CHANGE),
    alike("head", "/files/{file_id}/links", None, CHANGE),
    alike(
        "post",
        "/files/{file_id}/links",
        Some("{}"),
        [201, 403, 403, 403, 403, 201, 403, 401, 401],
    ),
    alike(
        "delete",
        "/files/{file_id}/links/{link_id}",
        None,
        [404, 403, 403, 403, 403, 404, 403, 401, 401],
    ),
    alike("delete", "/files/{file_id}/versions/{version}", None, GONE),
    alike("delete", "/files/{file_id}", None, GONE),
];
