//! The Django project in `tests/django`: a web application that keeps its attachments in the service.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{RequestBuilder, Response, StatusCode, header::SET_COOKIE};
use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{installed, until_ready};
use crate::{
    client::{Client, expect},
    process::{Launch, PATIENCE, Process, free_port, temporary_folder},
};

/// The password of everybody whom `manage.py demo` makes.
pub const PASSWORD: &str = "correct horse battery staple";

/// Django's cache over Redis by the package django-redis.
pub const DJANGO_REDIS: &str = "django_redis.cache.RedisCache";
/// Django's cache over Redis by its own backend.
pub const DJANGO_OWN: &str = "django.core.cache.backends.redis.RedisCache";

/// How long the project's own tests may take.
const TESTS: Duration = Duration::from_secs(300);

/// What to start.
#[derive(Debug, Clone)]
pub struct DjangoBuilder {
    port: u16,
    environment: Vec<(&'static str, String)>,
}

impl DjangoBuilder {
    /// With that cache, [`DJANGO_REDIS`] or [`DJANGO_OWN`].
    #[must_use]
    pub fn cache(self, backend: &str) -> Self {
        self.with("CACHE_BACKEND", backend)
    }

    /// With the files at that address, for browsers (with the mount) and for the application itself.
    #[must_use]
    pub fn files(self, public: &str, private: &str) -> Self {
        self.with("FILES_URL", public)
            .with("FILES_PRIVATE_URL", private)
    }

    /// With a token that it claims files with.
    #[must_use]
    pub fn service_token(self, token: &str) -> Self {
        self.with("FILES_SERVICE_TOKEN", token)
    }

    /// Under names of that domain as well, which is also the cookie's.
    #[must_use]
    pub fn domain(self, domain: &str) -> Self {
        self.with("ALLOWED_HOSTS", &format!("127.0.0.1,.{domain}"))
            .with("FILES_COOKIE_DOMAIN", &format!(".{domain}"))
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// Makes its tables and people, starts it and waits until it answers.
    ///
    /// # Panics
    /// It is not installed, or does not answer.
    pub async fn start(self) -> Django {
        let folder = temporary_folder();
        let process = self.launch(&folder);
        let mut django = Django {
            process,
            folder,
            builder: self,
        };
        django.wait().await;
        django
    }

    /// Runs the project's own tests.
    ///
    /// # Panics
    /// One fails, or they take longer than five minutes.
    pub async fn run_tests(&self) {
        let folder = temporary_folder();
        let log = folder.path().join("log");
        let mut tests = self.manage(&folder).args(["test"]).spawn(&log);
        let status = tests.wait(TESTS).await;
        let passed = status.is_some_and(|status| status.success());
        assert!(passed, "{status:?}\n{}", tests.output());
    }

    fn launch(&self, folder: &TempDir) -> Process {
        let listen = format!("127.0.0.1:{}", self.port);
        self.manage(folder)
            .args(["demo", &listen])
            .spawn(&folder.path().join("log"))
    }

    fn manage(&self, folder: &TempDir) -> Launch {
        let launch = Launch::new("python3")
            .args([project().join("manage.py")])
            .bare()
            .env("PYTHONPATH", packages())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1")
            .env("DATA_DIR", folder.path())
            .folder(project());
        let variables = self.environment.iter();
        variables.fold(launch, |launch, (name, value)| launch.env(name, value))
    }
}

/// The project, on a free loopback port, with a database of its own in a temporary folder.
#[derive(Debug)]
pub struct Django {
    process: Process,
    folder: TempDir,
    builder: DjangoBuilder,
}

/// A browser's cookies after a sign-in.
#[derive(Debug, Clone)]
pub struct Session {
    session: String,
    csrf: String,
    /// The token that the cookie `file_service_auth` has: as good in `Authorization: Bearer`.
    pub token: String,
}

impl Django {
    /// With its cache in that Redis and that `SECRET_KEY`.
    #[must_use]
    pub fn over(redis_url: &str, secret: &str) -> DjangoBuilder {
        let builder = DjangoBuilder {
            port: free_port(),
            environment: Vec::new(),
        };
        builder
            .with("REDIS_URL", redis_url)
            .with("SECRET_KEY", secret)
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.builder.port)
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.builder.port
    }

