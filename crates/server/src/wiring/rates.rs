//! Rate limits: in process, or shared through Redis.

use std::sync::Arc;

use cloakroom_application::{
    Rates,
    ports::{RateLimiter, RatePolicies},
    rates::LocalRates,
};
use cloakroom_infrastructure::redis_limits::SharedRates;

use crate::{config::Config, failure::Failure};

/// What limits the callers of the service.
///
/// # Errors
/// The address of Redis cannot be read. A Redis that is not there is no error: each replica counts alone then.
pub(super) async fn for_service(config: &Config) -> Result<Rates, Failure> {
    let rates = &config.rates;
    if !rates.enabled {
        return Ok(Rates::off());
    }
    let policies = RatePolicies {
        upload: rates.upload,
        download: rates.download,
        auth_failure: rates.auth_failure,
    };
    let limiter: Arc<dyn RateLimiter> = match &config.redis.url {
        None => Arc::new(LocalRates::new(&policies)),
        Some(url) => {
            let shared = SharedRates::start(url.reveal(), policies).await;
            // The error may quote the address, and with it the password.
            let shared = shared.map_err(|_| {
                Failure::usage("CLOAKROOM_REDIS_URL is not an address that the client can read")
            })?;
            Arc::new(shared)
        }
    };
    Ok(Rates::new(limiter))
}
