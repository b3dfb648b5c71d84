//! Hearing of changes that other replicas made, so that what is cached here does not outlive them.

use std::{pin::pin, sync::Arc, time::Duration};

use cloakroom_application::{
    Permissions, Stores, Turns, cache::CachedTokens, ports::FileRepository, with_causes,
};
use cloakroom_domain::FileId;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::time::{sleep, timeout};

use super::{Backend, Database, error::Cut, revocations};

/// Says that an existing file changed; the payload is its id.
pub(super) const FILES_CHANNEL: &str = "cloakroom_files";
/// Says that a token was revoked.
pub(super) const TOKENS_CHANNEL: &str = "cloakroom_tokens";
/// Says which answers of the permission backend are to be forgotten; the payload is JSON.
pub(super) const ACCESS_CHANNEL: &str = "cloakroom_access";

/// Says that an upload that a request holds is wanted by a newer one; the payload is its turn, a space, and the id.
pub(super) const UPLOADS_CHANNEL: &str = "cloakroom_uploads";

/// A quiet connection is asked for a sign of life this often.
const QUIET: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_millis(500);

/// Told which store has changed, or is new.
pub(super) const STORES_CHANNEL: &str = "cloakroom_stores";

/// Forgets what others change, and tells requests here that others want what they hold, until `stop` is ready.
/// Everything is forgotten whenever the connection is made or lost, since a change may have gone unheard, and
/// `permissions` is told whether anything would be heard at all. A SQLite file has one service, so there is nobody to listen to.
pub async fn follow_changes(
    database: Arc<Database>,
    files: Arc<dyn FileRepository>,
    tokens: Arc<CachedTokens>,
    permissions: Arc<Permissions>,
    turns: Turns,
    stores: Stores,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    let Backend::Postgres { readers, .. } = &database.backend else {
        return stop.await;
    };
    let caches = Caches {
        files,
        tokens,
        permissions,
        turns,
        stores,
    };
    caches.permissions.hearing_ends();
    loop {
        let lost = tokio::select! {
            () = &mut stop => return,
            lost = listen(readers.options(), &caches) => lost,
        };
        caches.permissions.hearing_ends();
        caches.forget_everything();
        if let Err(error) = lost {
            tracing::warn!(%error, "not hearing of changes; what is cached lives a few seconds at most");
        }
        tokio::select! {
            () = &mut stop => return,
            () = sleep(RETRY) => {}
        }
    }
}

struct Caches {
    files: Arc<dyn FileRepository>,
    tokens: Arc<CachedTokens>,
    permissions: Arc<Permissions>,
    turns: Turns,
    stores: Stores,
}

impl Caches {
    fn forget_everything(&self) {
        self.files.forget(None);
        self.tokens.forget_all();
        self.refresh_stores();
    }

    /// In a task of its own: it asks the database.
    fn refresh_stores(&self) {
        let stores = self.stores.clone();
        tokio::spawn(async move {
            match stores.refresh().await {
                Ok(unopened) => {
                    for (store, error) in unopened {
                        let error = with_causes(&error);
                        tracing::warn!(%store, error, "a store of the registry cannot be opened");
                    }
                }
                Err(error) => tracing::warn!(%error, "the registry of stores was not read again"),
            }
        });
    }

    fn apply(&self, channel: &str, payload: &str) {
        match channel {
            FILES_CHANNEL => match FileId::parse(payload) {
                Ok(id) => self.files.forget(Some(&[id])),
                Err(_) => self.files.forget(None),
            },
            TOKENS_CHANNEL => self.tokens.forget_all(),
            ACCESS_CHANNEL => match revocations::heard(payload) {
                Some(revocation) => self.permissions.forget(&revocation),
                None => self.permissions.forget_everything(),
            },
            STORES_CHANNEL => self.refresh_stores(),
            UPLOADS_CHANNEL => {
                if let Some((id, turn)) = wanted(payload) {
                    self.turns.ask(&id, turn);
                }
            }
            _ => {}
        }
    }
}

/// Reads which upload is wanted, and under which turn.
fn wanted(payload: &str) -> Option<(FileId, u64)> {
    let (turn, id) = payload.split_once(' ')?;
    Some((FileId::parse(id).ok()?, turn.parse().ok()?))
}

/// Listens until the connection is lost.
async fn listen(options: &PgConnectOptions, caches: &Caches) -> Result<(), Cut> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(CONNECT_TIMEOUT)
        .connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await.map_err(Cut::Driver)?;
    listener.eager_reconnect(false);
    let channels = listener.listen_all([
        FILES_CHANNEL,
        TOKENS_CHANNEL,
        ACCESS_CHANNEL,
        UPLOADS_CHANNEL,
        STORES_CHANNEL,
    ]);
    within(ANSWER_TIMEOUT, channels).await?;
    caches.forget_everything();
    caches.permissions.hearing_begins();
    loop {
        match timeout(QUIET, listener.try_recv()).await {
            Ok(Ok(Some(change))) => caches.apply(change.channel(), change.payload()),
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(Cut::Driver(error)),
            Err(_) => {
                let sign = sqlx::query("SELECT 1").execute(&mut listener);
                within(ANSWER_TIMEOUT, sign).await?;
            }
        }
    }
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Cut> {
    match timeout(limit, answer).await {
        Ok(answer) => answer.map_err(Cut::Driver),
        Err(_) => Err(Cut::TimedOut),
    }
}
