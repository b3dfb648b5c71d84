//! Garage, a small S3 server, on one node.

use std::{fs, path::Path};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{GARAGE, S3Access, TRIES, installed, random_hex, until_ready};
use crate::process::{Launch, PATIENCE, Process, free_port, temporary_folder};

const REGION: &str = "garage";

/// A Garage of one's own, on free loopback ports, in a temporary folder. Its key may make buckets.
#[derive(Debug)]
pub struct Garage {
    process: Process,
    folder: TempDir,
    access: S3Access,
}

impl Garage {
    /// The one that the whole test run shares.
    ///
    /// # Panics
    /// Outside `make test`.
    #[must_use]
    pub fn shared() -> S3Access {
        S3Access::shared(GARAGE)
    }

    /// Starts a new one.
    pub async fn start() -> Self {
        let folder = temporary_folder();
        for _ in 0..TRIES {
            let (api, rpc) = (free_port(), free_port());
            let access = S3Access {
                endpoint: format!("http://127.0.0.1:{api}"),
                region: REGION.to_owned(),
                access_key: format!("GK{}", random_hex(12)),
                secret_key: random_hex(32),
            };
            for part in ["meta", "data"] {
                fs::remove_dir_all(folder.path().join(part)).ok();
            }
            configure(folder.path(), api, rpc);
            let mut process = launch(folder.path(), &access);
            if answers(&mut process, &access).await {
                allow_buckets(folder.path(), &access);
                return Self {
                    process,
                    folder,
                    access,
                };
            }
        }
        panic!("Garage does not start:\n{}", log(folder.path()));
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

    /// Starts it again, stopped or not, on the same ports with the same data.
    pub async fn restart(&mut self) {
        if self.process.ended().is_none() {
            self.stop().await;
        }
        self.process = launch(self.folder.path(), &self.access);
        assert!(
            answers(&mut self.process, &self.access).await,
            "Garage does not start again:\n{}",
            log(self.folder.path())
        );
    }
}

fn configure(folder: &Path, api: u16, rpc: u16) {
    let path = |name: &str| folder.join(name).display().to_string();
    let (meta, data) = (path("meta"), path("data"));
    let secret = random_hex(32);
    let text = format!(
        "metadata_dir = \"{meta}\"\ndata_dir = \"{data}\"\ndb_engine = \"lmdb\"\nreplication_factor = 1\n\
         rpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_public_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{secret}\"\n\
         [s3_api]\napi_bind_addr = \"127.0.0.1:{api}\"\ns3_region = \"{REGION}\"\n"
    );
    fs::write(folder.join("garage.toml"), text).unwrap();
}

fn program(folder: &Path) -> Launch {
    Launch::new(installed("garage-2.5.0/bin/garage"))
        .arg_path("--config=", &folder.join("garage.toml"))
        .bare()
}

fn launch(folder: &Path, access: &S3Access) -> Process {
    program(folder)
        .args(["server", "--single-node", "--default-bucket"])
        .env("GARAGE_DEFAULT_ACCESS_KEY", &access.access_key)
        .env("GARAGE_DEFAULT_SECRET_KEY", &access.secret_key)
        .env("GARAGE_DEFAULT_BUCKET", "default")
        .env("RUST_LOG", "garage=info")
        .spawn(&folder.join("log"))
}

fn allow_buckets(folder: &Path, access: &S3Access) {
    program(folder)
        .args(["key", "allow", "--create-bucket", &access.access_key])
        .run();
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

async fn answers(process: &mut Process, access: &S3Access) -> bool {
    let client = access.client();
    until_ready(process, async || {
        client.head_bucket().bucket("default").send().await.is_ok()
    })
    .await
}
