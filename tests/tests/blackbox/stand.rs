//! A service of one's own: the binary with its database, its store and its callers.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Output,
    sync::Arc,
    time::Duration,
};

use cloakroom_tests::{
    process::{Launch, Process, eventually, free_port, temporary_folder},
    proxy::TcpProxy,
    servers::{Garage, Postgres, S3Access},
};
use reqwest::StatusCode;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::Api;

const PATIENCE: Duration = Duration::from_secs(30);

/// Which database and which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    SqliteFs,
    PostgresFs,
    PostgresGarage,
}

impl Setup {
    /// The smallest and the largest installation.
    pub const fn all() -> [Self; 2] {
        [Self::SqliteFs, Self::PostgresGarage]
    }
}

/// What a command printed, and its exit code.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Servers that only one test uses, so that it may break them.
struct Own {
    postgres: Postgres,
    garage: Garage,
}

/// A running service.
pub struct Stand {
    data: Arc<TempDir>,
    environment: Vec<(String, String)>,
    address: SocketAddr,
    process: Option<Process>,
    admin: String,
    user: String,
    pub(crate) database_url: String,
    pub(crate) s3: Option<S3Access>,
    pub(crate) bucket: String,
    own: Option<Own>,
    proxy: Option<TcpProxy>,
}

impl Stand {
    /// Over SQLite and a folder.
    pub async fn simple() -> Self {
        Self::start(Setup::SqliteFs).await
    }

    pub async fn start(setup: Setup) -> Self {
        Self::start_with(setup, &[]).await
    }

