//! One connection to Redis for the whole process, that comes back by itself.
//!
//! It is made and watched by [`Redis::run`], on whatever runtime that runs; requests on other runtimes send their
//! commands through it. Redis tells by it which of the values that were read are no longer what they were.

use std::{convert::Infallible, sync::Arc, time::Duration};

use async_trait::async_trait;
use cloakroom_application::ports::{CredentialError, Dependency, Source};
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, Pipeline, ProtocolVersion,
    PushInfo, PushKind, RedisError, ServerErrorKind, Value, aio::MultiplexedConnection,
    io::tcp::TcpSettings,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};

use super::tracking::{Listener, News, invalidated};

/// How long commands may take.
const ANSWER: Duration = Duration::from_secs(1);
/// How long a command waits for a connection that was lost a moment ago.
const RECONNECT: Duration = Duration::from_millis(500);
/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(1);
/// The time between an answer to a ping and the next ping, and how long that one may take: together a second.
const PING_EVERY: Duration = Duration::from_millis(250);
const PING_ANSWER: Duration = Duration::from_millis(700);
/// So that an answer which came while this process stood still is seen before it is missed.
const PING_GRACE: Duration = Duration::from_millis(50);
/// The shortest and the longest pause between two attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Why Redis did not answer. It never holds what was asked: keys may be tokens.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The address cannot be used.
    #[error("the address is not one of a Redis server")]
    Address,
    /// There is no connection at the moment.
    #[error("there is no connection to Redis")]
    NotConnected,
    /// No answer in time.
    #[error("Redis did not answer within {0:?}")]
    Silent(Duration),
    /// The connection failed.
    #[error("the connection to Redis failed: {0}")]
    Broken(String),
    /// Redis refuses the command; its code for that.
    #[error("Redis refuses: {0}")]
    Refused(String),
    /// An answer that no Redis gives.
    #[error("Redis answered nonsense")]
    Nonsense,
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::Nonsense,
            ErrorKind::Io => Self::Broken(error.to_string()),
            // The rest of the message may quote the command.
            _ => Self::Refused(error.code().unwrap_or(error.category()).to_owned()),
        }
    }
}

impl From<Failure> for CredentialError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Nonsense => Self::Nonsense(failure.into()),
            _ => Self::Unavailable(failure.into()),
        }
    }
}

/// The connection as it is now.
#[derive(Clone)]
enum State {
    Up(Session),
    DownSince(Instant),
}

/// A connection that was there a moment ago.
#[derive(Clone)]
pub struct Session {
    connection: MultiplexedConnection,
    is_tracked: bool,
}

impl Session {
    /// Whether Redis tells of changes to what was read after `CLIENT CACHING YES`.
    #[must_use]
    pub const fn is_tracked(&self) -> bool {
        self.is_tracked
    }

    /// Sends commands in one go and waits for their answers, a refusal of one of them being its answer.
    ///
    /// # Errors
    /// Not all answers came within a second.
    pub async fn ask(&self, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
        let mut connection = self.connection.clone();
        let answers = connection.send_packed_commands(commands, 0, commands.len());
        let answers = timeout(ANSWER, answers).await;
        let answers = answers.map_err(|_| Failure::Silent(ANSWER))??;
        if answers.len() == commands.len() {
            Ok(answers)
        } else {
            Err(Failure::Nonsense)
        }
    }

