//! Redis, where it is configured: callers known by the backend's tokens.

use cloakroom_infrastructure::redis::{Redis, RedisTokens, TokenSettings};

use super::tasks::{Stop, stopped};
use crate::{config::Config, failure::Failure};

/// The connection, and who knows callers by it.
pub(crate) struct OpenRedis {
    pub(crate) redis: Redis,
    pub(crate) tokens: RedisTokens,
}

/// What Redis is configured for; `None` where it is not. Nothing is connected yet.
///
/// # Errors
/// The address cannot be used.
pub(crate) fn open(config: &Config) -> Result<Option<OpenRedis>, Failure> {
    let (Some(url), Some(secret_key)) = (&config.redis.url, &config.access.auth_secret_key) else {
        return Ok(None);
    };
    let redis = Redis::at(url.reveal())
        .map_err(|error| Failure::because("Redis (CLOAKROOM_REDIS_URL)", &error))?;
    let settings = TokenSettings {
        key_prefix: config.access.auth_key_prefix.clone(),
        secret_key: secret_key.reveal().to_owned(),
        iterations: config.access.auth_token_iterations,
        ttl: config.access.auth_cache_ttl,
    };
    let tokens = RedisTokens::new(redis.clone(), &settings);
    Ok(Some(OpenRedis { redis, tokens }))
}

impl OpenRedis {
    /// Keeps the connection up until it is time to stop.
    pub(crate) fn keep_up(&self, stop: Stop) -> impl Future<Output = ()> + Send + 'static {
        self.redis
            .clone()
            .run(self.tokens.listener(), stopped(stop))
    }
}