    /// Over SQLite and a folder, with these settings.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        Self::start_with(Setup::SqliteFs, settings).await
    }

    pub async fn start_with(setup: Setup, settings: &[(&str, &str)]) -> Self {
        let mut stand = Self::planned(setup, settings).await;
        stand.begin().await;
        stand
    }

    /// In development mode: no admin token is configured, the service makes up its own.
    pub async fn development() -> Self {
        let mut stand = Self::planned(Setup::SqliteFs, &[]).await;
        stand
            .environment
            .retain(|(name, _)| name != "CLOAKROOM_ADMIN_TOKEN");
        stand.start_again().await;
        let tokens = std::fs::read(stand.data().join("development-tokens.json")).unwrap();
        let tokens: serde_json::Value = serde_json::from_slice(&tokens).unwrap();
        tokens["user"].as_str().unwrap().clone_into(&mut stand.user);
        tokens["admin"]
            .as_str()
            .unwrap()
            .clone_into(&mut stand.admin);
        stand
    }

    /// Over a PostgreSQL and a Garage that nobody else uses.
    pub async fn with_own_servers(settings: &[(&str, &str)]) -> Self {
        let own = Own {
            postgres: Postgres::start().await,
            garage: Garage::start().await,
        };
        let database = own.postgres.database().await;
        let access = own.garage.access().clone();
        let mut stand = Self::assembled(database, Some(access), settings);
        stand.own = Some(own);
        stand.begin().await;
        stand
    }

    /// Over PostgreSQL behind a proxy, and a folder.
    pub async fn behind_a_proxy_to_postgresql(settings: &[(&str, &str)]) -> Self {
        let direct = Postgres::shared().database().await;
        let authority = direct
            .split('@')
            .nth(1)
            .and_then(|rest| rest.split('/').next())
            .unwrap();
        let proxy = TcpProxy::start(authority).await;
        let through = proxy.instead_of(&direct);
        let mut stand = Self::assembled(through, None, settings);
        stand.database_url = direct;
        stand.proxy = Some(proxy);
        stand.begin().await;
        stand
    }

    /// Several services over one database and one store, started at once.
    pub async fn replicas(setup: Setup, count: usize) -> Vec<Self> {
        let mut replicas = vec![Self::planned(setup, &[]).await];
        for _ in 1..count {
            let mut replica = replicas[0].twin();
            replica.listen_elsewhere();
            replicas.push(replica);
        }
        for replica in &mut replicas {
            replica.process = Some(replica.launch().spawn(&replica.log_path()));
        }
        for replica in &mut replicas {
            replica.ready().await;
        }
        let user = replicas[0]
            .make_token("user", &["--account", "1", "--user", "7"])
            .await;
        for replica in &mut replicas {
            replica.user.clone_from(&user);
        }
        replicas
    }

    /// A start that must fail, over SQLite and a folder, without an admin token.
    pub async fn serve_fails(settings: &[(&str, &str)]) -> Ran {
        let mut stand = Self::planned(Setup::SqliteFs, settings).await;
        let set = |name: &str| settings.iter().any(|(other, _)| *other == name);
        stand
            .environment
            .retain(|(name, _)| name != "CLOAKROOM_ADMIN_TOKEN" || set("CLOAKROOM_ADMIN_TOKEN"));
        stand.run(&["serve"]).await
    }

    /// A second service over the same database with another data folder; it must not stay.
    pub async fn second_with_a_folder_of_its_own(&self) -> Ran {
        let mut second = self.twin();
        second.data = Arc::new(temporary_folder());
        let folder = second.data.path().to_str().unwrap().to_owned();
        second.set("CLOAKROOM_DATA_DIR", &folder);
        second.listen_elsewhere();
        second.run(&["serve"]).await
    }

    /// A second service beside this one, over the same folder and database; it must not stay.
    pub async fn second_beside(&self) -> Ran {
        let mut second = self.twin();
        second.listen_elsewhere();
        second.run(&["serve"]).await
    }

    async fn planned(setup: Setup, settings: &[(&str, &str)]) -> Self {
        let database = match setup {
            Setup::SqliteFs => String::new(),
            Setup::PostgresFs | Setup::PostgresGarage => Postgres::shared().database().await,
        };
        let s3 = (setup == Setup::PostgresGarage).then(Garage::shared);
        Self::assembled(database, s3, settings)
    }

    fn assembled(database: String, s3: Option<S3Access>, settings: &[(&str, &str)]) -> Self {
        let data = Arc::new(temporary_folder());
        let folder = data.path().to_str().unwrap().to_owned();
        let database_url = if database.is_empty() {
            format!("sqlite://{folder}/cloakroom.db")
        } else {
            database.clone()
        };
        let bucket = s3
            .as_ref()
            .map_or_else(|| "files".to_owned(), S3Access::bucket_prefix);
        let admin = format!("admin-{}", hex::encode(rand::random::<[u8; 16]>()));
        let mut stand = Self {
            data,
            environment: Vec::new(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            process: None,
            admin: admin.clone(),
            user: String::new(),
            database_url,
            s3,
            bucket: bucket.clone(),
            own: None,
            proxy: None,
        };
        stand.set("CLOAKROOM_DATA_DIR", &folder);
        stand.set("CLOAKROOM_ADMIN_TOKEN", &admin);
        if !database.is_empty() {
            stand.set("CLOAKROOM_DATABASE_URL", &database);
        }
        if let Some(s3) = stand.s3.clone() {
            stand.set("CLOAKROOM_STORE", "s3");
            stand.set("CLOAKROOM_S3_ENDPOINT", &s3.endpoint);
            stand.set("CLOAKROOM_S3_REGION", &s3.region);
            stand.set("CLOAKROOM_S3_ACCESS_KEY_ID", &s3.access_key);
            stand.set("CLOAKROOM_S3_SECRET_ACCESS_KEY", &s3.secret_key);
            stand.set("CLOAKROOM_S3_PATH_STYLE", "on");
            stand.set("CLOAKROOM_S3_BUCKET", &bucket);
        }
        stand.listen_elsewhere();
        for (name, value) in settings {
            stand.set(name, value);
            if *name == "CLOAKROOM_ADMIN_TOKEN" {
                (*value).clone_into(&mut stand.admin);
            }
        }
        stand
    }

    /// The same settings, not started.
    fn twin(&self) -> Self {
        Self {
            data: Arc::clone(&self.data),
            environment: self.environment.clone(),
            address: self.address,
            process: None,
            admin: self.admin.clone(),
            user: self.user.clone(),
            database_url: self.database_url.clone(),
            s3: self.s3.clone(),
            bucket: self.bucket.clone(),
            own: None,
            proxy: None,
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(other, _)| other != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    fn listen_elsewhere(&mut self) {
        self.address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let address = self.address.to_string();
        self.set("CLOAKROOM_LISTEN", &address);
    }

    async fn begin(&mut self) {
        self.start_again().await;
        self.user = self
            .make_token("user", &["--account", "1", "--user", "7"])
            .await;
    }

    /// Starts the stopped or killed service on the same address and data.
    pub async fn start_again(&mut self) {
        self.process = Some(self.launch().spawn(&self.log_path()));
        self.ready().await;
    }

    async fn ready(&mut self) {
        let api = self.anonymous();
        let log = self.log_path();
        let process = self.process.as_mut().unwrap();
        eventually("the service starts", PATIENCE, async || {
            assert!(
                process.ended().is_none(),
                "{}",
                std::fs::read_to_string(&log).unwrap()
            );
            let answer = api.get("/health/live").send().await;
            answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
        })
        .await;
    }

    fn launch(&self) -> Launch {
        let mut launch = Launch::new(binary()).bare().args(["serve"]);
        for (name, value) in &self.environment {
            launch = launch.env(name, value);
        }
        launch
    }

    /// Runs another command of the binary with the service's settings, for at most a minute.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = tokio::process::Command::new(binary());
        command.env_clear().args(arguments).kill_on_drop(true);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = tokio::time::timeout(Duration::from_secs(60), command.output());
        let Output {
            status,
            stdout,
            stderr,
        } = output
            .await
            .unwrap_or_else(|_| panic!("{arguments:?} does not end"))
            .unwrap();
        Ran {
            code: status.code().unwrap(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    async fn make_token(&self, kind: &str, more: &[&str]) -> String {
        let arguments = [
            &[
                "token", "create", "--json", "--name", "test", "--kind", kind,
            ],
            more,
        ]
        .concat();
        let made = self.run(&arguments).await;
        assert_eq!(made.code, 0, "{}", made.stderr);
        let made: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
        made["token"].as_str().unwrap().to_owned()
    }

    /// A caller with a new token.
    pub async fn token(&self, kind: &str, more: &[&str]) -> Api {
        let token = self.make_token(kind, more).await;
        self.anonymous().with(Some(&token))
    }

    /// User 7 of account 1.
    pub fn user(&self) -> Api {
        self.anonymous().with(Some(&self.user))
    }

    pub fn user_token(&self) -> &str {
        &self.user
    }

    pub fn admin(&self) -> Api {
        self.anonymous().with(Some(&self.admin))
    }

    pub fn anonymous(&self) -> Api {
        Api::new(&format!("http://{}", self.address), None)
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The head of a request by the user, with its empty line.
    pub fn head(&self, method: &str, path: &str, more: &str, length: usize) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: {length}\r\n{more}\r\n",
            self.address, self.user
        )
    }

    pub async fn kill9(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// SIGTERM; the exit code.
    pub async fn terminate(&mut self) -> Option<i32> {
        let mut process = self.process.take().unwrap();
        process
            .stop(Signal::TERM, Duration::from_secs(40))
            .await
            .code()
    }

    /// The service's process.
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    pub fn log_path(&self) -> PathBuf {
        self.data
            .path()
            .join(format!("service-{}.log", self.address.port()))
    }

    pub fn data(&self) -> &Path {
        self.data.path()
    }

    pub fn postgres(&self) -> &Postgres {
        &self.own.as_ref().unwrap().postgres
    }

    pub fn postgres_mut(&mut self) -> &mut Postgres {
        &mut self.own.as_mut().unwrap().postgres
    }

    pub fn store(&self) -> &Garage {
        &self.own.as_ref().unwrap().garage
    }

    pub fn store_mut(&mut self) -> &mut Garage {
        &mut self.own.as_mut().unwrap().garage
    }

    pub fn proxy(&self) -> &TcpProxy {
        self.proxy.as_ref().unwrap()
    }
}

/// The service's binary, beside the tests in the target folder.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(Path::parent).unwrap();
    let binary = target.join("cloakroom");
    assert!(
        binary.exists(),
        "{} is not built: run `make test`",
        binary.display()
    );
    binary
}
