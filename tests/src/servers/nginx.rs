//! nginx from Debian's packages, on the very files that are deployed.

mod files;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::until_ready;
use crate::{
    client::Client,
    process::{Launch, PATIENCE, Process, free_port, temporary_folder},
};

/// What to start: the files of `nginx/`, with only addresses, ports and paths put in.
#[derive(Debug, Clone, Default)]
pub struct NginxBuilder {
    replicas: Vec<SocketAddr>,
    port: Option<u16>,
    tls: bool,
    objects: Option<PathBuf>,
    s3: Option<String>,
    site: Option<String>,
    changes: Vec<Change>,
    core: Option<usize>,
    silent: bool,
}

/// Something else in the place of a text in one of the files.
#[derive(Debug, Clone)]
struct Change {
    file: &'static str,
    from: &'static str,
    to: String,
}

impl NginxBuilder {
    /// With something else in the place of a text that one of the deployed files has exactly once: what an operator
    /// might do to it.
    #[must_use]
    pub fn changed(
        mut self,
        file: &'static str,
        from: &'static str,
        to: impl Into<String>,
    ) -> Self {
        let to = to.into();
        self.changes.push(Change { file, from, to });
        self
    }

    /// On that port of 127.0.0.1, from [`free_port`], where services have to know it before.
    #[must_use]
    pub const fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// With HTTPS and HTTP/2 (`tls.conf`) and a certificate of its own for `localhost` and 127.0.0.1.
    #[must_use]
    pub const fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// With `offload.conf`, over the folder of the objects: `{data}/objects`.
    #[must_use]
    pub fn offload_from(mut self, objects: impl Into<PathBuf>) -> Self {
        self.objects = Some(objects.into());
        self
    }

    /// With `offload.conf`, over the S3 server at `host:port`.
    #[must_use]
    pub fn offload_from_s3(mut self, address: impl Into<String>) -> Self {
        self.s3 = Some(address.into());
        self
    }

    /// That text in the `http` block instead of `cloakroom.conf`. `{listen}` in it becomes `127.0.0.1:PORT`; it may
    /// include `cloakroom/proxy.conf` and `cloakroom/offload.conf`, and finds an `upstream` at `{upstream}`.
    #[must_use]
    pub fn site(mut self, text: impl Into<String>) -> Self {
        self.site = Some(text.into());
        self
    }

    /// On that core and no other.
    #[must_use]
    pub const fn pinned_to(mut self, core: usize) -> Self {
        self.core = Some(core);
        self
    }

    /// Without a log of requests.
    #[must_use]
    pub const fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Starts it and waits until it accepts connections.
    ///
    /// # Panics
    /// It is not installed, refuses the files, or its port is taken.
    pub async fn start(self) -> Nginx {
        let (folder, port) = (temporary_folder(), self.port.unwrap_or_else(free_port));
        let plain = free_port();
        files::write(&self, folder.path(), port, plain);
        let process = launch(folder.path(), self.core);
        let mut nginx = Nginx {
            process,
            folder,
            port,
            core: self.core,
            plain: self.tls.then(|| format!("http://127.0.0.1:{plain}")),
        };
        nginx.wait().await;
        nginx
    }
}

/// An nginx of one's own before a service or several, with one worker, on a free loopback port.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    folder: TempDir,
    port: u16,
    core: Option<usize>,
    /// Where it speaks plain HTTP beside TLS.
    plain: Option<String>,
}

impl Nginx {
    /// Before these services.
    #[must_use]
    pub fn before(replicas: impl IntoIterator<Item = SocketAddr>) -> NginxBuilder {
        NginxBuilder {
            replicas: replicas.into_iter().collect(),
            ..NginxBuilder::default()
        }
    }

    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT`.
    #[must_use]
    pub fn base(&self) -> String {
        if self.plain.is_some() {
            format!("https://localhost:{}", self.port)
        } else {
            format!("http://127.0.0.1:{}", self.port)
        }
    }

    /// The base and a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Where it speaks plain HTTP beside TLS.
    ///
    /// # Panics
    /// Without TLS, where [`Nginx::base`] is plain.
    #[must_use]
    pub fn plain_base(&self) -> &str {
        self.plain.as_deref().unwrap()
    }

    /// A client through it, without a credential. Not for TLS, whose certificate nobody knows.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.base())
    }

    /// The certificate that it shows, for clients that can be told to trust it.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cloakroom/fullchain.pem")
    }

    /// Its error log so far.
    #[must_use]
    pub fn log(&self) -> String {
        text_of(&self.folder.path().join("error.log"))
    }

    /// Its log of requests so far.
    #[must_use]
    pub fn access_log(&self) -> String {
        text_of(&self.folder.path().join("access.log"))
    }

    /// Bytes in files that it keeps bodies in for a while: none, if everything streams.
    #[must_use]
    pub fn temporary_bytes(&self) -> u64 {
        files_below(&self.folder.path().join("temp"))
    }

    /// The id of its first process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
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

    /// Starts it again, stopped or not, on the same port.
    ///
    /// # Panics
    /// It does not accept connections.
    pub async fn restart(&mut self) {
        if self.process.ended().is_none() {
            self.process.stop(Signal::TERM, PATIENCE).await;
        }
        self.process = launch(self.folder.path(), self.core);
        self.wait().await;
    }

    async fn wait(&mut self) {
        let address = self.address();
        let accepts = async || TcpStream::connect(address).await.is_ok();
        let up = until_ready(&mut self.process, accepts).await;
        assert!(
            up,
            "nginx does not start:\n{}{}",
            self.process.output(),
            self.log()
        );
        // It says "still could not bind" and ends after a while where somebody else has the port.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!self.log().contains("bind()"), "{}", self.log());
    }
}

fn launch(folder: &Path, core: Option<usize>) -> Process {
    let nginx = ["/usr/sbin/nginx", "nginx"].map(Path::new);
    let nginx = nginx.into_iter().find(|p| p.exists()).unwrap_or(nginx[1]);
    let launch = match core {
        None => Launch::new(nginx),
        Some(core) => Launch::pinned(core, nginx),
    };
    launch
        .arg_path("-c", &folder.join("nginx.conf"))
        .arg_path("-e", &folder.join("error.log"))
        .spawn(&folder.join("log"))
}

fn text_of(file: &Path) -> String {
    fs::read(file)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn files_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => files_below(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}
