//! Configuration: read once, at the start. Nothing else reads the environment.

mod aliases;
pub(crate) mod arguments;
mod declare;
#[cfg(test)]
mod document;
mod jwt;
mod kinds;
mod names;
mod problem;
mod secret;
mod table;
#[cfg(test)]
mod tests;
mod values;

use std::{net::SocketAddr, path::Path};

use cloakroom_domain::BucketRule;
use cloakroom_infrastructure::stores::{
    guard::Guard,
    s3::{S3Secret, S3Settings},
};
use cloakroom_presentation::Offload;

pub(crate) use self::{
    aliases::announce,
    declare::{Absent, Setting},
    kinds::{Driver, LogFormat, origin},
    problem::Problem,
    secret::Secret,
    table::{Config, GROUPS, Logging, Permission},
    values::Values,
};

/// Reads the environment and the file.
///
/// # Errors
/// Everything that is wrong, a line each.
pub(crate) fn load(file: Option<&Path>) -> Result<(Config, Values), Vec<Problem>> {
    load_from(std::env::vars_os(), file)
}

fn load_from(
    environment: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    file: Option<&Path>,
) -> Result<(Config, Values), Vec<Problem>> {
    let values = Values::gather(environment, file)?;
    let config = Config::read(&values).map_err(|problem| vec![problem])?;
    let problems = config.contradictions();
    if problems.is_empty() {
        Ok((config, values))
    } else {
        Err(problems)
    }
}

impl Config {
    /// Whether nobody chose a credential or where to find some, so that the service makes its own and stays on this
    /// machine.
    pub(crate) const fn is_development(&self) -> bool {
        self.access.admin_token.is_none()
            && self.redis.url.is_none()
            && self.access.auth_secret_key.is_none()
            && self.jwt.key.is_none()
            && self.jwt.jwks_url.is_none()
    }

    /// The database's address.
    pub(crate) fn database_url(&self) -> Secret {
        self.database.url.clone().unwrap_or_else(|| {
            let file = self.store.data_dir.join("cloakroom.db");
            let path = file.to_string_lossy();
            let path = path.replace('%', "%25").replace('?', "%3F");
            Secret::new(format!("sqlite://{path}"))
        })
    }

    /// The address of the files API as clients know it, for a service that listens at `address`.
    pub(crate) fn public_url(&self, address: SocketAddr) -> String {
        let mount = self.http.mount.trim_end_matches('/');
        self.http
            .public_url
            .clone()
            .unwrap_or_else(|| format!("http://{}{mount}", within_reach(address)))
    }

    /// How S3 is spoken to, `None` where its credentials are not configured.
    pub(crate) fn s3(&self) -> Option<S3Settings> {
        let store = &self.store;
        let region = &store.s3_region;
        let amazon = || {
            // The regions in China are a partition of their own.
            let tail = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://s3.{region}.amazonaws.com{tail}")
        };
        Some(S3Settings {
            endpoint: store.s3_endpoint.clone().unwrap_or_else(amazon),
            region: region.clone(),
            access_key_id: store.s3_access_key_id.as_ref()?.reveal().to_owned(),
            secret_access_key: S3Secret::new(store.s3_secret_access_key.as_ref()?.reveal()),
            path_style: store.s3_path_style.unwrap_or(store.s3_endpoint.is_some()),
            public_endpoint: store.s3_public_endpoint.clone(),
            guard: Guard::Open,
            cors_origins: Vec::new(),
        })
    }

    /// How buckets are found in the configured S3 store, `None` where that is not configured.
    pub(crate) fn s3_buckets(&self) -> Option<BucketRule> {
        let prefix = self.store.s3_bucket_prefix.clone();
        let bucket = self.store.s3_bucket.clone().map(BucketRule::Fixed);
        bucket.or_else(|| prefix.map(BucketRule::PerAccount))
    }

    /// The database of the service whose files are to be taken over.
    pub(crate) fn import_database_url(&self) -> Secret {
        let own = || self.database_url();
        self.import.database_url.clone().unwrap_or_else(own)
    }

    /// What is right by itself but not together.
    fn contradictions(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut say = |text: String| problems.push(Problem::new(&text));
        let listen = self.http.listen;
        if self.is_development() && !listen.ip().to_canonical().is_loopback() {
            say(format!(
                "CLOAKROOM_LISTEN is \"{listen}\", but without CLOAKROOM_ADMIN_TOKEN the service is in development mode; \
                 expected CLOAKROOM_ADMIN_TOKEN to be set (`openssl rand -hex 32` prints a good one), or an address of \
                 this machine only, such as 127.0.0.1:{}",
                listen.port()
            ));
        }
        if self.redis.url.is_some() && self.access.auth_secret_key.is_none() {
            say(
                "CLOAKROOM_REDIS_URL is set, but without CLOAKROOM_AUTH_SECRET_KEY no token can be found there; \
                 expected it to be the backend's SECRET_KEY"
                    .to_owned(),
            );
        }
        if let Some(complaint) = self.jwt.contradiction() {
            say(complaint);
        }
        if self.proxy.offload == Offload::XAccel && self.proxy.trusted.is_none() {
            say(
                "CLOAKROOM_OFFLOAD is \"x-accel\"; expected CLOAKROOM_TRUSTED_PROXIES to be set as well: bytes are \
                 left to those proxies only"
                    .to_owned(),
            );
        }
        if self.links.lifetime > self.links.max_lifetime {
            say(
                "CLOAKROOM_LINK_LIFETIME is longer than CLOAKROOM_LINK_MAX_LIFETIME; expected it to be at most that"
                    .to_owned(),
            );
        }
        let store = &self.store;
        if store.s3_bucket.is_some() && store.s3_bucket_prefix.is_some() {
            say(
                "CLOAKROOM_S3_BUCKET and CLOAKROOM_S3_BUCKET_PREFIX are both set; expected one bucket for everything, \
                 or a prefix for a bucket for each account"
                    .to_owned(),
            );
        }
        if let Some(missing) = self.missing_for_s3() {
            say(format!(
                "CLOAKROOM_STORE is \"s3\"; expected {missing} to be set as well"
            ));
        }
        problems
    }

    /// The settings without which the configured S3 store cannot be opened.
    fn missing_for_s3(&self) -> Option<String> {
        let store = &self.store;
        let missing: Vec<&str> = [
            (
                "CLOAKROOM_S3_ACCESS_KEY_ID",
                store.s3_access_key_id.is_none(),
            ),
            (
                "CLOAKROOM_S3_SECRET_ACCESS_KEY",
                store.s3_secret_access_key.is_none(),
            ),
            (
                "CLOAKROOM_S3_BUCKET or CLOAKROOM_S3_BUCKET_PREFIX",
                self.s3_buckets().is_none(),
            ),
        ]
        .into_iter()
        .filter_map(|(name, missing)| missing.then_some(name))
        .collect();
        (store.driver == Driver::S3 && !missing.is_empty()).then(|| missing.join(", and "))
    }
}

/// Whether buckets may be called so, as the setting has it; what was expected if not.
///
/// # Errors
/// What was expected.
pub(crate) fn check_bucket_prefix(text: &str) -> Result<(), &'static str> {
    let kind = kinds::BUCKET_PREFIX;
    (kind.read)(text).map(drop).ok_or(kind.expected)
}

/// An address that a client on this machine can call: the loopback one for "every address".
pub(crate) fn within_reach(address: SocketAddr) -> SocketAddr {
    let mut reachable = address;
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            reachable.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            reachable.set_ip(std::net::Ipv6Addr::LOCALHOST.into());
        }
        _ => {}
    }
    reachable
}
