//! Azurite: Azure's blobs on this machine.

use std::{
    fmt, fs,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tempfile::TempDir;

use super::{AZURITE, TRIES, installed, shared, until_ready};
use crate::process::{Launch, Process, free_port, temporary_folder};

const ACCOUNT: &str = "cloakroom";
const CONTAINER: &str = "objects";

/// An Azurite that may be used but not stopped. Its text form is `endpoint|account|key|container`.
#[derive(Debug, Clone)]
pub struct AzuriteAccess {
    /// `http://host:port/account`.
    pub endpoint: String,
    /// The account's name.
    pub account: String,
    /// The account's key.
    pub key: String,
    /// A container that is there.
    pub container: String,
}

impl AzuriteAccess {
    /// The one that the whole test run shares.
    ///
    /// # Panics
    /// Outside `make test`.
    #[must_use]
    pub fn shared() -> Self {
        let text = shared(AZURITE);
        let [endpoint, account, key, container] = text.split('|').collect::<Vec<_>>()[..] else {
            panic!("{AZURITE} is not of the form endpoint|account|key|container");
        };
        Self {
            endpoint: endpoint.to_owned(),
            account: account.to_owned(),
            key: key.to_owned(),
            container: container.to_owned(),
        }
    }

    /// Makes the container.
    async fn make_container(&self) {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let (account, container) = (&self.account, &self.container);
        let signed = format!(
            "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:2021-08-06\n/{account}/{account}/{container}\nrestype:container"
        );
        let key = STANDARD.decode(&self.key).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(signed.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let answer = reqwest::Client::new()
            .put(format!("{}/{container}?restype=container", self.endpoint))
            .timeout(Duration::from_secs(10))
            .header("x-ms-date", date)
            .header("x-ms-version", "2021-08-06")
            .header("Content-Length", "0")
            .header("Authorization", format!("SharedKey {account}:{signature}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
    }
}

impl fmt::Display for AzuriteAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            endpoint,
            account,
            key,
            container,
        } = self;
        write!(f, "{endpoint}|{account}|{key}|{container}")
    }
}

/// An Azurite of one's own, on a free loopback port, in a temporary folder, with one container.
#[derive(Debug)]
pub struct Azurite {
    process: Process,
    _folder: TempDir,
    access: AzuriteAccess,
}

impl Azurite {
    /// Starts one.
    ///
    /// # Panics
    /// It is not installed or does not start.
    pub async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        for _ in 0..TRIES {
            let (folder, port) = (temporary_folder(), free_port());
            let data = folder.path().join("data");
            fs::create_dir(&data).unwrap();
            let key = STANDARD.encode(super::random_hex(32));
            let main = "azurite-3.37.0/node_modules/azurite/dist/src/blob/main.js";
            let launch = Launch::new("node")
                .args([installed(main)])
                .args(["--blobHost", "127.0.0.1", "--blobPort"])
                .args([port.to_string()])
                .args(["--silent", "--disableTelemetry", "--skipApiVersionCheck"])
                .args(["--location".into(), data])
                .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{key}"));
            let mut process = launch.spawn(&folder.path().join("log"));
            let address = format!("127.0.0.1:{port}");
            let answers = async || tokio::net::TcpStream::connect(&address).await.is_ok();
            if until_ready(&mut process, answers).await {
                let access = AzuriteAccess {
                    endpoint: format!("http://{address}/{ACCOUNT}"),
                    account: ACCOUNT.to_owned(),
                    key,
                    container: CONTAINER.to_owned(),
                };
                access.make_container().await;
                return Self {
                    process,
                    _folder: folder,
                    access,
                };
            }
            eprintln!("Azurite ended at its start:\n{}", process.output());
        }
        panic!("Azurite does not start");
    }

    /// The id of its first process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// How to use it.
    #[must_use]
    pub fn access(&self) -> &AzuriteAccess {
        &self.access
    }
}
