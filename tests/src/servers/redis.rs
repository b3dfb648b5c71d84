//! Redis from Debian's packages.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use tempfile::TempDir;

use super::{TRIES, until_ready};
use crate::process::{Launch, PATIENCE, Process, free_port, temporary_folder};

/// A Redis of one's own, on a free loopback port. What it holds is gone when it is killed.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    folder: TempDir,
    port: u16,
}

impl Redis {
    /// Starts one, empty.
    ///
    /// # Panics
    /// It is not installed, or does not answer.
    pub async fn start() -> Self {
        for _ in 0..TRIES {
            let (folder, port) = (temporary_folder(), free_port());
            let mut process = launch(&folder, port);
            if answers(&mut process, port).await {
                return Self {
                    process,
                    folder,
                    port,
                };
            }
        }
        panic!("Redis does not start");
    }

    /// Its address, with database 0.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// A new connection to it.
    ///
    /// # Panics
    /// It does not answer.
    pub async fn connection(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// A number of its statistics (`INFO`), by the name it has there.
    ///
    /// # Panics
    /// There is no such number.
    pub async fn statistic(&self, name: &str) -> u64 {
        let mut connection = self.connection().await;
        let info: String = redis::cmd("INFO")
            .arg("everything")
            .query_async(&mut connection)
            .await
            .unwrap();
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap().trim().parse().unwrap()
    }

    /// How often it was asked for this command (`INFO commandstats`), by whomever.
    ///
    /// # Panics
    /// It does not answer.
    pub async fn calls(&self, command: &str) -> u64 {
        let mut connection = self.connection().await;
        let info: String = redis::cmd("INFO")
            .arg("commandstats")
            .query_async(&mut connection)
            .await
            .unwrap();
        let name = format!("cmdstat_{command}:calls=");
        let line = info.lines().find_map(|line| line.strip_prefix(&name));
        line.and_then(|line| line.split(',').next())
            .map_or(0, |calls| calls.parse().unwrap())
    }

    /// Freezes it: connections stay open and nobody answers.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, stopped or not, on the same port, empty.
    ///
    /// # Panics
    /// It does not answer.
    pub async fn restart(&mut self) {
        if self.process.ended().is_none() {
            self.process.stop(Signal::TERM, PATIENCE).await;
        }
        self.process = launch(&self.folder, self.port);
        assert!(
            answers(&mut self.process, self.port).await,
            "Redis does not start again:\n{}",
            self.process.output()
        );
    }
}

fn launch(folder: &TempDir, port: u16) -> Process {
    Launch::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
        .folder(folder.path())
        .spawn(&folder.path().join("log"))
}

async fn answers(process: &mut Process, port: u16) -> bool {
    until_ready(process, async || {
        let Ok(client) = redis::Client::open(format!("redis://127.0.0.1:{port}/0")) else {
            return false;
        };
        let connection = tokio::time::timeout(
            Duration::from_secs(1),
            client.get_multiplexed_async_connection(),
        );
        let Ok(Ok(mut connection)) = connection.await else {
            return false;
        };
        let pong: redis::RedisResult<String> =
            redis::cmd("PING").query_async(&mut connection).await;
        pong.is_ok()
    })
    .await
}
