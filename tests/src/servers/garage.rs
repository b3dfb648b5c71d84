//! Garage, a small S3 server, on one node.

use std::{fs, path::Path};

use super::{GARAGE, S3Access, S3Server, installed, random_hex};
use crate::process::{Launch, free_port};

const REGION: &str = "garage";

/// A bucket that is there from the start.
pub const DEFAULT_BUCKET: &str = "default";

/// The one that the whole test run shares.
///
/// # Panics
/// Outside `make test`.
#[must_use]
pub fn shared() -> S3Access {
    S3Access::shared(GARAGE)
}

/// Starts a new one.
pub async fn start() -> S3Server {
    let server = S3Server::start("Garage", plan).await;
    program(server.folder())
        .args(["key", "allow", "--create-bucket"])
        .args([&server.access().access_key])
        .run();
    server
}

/// What a key may do with a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    /// Everything.
    All,
    /// Nothing any more.
    Nothing,
}

/// Sets what the server's key may do with a bucket.
pub fn key_may(server: &S3Server, bucket: &str, may: May) {
    let verb = match may {
        May::All => "allow",
        May::Nothing => "deny",
    };
    program(server.folder())
        .args(["bucket", verb, "--read", "--write", "--owner", bucket])
        .args(["--key", &server.access().access_key])
        .run();
}

fn plan(folder: &Path) -> (Launch, S3Access) {
    let (api, rpc) = (free_port(), free_port());
    configure(folder, api, rpc);
    let access = S3Access {
        endpoint: format!("http://127.0.0.1:{api}"),
        region: REGION.to_owned(),
        access_key: format!("GK{}", random_hex(12)),
        secret_key: random_hex(32),
    };
    let launch = program(folder)
        .args(["server", "--single-node", "--default-bucket"])
        .env("GARAGE_DEFAULT_ACCESS_KEY", &access.access_key)
        .env("GARAGE_DEFAULT_SECRET_KEY", &access.secret_key)
        .env("GARAGE_DEFAULT_BUCKET", DEFAULT_BUCKET)
        .env("RUST_LOG", "garage=info");
    (launch, access)
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
