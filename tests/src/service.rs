//! The real binary, started on a free port over a folder or real servers.

mod builder;
mod setup;

use std::{
    collections::BTreeMap,
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

pub use self::{builder::ServiceBuilder, setup::Setup};
use crate::{
    client::Client,
    process::{Launch, PATIENCE, Process, free_port},
    servers::S3Access,
};

/// How long the binary may take until it answers.
const START: Duration = Duration::from_secs(30);

/// How long another command of it may take.
const RUN: Duration = Duration::from_secs(60);

/// What replicas have in common.
#[derive(Debug)]
struct Place {
    folder: TempDir,
    environment: BTreeMap<String, String>,
    /// The address of the database itself, past any proxy.
    database: String,
    core: Option<usize>,
    s3: Option<S3Access>,
}

impl Place {
    fn launch(&self, port: u16) -> Launch {
        let program = match self.core {
            None => Launch::new(binary()),
            Some(core) => Launch::pinned(core, binary()),
        };
        let program = program
            .bare()
            .env("CLOAKROOM_LISTEN", format!("127.0.0.1:{port}"))
            .folder(self.folder.path());
        self.environment
            .iter()
            .fold(program, |launch, (name, value)| launch.env(name, value))
    }

    async fn run(&self, port: u16, arguments: &[&str]) -> Ran {
        let command = self.launch(port).args(arguments).command();
        let mut command = tokio::process::Command::from(command);
        let output = tokio::time::timeout(RUN, command.kill_on_drop(true).output());
        let output = output
            .await
            .unwrap_or_else(|_| panic!("{arguments:?} takes longer than {RUN:?}"))
            .unwrap();
        let code = output.status.code();
        Ran {
            code: code.unwrap_or_else(|| panic!("{arguments:?} was killed: {output:?}")),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A running (or stopped) `cloakroom serve`. Dropping it kills it; the last replica takes the data folder along.
#[derive(Debug)]
pub struct Service {
    place: Arc<Place>,
    port: u16,
    log: PathBuf,
    process: Process,
}

/// The binary ended instead of answering.
#[derive(Debug)]
pub struct Refused {
    /// How.
    pub status: ExitStatus,
    /// What it wrote.
    pub output: String,
}

/// What a command of the binary did.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Service {
    /// Settings for one to start.
    #[must_use]
    pub fn builder() -> ServiceBuilder {
        ServiceBuilder::default()
    }

    /// Starts one in development mode over SQLite and a folder.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    async fn launched(place: &Arc<Place>) -> Result<Self, Refused> {
        for _ in 0..3 {
            let port = free_port();
            let log = place.folder.path().join(format!("log-{port}"));
            let process = place.launch(port).args(["serve"]).spawn(&log);
            let mut service = Self {
                place: Arc::clone(place),
                port,
                log,
                process,
            };
            match service.ready().await {
                Ok(()) => return Ok(service),
                Err(refused) if refused.output.contains("ddress already in use") => {}
                Err(refused) => return Err(refused),
            }
        }
        panic!("no port that is free stays free");
    }

    async fn ready(&mut self) -> Result<(), Refused> {
        let live = self.anonymous().get("/health/live");
        let begun = Instant::now();
        loop {
            let attempt = live.try_clone().unwrap().timeout(Duration::from_secs(1));
            if attempt.send().await.is_ok_and(|a| a.status().is_success()) {
                return Ok(());
            }
            if let Some(status) = self.process.ended() {
                let output = self.log();
                return Err(Refused { status, output });
            }
            assert!(
                begun.elapsed() < START,
                "not live within {START:?}:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
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

    /// The folder with its data.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.place.environment["CLOAKROOM_DATA_DIR"].clone().into()
    }

    /// The address of its database itself, past any proxy.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.place.database
    }

    /// A setting that it was given.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.place.environment.get(name).map(String::as_str)
    }

    /// Its S3 server; `None` over a folder.
    #[must_use]
    pub fn s3(&self) -> Option<&S3Access> {
        self.place.s3.as_ref()
    }

    /// The token of the operator, or the development mode's.
    #[must_use]
    pub fn admin_token(&self) -> String {
        self.setting("CLOAKROOM_ADMIN_TOKEN")
            .map_or_else(|| self.development_token("admin"), str::to_owned)
    }

    /// The development mode's token of a user.
    ///
    /// # Panics
    /// In production mode, where [`Service::create_token`] makes one.
    #[must_use]
    pub fn user_token(&self) -> String {
        self.development_token("user")
    }

    fn development_token(&self, kind: &str) -> String {
        let file = self.data_dir().join("development-tokens.json");
        let text = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let tokens: serde_json::Value = serde_json::from_slice(&text).unwrap();
        tokens[kind].as_str().unwrap().to_owned()
    }

    /// Makes a token by the command line: kind `service`, `user` or `admin`, with `--account`, `--user` as given.
    pub async fn create_token(&self, kind: &str, arguments: &[&str]) -> String {
        let name = format!("test-{kind}");
        let mut command = vec!["token", "create", "--json", "--kind", kind, "--name", &name];
        command.extend(arguments);
        let ran = self.run(&command).await;
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let created: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        created["token"].as_str().unwrap().to_owned()
    }

    /// A client without a credential.
    #[must_use]
    pub fn anonymous(&self) -> Client {
        Client::new(&self.base())
    }

    /// A client with the development mode's user token.
    #[must_use]
    pub fn user(&self) -> Client {
        self.anonymous().with(Some(&self.user_token()))
    }

    /// A client with the admin token.
    #[must_use]
    pub fn admin(&self) -> Client {
        self.anonymous().with(Some(&self.admin_token()))
    }

    /// What it has written to standard output and error, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The id of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills it (SIGKILL).
    pub fn kill9(&mut self) {
        self.process.kill();
    }

    /// Freezes it (SIGSTOP).
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Tells it to stop (SIGTERM) and waits until it has; panics if it takes longer than 40 s.
    pub async fn terminate(&mut self) -> ExitStatus {
        let patience = PATIENCE + Duration::from_secs(10);
        self.process.stop(Signal::TERM, patience).await
    }

    /// Changes a setting for the next start, and for commands; nothing takes it away.
    ///
    /// # Panics
    /// There are replicas, which have the same settings.
    pub fn set(&mut self, name: &str, value: &str) {
        let place = Arc::get_mut(&mut self.place).expect("a service without replicas");
        place.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Starts it again, stopped or not, on the same port with the same data.
    pub async fn restart(&mut self) {
        if self.process.ended().is_none() {
            self.terminate().await;
        }
        self.process = self
            .place
            .launch(self.port)
            .args(["serve"])
            .spawn(&self.log);
        if let Err(refused) = self.ready().await {
            refused.fail()
        }
    }

    /// Runs another command of the binary with the same settings, to its end.
    ///
    /// # Panics
    /// It takes longer than a minute, is killed, or writes what is not UTF-8.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        self.place.run(self.port, arguments).await
    }

    /// The program's name and its arguments, as `ps` shows them.
    #[must_use]
    pub fn command_line(&self) -> String {
        fs::read_to_string(format!("/proc/{}/cmdline", self.id())).unwrap()
    }

    /// Resident memory now, in bytes.
    #[must_use]
    pub fn rss_bytes(&self) -> u64 {
        self.status_kib("VmRSS:") * 1024
    }

    /// The most resident memory so far, in bytes.
    #[must_use]
    pub fn peak_rss_bytes(&self) -> u64 {
        self.status_kib("VmHWM:") * 1024
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(field));
        let value = value.and_then(|value| value.trim().strip_suffix(" kB"));
        value.unwrap().parse().unwrap()
    }

    /// How many descriptors it has open.
    #[must_use]
    pub fn open_fds(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.id());
        fs::read_dir(folder).unwrap().count()
    }
}

impl Refused {
    fn fail(self) -> ! {
        panic!("cloakroom ended, {}:\n{}", self.status, self.output)
    }
}

/// The binary: `CLOAKROOM_BIN`, else the one beside this test in the target folder.
///
/// # Panics
/// It is not built.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(binary) = env::var_os("CLOAKROOM_BIN") {
        return binary.into();
    }
    let test = env::current_exe().unwrap();
    let beside = |folder: &Path| folder.join("cloakroom");
    test.ancestors()
        .skip(1)
        .take(2)
        .map(beside)
        .find(|binary| binary.is_file())
        .expect("cloakroom is not built: run `make test`, or set CLOAKROOM_BIN")
}