    async fn ping(&self) -> Result<(), Failure> {
        let mut connection = self.connection.clone();
        match connection.send_packed_command(&redis::cmd("PING")).await {
            // That it refuses is an answer, too.
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Redis, for all who need it. Clones share the connection.
#[derive(Clone)]
pub struct Redis {
    /// For the protocol with pushes, and for the one before it.
    clients: [Client; 2],
    state: Arc<watch::Sender<State>>,
}

impl Redis {
    /// At an address `redis://…` or `rediss://…`. Nothing is connected before [`Redis::run`].
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn at(url: &str) -> Result<Self, Failure> {
        let client = |protocol| {
            let address = url.into_connection_info().map_err(|_| Failure::Address)?;
            let settings = address.redis_settings().clone().set_protocol(protocol);
            let tcp = TcpSettings::default().set_nodelay(true);
            let address = address.set_redis_settings(settings).set_tcp_settings(tcp);
            Client::open(address).map_err(|_| Failure::Address)
        };
        let clients = [
            client(ProtocolVersion::RESP3)?,
            client(ProtocolVersion::RESP2)?,
        ];
        let state = watch::Sender::new(State::DownSince(Instant::now()));
        Ok(Self {
            clients,
            state: Arc::new(state),
        })
    }

    /// The connection. Where it was lost a moment ago the caller waits half a second for the next one.
    ///
    /// # Errors
    /// There is none.
    pub async fn session(&self) -> Result<Session, Failure> {
        let mut state = self.state.subscribe();
        let now = state.borrow_and_update().clone();
        let since = match now {
            State::Up(session) => return Ok(session),
            State::DownSince(since) => since,
        };
        let patience = RECONNECT.saturating_sub(since.elapsed());
        let up = timeout(patience, state.wait_for(|s| matches!(s, State::Up(_)))).await;
        match up.map(|state| state.map(|state| state.clone())) {
            Ok(Ok(State::Up(session))) => Ok(session),
            _ => Err(Failure::NotConnected),
        }
    }

    /// Keeps a connection and tells the listener what it hears, until it is told to stop.
    pub async fn run(self, listener: Arc<dyn Listener>, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = stop => {}
            () = self.reconnect_for_ever(&listener) => {}
        }
    }

    async fn reconnect_for_ever(&self, listener: &Arc<dyn Listener>) {
        let mut pause = PAUSES.0;
        let mut told = None;
        loop {
            let failure = match self.connect(listener).await {
                Ok((session, closed)) => {
                    tracing::info!(tracked = session.is_tracked, "connected to Redis");
                    let begun = Instant::now();
                    // Before anybody can ask through it: what is kept is of another connection.
                    listener.hear(News::Connected);
                    self.state.send_replace(State::Up(session.clone()));
                    let failure = lost(&session, &closed).await;
                    self.state.send_replace(State::DownSince(Instant::now()));
                    listener.hear(News::Lost);
                    if begun.elapsed() > Duration::from_secs(1) {
                        pause = PAUSES.0;
                    }
                    failure
                }
                Err(failure) => failure,
            };
            let text = failure.to_string();
            if told.as_ref() != Some(&text) {
                tracing::warn!(error = text, "no connection to Redis; trying again");
            }
            told = Some(text);
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// A connection, and what is notified when it is closed.
    async fn connect(
        &self,
        listener: &Arc<dyn Listener>,
    ) -> Result<(Session, Arc<Notify>), Failure> {
        let closed = Arc::new(Notify::new());
        let connecting = timeout(CONNECT, self.connect_unhurried(listener, &closed));
        let session = connecting.await.map_err(|_| Failure::Silent(CONNECT))??;
        Ok((session, closed))
    }

    async fn connect_unhurried(
        &self,
        listener: &Arc<dyn Listener>,
        closed: &Arc<Notify>,
    ) -> Result<Session, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let [with_pushes, without] = &self.clients;
        let (listener, closed) = (listener.clone(), closed.clone());
        let push = move |push: PushInfo| {
            match push.kind {
                PushKind::Invalidate => invalidated(listener.as_ref(), &push.data),
                PushKind::Disconnection => closed.notify_one(),
                _ => {}
            }
            Ok::<_, Infallible>(())
        };
        let hearing = config.clone().set_push_sender(push);
        let connection = with_pushes.get_multiplexed_async_connection_with_config(&hearing);
        let mut connection = match connection.await {
            Ok(connection) => connection,
            Err(error) if has_no_pushes(&error) => {
                tracing::warn!("Redis has no pushes: tokens are kept for a second at most");
                let connection = without.get_multiplexed_async_connection_with_config(&config);
                return Ok(Session {
                    connection: connection.await?,
                    is_tracked: false,
                });
            }
            Err(error) => return Err(error),
        };
        let mut tracking = redis::cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON").arg("OPTIN");
        let answer = connection.send_packed_command(&tracking).await?;
        let is_tracked = matches!(answer, Value::Okay);
        if !is_tracked {
            tracing::warn!("Redis does not tell of changes: tokens are kept for a second at most");
        }
        Ok(Session {
            connection,
            is_tracked,
        })
    }
}

/// Whether it is only the newer protocol that Redis refuses.
fn has_no_pushes(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::RESP3NotSupported | ErrorKind::Server(ServerErrorKind::NoPerm)
    )
}

/// Pings until the connection is lost, and says how.
async fn lost(session: &Session, closed: &Notify) -> Failure {
    let silent = async {
        loop {
            sleep(PING_EVERY).await;
            let mut ping = Box::pin(session.ping());
            let mut answer = timeout(PING_ANSWER, &mut ping).await;
            if answer.is_err() {
                answer = timeout(PING_GRACE, ping).await;
            }
            match answer {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => return failure,
                Err(_) => return Failure::Silent(PING_EVERY + PING_ANSWER + PING_GRACE),
            }
        }
    };
    tokio::select! {
        () = closed.notified() => Failure::Broken("it was closed".to_owned()),
        failure = silent => failure,
    }
}

#[async_trait]
impl Dependency for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn ping(&self) -> Result<(), Source> {
        let mut ping = redis::pipe();
        ping.cmd("PING");
        let answers = self.session().await?.ask(&ping).await?;
        match answers.as_slice() {
            [Value::ServerError(error)] => Err(Failure::Refused(error.code().to_owned()).into()),
            _ => Ok(()),
        }
    }
}
