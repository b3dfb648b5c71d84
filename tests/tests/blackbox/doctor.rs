//! `cloakroom doctor` before real deployments: well ones, and such with one fault each.

mod conduct;
mod faults;
mod sound;
mod ways;

use std::{fs, path::Path, time::Duration};

use cloakroom_tests::{
    process::{Launch, free_port, temporary_folder},
    servers::{Nginx, NginxBuilder, garage},
    service::{Service, Setup, binary},
};
use serde_json::Value;

/// How long a look may take: longer than it is allowed to.
const PATIENCE: Duration = Duration::from_secs(400);

/// User 7 of account 1.
const USER: [&str; 4] = ["--account", "1", "--user", "7"];

/// The origin of a page that the services allow.
pub const PAGE: &str = "https://app.example.com";

/// Services that know the address of an nginx which is still to be started.
pub struct Place {
    pub services: Vec<Service>,
    pub token: String,
    port: u16,
    tls: bool,
}

/// What is different in one.
#[derive(Clone, Copy, Default)]
pub struct Make<'a> {
    pub replicas: usize,
    pub tls: bool,
    pub settings: &'a [(&'a str, &'a str)],
}

impl Place {
    pub async fn start(setup: Setup, make: Make<'_>) -> Self {
        let port = free_port();
        let mut builder = Service::builder()
            .setup(setup)
            .production()
            .sweeping_fast()
            .env("CLOAKROOM_PUBLIC_URL", address(make.tls, port))
            .env("CLOAKROOM_TRUSTED_PROXIES", "127.0.0.1")
            .env("CLOAKROOM_ALLOWED_ORIGINS", PAGE);
        for (name, value) in make.settings {
            builder = builder.env(*name, *value);
        }
        let services = builder.start_replicas(make.replicas.max(1)).await;
        let token = services[0].create_token("user", &USER).await;
        Self {
            services,
            token,
            port,
            tls: make.tls,
        }
    }

    /// Over a folder and SQLite, one service, no TLS.
    pub async fn simple() -> Self {
        Self::start(Setup::SqliteFs, Make::default()).await
    }

    pub fn service(&self) -> &Service {
        &self.services[0]
    }

    pub fn url(&self) -> String {
        address(self.tls, self.port)
    }

    /// The files that are deployed, before these services.
    pub fn nginx(&self) -> NginxBuilder {
        let addresses = self.services.iter().map(Service::address);
        let nginx = Nginx::before(addresses).port(self.port);
        if self.tls { nginx.tls() } else { nginx }
    }

    /// With bytes sent by nginx.
    pub fn offloading(&self, setup: Setup) -> NginxBuilder {
        if setup.has_garage() {
            self.nginx().offload_from_s3(garage::shared().address())
        } else {
            let objects = self.service().data_dir().join("objects");
            self.nginx().offload_from(objects)
        }
    }

    /// Looks at it with a user's token.
    pub async fn look(&self, only: &str) -> Seen {
        self.look_through(None, only).await
    }

    /// As [`Place::look`], trusting the certificate of that nginx.
    pub async fn look_through(&self, nginx: Option<&Nginx>, only: &str) -> Seen {
        let certificate = nginx.map(Nginx::certificate);
        let more = ["--origin", PAGE, "--only", only];
        let more = &more[..if only.is_empty() { 2 } else { 4 }];
        doctor(&self.url(), &self.token, certificate.as_deref(), more).await
    }

    /// Nothing that a look made is left.
    pub async fn assert_clean(&self) {
        cloakroom_tests::inspect::assert_nothing_left(self.service()).await;
    }
}

fn address(tls: bool, port: u16) -> String {
    if tls {
        format!("https://localhost:{port}/files")
    } else {
        format!("http://127.0.0.1:{port}/files")
    }
}

/// What a look said.
#[derive(Debug)]
pub struct Seen {
    pub code: i32,
    pub document: Value,
    #[expect(dead_code, reason = "shown where a test fails")]
    pub stderr: String,
}

/// The command, from elsewhere: it has nothing but an address and a token.
pub fn launch(url: &str, token: &Path, certificate: Option<&Path>, more: &[&str]) -> Launch {
    let launch = Launch::new(binary())
        .bare()
        .args(["doctor", "--url", url, "--token-file"])
        .args([token])
        .args(more);
    match certificate {
        Some(file) => launch.env("SSL_CERT_FILE", file),
        None => launch,
    }
}

/// Runs the command to its end.
pub async fn doctor(url: &str, token: &str, certificate: Option<&Path>, more: &[&str]) -> Seen {
    let folder = temporary_folder();
    let file = folder.path().join("token");
    fs::write(&file, format!("{token}\n")).unwrap();
    let more = [&["--json"], more].concat();
    let command = launch(url, &file, certificate, &more)
        .folder(folder.path())
        .command();
    let mut command = tokio::process::Command::from(command);
    let output = command.kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output)
        .await
        .unwrap()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stdout.contains(token) && !stderr.contains(token));
    let document = serde_json::from_str(&stdout).unwrap_or_default();
    Seen {
        code: output.status.code().unwrap(),
        document,
        stderr,
    }
}

impl Seen {
    /// What a check found at that level, each with its line.
    pub fn found(&self, check: &str, level: &str) -> Vec<(String, String)> {
        let findings = self.document["findings"].as_array();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let findings = findings.into_iter().flatten();
        findings
            .filter(|found| found["check"] == check && found["level"] == level)
            .map(|found| (text(&found["what"]), text(&found["mend"]["line"])))
            .collect()
    }

    pub fn count(&self, level: &str) -> u64 {
        self.document["summary"][level].as_u64().unwrap()
    }

    /// Everything is well; `skipped` says what does not apply.
    pub fn assert_well(&self, skipped: &[&str]) {
        assert_eq!(self.code, 0, "{self:#?}");
        for level in ["fault", "warning", "could_not_look"] {
            assert_eq!(self.count(level), 0, "{self:#?}");
        }
        let findings = self.document["findings"].as_array().unwrap();
        let found: Vec<&str> = findings
            .iter()
            .filter(|found| found["level"] == "skipped")
            .map(|found| found["check"].as_str().unwrap())
            .collect();
        assert_eq!(found, skipped, "{self:#?}");
    }

    /// That check has a fault whose line is this.
    pub fn assert_fault(&self, check: &str, line: &str) {
        assert_eq!(self.code, 1, "{self:#?}");
        let faults = self.found(check, "fault");
        let named = faults.iter().any(|(_, mend)| mend.contains(line));
        assert!(named, "no fault of {check} with the line {line}: {self:#?}");
    }

    /// As [`Seen::assert_fault`], and no other check has one.
    pub fn assert_only_fault(&self, check: &str, line: &str) {
        self.assert_fault(check, line);
        let faults = self.count("fault");
        let here = self.found(check, "fault").len();
        assert_eq!(faults, here as u64, "{self:#?}");
    }
}
