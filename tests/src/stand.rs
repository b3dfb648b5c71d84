//! A service as most tests want it: one token at hand, and whatever it stands on.

use std::{
    fs,
    ops::{Deref, DerefMut},
    time::Duration,
};

use crate::{
    backend::Backend,
    client::Client,
    inspect,
    process::eventually,
    proxy::TcpProxy,
    servers::{Postgres, S3Server, garage},
    service::{Ran, Service, ServiceBuilder, Setup},
};

const PATIENCE: Duration = Duration::from_secs(45);

/// User 7 of account 1.
const USER: [&str; 4] = ["--account", "1", "--user", "7"];

/// Servers that only one test uses, so that it may break them.
#[derive(Debug)]
struct Own {
    postgres: Postgres,
    store: S3Server,
}

/// A [`Service`] in production mode with a user's token, and what it stands on if nobody else uses that.
#[derive(Debug)]
pub struct Stand {
    service: Service,
    user: String,
    own: Option<Own>,
    proxy: Option<TcpProxy>,
}

impl Deref for Stand {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

impl DerefMut for Stand {
    fn deref_mut(&mut self) -> &mut Service {
        &mut self.service
    }
}

fn with_settings(builder: ServiceBuilder, settings: &[(&str, &str)]) -> ServiceBuilder {
    settings
        .iter()
        .fold(builder, |builder, (name, value)| builder.env(*name, *value))
}

impl Stand {
    /// Over SQLite and a folder.
    pub async fn simple() -> Self {
        Self::start(Setup::SqliteFs).await
    }

    /// Over that database and store.
    pub async fn start(setup: Setup) -> Self {
        Self::start_with(setup, &[]).await
    }

    /// Over SQLite and a folder, with these settings.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        Self::start_with(Setup::SqliteFs, settings).await
    }

    /// Over that database and store, with these settings.
    pub async fn start_with(setup: Setup, settings: &[(&str, &str)]) -> Self {
        Self::begin(Service::builder().setup(setup), settings).await
    }

    /// Over SQLite and a folder, with the callers of a backend, and these settings.
    pub async fn beside(backend: &Backend, settings: &[(&str, &str)]) -> Self {
        let url = backend.redis().url();
        let of_backend = [
            ("CLOAKROOM_REDIS_URL", url.as_str()),
            ("CLOAKROOM_AUTH_SECRET_KEY", backend.secret_key()),
        ];
        Self::with(&[&of_backend, settings].concat()).await
    }

    /// In development mode: no admin token is configured, the service makes up its own tokens.
    pub async fn development() -> Self {
        Self::development_with(&[]).await
    }

    /// In development mode, with these settings.
    pub async fn development_with(settings: &[(&str, &str)]) -> Self {
        let service = with_settings(Service::builder(), settings).start().await;
        let user = service.user_token();
        Self::of(service, user)
    }

    /// Over a PostgreSQL and a Garage that nobody else uses.
    pub async fn with_own_servers(settings: &[(&str, &str)]) -> Self {
        let (postgres, store) = tokio::join!(Postgres::start(), garage::start());
        let builder = Service::builder()
            .database(postgres.database().await)
            .s3(store.access());
        let mut stand = Self::begin(builder, settings).await;
        stand.own = Some(Own { postgres, store });
        stand
    }

    /// Over PostgreSQL behind a proxy, and a folder.
    pub async fn behind_a_proxy_to_postgresql(settings: &[(&str, &str)]) -> Self {
        let direct = Postgres::shared().database().await;
        let server = direct.split('@').nth(1);
        let server = server.and_then(|rest| rest.split('/').next()).unwrap();
        let proxy = TcpProxy::start(server).await;
        let through = proxy.instead_of(&direct);
        let builder = Service::builder()
            .database(direct)
            .database_through(through);
        let mut stand = Self::begin(builder, settings).await;
        stand.proxy = Some(proxy);
        stand
    }

    /// Several services over one database and one store, started at once.
    pub async fn replicas(setup: Setup, count: usize) -> Vec<Self> {
        Self::replicas_with(setup, count, &[]).await
    }

    /// Several services over one database and one store, started at once with these settings.
    pub async fn replicas_with(setup: Setup, count: usize, settings: &[(&str, &str)]) -> Vec<Self> {
        let builder = with_settings(Service::builder().setup(setup).production(), settings);
        let replicas = builder.start_replicas(count).await;
        let user = replicas[0].create_token("user", &USER).await;
        let stand = |service| Self::of(service, user.clone());
        replicas.into_iter().map(stand).collect()
    }

    /// A start over SQLite and a folder that must fail, without an admin token but in the settings.
    pub async fn serve_fails(settings: &[(&str, &str)]) -> Ran {
        with_settings(Service::builder(), settings)
            .run(&["serve"])
            .await
    }

