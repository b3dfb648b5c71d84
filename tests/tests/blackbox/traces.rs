//! What a service leaves in its database, its store and its process, looked at from outside.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use cloakroom_tests::process::eventually;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Row, postgres::PgConnectOptions,
    sqlite::SqliteConnectOptions,
};

use crate::stand::Stand;

const PATIENCE: Duration = Duration::from_secs(45);

impl Stand {
    /// Waits until it holds; panics with `what` if it never does.
    pub async fn until(&self, what: &str, holds: impl AsyncFnMut() -> bool) {
        eventually(what, PATIENCE, holds).await;
    }

    /// A moment for the service to notice that clients have left.
    pub async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(700)).await;
    }

    async fn count(&self, sql: &str) -> u64 {
        let sql = AssertSqlSafe(format!("SELECT count(*) {sql}"));
        let count: i64 = if self.database_url.starts_with("postgres") {
            let options: PgConnectOptions = self.database_url.parse().unwrap();
            let mut connection = options.connect().await.unwrap();
            let row = sqlx::query(sql).fetch_one(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            row.get(0)
        } else {
            let options: SqliteConnectOptions = self.database_url.parse().unwrap();
            let mut connection = options.connect().await.unwrap();
            let row = sqlx::query(sql).fetch_one(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            row.get(0)
        };
        u64::try_from(count).unwrap()
    }

    /// Rows of bodies that are pending or to be deleted.
    pub async fn pending_rows(&self) -> u64 {
        self.count("FROM file_versions WHERE state <> 'stored'")
            .await
    }

    /// Connections to PostgreSQL that hold a transaction open without doing anything.
    pub async fn idle_in_transaction(&self) -> u64 {
        self.count("FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()").await
    }

    /// Objects in the store.
    pub async fn objects(&self) -> u64 {
        u64::try_from(self.keys().await.len()).unwrap()
    }

    /// Multipart uploads, or temporary files.
    pub async fn unfinished_uploads(&self) -> u64 {
        let count = match &self.s3 {
            None => files_below(&self.data().join("objects").join(&self.bucket).join("tmp")).len(),
            Some(s3) => {
                let answer = s3
                    .client()
                    .list_multipart_uploads()
                    .bucket(&self.bucket)
                    .send()
                    .await;
                answer.map_or(0, |page| page.uploads().len())
            }
        };
        u64::try_from(count).unwrap()
    }

    async fn keys(&self) -> Vec<String> {
        let Some(s3) = &self.s3 else {
            let root = self.data().join("objects").join(&self.bucket);
            let files = files_below(&root)
                .into_iter()
                .filter(|path| !path.starts_with(root.join("tmp")));
            return files
                .map(|path| path.to_str().unwrap().to_owned())
                .collect();
        };
        let client = s3.client();
        let mut pages = client
            .list_objects_v2()
            .bucket(&self.bucket)
            .into_paginator()
            .send();
        let mut keys = Vec::new();
        while let Some(Ok(page)) = pages.next().await {
            keys.extend(
                page.contents()
                    .iter()
                    .map(|object| object.key().unwrap().to_owned()),
            );
        }
        keys
    }

    /// No row, no object, nothing unfinished.
    pub async fn assert_nothing_left(&self) {
        eventually("no row is left", PATIENCE, async || {
            self.count("FROM file_versions").await == 0
        })
        .await;
        assert_eq!(self.count("FROM files").await, 0, "files");
        assert_eq!(self.keys().await, Vec::<String>::new(), "objects");
        assert_eq!(self.unfinished_uploads().await, 0, "unfinished uploads");
    }

    /// As many objects as stored rows, nothing unfinished, and `fsck --verify` finds nothing either way.
    pub async fn assert_consistent(&self) {
        eventually("nothing is under way", PATIENCE, async || {
            self.count("FROM file_versions WHERE state = 'pending'")
                .await
                == 0
        })
        .await;
        let checked = self.run(&["fsck", "--verify"]).await;
        assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
        let bodies = self.count("FROM file_versions").await;
        let stored = self
            .count("FROM file_versions WHERE state = 'stored'")
            .await;
        let objects = self.objects().await;
        assert!(
            (stored..=bodies).contains(&objects),
            "{objects} objects, {stored} of {bodies} rows stored"
        );
        assert_eq!(self.unfinished_uploads().await, 0, "unfinished uploads");
    }

    /// The path of a file's object in the folder.
    async fn object_path(&self, file: &str) -> PathBuf {
        let keys = self.keys().await;
        let key = keys.iter().find(|key| key.contains(file));
        PathBuf::from(key.unwrap_or_else(|| panic!("{file} has no object")))
    }

    pub async fn flip_a_bit_of(&self, file: &str) {
        let path = self.object_path(file).await;
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    }

    pub async fn lose_the_object_of(&self, file: &str) {
        fs::remove_file(self.object_path(file).await).unwrap();
    }

    /// Puts an object into the store that no row leads to.
    pub async fn plant_orphan(&self) {
        let uuid = "0a2b7c3e-0f53-4a6c-9d6c-1f2e3d4c5b6a";
        match &self.s3 {
            None => {
                let folder = self.data().join("objects").join(&self.bucket).join("0a");
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join(format!("1~orphan~{uuid}")), "nobody's").unwrap();
            }
            Some(s3) => {
                let put = s3
                    .client()
                    .put_object()
                    .bucket(&self.bucket)
                    .key(format!("1/orphan/{uuid}"));
                put.body(b"nobody's".to_vec().into()).send().await.unwrap();
            }
        }
    }

    /// Resident memory of the service.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process_id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Descriptors that the service has open.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process_id()))
            .unwrap()
            .count()
    }

    /// The arguments and the program's name, as `ps` shows them.
    pub fn command_line(&self) -> String {
        fs::read_to_string(format!("/proc/{}/cmdline", self.process_id())).unwrap()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap()
    }

    pub fn secret_key(&self) -> String {
        self.s3.as_ref().unwrap().secret_key.clone()
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
