//! The store that takes new bodies, and moving everything to another. For admin tokens.

use actix_web::{HttpResponse, http::header, web};
use cloakroom_application::{
    App, BackendConfig, Error, MigrationRequest, MigrationStatus, backend_config, cancel_migration,
    change_backend_config, migrate, migration_status,
    ports::{Amount, StoreConfig},
    preview,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Settings, caller::Caller, error::ApiError, json, wire::rfc3339};

/// Where everything is to go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MigrateBody {
    /// `fs`, `s3`, `webdav` and so on.
    driver: String,
    /// The driver's settings, by their names.
    #[schema(value_type = Object)]
    config: StoreConfig,
    /// Whether bytes that were moved are removed from the old store, after the delay for deleted ones; `true` if absent.
    #[serde(default = "yes")]
    cleanup: bool,
    /// Whether only to try the new store and tell what would move; `false` if absent.
    #[serde(default)]
    dry_run: bool,
}

const fn yes() -> bool {
    true
}

/// Changes to the configuration of the current store. What `GET` answers can be sent back as a whole.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackendPatch {
    /// Settings to change, by their names; null removes one, and a secret given as `****` stays as it is.
    #[schema(value_type = Object)]
    config: StoreConfig,
    /// The store that is meant: if it is not the current one, nothing is changed.
    store_id: Option<String>,
    /// Its driver, which cannot be changed.
    driver: Option<String>,
    /// Where the configuration was; of no effect.
    #[serde(rename = "from")]
    _from: Option<String>,
}

impl BackendPatch {
    /// The changes, if they are meant for this store.
    fn for_store(self, current: &BackendConfig) -> Result<StoreConfig, Error> {
        let record = &current.record;
        let means = |given: Option<String>, is: &str| given.is_none_or(|given| given == is);
        if means(self.driver, &record.driver) && means(self.store_id, &record.id.to_string()) {
            return Ok(self.config);
        }
        let why = "driver and store_id: expected those of the current store; POST /migrate moves to another";
        Err(Error::BadValue(why.to_owned()))
    }
}

/// The store that takes new bodies.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BackendBody {
    store_id: String,
    driver: String,
    /// Secrets are `****`.
    #[schema(value_type = Object)]
    config: StoreConfig,
    /// Where the configuration is: `registry`, or `environment` until it is changed here.
    from: &'static str,
}

/// Objects and their bytes as stored.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AmountBody {
    objects: u64,
    bytes: u64,
}

/// What would be moved.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PreviewBody {
    dry_run: bool,
    would_move: AmountBody,
}

/// A migration, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MigrationBody {
    migration_id: String,
    /// `validating`, `copying`, `draining`, `done`, `done_with_failures`, `cancelled` or `failed`.
    state: &'static str,
    /// The driver of the new store.
    driver: String,
    store_id: String,
    cleanup: bool,
    done: AmountBody,
    /// What is in other stores.
    left: AmountBody,
    /// Bytes per second on the average so far.
    rate: u64,
    /// How long the rest takes at this rate; null while that is not known.
    seconds_left: Option<u64>,
    /// How many objects could not be moved the last time they were tried.
    failures: u64,
    /// The first hundred of these.
    failed: Vec<FailureBody>,
    started_at: String,
    finished_at: Option<String>,
    /// Why it ended as `failed`.
    failure: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FailureBody {
    file_id: String,
    version_id: String,
    attempts: u32,
    reason: String,
    failed_at: String,
}

impl From<Amount> for AmountBody {
    fn from(Amount { objects, bytes }: Amount) -> Self {
        Self { objects, bytes }
    }
}

impl From<BackendConfig> for BackendBody {
    fn from(BackendConfig { record, config }: BackendConfig) -> Self {
        let is_sealed = record.config.is_some();
        Self {
            store_id: record.id.to_string(),
            driver: record.driver,
            config,
            from: if is_sealed { "registry" } else { "environment" },
        }
    }
}

impl From<MigrationStatus> for MigrationBody {
    fn from(status: MigrationStatus) -> Self {
        let (rate, seconds_left) = (status.rate(), status.seconds_left());
        let migration = status.migration;
        let failed = status.failures.into_iter().map(|failure| FailureBody {
            file_id: failure.file.to_string(),
            version_id: failure.version.to_string(),
            attempts: failure.attempts,
            reason: failure.reason,
            failed_at: rfc3339(failure.at),
        });
        Self {
            migration_id: migration.id.to_string(),
            state: migration.state.as_str(),
            driver: status.driver,
            store_id: migration.target.to_string(),
            cleanup: migration.cleanup,
            done: migration.moved.into(),
            rate,
            seconds_left,
            left: status.left.into(),
            failures: migration.failures,
            failed: failed.collect(),
            started_at: rfc3339(migration.started_at),
            finished_at: migration.finished_at.map(rfc3339),
            failure: migration.failure,
        }
    }
}