    /// A second service over the same database with another data folder; it must not stay.
    pub async fn second_with_a_folder_of_its_own(&self) -> Ran {
        self.second().run(&["serve"]).await
    }

    /// A second service beside this one, over the same folder and database; it must not stay.
    pub async fn second_beside(&self) -> Ran {
        let folder = self.data_dir().display().to_string();
        let second = self.second().env("CLOAKROOM_DATA_DIR", folder);
        second.run(&["serve"]).await
    }

    fn second(&self) -> ServiceBuilder {
        let second = Service::builder().database(self.database_url());
        second.production()
    }

    async fn begin(builder: ServiceBuilder, settings: &[(&str, &str)]) -> Self {
        let builder = with_settings(builder.production(), settings);
        let service = builder.start().await;
        let user = service.create_token("user", &USER).await;
        Self::of(service, user)
    }

    const fn of(service: Service, user: String) -> Self {
        Self {
            service,
            user,
            own: None,
            proxy: None,
        }
    }

    /// A caller with a new token.
    pub async fn token(&self, kind: &str, more: &[&str]) -> Client {
        let token = self.create_token(kind, more).await;
        self.anonymous().with(Some(&token))
    }

    /// User 7 of account 1, or the development mode's.
    #[must_use]
    pub fn user(&self) -> Client {
        self.anonymous().with(Some(&self.user))
    }

    /// That user's token.
    #[must_use]
    pub fn user_token(&self) -> &str {
        &self.user
    }

    /// The head of a request by the user, with its empty line.
    #[must_use]
    pub fn head(&self, method: &str, path: &str, more: &str, length: usize) -> String {
        let (address, user) = (self.address(), &self.user);
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {user}\r\n\
             Content-Length: {length}\r\n{more}\r\n"
        )
    }

    /// Waits until it holds.
    ///
    /// # Panics
    /// It does not within 45 s; `what` says what did not happen.
    pub async fn until(&self, what: &str, holds: impl AsyncFnMut() -> bool) {
        eventually(what, PATIENCE, holds).await;
    }

    /// Waits until no body is being written or to be removed.
    ///
    /// # Panics
    /// It takes longer than 45 s.
    pub async fn swept(&self) {
        let clean = async || inspect::unsettled(self).await == 0;
        self.until("what was left half way is swept", clean).await;
    }

    /// The log, once it has this text: lines are written a moment after what they tell of.
    ///
    /// # Panics
    /// It does not say so within 45 s.
    pub async fn log_with(&self, text: &str) -> String {
        let said = async || self.log().contains(text);
        self.until(&format!("the log says {text:?}"), said).await;
        self.log()
    }

    /// A moment for the service to notice that clients have left.
    pub async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(700)).await;
    }

    /// How many objects are in the store.
    pub async fn objects(&self) -> usize {
        inspect::objects(self).await.len()
    }

    /// No row, no object, nothing unfinished; see [`inspect::assert_nothing_left`].
    pub async fn assert_nothing_left(&self) {
        inspect::assert_nothing_left(self).await;
    }

    /// Database and store agree; see [`inspect::assert_consistent`].
    pub async fn assert_consistent(&self) {
        inspect::assert_consistent(self).await;
    }

    /// Flips a bit in the middle of a file's object in the folder.
    pub fn flip_a_bit_of(&self, file: &str) {
        let path = inspect::object_path(self, file);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    }

    /// Removes a file's object from the folder.
    pub fn lose_the_object_of(&self, file: &str) {
        fs::remove_file(inspect::object_path(self, file)).unwrap();
    }

    /// Its own PostgreSQL, to freeze.
    ///
    /// # Panics
    /// Unless it was started [with its own servers](Self::with_own_servers).
    #[must_use]
    pub fn postgres(&self) -> &Postgres {
        &self.own.as_ref().unwrap().postgres
    }

    /// Its own PostgreSQL, to kill.
    ///
    /// # Panics
    /// As [`Stand::postgres`].
    pub fn postgres_mut(&mut self) -> &mut Postgres {
        &mut self.own.as_mut().unwrap().postgres
    }

    /// Its own Garage, to freeze.
    ///
    /// # Panics
    /// As [`Stand::postgres`].
    #[must_use]
    pub fn store(&self) -> &S3Server {
        &self.own.as_ref().unwrap().store
    }

    /// Its own Garage, to kill.
    ///
    /// # Panics
    /// As [`Stand::postgres`].
    pub fn store_mut(&mut self) -> &mut S3Server {
        &mut self.own.as_mut().unwrap().store
    }

    /// The proxy before its PostgreSQL.
    ///
    /// # Panics
    /// Unless it was started [behind one](Self::behind_a_proxy_to_postgresql).
    #[must_use]
    pub fn proxy(&self) -> &TcpProxy {
        self.proxy.as_ref().unwrap()
    }
}
