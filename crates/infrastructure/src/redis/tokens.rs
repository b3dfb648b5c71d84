//! Callers known by tokens that a backend keeps in Redis, and what is kept of them in process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cloakroom_application::{
    cache::{Kept, Mark},
    ports::{Authenticator, Credential, CredentialError},
};
use cloakroom_domain::{AccountId, Principal, PrincipalKind, TokenHash, UserId};
use redis::Value;
use tokio::time::Instant;

use super::{
    claims::{self, Claims, NoToken},
    connection::{Failure, Redis},
    flights::Flights,
    keys::{Key, Keys, Token},
    pickle::MAX_BYTES,
    tracking::{Listener, News},
};

/// How long what is kept is still good when Redis cannot tell of changes any more.
const WITHOUT_CONNECTION: Duration = Duration::from_secs(1);
/// How long an answer is kept where Redis does not tell of changes.
const WITHOUT_TRACKING: Duration = Duration::from_secs(1);
/// How long it is remembered that a token is unknown.
const UNKNOWN: Duration = Duration::from_secs(1);
/// How many tokens are kept, and how many are remembered to be unknown.
const TOKENS: u64 = 50_000;
const UNKNOWN_TOKENS: u64 = 10_000;

/// How the backend's tokens are found.
#[derive(Clone)]
pub struct TokenSettings {
    /// What stands before every key, such as `:1:`.
    pub key_prefix: String,
    /// The backend's secret key: the salt of users' keys.
    pub secret_key: String,
    /// Rounds of PBKDF2 between a token and its key.
    pub iterations: u32,
    /// How long a token is kept at most.
    pub ttl: Duration,
}

/// Who comes with a token, until when that is good.
#[derive(Debug, Clone)]
struct Good {
    claims: Arc<Claims>,
    until: Instant,
}

/// What is kept of tokens, by their keys. It hears what Redis tells.
struct KeptTokens {
    known: Kept<Key, Good>,
    unknown: Kept<Key, ()>,
    begun: Instant,
    /// Milliseconds from the beginning up to which what is kept is good.
    trusted_until: AtomicU64,
}

impl KeptTokens {
    fn new(ttl: Duration) -> Self {
        Self {
            known: Kept::new(TOKENS, ttl),
            unknown: Kept::new(UNKNOWN_TOKENS, UNKNOWN.min(ttl)),
            begun: Instant::now(),
            trusted_until: AtomicU64::new(0),
        }
    }

    fn millis(&self, instant: Instant) -> u64 {
        let millis = instant.saturating_duration_since(self.begun).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX)
    }

    /// What is kept for a key, or that it is known to be unknown.
    fn get(&self, key: &Key) -> Option<Option<Arc<Claims>>> {
        let now = Instant::now();
        if self.millis(now) >= self.trusted_until.load(Ordering::SeqCst) {
            return None;
        }
        match self.known.get(key) {
            Some(good) => (now < good.until).then_some(Some(good.claims)),
            None => self.unknown.get(key).map(|()| None),
        }
    }

    fn drop_all(&self) {
        self.known.drop_all();
        self.unknown.drop_all();
    }
}

impl Listener for KeptTokens {
    fn hear(&self, news: News<'_>) {
        match news {
            News::Changed(key) => {
                let key = Key::from(key);
                self.known.drop_one(&key);
                self.unknown.drop_one(&key);
            }
            News::AllChanged => self.drop_all(),
            News::Lost => {
                let until = self.millis(Instant::now() + WITHOUT_CONNECTION);
                self.trusted_until.store(until, Ordering::SeqCst);
            }
            News::Connected => {
                self.drop_all();
                self.trusted_until.store(u64::MAX, Ordering::SeqCst);
            }
        }
    }
}

/// When a look-up of a key began, in both caches.
type Marks = (Mark, Mark);
/// What came of a look-up, for all who wait for it.
type Answer = Result<Option<Arc<Claims>>, Failure>;

/// Knows the tokens that a backend keeps in Redis.
#[derive(Clone)]
pub struct RedisTokens {
    redis: Redis,
    keys: Arc<Keys>,
    ttl: Duration,
    kept: Arc<KeptTokens>,
    flights: Arc<Flights<Key, Marks, Answer>>,
}

impl RedisTokens {
    /// Over a connection that [`RedisTokens::listener`] must hear about.
    ///
    /// # Panics
    /// Outside a Tokio runtime: look-ups run on the one where this is called.
    #[must_use]
    pub fn new(redis: Redis, settings: &TokenSettings) -> Self {
        let TokenSettings {
            key_prefix,
            secret_key,
            iterations,
            ttl,
        } = settings;
        Self {
            redis,
            keys: Arc::new(Keys::new(key_prefix, secret_key, *iterations)),
            ttl: *ttl,
            kept: Arc::new(KeptTokens::new(*ttl)),
            flights: Arc::new(Flights::here()),
        }
    }