/// Moves every object to another store, while reads and uploads go on. New objects go there from the answer on.
#[utoipa::path(post, path = "/migrate", tag = "stores", request_body = MigrateBody,
    responses((status = 200, description = "A dry run: the store works, and this would move", body = PreviewBody),
        (status = 202, description = "It has begun", body = MigrationBody),
        (status = "4XX", description = "Refused; nothing has changed", body = crate::error::Problem)))]
pub(crate) async fn start_migration(
    app: web::Data<App>,
    settings: web::Data<Settings>,
    who: Caller,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    who.must_be_admin()?;
    let body: MigrateBody = json::read(payload).await?;
    let request = MigrationRequest {
        driver: body.driver,
        config: body.config,
        cleanup: body.cleanup,
    };
    let app = app.into_inner();
    if body.dry_run {
        let (owned, background) = (app.clone(), app.background.clone());
        let tried = background.finish(async move { preview(&owned, &request).await });
        let would_move = tried.await?.into();
        let dry_run = true;
        return Ok(fresh(
            HttpResponse::Ok(),
            &PreviewBody {
                dry_run,
                would_move,
            },
        ));
    }
    let replica = settings.replica.clone();
    let (owned, background) = (app.clone(), app.background.clone());
    let begun = background
        .finish(async move { migrate(&owned, &replica, &request).await })
        .await?;
    Ok(fresh(HttpResponse::Accepted(), &MigrationBody::from(begun)))
}

/// The newest migration, and how far it is.
#[utoipa::path(method(get, head), path = "/migrate/status", tag = "stores",
    responses((status = 200, body = MigrationBody),
        (status = 404, description = "There never was one", body = crate::error::Problem),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn show_migration(
    app: web::Data<App>,
    who: Caller,
) -> Result<HttpResponse, ApiError> {
    who.must_be_admin()?;
    let status = migration_status(&app).await?.ok_or(Error::NotFound)?;
    Ok(fresh(HttpResponse::Ok(), &MigrationBody::from(status)))
}

/// Stops the migration under way. Every file can be read where it is; the same `POST /migrate` goes on with it.
#[utoipa::path(delete, path = "/migrate", tag = "stores",
    responses((status = 200, body = MigrationBody),
        (status = 409, description = "None is under way", body = crate::error::Problem),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn stop_migration(
    app: web::Data<App>,
    who: Caller,
) -> Result<HttpResponse, ApiError> {
    who.must_be_admin()?;
    let status = cancel_migration(&app).await?;
    Ok(fresh(HttpResponse::Ok(), &MigrationBody::from(status)))
}

/// The store that takes new objects, with secrets masked.
#[utoipa::path(method(get, head), path = "/backend-config", tag = "stores",
    responses((status = 200, body = BackendBody),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn show_backend(
    app: web::Data<App>,
    who: Caller,
) -> Result<HttpResponse, ApiError> {
    who.must_be_admin()?;
    let config = backend_config(&app).await?;
    Ok(fresh(HttpResponse::Ok(), &BackendBody::from(config)))
}

/// Changes credentials or endpoint of the store that takes new objects, after trying them. Moves nothing.
#[utoipa::path(patch, path = "/backend-config", tag = "stores", request_body = BackendPatch,
    responses((status = 200, body = BackendBody),
        (status = "4XX", description = "Refused; nothing has changed", body = crate::error::Problem)))]
pub(crate) async fn change_backend(
    app: web::Data<App>,
    who: Caller,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    who.must_be_admin()?;
    let patch: BackendPatch = json::read(payload).await?;
    let app = app.into_inner();
    let config = patch.for_store(&backend_config(&app).await?)?;
    let (owned, background) = (app.clone(), app.background.clone());
    let changed = background
        .finish(async move { change_backend_config(&owned, &config).await })
        .await?;
    Ok(fresh(HttpResponse::Ok(), &BackendBody::from(changed)))
}

fn fresh(mut answer: actix_web::HttpResponseBuilder, body: &impl Serialize) -> HttpResponse {
    answer
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(body)
}
