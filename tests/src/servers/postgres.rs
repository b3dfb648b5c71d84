//! PostgreSQL from Debian's packages.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;

use super::{POSTGRES, TRIES, random_hex, shared, until_ready};
use crate::process::{
    Launch, PATIENCE, Process, SERVER_USER, free_port, is_root, temporary_folder,
};

/// A PostgreSQL that may be used but not stopped.
#[derive(Debug, Clone)]
pub struct PostgresAccess {
    admin_url: String,
}

impl PostgresAccess {
    /// The address of its administrator, who may make databases.
    #[must_use]
    pub fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// Makes an empty database and answers its address.
    pub async fn database(&self) -> String {
        let name = format!("cloakroom_{}", random_hex(8));
        let mut connection = PgConnection::connect(&self.admin_url).await.unwrap();
        let create = format!("CREATE DATABASE {name}");
        connection.execute(AssertSqlSafe(create)).await.unwrap();
        connection.close().await.unwrap();
        let (server, _) = self.admin_url.rsplit_once('/').unwrap();
        format!("{server}/{name}")
    }
}

/// A PostgreSQL of one's own, on a free loopback port, in a temporary folder.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    fsync: bool,
    access: PostgresAccess,
}

impl Postgres {
    /// The one that the whole test run shares.
    ///
    /// # Panics
    /// Outside `make test`.
    #[must_use]
    pub fn shared() -> PostgresAccess {
        PostgresAccess {
            admin_url: shared(POSTGRES),
        }
    }

    /// Makes a cluster and starts it. It flushes as it would in production.
    pub async fn start() -> Self {
        Self::start_with(true).await
    }

    /// As [`Postgres::start`]; without `fsync` it is faster and forgets in a power cut.
    pub async fn start_with(fsync: bool) -> Self {
        let programs = programs();
        let (folder, password) = (temporary_folder(), random_hex(16));
        let (initdb, place, secret) = (
            programs.join("initdb"),
            folder.path().to_owned(),
            password.clone(),
        );
        tokio::task::spawn_blocking(move || make_cluster(&initdb, &place, &secret))
            .await
            .unwrap();
        for _ in 0..TRIES {
            let port = free_port();
            let access = PostgresAccess {
                admin_url: format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres"),
            };
            let mut process = launch(&programs, folder.path(), port, fsync);
            if answers(&mut process, &access).await {
                return Self {
                    process,
                    folder,
                    programs,
                    port,
                    fsync,
                    access,
                };
            }
        }
        panic!("PostgreSQL does not start:\n{}", log(folder.path()));
    }

    /// The id of its first process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// How to use it.
    #[must_use]
    pub fn access(&self) -> &PostgresAccess {
        &self.access
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database and answers its address.
    pub async fn database(&self) -> String {
        self.access.database().await
    }

    /// Freezes every process of it: connections stay open and nobody answers.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Stops it as an operator does in a hurry: connections end, data is complete.
    pub async fn stop(&mut self) {
        self.process.stop(Signal::INT, PATIENCE).await;
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
        // The next start would find the dead one's lock, and perhaps its number in use by another process.
        fs::remove_file(self.folder.path().join("data/postmaster.pid")).ok();
    }

    /// Starts it again, stopped or not, on the same port with the same data.
    pub async fn restart(&mut self) {
        if self.process.ended().is_none() {
            self.stop().await;
        }
        self.process = launch(&self.programs, self.folder.path(), self.port, self.fsync);
        assert!(
            answers(&mut self.process, &self.access).await,
            "PostgreSQL does not start again:\n{}",
            log(self.folder.path())
        );
    }
}

/// The folder of PostgreSQL's programs: Debian's newest, else the one in `PATH`.
///
/// # Panics
/// There is none.
#[must_use]
pub fn programs() -> PathBuf {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let newest = debian
        .flatten()
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            programs
                .join("postgres")
                .exists()
                .then_some((version, programs))
        })
        .max();
    if let Some((_, programs)) = newest {
        return programs;
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .find(|folder| folder.join("initdb").exists())
        .expect("PostgreSQL is not installed: run `make test`, which installs it")
}

fn make_cluster(initdb: &Path, folder: &Path, password: &str) {
    let (data, secret) = (folder.join("data"), folder.join("password"));
    fs::create_dir(&data).unwrap();
    fs::write(&secret, password).unwrap();
    if is_root() {
        let (user, group) = server_user();
        for path in [&data, &secret] {
            std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
        }
    }
    Launch::new(initdb)
        .args(["--username=postgres", "--auth=password", "--no-sync"])
        .args(["--encoding=UTF8", "--locale=C.UTF-8"])
        .arg_path("--pwfile=", &secret)
        .arg_path("--pgdata=", &data)
        .folder("/")
        .unprivileged()
        .run();
}

/// The user and group of [`SERVER_USER`].
fn server_user() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    users
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let found = fields.next()? == SERVER_USER;
            let (user, group) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            found.then_some((user, group))
        })
        .unwrap_or_else(|| panic!("there is no system user {SERVER_USER}"))
}

fn launch(programs: &Path, folder: &Path, port: u16, fsync: bool) -> Process {
    let setting = |text: &str| ["-c".to_owned(), text.to_owned()];
    Launch::new(programs.join("postgres"))
        .arg_path("-D", &folder.join("data"))
        .args(["-p", &port.to_string(), "-h", "127.0.0.1"])
        .args(setting("unix_socket_directories="))
        .args(setting("max_connections=500"))
        .args(setting("shared_buffers=128MB"))
        .args(setting(if fsync { "fsync=on" } else { "fsync=off" }))
        .folder("/")
        .unprivileged()
        .spawn(&folder.join("log"))
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

async fn answers(process: &mut Process, access: &PostgresAccess) -> bool {
    until_ready(process, async || {
        match PgConnection::connect(&access.admin_url).await {
            Ok(connection) => connection.close().await.is_ok(),
            Err(_) => false,
        }
    })
    .await
}
