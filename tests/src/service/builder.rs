//! Settings for a service to start.

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use super::{Place, Ran, Refused, Service, Setup};
use crate::{
    process::{free_port, temporary_folder},
    servers::{Postgres, S3Access, garage},
};

/// What to start. Without more: development mode, SQLite and a folder.
#[derive(Debug, Clone, Default)]
pub struct ServiceBuilder {
    setup: Option<Setup>,
    database: Option<String>,
    database_through: Option<String>,
    s3: Option<S3Access>,
    production: bool,
    core: Option<usize>,
    environment: BTreeMap<String, String>,
    left_out: Vec<String>,
}

impl ServiceBuilder {
    /// Over that database and store, fresh ones.
    #[must_use]
    pub fn setup(mut self, setup: Setup) -> Self {
        self.setup = Some(setup);
        self
    }

    /// Over the database at that URL instead.
    #[must_use]
    pub fn database(mut self, url: impl Into<String>) -> Self {
        self.database = Some(url.into());
        self
    }

    /// Lets the service reach that database by another URL, through a proxy for one. What is left in it is still
    /// looked at directly.
    #[must_use]
    pub fn database_through(mut self, url: impl Into<String>) -> Self {
        self.database_through = Some(url.into());
        self
    }

    /// Over a new bucket of that S3 server instead.
    #[must_use]
    pub fn s3(mut self, server: &S3Access) -> Self {
        self.s3 = Some(server.clone());
        self
    }

    /// With an admin token as an operator sets it, and so without development tokens.
    #[must_use]
    pub fn production(mut self) -> Self {
        self.production = true;
        self
    }

    /// On that core and no other.
    #[must_use]
    pub fn pinned_to(mut self, core: usize) -> Self {
        self.core = Some(core);
        self
    }

    /// Sets a variable, over whatever else sets it.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Leaves a variable out, whatever sets it.
    #[must_use]
    pub fn without(mut self, name: impl Into<String>) -> Self {
        self.left_out.push(name.into());
        self
    }

    /// Sweeps every second and takes nothing for alive or uncertain for longer than a few, so that a test need not
    /// wait to see what is left.
    #[must_use]
    pub fn sweeping_fast(self) -> Self {
        self.env("CLOAKROOM_SWEEP_INTERVAL", "1s")
            .env("CLOAKROOM_PENDING_TTL", "3s")
            .env("CLOAKROOM_UNCERTAIN_DELAY", "2s")
            .env("CLOAKROOM_DELETE_DELAY", "0s")
    }

    /// Starts it and waits until it is live.
    ///
    /// # Panics
    /// It ends instead, or does not answer; the message has its log.
    pub async fn start(self) -> Service {
        self.try_start()
            .await
            .unwrap_or_else(|refused| refused.fail())
    }

    /// Starts it, for settings that it may refuse.
    ///
    /// # Errors
    /// It ended before it was live.
    pub async fn try_start(self) -> Result<Service, Refused> {
        Service::launched(&Arc::new(self.place().await)).await
    }

    /// Starts that many at once over the same database and store.
    ///
    /// # Panics
    /// One of them does not start.
    pub async fn start_replicas(self, count: usize) -> Vec<Service> {
        let place = Arc::new(self.place().await);
        let starting = (0..count).map(|_| Service::launched(&place));
        let started = futures_util::future::join_all(starting).await;
        started
            .into_iter()
            .map(|service| service.unwrap_or_else(|refused| refused.fail()))
            .collect()
    }

    /// Runs a command of the binary with these settings, to its end: `serve` for one that must not stay.
    pub async fn run(self, arguments: &[&str]) -> Ran {
        self.place().await.run(free_port(), arguments).await
    }

    /// Runs a command of the binary with these settings and kills it (SIGKILL) after so long, if it still runs.
    pub async fn run_killed_after(self, arguments: &[&str], patience: Duration) {
        let place = self.place().await;
        let log = place.folder.path().join("killed");
        let mut process = place.launch(free_port()).args(arguments).spawn(&log);
        if process.wait(patience).await.is_none() {
            process.kill();
        }
    }

    async fn place(self) -> Place {
        let setup = self.setup.unwrap_or(Setup::SqliteFs);
        let folder = temporary_folder();
        let data = folder.path().join("data");
        let mut environment = BTreeMap::new();
        let mut set = |name: &str, value: String| environment.insert(name.to_owned(), value);

        set("CLOAKROOM_DATA_DIR", data.display().to_string());
        // Tests ask for more than anybody should. Those of the limits switch them on.
        set("CLOAKROOM_RATE_LIMIT", "off".to_owned());
        let database = match self.database {
            Some(url) => url,
            None if setup.has_postgres() => Postgres::shared().database().await,
            None => format!("sqlite://{}", data.join("cloakroom.db").display()),
        };
        let reached = self.database_through.unwrap_or_else(|| database.clone());
        set("CLOAKROOM_DATABASE_URL", reached);
        let s3 = self.s3.or_else(|| setup.has_garage().then(garage::shared));
        if let Some(server) = &s3 {
            set("CLOAKROOM_STORE", "s3".to_owned());
            set("CLOAKROOM_S3_BUCKET", server.bucket_name());
            set("CLOAKROOM_S3_ENDPOINT", server.endpoint.clone());
            set("CLOAKROOM_S3_REGION", server.region.clone());
            set("CLOAKROOM_S3_ACCESS_KEY_ID", server.access_key.clone());
            set("CLOAKROOM_S3_SECRET_ACCESS_KEY", server.secret_key.clone());
            set("CLOAKROOM_S3_PATH_STYLE", "on".to_owned());
        }
        if self.production {
            set("CLOAKROOM_ADMIN_TOKEN", crate::servers::random_hex(32));
        }
        environment.extend(self.environment);
        for name in &self.left_out {
            environment.remove(name);
        }
        fs::create_dir(&data).unwrap();
        Place {
            folder,
            environment,
            database,
            core: self.core,
            s3,
        }
    }
}
