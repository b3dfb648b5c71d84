//! Real PostgreSQL, Redis, nginx, Garage, Django, `rclone serve s3`, Azurite and servers of WebDAV and SFTP: shared by a whole test run,
//! or a test's own to freeze and kill.

mod azurite;
pub mod django;
pub mod garage;
mod nginx;
mod postgres;
pub mod rclone;
mod redis;
mod s3;
mod s3_server;
mod sftp;
mod webdav;

use std::{
    env,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::process::{PATIENCE, Process};

pub use self::{
    azurite::{Azurite, AzuriteAccess},
    django::Django,
    nginx::{Nginx, NginxBuilder},
    postgres::{Postgres, PostgresAccess, programs as postgres_programs},
    redis::Redis,
    s3::S3Access,
    s3_server::S3Server,
    sftp::{SftpAccess, SftpServer},
    webdav::{WebdavAccess, WebdavServer},
};

/// The variable with the address of the shared PostgreSQL's administrator.
pub const POSTGRES: &str = "CLOAKROOM_TEST_POSTGRES";
/// The variable with the shared Garage, as [`S3Access`] writes itself.
pub const GARAGE: &str = "CLOAKROOM_TEST_GARAGE";
/// The variable with the shared `rclone serve s3`, as [`S3Access`] writes itself.
pub const RCLONE_S3: &str = "CLOAKROOM_TEST_RCLONE_S3";
/// The variable with the shared `rclone serve webdav`, as [`WebdavAccess`] writes itself.
pub const RCLONE_WEBDAV: &str = "CLOAKROOM_TEST_RCLONE_WEBDAV";
/// The variable with the shared nginx with WebDAV, as [`WebdavAccess`] writes itself.
pub const NGINX_WEBDAV: &str = "CLOAKROOM_TEST_NGINX_WEBDAV";
/// The variable with the shared `rclone serve sftp`, as [`SftpAccess`] writes itself.
pub const RCLONE_SFTP: &str = "CLOAKROOM_TEST_RCLONE_SFTP";
/// The variable with the shared server of OpenSSH, as [`SftpAccess`] writes itself.
pub const SSHD: &str = "CLOAKROOM_TEST_SSHD";
/// The variable with the shared Azurite, as [`AzuriteAccess`] writes itself.
pub const AZURITE: &str = "CLOAKROOM_TEST_AZURITE";

/// How often a server is tried on another port before giving up.
const TRIES: u32 = 5;

fn shared(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{variable} is not set: run `make test`, which starts the servers that the tests need"
        )
    })
}

/// A file below the folder where `make test` keeps what it installs.
#[must_use]
pub fn installed(path: &str) -> PathBuf {
    let home = env::var_os("HOME").expect("HOME is set");
    let cache = env::var_os("XDG_CACHE_HOME")
        .filter(|folder| !folder.is_empty())
        .map_or_else(|| PathBuf::from(home).join(".cache"), PathBuf::from);
    let file = cache.join("cloakroom").join(path);
    assert!(
        file.exists(),
        "{} is not there: run `make test`, which installs it",
        file.display()
    );
    file
}

pub(crate) fn random_hex(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    rand::fill(random.as_mut_slice());
    hex::encode(random)
}

/// Waits until the server answers; `false` if it ends before, so that another port may be tried.
async fn until_ready(process: &mut Process, mut answers: impl AsyncFnMut() -> bool) -> bool {
    let begun = Instant::now();
    while process.ended().is_none() {
        let answer = tokio::time::timeout(Duration::from_secs(2), answers());
        if answer.await.unwrap_or(false) {
            return true;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "no answer within {PATIENCE:?}:\n{}",
            process.output()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}
