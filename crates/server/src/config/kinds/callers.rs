//! The kinds of values that settings of callers have, and of who stands between them and the service.

use std::time::Duration;

use cloakroom_application::ports::RatePolicy;
use cloakroom_domain::Action;
use cloakroom_infrastructure::permission::PermissionProtocol;
use cloakroom_presentation::Offload;
use ipnet::IpNet;

use super::{
    Kind, Masking,
    readers::{
        actions, duration, is_placeholder_key, is_redis_address, network, number, origin,
        page_path, rate,
    },
};
use crate::config::secret::Secret;

pub(crate) const SECRET_KEY: Kind<Secret> = Kind::new(
    "secret",
    "16 to 1024 printable characters that are nobody's default: the backend's own SECRET_KEY, without django-insecure- \
     before it",
    |text| {
        let printable = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        ((16..=1024).contains(&text.len()) && printable && !is_placeholder_key(text))
            .then(|| Secret::new(text.to_owned()))
    },
)
.masked(Masking::Secret);

pub(crate) const REDIS: Kind<Secret> = Kind::new(
    "URL",
    "redis://user:password@host:port/database, or rediss:// for TLS",
    |text| is_redis_address(text).then(|| Secret::new(text.to_owned())),
)
.masked(Masking::Password);

pub(crate) const KEY_PREFIX: Kind<String> = Kind::new(
    "text",
    "1 to 200 printable characters without spaces, such as :1:",
    |text| {
        let graphic = text.bytes().all(|b| b.is_ascii_graphic());
        (text.len() <= 200 && graphic).then(|| text.to_owned())
    },
);

pub(crate) const ROUNDS: Kind<u32> = Kind::new("number", "a number from 1 to 1000000", |text| {
    number(text, 1, 1_000_000)
});

pub(crate) const CACHE_TTL: Kind<Duration> = Kind::new(
    "duration",
    "a duration of at most an hour, such as 30s; 0s to ask each time",
    |text| duration(text).filter(|duration| *duration <= Duration::from_secs(60 * 60)),
);

pub(crate) const RESOURCE_POLICY: Kind<&str> = Kind::new(
    "`same-site`, `same-origin` or `cross-origin`",
    "same-site, same-origin or cross-origin",
    |text| {
        ["same-site", "same-origin", "cross-origin"]
            .into_iter()
            .find(|known| *known == text)
    },
);

/// Everything between commas, of which there is something.
fn list<T>(text: &str, read: fn(&str) -> Option<T>) -> Option<Vec<T>> {
    text.split(',').map(|item| read(item.trim())).collect()
}

pub(crate) const ORIGINS: Kind<Vec<String>> = Kind::new(
    "list of origins",
    "origins with commas, each a scheme, a host and perhaps a port, such as https://app.example.com",
    |text| list(text, origin),
)
.masked(Masking::Userinfo);

pub(crate) const NETWORKS: Kind<Vec<IpNet>> = Kind::new(
    "list of networks",
    "IP addresses and networks with commas, such as 127.0.0.1,10.0.0.0/8",
    |text| list(text, network),
);

pub(crate) const PAGE_PATH: Kind<String> = Kind::new(
    "path",
    "a path such as /auth/signin/, without query and fragment",
    page_path,
);

pub(crate) const RATE: Kind<RatePolicy> = Kind::new(
    "number/duration",
    "a number from 1 to 100000, a slash, and a duration from 1s to 24h, such as 60/60s",
    rate,
);
pub(crate) const ACTIONS: Kind<Vec<Action>> = Kind::new(
    "list",
    "some of read, write, delete and share, with commas, such as read,write",
    actions,
);

pub(crate) const PERMISSION_PROTOCOL: Kind<PermissionProtocol> =
    Kind::new("`form` or `batch`", "form or batch", |text| match text {
        "form" => Some(PermissionProtocol::Form),
        "batch" => Some(PermissionProtocol::Batch),
        _ => None,
    });

pub(crate) const OFFLOAD: Kind<Offload> =
    Kind::new("`off` or `x-accel`", "off or x-accel", |text| match text {
        "off" => Some(Offload::Off),
        "x-accel" => Some(Offload::XAccel),
        _ => None,
    });
