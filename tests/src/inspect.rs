//! A look behind the service, straight into its database and its store: what is there, and what is left.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use crate::service::Service;

/// How long the service may take to tidy up, where it sweeps every second.
const PATIENCE: Duration = Duration::from_secs(20);

/// An object of a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Its bytes.
    pub size: u64,
}

/// Everything that there is, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Files, in the trash or not.
    pub files: u64,
    /// Bodies that are stored.
    pub stored: u64,
    /// Bodies that are being written, or were when somebody died.
    pub pending: u64,
    /// Bodies that are to be removed.
    pub deleting: u64,
    /// Idempotency keys of requests that have not been answered.
    pub claims: u64,
    /// Objects in the store.
    pub objects: u64,
    /// Unfinished writes in the store: temporary files, multipart uploads.
    pub unfinished: u64,
}

impl Inventory {
    /// Counts. The service may be running.
    pub async fn of(service: &Service) -> Self {
        let url = service.database_url();
        let state =
            |state: &str| format!("SELECT count(*) FROM file_versions WHERE state = '{state}'");
        Self {
            files: count(url, "SELECT count(*) FROM files").await,
            stored: count(url, &state("stored")).await,
            pending: count(url, &state("pending")).await,
            deleting: count(url, &state("deleting")).await,
            claims: count(
                url,
                "SELECT count(*) FROM idempotency_keys WHERE answer IS NULL",
            )
            .await,
            objects: objects(service).await.len() as u64,
            unfinished: unfinished(service).await.len() as u64,
        }
    }

    /// What there is when that many files have one version each and nothing else is about.
    #[must_use]
    pub const fn tidy(files: u64) -> Self {
        Self {
            files,
            stored: files,
            pending: 0,
            deleting: 0,
            claims: 0,
            objects: files,
            unfinished: 0,
        }
    }
}

/// Waits until no row and no object is there, as before the first upload.
///
/// # Panics
/// Something is left after 20 s. The service should be [sweeping fast](crate::service::ServiceBuilder::sweeping_fast).
pub async fn assert_nothing_left(service: &Service) {
    assert_only(service, 0).await;
}

/// Waits until there are so many files of one version each and nothing else.
///
/// # Panics
/// It is otherwise after 20 s.
pub async fn assert_only(service: &Service, files: u64) {
    let begun = Instant::now();
    loop {
        let inventory = Inventory::of(service).await;
        if inventory == Inventory::tidy(files) {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "expected {files} files and nothing else: {inventory:?}, objects {:?}, unfinished {:?}\n{}",
            objects(service).await,
            unfinished(service).await,
            service.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The number that a query answers, from PostgreSQL or SQLite.
///
/// # Panics
/// The database is not there or refuses the query.
pub async fn count(url: &str, sql: &str) -> u64 {
    let sql = AssertSqlSafe(sql.to_owned());
    let count: i64 = if url.starts_with("postgres") {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let count = sqlx::query_scalar(sql).fetch_one(&mut connection).await;
        connection.close().await.unwrap();
        count.unwrap()
    } else {
        let mut connection = SqliteConnection::connect(url).await.unwrap();
        let count = sqlx::query_scalar(sql).fetch_one(&mut connection).await;
        connection.close().await.unwrap();
        count.unwrap()
    };
    count.try_into().unwrap()
}

/// Every finished object of the service's store.
pub async fn objects(service: &Service) -> Vec<Object> {
    let mut objects = Vec::new();
    match service.s3() {
        None => {
            for (bucket, folder, object) in in_folders(&service.data_dir().join("objects")) {
                if folder != UNFINISHED {
                    objects.push(Object { bucket, ..object });
                }
            }
        }
        Some(server) => {
            let client = server.client();
            for bucket in buckets(service, &client).await {
                objects.extend(listed(&client, &bucket).await);
            }
        }
    }
    objects.sort();
    objects
}

/// The keys of every write in the service's store that has not come to its end.
pub async fn unfinished(service: &Service) -> Vec<String> {
    match service.s3() {
        None => in_folders(&service.data_dir().join("objects"))
            .into_iter()
            .filter(|(_, folder, _)| folder == UNFINISHED)
            .map(|(_, _, object)| object.key)
            .collect(),
        Some(server) => {
            let (client, mut keys) = (server.client(), Vec::new());
            for bucket in buckets(service, &client).await {
                let uploads = client.list_multipart_uploads().bucket(bucket).send();
                let uploads = uploads.await.unwrap();
                let found = uploads.uploads().iter().filter_map(|upload| upload.key());
                keys.extend(found.map(str::to_owned));
            }
            keys
        }
    }
}

/// The folder of a bucket in which the `fs` store writes.
const UNFINISHED: &str = "tmp";

/// Bucket, folder in it and object of every file two folders below the root.
fn in_folders(root: &Path) -> Vec<(String, String, Object)> {
    let mut found = Vec::new();
    for (bucket, path) in entries(root) {
        for (folder, path) in entries(&path) {
            for (leaf, path) in entries(&path) {
                // What is gone by now is not there.
                let Ok(metadata) = fs::metadata(path) else {
                    continue;
                };
                let object = Object {
                    bucket: bucket.clone(),
                    key: leaf.replace('~', "/"),
                    size: metadata.len(),
                };
                found.push((bucket.clone(), folder.clone(), object));
            }
        }
    }
    found
}

fn entries(folder: &Path) -> Vec<(String, std::path::PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, entry.path())
        })
        .collect()
}

/// The buckets that are the service's.
async fn buckets(service: &Service, client: &Client) -> Vec<String> {
    let exact = service.setting("CLOAKROOM_S3_BUCKET");
    let prefix = service
        .setting("CLOAKROOM_S3_BUCKET_PREFIX")
        .map(|prefix| format!("{prefix}-"));
    let all = client.list_buckets().send().await.unwrap();
    all.buckets()
        .iter()
        .filter_map(|bucket| bucket.name())
        .filter(|name| {
            exact == Some(name)
                || prefix
                    .as_ref()
                    .is_some_and(|p| name.starts_with(p.as_str()))
        })
        .map(str::to_owned)
        .collect()
}

async fn listed(client: &Client, bucket: &str) -> Vec<Object> {
    let mut pages = client
        .list_objects_v2()
        .bucket(bucket)
        .into_paginator()
        .send();
    let mut objects = Vec::new();
    while let Some(page) = pages.next().await {
        let page = match page {
            Ok(page) => page,
            Err(error) if is_missing(&error) => return objects,
            Err(error) => panic!("cannot list {bucket}: {error:?}"),
        };
        objects.extend(page.contents().iter().map(|object| Object {
            bucket: bucket.to_owned(),
            key: object.key().unwrap().to_owned(),
            size: object.size().unwrap().try_into().unwrap(),
        }));
    }
    objects
}

fn is_missing<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    error
        .as_service_error()
        .is_some_and(|error| error.code() == Some("NoSuchBucket"))
}