    /// The base and a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base())
    }

    /// A caller of it, with or without a user's token.
    #[must_use]
    pub fn client(&self, token: Option<&str>) -> Client {
        Client::new(&self.base()).with(token)
    }

    /// What it has written.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Signs somebody in as a browser does: `olga`, `colin`, `carla` of account 1688, `otto` of 1689.
    ///
    /// # Panics
    /// It does not.
    pub async fn sign_in(&self, name: &str) -> Session {
        let page = self.client(None).get("/auth/signin/").send().await;
        let csrf = cookie(&page.unwrap(), "csrftoken");
        let form = format!("username={name}&password={}", PASSWORD.replace(' ', "+"));
        let request = self.client(None).post("/auth/signin/");
        let answer = request
            .header("Cookie", format!("csrftoken={csrf}"))
            .header("X-CSRFToken", csrf)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form);
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FOUND, "{}", self.log());
        Session {
            session: cookie(&answer, "sessionid"),
            csrf: cookie(&answer, "csrftoken"),
            token: cookie(&answer, "file_service_auth"),
        }
    }

    /// Signs out, as a browser does.
    ///
    /// # Panics
    /// It does not.
    pub async fn sign_out(&self, session: &Session) {
        let answer = self.signing_out(session).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FOUND, "{}", self.log());
    }

    fn signing_out(&self, session: &Session) -> RequestBuilder {
        let Session {
            session,
            csrf,
            token,
        } = session;
        let cookies = format!("sessionid={session}; csrftoken={csrf}; file_service_auth={token}");
        let request = self.client(None).post("/auth/signout/");
        request
            .header("Cookie", cookies)
            .header("X-CSRFToken", csrf)
    }

    /// Tells it who may read a file that was uploaded with that token: rule `account`, `restricted` (to those
    /// users), `form` or `embed`.
    ///
    /// # Panics
    /// It refuses.
    pub async fn attach(&self, token: &str, file_id: &str, rule: &str, users: &[u64]) {
        let body = json!({"file_id": file_id, "rule": rule, "users": users});
        self.told(token, "/attachments/", &body).await;
    }

    /// A token for a visitor: kind `guest` (perhaps in the name of a user), `public` or `embed`.
    ///
    /// # Panics
    /// It refuses.
    pub async fn invite(&self, token: &str, kind: &str, user: Option<u64>) -> String {
        let body = json!({"kind": kind, "user": user});
        let answer = self.told(token, "/attachments/invitations/", &body).await;
        answer["token"].as_str().unwrap().to_owned()
    }

    async fn told(&self, token: &str, path: &str, body: &Value) -> Value {
        let request = self.client(Some(token)).post(path);
        let request = request.header("Content-Type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        expect(answer, StatusCode::CREATED).await
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

    /// Starts it again, stopped or not, on the same port with the same data.
    ///
    /// # Panics
    /// It does not answer.
    pub async fn restart(&mut self) {
        if self.process.ended().is_none() {
            self.process.stop(Signal::TERM, PATIENCE).await;
        }
        self.process = self.builder.launch(&self.folder);
        self.wait().await;
    }

    async fn wait(&mut self) {
        let page = self.client(None).get("/auth/signin/");
        let answers = async || {
            let attempt = page.try_clone().unwrap().send().await;
            attempt.is_ok_and(|answer| answer.status().is_success())
        };
        let up = until_ready(&mut self.process, answers).await;
        assert!(up, "Django does not start:\n{}", self.log());
    }
}

/// The value of a cookie that an answer sets.
fn cookie(answer: &Response, name: &str) -> String {
    let set = answer.headers().get_all(SET_COOKIE);
    set.iter()
        .filter_map(|value| value.to_str().ok()?.strip_prefix(name)?.strip_prefix('='))
        .find_map(|value| Some(value.split(';').next()?.to_owned()))
        .unwrap_or_else(|| panic!("no cookie {name}: {answer:?}"))
}

/// The project's folder.
fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("django")
}

/// Where `make test` has installed what the project needs.
fn packages() -> PathBuf {
    let requirements = fs::read(project().join("requirements.txt")).unwrap();
    let hash = hex::encode(Sha256::digest(requirements));
    installed(&format!("django-{}", &hash[..16]))
}
