//! What is made of what. This reads as the graph of who depends on whom.

pub(crate) mod browsers;
mod config_keys;
pub(crate) mod database;
pub(crate) mod import;
mod jwt;
mod opener;
mod permissions;
mod rates;
pub(crate) mod redis;
pub(crate) mod sealing;
mod sharing;
pub(crate) mod stores;
pub(crate) mod tasks;

use std::sync::Arc;

use cloakroom_application::{
    App, Background, Limits, Links, Permissions, Rates, Scrubbing, Turns,
    authenticators::IssuedTokens,
    cache::{CachedFiles, CachedTokens},
    hot::HotBodies,
    ports::{Authenticator, Dependency, FileRepository, Unmetered},
};
use cloakroom_infrastructure::{jwt::RemoteKeys, metadata::Database, metrics::Prometheus};

use self::redis::OpenRedis;
use crate::{config::Config, development, development::DevelopmentTokens, failure::Failure};

/// The service, ready to be called.
pub(crate) struct Service {
    pub(crate) app: Arc<App>,
    pub(crate) database: Arc<Database>,
    /// What hears of changes that others made.
    pub(crate) files: Arc<dyn FileRepository>,
    pub(crate) tokens: Arc<CachedTokens>,
    /// Redis, where it is configured.
    pub(crate) redis: Option<OpenRedis>,
    /// What tells this process from other replicas.
    pub(crate) replica: String,
    /// Keys of users' JWTs that have to be fetched.
    pub(crate) jwt_keys: Option<Arc<RemoteKeys>>,
    /// The tokens of development mode.
    pub(crate) development: Option<DevelopmentTokens>,
}

/// Everything that `serve` needs, with caches and callers.
///
/// # Errors
/// The database or a store cannot be opened, or they do not belong together.
pub(crate) async fn for_service(config: &Config) -> Result<Service, Failure> {
    let database = Arc::new(database::open(config, true).await?);
    sealing::check(config, database.as_ref()).await?;
    let stores = stores::for_service(config, &database).await?;
    let development = development_tokens(config)?;
    let first = first_authenticator(config, development.as_ref())?;
    let files: Arc<dyn FileRepository> = Arc::new(CachedFiles::new(
        database.clone(),
        config.database.file_cache,
    ));
    let tokens = Arc::new(CachedTokens::new(database.clone()));
    let mut authenticators: Vec<Arc<dyn Authenticator>> = first.into_iter().collect();
    authenticators.push(Arc::new(IssuedTokens::new(tokens.clone())));
    let jwts = jwt::of(config)?;
    authenticators.extend(jwts.authenticators);
    let redis = redis::open(config)?;
    let mut dependencies: Vec<Arc<dyn Dependency>> = Vec::new();
    if let Some(open) = &redis {
        authenticators.push(Arc::new(open.tokens.clone()));
        dependencies.push(Arc::new(open.redis.clone()));
    }
    let app = App {
        files: files.clone(),
        ledger: database.clone(),
        buckets: database.clone(),
        uploads: database.clone(),
        turns: Turns::default(),
        tokens: tokens.clone(),
        registry: database.clone(),
        migrations: database.clone(),
        stores,
        hot: HotBodies::new(config.limits.memory_cache.into()),
        authenticators,
        permissions: Arc::new(permissions::of(&config.permission)?),
        revocations: database.clone(),
        links: sharing::links(config, &database).await?,
        claims: sharing::claims(config, &database),
        scrubbing: scrubbing(config, &database),
        meter: Arc::new(Prometheus::new(env!("CARGO_PKG_VERSION"))),
        rates: rates::for_service(config).await?,
        dependencies,
        background: Background::here(),
        limits: limits(config),
    };
    Ok(Service {
        app: Arc::new(app),
        database,
        files,
        tokens,
        redis,
        replica: uuid::Uuid::new_v4().to_string(),
        jwt_keys: jwts.keys,
        development,
    })
}

/// What commands need that run beside the service, or without one: no caches, and nobody calls.
///
/// # Errors
/// The database or a store cannot be opened.
pub(crate) async fn for_commands(config: &Config) -> Result<(App, Arc<Database>), Failure> {
    let database = Arc::new(database::open_as_it_is(config).await?);
    let stores = stores::as_registered(config, &database).await?;
    let app = App {
        files: database.clone(),
        ledger: database.clone(),
        buckets: database.clone(),
        uploads: database.clone(),
        turns: Turns::default(),
        tokens: database.clone(),
        registry: database.clone(),
        migrations: database.clone(),
        stores,
        hot: HotBodies::new(0),
        authenticators: Vec::new(),
        permissions: Arc::new(Permissions::without_backend()),
        revocations: database.clone(),
        links: Links::without_key(database.clone()),
        claims: sharing::claims(config, &database),
        scrubbing: scrubbing(config, &database),
        meter: Arc::new(Unmetered),
        rates: Rates::off(),
        dependencies: Vec::new(),
        background: Background::here(),
        limits: limits(config),
    };
    Ok((app, database))
}

/// The tokens of development mode, where that is.
fn development_tokens(config: &Config) -> Result<Option<DevelopmentTokens>, Failure> {
    if !config.is_development() {
        return Ok(None);
    }
    DevelopmentTokens::kept_in(crate::data_folder::make(config)?).map(Some)
}

/// Who is asked first about a caller: the operator's token where there is one, or those of development mode.
fn first_authenticator(
    config: &Config,
    development: Option<&DevelopmentTokens>,
) -> Result<Option<Arc<dyn Authenticator>>, Failure> {
    if let Some(token) = &config.access.admin_token {
        return Ok(Some(Arc::new(development::operator(token))));
    }
    let Some(tokens) = development else {
        return Ok(None);
    };
    let known = tokens
        .authenticator()
        .map_err(|error| Failure::because("the development tokens", &error))?;
    Ok(Some(Arc::new(known)))
}

fn scrubbing(config: &Config, database: &Arc<Database>) -> Scrubbing {
    Scrubbing {
        rows: database.clone(),
        interval: config.scrub.interval,
        rate: config.scrub.rate,
    }
}

const fn limits(config: &Config) -> Limits {
    Limits {
        max_file_size: config.limits.max_file_size,
        pending_ttl: config.sweeping.pending_ttl,
        upload_expiry: config.sweeping.upload_expiry,
        delete_delay: config.sweeping.delete_delay,
        uncertain_delay: config.sweeping.uncertain_delay,
        sweep_interval: config.sweeping.interval,
    }
}
