//! A look behind the service, straight into its database and its store: what is there, and what is left.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

use crate::{process::eventually, service::Service};

/// How long the service may take to tidy up, where it sweeps every few.
const PATIENCE: Duration = Duration::from_secs(45);

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

/// The files in a folder and those below, but for the mark of a store.
///
/// # Panics
/// The folder cannot be read.
#[must_use]
pub fn files_below(path: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_below(&entry.path()));
        } else if entry.file_name() != ".cloakroom-store" {
            files.push(entry.path());
        }
    }
    files
}

/// Waits until no row of a body is there, and then nothing else may be, as before the first upload.
///
/// # Panics
/// Something is left.
pub async fn assert_nothing_left(service: &Service) {
    assert_only(service, 0).await;
}

/// Waits until there are the rows of so many bodies that are stored and no others. A row goes last, so that nothing
/// but so many files of one version each may be left then.
///
/// # Panics
/// It takes longer than 45 s, or something else is there.
pub async fn assert_only(service: &Service, files: u64) {
    let url = service.database_url();
    eventually("no row of a body is left over", PATIENCE, async || {
        let all = count(url, "SELECT count(*) FROM file_versions").await;
        all == files && count(url, UNSETTLED).await == 0
    })
    .await;
    assert_eq!(
        Inventory::of(service).await,
        Inventory::tidy(files),
        "objects {:?}, unfinished {:?}\n{}",
        objects(service).await,
        unfinished(service).await,
        service.log()
    );
}

/// Waits until nothing is being written, and then the store holds an object for each stored body, perhaps some that
/// are to be removed, and nothing unfinished, and `fsck --verify` finds nothing.
///
/// # Panics
/// It takes longer than 45 s, or is otherwise.
pub async fn assert_consistent(service: &Service) {
    eventually("nothing is being written", PATIENCE, async || {
        let pending = "SELECT count(*) FROM file_versions WHERE state = 'pending'";
        count(service.database_url(), pending).await == 0
    })
    .await;
    let checked = service.run(&["fsck", "--verify"]).await;
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    let found = Inventory::of(service).await;
    let bodies = found.stored + found.pending + found.deleting;
    assert!(
        (found.stored..=bodies).contains(&found.objects),
        "{found:?}"
    );
    assert_eq!(found.unfinished, 0, "{found:?}");
}

/// How many bodies are being written or to be removed.
pub async fn unsettled(service: &Service) -> u64 {
    count(service.database_url(), UNSETTLED).await
}

const UNSETTLED: &str = "SELECT count(*) FROM file_versions WHERE state <> 'stored'";

/// How many connections to the service's PostgreSQL hold a transaction open without doing anything.
pub async fn idle_in_transaction(service: &Service) -> u64 {
    let idle = "SELECT count(*) FROM pg_stat_activity \
                WHERE state = 'idle in transaction' AND datname = current_database()";
    count(service.database_url(), idle).await
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

/// Changes rows behind the service's back.
///
/// # Panics
/// The database is not there or refuses the statement.
pub async fn run(url: &str, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    if url.starts_with("postgres") {
        let mut connection = PgConnection::connect(url).await.unwrap();
        connection.execute(sql).await.unwrap();
        connection.close().await.unwrap();
    } else {
        let mut connection = SqliteConnection::connect(url).await.unwrap();
        connection.execute(sql).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// Every finished object of the service's store.
pub async fn objects(service: &Service) -> Vec<Object> {
    let mut objects = match bucket(service) {
        None => finished(service).map(|(object, _)| object).collect(),
        Some((client, bucket)) => listed(&client, bucket).await,
    };
    objects.sort();
    objects
}

/// The keys of every write in the service's store that has not come to its end.
pub async fn unfinished(service: &Service) -> Vec<String> {
    let Some((client, bucket)) = bucket(service) else {
        return in_folders(service)
            .filter(|(folder, _, _)| folder == UNFINISHED)
            .map(|(_, object, _)| object.key)
            .collect();
    };
    let uploads = client.list_multipart_uploads().bucket(bucket).send().await;
    match uploads {
        Ok(page) => {
            let keys = page.uploads().iter().filter_map(|upload| upload.key());
            keys.map(str::to_owned).collect()
        }
        Err(error) if is_missing(&error) => Vec::new(),
        Err(error) => panic!("cannot list uploads to {bucket}: {error:?}"),
    }
}

/// The path of a file's object, over a folder.
///
/// # Panics
/// It has none.
#[must_use]
pub fn object_path(service: &Service, file: &str) -> PathBuf {
    let found = finished(service).find(|(object, _)| object.key.contains(file));
    let (_, path) = found.unwrap_or_else(|| panic!("{file} has no object"));
    path
}

/// Puts an object into the service's store that no row leads to.
pub async fn plant_orphan(service: &Service) {
    let uuid = "0a2b7c3e-0f53-4a6c-9d6c-1f2e3d4c5b6a";
    let Some((client, bucket)) = bucket(service) else {
        let folder = service.data_dir().join("objects/files/0a");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("1~orphan~{uuid}")), "nobody's").unwrap();
        return;
    };
    let put = client.put_object().bucket(bucket);
    let put = put.key(format!("1/orphan/{uuid}"));
    let body = ByteStream::from_static(b"nobody's");
    put.body(body).send().await.unwrap();
}

/// The folder of a bucket in which the `fs` store writes.
const UNFINISHED: &str = "tmp";

/// Every finished object below the service's folder, and its path.
fn finished(service: &Service) -> impl Iterator<Item = (Object, PathBuf)> {
    in_folders(service)
        .filter(|(folder, _, _)| folder != UNFINISHED)
        .map(|(_, object, path)| (object, path))
}

/// Folder in its bucket, object and path of every file of the service's folder.
fn in_folders(service: &Service) -> impl Iterator<Item = (String, Object, PathBuf)> {
    let mut found = Vec::new();
    for (bucket, path) in entries(&service.data_dir().join("objects")) {
        for (folder, path) in entries(&path) {
            for (leaf, path) in entries(&path) {
                // What is gone by now is not there.
                let Ok(metadata) = fs::metadata(&path) else {
                    continue;
                };
                let object = Object {
                    bucket: bucket.clone(),
                    key: leaf.replace('~', "/"),
                    size: metadata.len(),
                };
                found.push((folder.clone(), object, path));
            }
        }
    }
    found.into_iter()
}

fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, entry.path())
        })
        .collect()
}

/// The service's bucket and a client for it; `None` over a folder.
fn bucket(service: &Service) -> Option<(Client, &str)> {
    let server = service.s3()?;
    Some((server.client(), service.setting("CLOAKROOM_S3_BUCKET")?))
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
