//! What the FastAPI service leaves behind: a table, buckets, an environment, a piece of nginx configuration.

use std::collections::BTreeSet;

use aws_sdk_s3::{Client, primitives::ByteStream};
use cloakroom_tests::{
    backend::Backend,
    client::Client as Caller,
    hook::{HookServer, Reply},
    inspect::count,
    servers::{Nginx, Postgres, S3Access, garage},
    service::{Ran, Service, ServiceBuilder},
};
use futures_util::{StreamExt, stream};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// The table as its migrations leave it, and what they leave beside it.
const TABLE: &str = "
    CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
    CREATE TABLE files (
        file_id varchar PRIMARY KEY,
        size bigint NOT NULL,
        content_type varchar,
        filename varchar,
        user_id integer,
        account_id integer NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX ix_files_account_id ON files (account_id);";

/// A fingerprint of all that is in it.
const TABLE_HASH: &str = "SELECT ('x' || left(md5(string_agg(f::text, ',' ORDER BY file_id)), 8))::bit(32)::bigint FROM public.files AS f";

/// The location of the old include, in our words: the prefix goes, and the body is passed on as it comes.
const SITE: &str = "{upstream}
server {
    listen {listen};
    location /files/ {
        rewrite ^/files/(.*) /$1 break;
        proxy_pass http://cloakroom;
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        client_max_body_size 105m;
        proxy_connect_timeout 10s;
        proxy_send_timeout 300s;
        proxy_read_timeout 300s;
        proxy_request_buffering off;
    }
}
";

/// Where people find the files.
pub const PUBLIC: &str = "https://app.example.com/files";

/// An installation of the old service, stopped.
pub struct Old {
    url: String,
    server: S3Access,
    store: Client,
    prefix: String,
    backend: Backend,
    permissions: HookServer,
}

impl Old {
    /// With an empty table.
    pub async fn new() -> Self {
        let server = garage::shared();
        let old = Self {
            url: Postgres::shared().database().await,
            prefix: server.bucket_name(),
            store: server.client(),
            server,
            backend: Backend::start().await,
            permissions: HookServer::start().await,
        };
        old.permissions.will(Reply::Status(403));
        old.sql(TABLE.to_owned()).await;
        old
    }

    /// Its environment, as compose gives it, and nothing of ours but a port and a folder.
    pub fn service(&self) -> ServiceBuilder {
        let rest = self.url.strip_prefix("postgres://").unwrap();
        let (login, rest) = rest.split_once('@').unwrap();
        let (user, password) = login.split_once(':').unwrap();
        let (host, database) = rest.split_once('/').unwrap();
        let (host, port) = host.split_once(':').unwrap();
        let redis = self.backend.redis().url();
        let backend = self.permissions.url();
        let backend = backend.replace("attachments/check-permission/", "");
        let variables = [
            ("DEBUG", "true"),
            ("CONFIG", "Production"),
            ("WORKERS", "4"),
            ("PORT", "8000"),
            ("ALLOWED_ORIGINS", "[\"*\"]"),
            ("POSTGRES_USER", user),
            ("POSTGRES_PASSWORD", password),
            ("POSTGRES_DB", database),
            ("POSTGRES_HOST", host),
            ("POSTGRES_PORT", port),
            ("STORAGE_TYPE", "local"),
            ("SEAWEEDFS_S3_ENDPOINT", &self.server.endpoint),
            ("SEAWEEDFS_S3_ACCESS_KEY", &self.server.access_key),
            ("SEAWEEDFS_S3_SECRET_KEY", &self.server.secret_key),
            ("SEAWEEDFS_S3_REGION", &self.server.region),
            ("SEAWEEDFS_S3_USE_SSL", "false"),
            ("GCS_S3_ENDPOINT", ""),
            ("GCS_S3_ACCESS_KEY", ""),
            ("GCS_S3_SECRET_KEY", ""),
            ("GCS_S3_REGION", ""),
            ("FASTAPI_BASE_URL", PUBLIC),
            ("BUCKET_PREFIX", &self.prefix),
            ("MAX_FILE_SIZE", "104857600"),
            ("CHUNK_SIZE", "1048576"),
            ("AUTH_REDIS_URL", &redis),
            ("KEY_PREFIX_REDIS", ":1:"),
            ("DJANGO_SECRET_KEY", self.backend.secret_key()),
            ("AUTH_TOKEN_ITERATIONS", "1"),
            ("BACKEND_PRIVATE_URL", &backend),
            ("FRONTEND_URL", "https://app.example.com"),
            ("FORMS_URL", "https://form.example.com"),
        ];
        let builder = Service::builder().database(&self.url);
        let builder = builder
            .without("CLOAKROOM_DATABASE_URL")
            .without("CLOAKROOM_RATE_LIMIT");
        variables
            .into_iter()
            .fold(builder, |builder, (name, value)| builder.env(name, value))
    }

    /// The old nginx before the service.
    pub async fn nginx(&self, service: &Service) -> Nginx {
        Nginx::before([service.address()]).site(SITE).start().await
    }

    /// The address of its database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Somebody whom the backend signed in.
    pub async fn user(&self, nobody: &Caller, account: i32, user: i32) -> Caller {
        let token = self.backend.sign_in(user, account).await;
        nobody.with(Some(&token))
    }

    /// What the backend answers about permissions; no, unless told otherwise.
    pub fn backend_says(&self, status: u16) {
        self.permissions.will(Reply::Status(status));
    }

    /// The files that the backend was asked about.
    pub fn asked(&self) -> Vec<String> {
        let asked = self.permissions.asked();
        asked.iter().map(|asked| asked.body.clone()).collect()
    }

    /// Runs statements in its database.
    pub async fn sql(&self, sql: String) {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
        connection.close().await.unwrap();
    }

    /// The number that a query answers.
    pub async fn count(&self, sql: &str) -> u64 {
        count(&self.url, sql).await
    }

    /// A fingerprint of the old table.
    pub async fn table(&self) -> u64 {
        self.count(TABLE_HASH).await
    }

    /// Puts objects of an account where the old service has them.
    pub async fn put(&self, account: u32, objects: Vec<(String, Vec<u8>)>) {
        let bucket = self.bucket(account);
        self.store
            .create_bucket()
            .bucket(&bucket)
            .send()
            .await
            .unwrap();
        let put = |(key, body): (String, Vec<u8>)| {
            let put = self.store.put_object().bucket(&bucket).key(key);
            async move { put.body(ByteStream::from(body)).send().await.unwrap() }
        };
        stream::iter(objects)
            .map(put)
            .buffer_unordered(16)
            .for_each(async |_| ())
            .await;
    }

    /// Puts one more into the bucket.
    pub async fn put_more(&self, account: u32, key: &str, body: &'static [u8]) {
        let put = self
            .store
            .put_object()
            .bucket(self.bucket(account))
            .key(key);
        put.body(ByteStream::from_static(body))
            .send()
            .await
            .unwrap();
    }

    /// The keys in an account's bucket.
    pub async fn keys(&self, account: u32) -> BTreeSet<String> {
        let list = self.store.list_objects_v2().bucket(self.bucket(account));
        let page = list.send().await.unwrap();
        let keys = page.contents().iter().filter_map(|object| object.key());
        keys.map(str::to_owned).collect()
    }

    fn bucket(&self, account: u32) -> String {
        format!("{}-{account}", self.prefix)
    }

    /// Imports, and answers the exit code, the summary and the rows that were not taken.
    pub async fn import(&self, more: &[&str]) -> Imported {
        let arguments = [&["import", "pneumatic", "--json"], more].concat();
        Imported::of(&self.service().run(&arguments).await)
    }
}

/// What an import said.
#[derive(Debug)]
pub struct Imported {
    pub code: i32,
    pub summary: Value,
    pub not_taken: Vec<Value>,
}

impl Imported {
    fn of(ran: &Ran) -> Self {
        let lines = ran.stdout.lines().map(serde_json::from_str);
        let mut lines: Vec<Value> = lines.map(Result::unwrap).collect();
        let summary = lines.pop().unwrap_or_else(|| panic!("{ran:?}"));
        assert_eq!(summary["event"], "summary", "{ran:?}");
        Self {
            code: ran.code,
            summary,
            not_taken: lines,
        }
    }

    /// Rows taken, here already, and not taken.
    pub fn counts(&self) -> [u64; 3] {
        ["taken", "present", "not_taken"].map(|name| self.summary[name].as_u64().unwrap())
    }
}
