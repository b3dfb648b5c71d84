//! What is made of what. This reads as the graph of who depends on whom.

pub(crate) mod database;
pub(crate) mod import;
mod permissions;
pub(crate) mod stores;
pub(crate) mod tasks;

use std::sync::Arc;

use cloakroom_application::{
    App, Background, Limits, Permissions,
    authenticators::IssuedTokens,
    cache::{CachedFiles, CachedTokens},
    hot::HotBodies,
    ports::{Authenticator, FileRepository},
};
use cloakroom_infrastructure::metadata::Database;

use self::stores::OpenStores;
use crate::{config::Config, development, development::DevelopmentTokens, failure::Failure};

/// The service, ready to be called.
pub(crate) struct Service {
    pub(crate) app: Arc<App>,
    pub(crate) database: Arc<Database>,
    /// What hears of changes that others made.
    pub(crate) files: Arc<dyn FileRepository>,
    pub(crate) tokens: Arc<CachedTokens>,
    /// The driver of the store that takes new bodies.
    pub(crate) backend: String,
    /// The tokens of development mode.
    pub(crate) development: Option<DevelopmentTokens>,
}

/// Everything that `serve` needs, with caches and callers.
///
/// # Errors
/// The database or a store cannot be opened, or they do not belong together.
pub(crate) async fn for_service(config: &Config) -> Result<Service, Failure> {
    let database = Arc::new(database::open(config, true).await?);
    let OpenStores { stores, backend } = stores::for_service(config, database.as_ref()).await?;
    let (first, development) = first_authenticator(config)?;
    let files: Arc<dyn FileRepository> = Arc::new(CachedFiles::new(
        database.clone(),
        config.database.file_cache,
    ));
    let tokens = Arc::new(CachedTokens::new(database.clone()));
    let mut authenticators: Vec<Arc<dyn Authenticator>> = first.into_iter().collect();
    authenticators.push(Arc::new(IssuedTokens::new(tokens.clone())));
    let app = App {
        files: files.clone(),
        ledger: database.clone(),
        tokens: tokens.clone(),
        registry: database.clone(),
        stores,
        hot: HotBodies::new(config.limits.memory_cache.into()),
        authenticators,
        permissions: Arc::new(permissions::of(&config.permission)?),
        revocations: database.clone(),
        background: Background::here(),
        limits: limits(config),
    };
    Ok(Service {
        app: Arc::new(app),
        database,
        files,
        tokens,
        backend,
        development,
    })
}

/// What commands need that run beside the service, or without one: no caches, and nobody calls.
///
/// # Errors
/// The database or a store cannot be opened.
pub(crate) async fn for_commands(config: &Config) -> Result<(App, Arc<Database>), Failure> {
    let database = Arc::new(database::open_as_it_is(config).await?);
    let OpenStores { stores, .. } = stores::as_registered(config, database.as_ref()).await?;
    let app = App {
        files: database.clone(),
        ledger: database.clone(),
        tokens: database.clone(),
        registry: database.clone(),
        stores,
        hot: HotBodies::new(0),
        authenticators: Vec::new(),
        permissions: Arc::new(Permissions::without_backend()),
        revocations: database.clone(),
        background: Background::here(),
        limits: limits(config),
    };
    Ok((app, database))
}

/// Who is asked first about a caller: the operator's token where there is one, or those of development mode.
fn first_authenticator(
    config: &Config,
) -> Result<(Option<Arc<dyn Authenticator>>, Option<DevelopmentTokens>), Failure> {
    if let Some(token) = &config.access.admin_token {
        return Ok((Some(Arc::new(development::operator(token))), None));
    }
    if !config.is_development() {
        return Ok((None, None));
    }
    let tokens = DevelopmentTokens::kept_in(crate::data_folder::make(config)?)?;
    let known = tokens
        .authenticator()
        .map_err(|error| Failure::because("the development tokens", &error))?;
    Ok((Some(Arc::new(known)), Some(tokens)))
}

const fn limits(config: &Config) -> Limits {
    Limits {
        max_file_size: config.limits.max_file_size,
        pending_ttl: config.sweeping.pending_ttl,
        delete_delay: config.sweeping.delete_delay,
        uncertain_delay: config.sweeping.uncertain_delay,
        sweep_interval: config.sweeping.interval,
    }
}
