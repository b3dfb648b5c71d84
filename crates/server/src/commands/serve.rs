//! `cloakroom serve`.

use std::{net::SocketAddr, num::NonZero, pin::pin, time::Duration};

use cloakroom_application::{Pace, move_bodies};
use cloakroom_infrastructure::metadata::follow_changes;
use cloakroom_presentation::{ServerOptions, Settings, bind, serve, serve_metrics};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{
    config::Config,
    failure::Failure,
    greeting::greeting,
    output::say,
    wiring::{
        self, Service, browsers,
        tasks::{Stop, scrub_repeatedly, stopped, sweep_repeatedly},
    },
};

/// What is left of the time to stop is at least this long for commits and cleaning under way.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// Runs the service until it is told to stop.
///
/// # Errors
/// It cannot start, or the listener broke.
pub(crate) async fn run(config: &Config) -> Result<(), Failure> {
    let mut stop = pin!(stop_signal()?);
    let service = tokio::select! {
        () = &mut stop => return Ok(()),
        service = wiring::for_service(config) => service?,
    };
    let listen = config.http.listen;
    let cannot_listen = |error| {
        let what = format!("cannot listen at {listen} (CLOAKROOM_LISTEN)");
        Failure::because(&what, &error)
    };
    let listener = bind(listen).map_err(cannot_listen)?;
    let address = listener.local_addr().map_err(cannot_listen)?;
    let backend = service.app.stores.current().map(|store| store.driver);
    tracing::info!(%address, backend, version = env!("CARGO_PKG_VERSION"), "listening");
    greet(config, &service, address)?;

    let (stopping, stop_tasks) = watch::channel(false);
    let mut tasks = start_tasks(config, &service, &stop_tasks);
    if let Some(address) = config.metrics.listen {
        tasks.spawn(measured(&service, address, stop_tasks.clone())?);
    }
    let patience = config.limits.shutdown_timeout;
    let options = ServerOptions {
        workers: workers(config.limits.workers),
        shutdown_timeout: patience,
    };
    let settings = settings(config, &service, config.public_url(address));
    let mut deadline = Instant::now();
    let until_told = async {
        stop.await;
        deadline = Instant::now() + patience;
        tracing::info!("stopping: requests in flight may end");
    };
    let served = serve(service.app.clone(), settings, listener, options, until_told).await;

    stopping.send_replace(true);
    let deadline = deadline.max(Instant::now() + LEAST_PATIENCE);
    let rest = async {
        service.app.background.idle().await;
        while tasks.join_next().await.is_some() {}
    };
    if timeout_at(deadline, rest).await.is_err() {
        tracing::warn!("work was still under way; the next start cleans up after it");
    }
    service.database.close().await;
    served.map_err(|error| Failure::because("the server broke off", &error))?;
    tracing::info!("stopped");
    Ok(())
}

/// Listens where metrics are told without a token, until it is time to stop.
fn measured(
    service: &Service,
    address: SocketAddr,
    stop: Stop,
) -> Result<impl Future<Output = ()> + use<>, Failure> {
    let listener = bind(address).map_err(|error| {
        let what = format!("cannot listen at {address} (CLOAKROOM_METRICS_LISTEN)");
        Failure::because(&what, &error)
    })?;
    let app = service.app.clone();
    Ok(async move {
        if let Err(error) = serve_metrics(app, listener, stopped(stop)).await {
            tracing::error!(%error, "metrics are not told at their own address any more");
        }
    })
}

/// Says what whoever started the service should know.
fn greet(config: &Config, service: &Service, address: SocketAddr) -> Result<(), Failure> {
    if config.http.public_url.is_none() && !address.ip().is_loopback() {
        tracing::warn!(
            public_url = config.public_url(address),
            "CLOAKROOM_PUBLIC_URL is not set: addresses of files will start like this"
        );
    }
    match &service.development {
        Some(tokens) => say(&greeting(config, address, tokens)),
        None => Ok(()),
    }
}

/// Starts what goes on beside the requests.
fn start_tasks(config: &Config, service: &Service, stop: &Stop) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(sweep_repeatedly(
        service.app.clone(),
        config.sweeping.interval,
        stop.clone(),
    ));
    tasks.spawn(follow_changes(
        service.database.clone(),
        service.files.clone(),
        service.tokens.clone(),
        service.app.permissions.clone(),
        service.app.turns.clone(),
        service.app.stores.clone(),
        stopped(stop.clone()),
    ));
    tasks.spawn(move_bodies(
        service.app.clone(),
        service.replica.clone(),
        config.migration.concurrency,
        Pace::of(config.migration.rate),
        stopped(stop.clone()),
    ));
    if let Some(interval) = config.scrub.interval {
        let (app, stop) = (service.app.clone(), stop.clone());
        tasks.spawn(scrub_repeatedly(app, interval, stop));
    }
    if let Some(keys) = service.jwt_keys.clone() {
        let stop = stopped(stop.clone());
        tasks.spawn(async move { keys.keep_fresh(stop).await });
    }
    if let Some(redis) = &service.redis {
        tasks.spawn(redis.keep_up(stop.clone()));
    }
    tasks
}

/// The HTTP face's settings.
fn settings(config: &Config, service: &Service, public_url: String) -> Settings {
    let http = &config.http;
    let public_cache = match http.public_cache.as_secs() {
        0 => "public, no-cache".to_owned(),
        seconds => format!("public, max-age={seconds}"),
    };
    let origins = browsers::origins(config, &public_url);
    let resource_policy = http.corp.unwrap_or_else(|| origins.resource_policy());
    let max_age = |age: Duration| format!("max-age={}", age.as_secs());
    Settings {
        mount: http.mount.clone(),
        public_url,
        replica: service.replica.clone(),
        public_cache,
        resource_policy: resource_policy.to_owned(),
        transport_security: http.hsts.map(max_age),
        pages: browsers::pages(config),
        origins,
        trusted_proxies: config.proxy.trusted.clone().unwrap_or_default(),
        offload: config.proxy.offload,
        max_requests: config.limits.max_requests,
    }
}

fn workers(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        some => some,
    }
}

/// Ready at the first SIGTERM or SIGINT. The second ends the process at once.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let hear =
        |kind| signal(kind).map_err(|error| Failure::because("signals cannot be heard", &error));
    let mut terminate = hear(SignalKind::terminate())?;
    let mut interrupt = hear(SignalKind::interrupt())?;
    let (told, heard) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        // Nobody waits where the service could not even start.
        let _ = told.send(());
        next().await;
        tracing::warn!("told to stop twice: stopping at once");
        std::process::exit(1);
    });
    Ok(async move {
        let _ = heard.await;
    })
}
