//! An S3 server's process: started on free ports, frozen, killed, started again.

use std::path::Path;

use rustix::process::Signal;
use tempfile::TempDir;

use super::{S3Access, TRIES, until_ready};
use crate::process::{Launch, PATIENCE, Process, temporary_folder};

/// An S3 server of one's own, on free loopback ports, in a temporary folder. Its key may make buckets.
#[derive(Debug)]
pub struct S3Server {
    name: &'static str,
    launch: Launch,
    process: Process,
    folder: TempDir,
    access: S3Access,
}

impl S3Server {
    /// Starts one. `plan` chooses ports, writes what the server reads into the folder, and may be asked again.
    pub(super) async fn start(
        name: &'static str,
        plan: impl Fn(&Path) -> (Launch, S3Access),
    ) -> Self {
        for _ in 0..TRIES {
            let folder = temporary_folder();
            let (launch, access) = plan(folder.path());
            let process = launch.spawn(&folder.path().join("log"));
            let mut server = Self {
                name,
                launch,
                process,
                folder,
                access,
            };
            if server.answers().await {
                return server;
            }
            eprintln!("{name} ended at its start:\n{}", server.process.output());
        }
        panic!("{name} does not start");
    }

    async fn answers(&mut self) -> bool {
        let client = self.access.client();
        let listed = async || client.list_buckets().send().await.is_ok();
        until_ready(&mut self.process, listed).await
    }

    /// The folder with all that is its own.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
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

    /// Starts it again, stopped or not, on the same ports with the same data.
    pub async fn restart(&mut self) {
        if self.process.ended().is_none() {
            self.process.stop(Signal::TERM, PATIENCE).await;
        }
        self.process = self.launch.spawn(&self.folder.path().join("log"));
        assert!(
            self.answers().await,
            "{} does not start again:\n{}",
            self.name,
            self.process.output()
        );
    }
}