    /// What is to hear of changes in Redis.
    #[must_use]
    pub fn listener(&self) -> Arc<dyn Listener> {
        self.kept.clone()
    }

    async fn claims(&self, token: Token<'_>) -> Result<Option<Arc<Claims>>, CredentialError> {
        let key = self.keys.of(token).await?;
        if let Some(kept) = self.kept.get(&key) {
            return Ok(kept);
        }
        // Before anything is asked.
        let marks = (self.kept.known.mark(&key), self.kept.unknown.mark(&key));
        let (this, asked) = (self.clone(), key.clone());
        let answer = self
            .flights
            .join(key, marks, async move { this.look_up(asked, marks).await });
        match answer.await {
            Some(answer) => Ok(answer?),
            None => Err(CredentialError::Unavailable("a look-up broke off".into())),
        }
    }

    /// Asks Redis, and keeps its answer unless something was dropped since the marks were made.
    async fn look_up(&self, key: Key, (known, unknown): Marks) -> Answer {
        let session = self.redis.session().await?;
        let mut commands = redis::pipe();
        if session.is_tracked() {
            commands.cmd("CLIENT").arg("CACHING").arg("YES");
        }
        // One byte more than a value may have, whatever its length.
        commands.cmd("GETRANGE").arg(&*key).arg(0).arg(MAX_BYTES);
        commands.cmd("PTTL").arg(&*key);
        let asked = Instant::now();
        let answers = session.ask(&commands).await?;
        let [before @ .., value, lifetime] = answers.as_slice() else {
            return Err(Failure::Nonsense);
        };
        let Some(claims) = claims_in(value)? else {
            self.kept.unknown.keep(key, (), unknown);
            return Ok(None);
        };
        let claims = Arc::new(claims);
        let ttl = if matches!(before, [Value::Okay]) {
            self.ttl
        } else {
            self.ttl.min(WITHOUT_TRACKING)
        };
        let lifetime = match lifetime {
            Value::Int(-1) => ttl,
            Value::Int(-2) => return Ok(None),
            Value::Int(millis @ 0..) => ttl.min(Duration::from_millis(millis.unsigned_abs())),
            Value::ServerError(error) => return Err(Failure::Refused(error.code().to_owned())),
            _ => return Err(Failure::Nonsense),
        };
        let good = Good {
            claims: claims.clone(),
            until: asked + lifetime,
        };
        self.kept.known.keep(key, good, known);
        Ok(Some(claims))
    }
}

/// What a value says; `None` if there is none, or it is no token's.
fn claims_in(value: &Value) -> Result<Option<Claims>, Failure> {
    let read = match value {
        Value::BulkString(value) if value.is_empty() => return Ok(None),
        Value::BulkString(value) => claims::read(value),
        Value::ServerError(error) if error.code() == "WRONGTYPE" => Err(NoToken::OtherType),
        Value::ServerError(error) => return Err(Failure::Refused(error.code().to_owned())),
        _ => return Err(Failure::Nonsense),
    };
    let read = read.and_then(|claims| match claims.account {
        Some(_) => Ok(claims),
        None => Err(NoToken::NoIds),
    });
    if let Err(reason) = &read {
        tracing::warn!(%reason, "a value in Redis is refused as a token's");
    }
    Ok(read.ok())
}

fn user(user: &UserId, account: &AccountId) -> Principal {
    Principal {
        kind: PrincipalKind::User,
        account: Some(account.clone()),
        user: Some(user.clone()),
        token: None,
    }
}

/// A visitor, also where the value names a user: whoever has the address of a public form has the token.
fn visitor(token: &str, account: &AccountId) -> Principal {
    Principal {
        kind: PrincipalKind::Public,
        account: Some(account.clone()),
        user: None,
        token: Some(TokenHash::of(token)),
    }
}

#[async_trait]
impl Authenticator for RedisTokens {
    async fn authenticate(
        &self,
        credential: &Credential,
    ) -> Result<Option<Principal>, CredentialError> {
        let Some(token) = Token::of(credential) else {
            return Ok(None);
        };
        let Some(claims) = self.claims(token).await? else {
            return Ok(None);
        };
        let principal = match (token, &claims.user, &claims.account) {
            (Token::User(_), Some(id), Some(account)) => Some(user(id, account)),
            (Token::Public(token), _, Some(account)) => Some(visitor(token, account)),
            _ => None,
        };
        Ok(principal)
    }
}
