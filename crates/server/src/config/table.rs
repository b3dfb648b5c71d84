//! Every setting, once: its name, kind, default and example, with its description as the documentation of its field.
//! Reading, `config show`, the check of unknown names and `docs/configuration.md` all come from here.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use cloakroom_application::ports::RatePolicy;
use cloakroom_domain::{Action, Bucket, KeyId};
use cloakroom_infrastructure::{
    jwt::Algorithm, permission::PermissionProtocol, sealing::MasterKeys,
};
use cloakroom_presentation::Offload;
use ipnet::IpNet;

use super::{
    declare::{Absent, Group, Setting, settings},
    kinds::{self, Driver, LogFormat},
    problem::Problem,
    secret::Secret,
    values::Values,
};

settings! {
    /// Where the service listens, and what it is called from outside.
    http: Http, "Addresses" {
        /// The address and port to listen at. Beyond this machine only outside development mode.
        listen: SocketAddr = "CLOAKROOM_LISTEN", ADDRESS,
            default "127.0.0.1:8080", example "0.0.0.0:8080";
        /// The address of the files API as clients know it, with the mount: `Location` and `public_url` start with it.
        public_url: Option<String> = "CLOAKROOM_PUBLIC_URL", WEB_ADDRESS,
            unset "`http://`, the address listened at, and the mount", example "https://example.com/files";
        /// The path of the files API. `/` where a proxy strips the prefix.
        mount: String = "CLOAKROOM_MOUNT", MOUNT,
            default "/files", example "/";
        /// The web application's address. Where it is set, a browser that navigates to a file and may not have it is
        /// sent to the application's pages `/auth/signin/` and `/error/`.
        frontend_url: Option<String> = "CLOAKROOM_FRONTEND_URL", WEB_ADDRESS,
            unset "errors are answered in place", example "https://app.example.com";
        /// `Strict-Transport-Security` with this `max-age` on every answer. Only where all of the host is on HTTPS.
        hsts: Option<Duration> = "CLOAKROOM_HSTS", DURATION_OR_OFF,
            default "off", example "8760h";
        /// `Cross-Origin-Resource-Policy` of downloads: which pages may show files with `<img>` and the like.
        corp: Option<&'static str> = "CLOAKROOM_CORP", RESOURCE_POLICY,
            unset "`same-site`, or `cross-origin` where an allowed origin is of another site", example "cross-origin";
        /// How long caches may keep public files without asking. `0s`: they ask each time, and a new version or a
        /// change of visibility shows at once. Other files are never kept without asking.
        public_cache: Duration = "CLOAKROOM_PUBLIC_CACHE", DURATION,
            default "0s", example "1h";
    }

    /// Where metadata is.
    database: Database, "Database" {
        /// PostgreSQL (13 or later), or a SQLite file for a single `cloakroom serve`.
        url: Option<Secret> = "CLOAKROOM_DATABASE_URL", DATABASE,
            unset "`sqlite://`, the data folder, and `/cloakroom.db`", example "postgres://cloakroom:password@db/cloakroom";
        /// The schema of PostgreSQL that the tables are in, made if it is not there: for a database that holds another
        /// application's tables, too.
        schema: Option<String> = "CLOAKROOM_DATABASE_SCHEMA", SCHEMA,
            unset "the first of the user's search path, as a rule `public`", example "cloakroom";
        /// At most so many connections to PostgreSQL, at least 2; a quarter of them is kept for reads, and one more listens
        /// for changes. SQLite has its own few.
        connections: u32 = "CLOAKROOM_DATABASE_CONNECTIONS", CONNECTIONS,
            default "16", example "32";
        /// So many files' metadata are kept in memory, about 1 KiB each. What other replicas change is heard of from
        /// PostgreSQL, and nothing is kept for longer than 5 s.
        file_cache: u64 = "CLOAKROOM_FILE_CACHE", ENTRIES,
            default "10000", example "100000";
    }

    /// Another service's files, taken over.
    import: Import, "Import" {
        /// The database with the FastAPI service's table `files`, for `cloakroom import pneumatic`. It is only read.
        database_url: Option<Secret> = "CLOAKROOM_IMPORT_DATABASE_URL", DATABASE,
            unset "the service's own database", example "postgres://pneumatic:password@file-postgres/pneumatic";
    }

    /// Where bytes are.
    store: Store, "Store" {
        /// The folder for the SQLite file, the `fs` store's objects (under `objects`) and the development tokens.
        /// Made with mode 0700 if it is not there.
        data_dir: PathBuf = "CLOAKROOM_DATA_DIR", FOLDER,
            default "./data", example "/var/lib/cloakroom";
        /// Where new bytes go when the service first starts on a database: `fs`, the data folder, or `s3`. From then
        /// on the database knows, and a start says so if this differs.
        driver: Driver = "CLOAKROOM_STORE", DRIVER,
            default "fs", example "s3";
        /// The address of an S3 server other than Amazon's.
        s3_endpoint: Option<String> = "CLOAKROOM_S3_ENDPOINT", WEB_ADDRESS,
            unset "Amazon S3 in the region", example "https://s3.example.com";
        /// One bucket for everything. Made if it is not there.
        s3_bucket: Option<Bucket> = "CLOAKROOM_S3_BUCKET", BUCKET,
            unset "`CLOAKROOM_S3_BUCKET_PREFIX` is needed", example "cloakroom";
        /// A bucket for each account, `{prefix}-{account}`. Made when first written to.
        s3_bucket_prefix: Option<String> = "CLOAKROOM_S3_BUCKET_PREFIX", BUCKET_PREFIX,
            unset "`CLOAKROOM_S3_BUCKET` is needed", example "attachments";
        /// The region that requests are signed for.
        s3_region: String = "CLOAKROOM_S3_REGION", REGION,
            default "us-east-1", example "eu-central-1";
        /// The access key's id.
        s3_access_key_id: Option<Secret> = "CLOAKROOM_S3_ACCESS_KEY_ID", SECRET,
            unset "needed for `s3`", example "AKIAIOSFODNN7EXAMPLE";
        /// The access key's secret.
        s3_secret_access_key: Option<Secret> = "CLOAKROOM_S3_SECRET_ACCESS_KEY", SECRET,
            unset "needed for `s3`", example "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        /// The bucket's name in the path of requests, rather than in the name of the host.
        s3_path_style: Option<bool> = "CLOAKROOM_S3_PATH_STYLE", SWITCH,
            unset "`on` with `CLOAKROOM_S3_ENDPOINT`, else `off`", example "off";
        /// The public store address for presigned URLs: where browsers that send straight to the store reach it.
        /// Everything else goes to `CLOAKROOM_S3_ENDPOINT`. Buckets that are made let pages of
        /// `CLOAKROOM_ALLOWED_ORIGINS` and of the web application send to them; a bucket of your own needs a CORS rule
        /// that allows `PUT` and exposes `ETag`.
        s3_public_endpoint: Option<String> = "CLOAKROOM_S3_PUBLIC_ENDPOINT", WEB_ADDRESS,
            unset "the address that the service itself uses", example "https://s3.example.com";
    }

    /// What the bytes in stores are sealed with, and what is kept of stores themselves.
    encryption: Encryption, "Encryption" {
        /// Master keys, as `cloakroom encryption new-key` prints them, with white space between: new files are sealed
        /// under the first one, and what was sealed under any of them can be read. The same on every replica. What was
        /// stored without a key stays as it is. See `docs/encryption.md`.
        keys: Option<MasterKeys> = "CLOAKROOM_ENCRYPTION_KEY", MASTER_KEYS,
            unset "new files are stored as they are", example "the output of `cloakroom encryption new-key`";
        /// The ids of master keys that are lost for good. The service does not start without a key that files are
        /// sealed under, unless it is named here; those files stay unreadable.
        lost_keys: Option<Vec<KeyId>> = "CLOAKROOM_ENCRYPTION_LOST_KEYS", KEY_IDS,
            unset "every key that is in use is needed", example "0123456789abcdef";
        /// What configurations of stores are sealed with that are given over HTTP or by `cloakroom storage migrate`,
        /// written as the master keys are. The same on every replica. With SQLite a key is made at the first start and
        /// kept in `config.key` in the data folder.
        config_keys: Option<MasterKeys> = "CLOAKROOM_CONFIG_KEY", MASTER_KEYS,
            unset "`config.key` with SQLite; with PostgreSQL stores cannot be changed", example "the output of `cloakroom encryption new-key`";
    }

    /// Who may call.
    access: Access, "Access" {
        /// The operator's token, that travels as `Authorization: Bearer`. Where neither this nor Redis nor a key is
        /// configured, the service runs in development mode: it makes an admin and a user token, keeps them in
        /// `development-tokens.json` in the data folder, accepts them in the cookie `token` as well, and listens on
        /// this machine only.
        admin_token: Option<Secret> = "CLOAKROOM_ADMIN_TOKEN", ADMIN_TOKEN,
            unset "nobody is admin but in development mode", example "the output of `openssl rand -hex 32`";
        /// The backend's secret key (Django's `SECRET_KEY`): the salt of the keys under which its tokens are kept in
        /// Redis, and what guest JWTs are signed with.
        auth_secret_key: Option<Secret> = "CLOAKROOM_AUTH_SECRET_KEY", SECRET_KEY,
            unset "needed with `CLOAKROOM_REDIS_URL`", example "the backend's `SECRET_KEY`";
        /// What the backend's cache puts before its keys in Redis; Django's own is `{KEY_PREFIX}:{VERSION}:`.
        auth_key_prefix: String = "CLOAKROOM_AUTH_KEY_PREFIX", KEY_PREFIX,
            default ":1:", example "app:1:";
        /// How many rounds of PBKDF2-HMAC-SHA256 lie between a token and its key in Redis.
        auth_token_iterations: u32 = "CLOAKROOM_AUTH_TOKEN_ITERATIONS", ROUNDS,
            default "1", example "100000";
        /// How long a token that was found in Redis is good without asking again. Redis says at once when it is
        /// gone; where it cannot (before Redis 6, or not allowed to), a second is the most.
        auth_cache_ttl: Duration = "CLOAKROOM_AUTH_CACHE_TTL", CACHE_TTL,
            default "30s", example "5s";
    }

    /// The Redis that the backend keeps its tokens in.
    redis: Redis, "Redis" {
        /// Redis 6 or later, where the backend's cache is: `redis://`, or `rediss://` for TLS.
        url: Option<Secret> = "CLOAKROOM_REDIS_URL", REDIS,
            unset "the backend's tokens are not known", example "redis://:password@redis:6379/1";
    }

    /// Users who come with a JWT of an identity provider. Only with a key or a key set.
    jwt: Jwt, "JWTs of users" {
        /// The key that the tokens of users are checked with: a shared secret for HS256, HS384 and HS512, or a public
        /// key in PEM for RS* and PS* (RSA), ES256 (P-256), ES384 (P-384) or EdDSA (Ed25519). What kind of key it is
        /// decides which of them count.
        key: Option<Secret> = "CLOAKROOM_JWT_KEY", JWT_KEY,
            unset "no configured key", example "the output of `openssl rand -hex 32`";
        /// Where the issuer publishes its keys. They are fetched at the start, every 5 minutes, and for a key that is
        /// not known yet at most every 5 seconds; while the issuer is down they are used for 24 hours.
        jwks_url: Option<String> = "CLOAKROOM_JWT_JWKS_URL", KEY_SET_ADDRESS,
            unset "no key set", example "https://id.example.com/.well-known/jwks.json";
        /// The only algorithms that count, of those that the kind of the key allows.
        algorithms: Option<Vec<Algorithm>> = "CLOAKROOM_JWT_ALGORITHMS", JWT_ALGORITHMS,
            unset "all that the kind of the key allows", example "RS256,ES256";
        /// The issuer (`iss`) that tokens must name.
        issuer: Option<String> = "CLOAKROOM_JWT_ISSUER", CLAIM,
            unset "any", example "https://id.example.com/";
        /// The audience (`aud`) that tokens must name, alone or among others.
        audience: Option<String> = "CLOAKROOM_JWT_AUDIENCE", CLAIM,
            unset "tokens that name one are refused", example "files";
        /// The claim that names the user.
        user_claim: String = "CLOAKROOM_JWT_USER_CLAIM", CLAIM,
            default "sub", example "user_id";
        /// The claim that names the account.
        account_claim: String = "CLOAKROOM_JWT_ACCOUNT_CLAIM", CLAIM,
            default "account_id", example "https://example.com/account";
    }

    /// What pages in a browser may do.
    browsers: Browsers, "Browsers" {
        /// The origins whose pages may read answers and, with cookies, change things. `CLOAKROOM_FRONTEND_URL`'s is
        /// one of them anyway.
        allowed_origins: Option<Vec<String>> = "CLOAKROOM_ALLOWED_ORIGINS", ORIGINS,
            unset "none; in development mode, and without `CLOAKROOM_FRONTEND_URL`, every page of this machine",
            example "https://app.example.com,https://forms.example.com";
        /// The path of the web application's page for signing in, below `CLOAKROOM_FRONTEND_URL`.
        sign_in_path: String = "CLOAKROOM_SIGN_IN_PATH", PAGE_PATH,
            default "/auth/signin/", example "/login";
        /// The path of its page for any other error.
        error_path: String = "CLOAKROOM_ERROR_PATH", PAGE_PATH,
            default "/error/", example "/oops";
    }

    /// How much each caller may ask for.
    rates: Rates, "Rate limits" {
        /// Whether anything is limited. Counted by principal, or by the client's address where there is none; by all
        /// replicas together where there is `CLOAKROOM_REDIS_URL`.
        enabled: bool = "CLOAKROOM_RATE_LIMIT", SWITCH,
            default "on", example "off";
        /// Uploads begun: so many at once, and as many in each such time in the long run.
        upload: RatePolicy = "CLOAKROOM_RATE_LIMIT_UPLOAD", RATE,
            default "60/60s", example "10/60s";
        /// Requests for bytes, `HEAD` and ranges too.
        download: RatePolicy = "CLOAKROOM_RATE_LIMIT_DOWNLOAD", RATE,
            default "1200/60s", example "100/1s";
        /// Refused credentials, by the client's address. Once used up, credentials from there are looked up only if
        /// they were accepted a while ago.
        auth_failure: RatePolicy = "CLOAKROOM_RATE_LIMIT_AUTH_FAILURE", RATE,
            default "20/60s", example "5/10m";
    }

    /// The application that is asked where the rules of the service do not decide.
    permission: Permission, "Permissions" {
        /// Where the application answers who may do what. It is asked with the caller's own credential, and about no
        /// caller with a token of this service.
        url: Option<String> = "CLOAKROOM_PERMISSION_URL", ENDPOINT,
            unset "nobody is asked: private files are for their owners", example "http://backend:8000/attachments/check-permission";
        /// What it answers for, of `read`, `write`, `delete` and `share`; everything else is no, unasked. Backends of
        /// the service before this one answer for reading, whatever `action` says.
        actions: Vec<Action> = "CLOAKROOM_PERMISSION_ACTIONS", ACTIONS,
            default "read", example "read,write,delete";
        /// `form`: one question a request, answered by the status. `batch`: JSON with up to 100 questions of the same
        /// credential.
        protocol: PermissionProtocol = "CLOAKROOM_PERMISSION_PROTOCOL", PERMISSION_PROTOCOL,
            default "form", example "batch";
        /// The longest that a caller waits for an answer, its turn included; then 504 EXT_004.
        timeout: Duration = "CLOAKROOM_PERMISSION_TIMEOUT", PATIENCE,
            default "3s", example "1500ms";
        /// Questions at a time; others wait for their turn.
        concurrency: usize = "CLOAKROOM_PERMISSION_CONCURRENCY", QUESTIONS,
            default "64", example "16";
        /// So many answers are kept in memory, about 300 bytes each.
        cache: u64 = "CLOAKROOM_PERMISSION_CACHE", ENTRIES,
            default "50000", example "200000";
    }

    /// The proxy in front.
    proxy: Proxy, "Proxy" {
        /// Addresses and networks of the proxies in front, which are believed where a request came from: by
        /// `X-Real-IP`, which they must set themselves, else by `X-Forwarded-For`.
        trusted: Option<Vec<IpNet>> = "CLOAKROOM_TRUSTED_PROXIES", NETWORKS,
            unset "nobody is believed", example "127.0.0.1,10.0.0.0/8,fd00::/8";
        /// `x-accel`: a trusted nginx that includes `nginx/offload.conf` sends the bodies of downloads above 64 KiB by
        /// itself, from the folder of the `fs` store or from S3. The service decides and says so in headers, which
        /// `CLOAKROOM_TRUSTED_PROXIES` are told and nobody else.
        offload: Offload = "CLOAKROOM_OFFLOAD", OFFLOAD,
            default "off", example "x-accel";
    }

    /// Links that let whoever has one read a file.
    links: SignedLinks, "Signed links" {
        /// How long a link is good for, unless whoever makes it says so.
        lifetime: Duration = "CLOAKROOM_LINK_LIFETIME", SECONDS_OR_MORE,
            default "24h", example "1h";
        /// The longest that a link may be good for.
        max_lifetime: Duration = "CLOAKROOM_LINK_MAX_LIFETIME", SECONDS_OR_MORE,
            default "720h", example "168h";
        /// What links are signed with, the same on every replica. With another key, links that were made before are
        /// refused.
        key: Option<Secret> = "CLOAKROOM_LINK_KEY", LINK_KEY,
            unset "a random key, made once and kept in the database", example "the output of `openssl rand -hex 32`";
    }

    /// What the application never used.
    claims: Claiming, "Claim or expire" {
        /// Files that are uploaded from now on go to the trash after so long, unless the application claims them
        /// (`POST /files/{id}/claim`). `off`: none has to be claimed, and none expires.
        time: Option<Duration> = "CLOAKROOM_CLAIM_TIME", CLAIM_TIME,
            default "off", example "24h";
        /// Files younger than this, or than `CLOAKROOM_CLAIM_TIME`, are never found to be without use by
        /// `POST /files/reconcile`.
        reconcile_age: Duration = "CLOAKROOM_RECONCILE_AGE", DURATION,
            default "24h", example "72h";
    }

    /// A look at the running service from outside.
    doctor: Doctor, "Doctor" {
        /// The token that `cloakroom doctor` looks with; `--token-file` comes before it. The service has no use for it.
        token: Option<Secret> = "CLOAKROOM_DOCTOR_TOKEN", SECRET,
            unset "`--token-file` is needed", example "the output of `cloakroom token create`";
    }

    /// Bounds.
    limits: Limits, "Limits" {
        /// The largest file.
        max_file_size: u64 = "CLOAKROOM_MAX_FILE_SIZE", FILE_SIZE,
            default "104857600", example "5GiB";
        /// Requests in hand at once; more are answered 503 INFRA_001 at once.
        max_requests: usize = "CLOAKROOM_MAX_REQUESTS", REQUESTS,
            default "4096", example "10000";
        /// Memory for bodies on their way to the store, shared by all uploads. Whoever finds it used up waits. A file in
        /// S3 measures at most 3,750 times as much.
        upload_buffer: u32 = "CLOAKROOM_UPLOAD_BUFFER", UPLOAD_BUFFER,
            default "48MiB", example "256MiB";
        /// Memory for large reads, shared by all downloads. Whoever finds it used up reads in small steps.
        read_buffer: u32 = "CLOAKROOM_READ_BUFFER", READ_BUFFER,
            default "64MiB", example "128MiB";
        /// Memory for small bodies that are read often, so that they are read from the store once. Bodies of more
        /// than 1 MiB, or a sixteenth of this, are not kept. `0` keeps none.
        memory_cache: u32 = "CLOAKROOM_MEMORY_CACHE", READ_BUFFER,
            default "64MiB", example "1GiB";
        /// Threads that serve requests; 0 for as many as there are cores.
        workers: usize = "CLOAKROOM_WORKERS", WORKERS,
            default "0", example "4";
        /// How long requests in flight may take to end once the service is told to stop.
        shutdown_timeout: Duration = "CLOAKROOM_SHUTDOWN_TIMEOUT", SECONDS_OR_MORE,
            default "30s", example "2m";
    }

    /// How everything is moved to another store.
    migration: Migration, "Moving to another store" {
        /// How many files one replica moves at once.
        concurrency: usize = "CLOAKROOM_MIGRATION_CONCURRENCY", MOVES,
            default "8", example "2";
        /// The most bytes per second that are moved.
        rate: Option<u64> = "CLOAKROOM_MIGRATION_RATE", FILE_SIZE,
            unset "as fast as it goes", example "50MiB";
    }

    /// How what is left over is removed.
    sweeping: Sweeping, "Sweeping" {
        /// The time between two sweeps.
        interval: Duration = "CLOAKROOM_SWEEP_INTERVAL", INTERVAL,
            default "30s", example "5m";
        /// An upload of one request that has not moved for so long is given up.
        pending_ttl: Duration = "CLOAKROOM_PENDING_TTL", SECONDS_OR_MORE,
            default "1h", example "15m";
        /// An unfinished upload of several requests (tus, resumable uploads) lives for so long without a change. For as
        /// long again it is answered that it has ended.
        upload_expiry: Duration = "CLOAKROOM_UPLOAD_EXPIRY", SECONDS_OR_MORE,
            default "24h", example "72h";
        /// The bytes of a deleted version stay for so long, for readers under way and for going back. A purge does
        /// not wait.
        delete_delay: Duration = "CLOAKROOM_DELETE_DELAY", DURATION,
            default "24h", example "1h";
        /// An object whose write had an unknown outcome is deleted once more after so long, and one whose writer was
        /// never heard of again no sooner: a lost write may still land.
        uncertain_delay: Duration = "CLOAKROOM_UNCERTAIN_DELAY", DURATION,
            default "10m", example "30m";
    }

    /// Stored bytes, read again in the background and compared with their hashes.
    scrub: Scrub, "Scrub" {
        /// Every stored object is read once in such a time, by one replica at a time; findings are at `/scrub`. `off`:
        /// only `cloakroom scrub --once` reads.
        interval: Option<Duration> = "CLOAKROOM_SCRUB_INTERVAL", SCRUB_INTERVAL,
            default "30d", example "7d";
        /// At most so many bytes are read in a second. Where that is too little for a round in the interval, rounds
        /// take longer.
        rate: u64 = "CLOAKROOM_SCRUB_RATE", SCRUB_RATE,
            default "10MiB", example "100MiB";
    }

    /// Numbers for charts and alarms.
    metrics: Metrics, "Metrics" {
        /// An address and port of its own for `/metrics`, where no token is asked for: keep it inside. With an admin
        /// token `/metrics` is at `CLOAKROOM_LISTEN` anyway.
        listen: Option<SocketAddr> = "CLOAKROOM_METRICS_LISTEN", ADDRESS,
            unset "only at `CLOAKROOM_LISTEN`, with an admin token", example "127.0.0.1:9464";
    }

    /// The log, on standard error.
    logging: Logging, "Log" {
        /// How much is logged: a level, or a filter of targets and levels.
        filter: String = "CLOAKROOM_LOG", LOG_FILTER,
            default "info", example "info,cloakroom=debug";
        /// For people, or one JSON object a line for programs.
        format: LogFormat = "CLOAKROOM_LOG_FORMAT", LOG_FORMAT,
            default "text", example "json";
    }
}

/// Every setting, in the order of the table.
pub(crate) fn all() -> impl Iterator<Item = &'static Setting> {
    GROUPS.iter().flat_map(|group| group.settings)
}
