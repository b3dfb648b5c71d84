//! How the texts of values are read.

use std::{net::IpAddr, time::Duration};

use cloakroom_application::ports::RatePolicy;
use cloakroom_domain::Action;
use ipnet::IpNet;
use reqwest::Url;

use super::super::secret::MASK;

const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Digits and a unit, which may be missing.
fn amount(text: &str) -> Option<(u64, &str)> {
    let end = text
        .bytes()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit))
}

pub(super) fn duration(text: &str) -> Option<Duration> {
    let (amount, unit) = amount(text)?;
    let seconds = match unit {
        "ms" => return Some(Duration::from_millis(amount)),
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        _ => return None,
    };
    amount.checked_mul(seconds).map(Duration::from_secs)
}

pub(super) fn size(text: &str) -> Option<u64> {
    let (amount, unit) = amount(text)?;
    let bytes = match unit {
        "" | "B" => 1,
        "KiB" => KIB,
        "MiB" => MIB,
        "GiB" => GIB,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    amount.checked_mul(bytes)
}

pub(super) fn buffer(text: &str, least: u64) -> Option<u32> {
    let size = size(text).filter(|size| (least..=3 * GIB).contains(size))?;
    u32::try_from(size).ok()
}

pub(super) fn number<N: TryFrom<u64>>(text: &str, least: u64, most: u64) -> Option<N> {
    let (amount, unit) = amount(text)?;
    let fits = unit.is_empty() && (least..=most).contains(&amount);
    N::try_from(amount).ok().filter(|_| fits)
}

/// The address of a whole site: a slash at its end is nothing.
pub(super) fn web_address(text: &str) -> Option<String> {
    endpoint(text).map(|url| url.trim_end_matches('/').to_owned())
}

/// The address of one resource, as it is.
pub(super) fn endpoint(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let bare = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    bare.then(|| url.into())
}

/// Names with commas between them, each once.
pub(super) fn actions(text: &str) -> Option<Vec<Action>> {
    let mut actions = Vec::new();
    for name in text.split(',') {
        let action = Action::parse(name.trim())?;
        if actions.contains(&action) {
            return None;
        }
        actions.push(action);
    }
    Some(actions)
}

/// An origin as browsers write it.
pub(crate) fn origin(text: &str) -> Option<String> {
    let address = web_address(text)?;
    let url = Url::parse(&address).ok()?;
    // Nothing stands for several: with credentials that would be everybody.
    let one = url.path() == "/" && !url.host_str()?.contains('*');
    one.then(|| url.origin().ascii_serialization())
}

/// One slash at its start: with two, what follows would be a host.
pub(super) fn page_path(text: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~/%".contains(&b);
    let good = text.starts_with('/') && !text.contains("//") && text.bytes().all(plain);
    good.then(|| text.to_owned())
}

pub(super) fn rate(text: &str) -> Option<RatePolicy> {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let (permits, window) = text.split_once('/')?;
    let permits: u32 = number(permits, 1, 100_000)?;
    let window = duration(window).filter(|it| (Duration::from_secs(1)..=DAY).contains(it))?;
    Some(RatePolicy {
        permits: permits.try_into().ok()?,
        window,
    })
}

pub(super) fn network(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(address.to_canonical().into()),
        Err(_) => text.parse().ok(),
    }
}

/// `/`, or the path without a slash at its end. Fixed routes of the service cannot lie below it.
pub(super) fn mount(text: &str) -> Option<String> {
    let path = text.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    if text == "/" {
        return Some(text.to_owned());
    }
    let is_plain = |segment: &str| {
        let known = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
        !segment.is_empty() && segment.bytes().all(known) && segment != "." && segment != ".."
    };
    let taken = [
        "health",
        "access",
        "scrub",
        "metrics",
        "migrate",
        "backend-config",
        "docs",
        "openapi.json",
        "objects",
        "buckets",
    ];
    let first = path.split('/').next().unwrap_or_default();
    (path.split('/').all(is_plain) && !taken.contains(&first)).then(|| format!("/{path}"))
}

/// Of `[a-z0-9-]`, with no hyphen at an end.
pub(super) fn is_bucket_name(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.bytes().all(known) && !text.starts_with('-') && !text.ends_with('-')
}

/// The letters and digits, without case.
fn plain(text: &str) -> String {
    text.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// What people leave in place of a secret.
pub(super) fn is_default_secret(text: &str) -> bool {
    let plain = plain(text);
    let known = [
        "changeme",
        "changethis",
        "replaceme",
        "replacethis",
        "yourtokenhere",
        "password",
        "administrator",
        "12345678",
        "123456789",
        "1234567890",
    ];
    known.contains(&plain.as_str())
        || plain.starts_with("changeme")
        || text.bytes().all(|b| Some(b) == text.bytes().next())
}

/// What people, and `django-admin startproject`, leave in place of a secret key.
pub(super) fn is_placeholder_key(text: &str) -> bool {
    // What `startproject` makes is long and random, and nobody's but theirs, whatever it begins with.
    if let Some(own) = text.strip_prefix("django-insecure-")
        && own.len() >= 40
        && different_bytes(own) >= 20
    {
        return false;
    }
    let plain = plain(text);
    let known = [
        "djangoinsecure",
        "insecure",
        "changethis",
        "replaceme",
        "replacethis",
        "yoursecret",
        "yourdjangosecret",
        "mysecret",
        "supersecret",
        "secretkey",
        "djangosecretkey",
        "notasecret",
        "notsecret",
        "developmentsecret",
        "devsecret",
    ];
    is_default_secret(text)
        || known.iter().any(|start| plain.starts_with(start))
        || different_bytes(text) < 5
}

fn different_bytes(text: &str) -> usize {
    let mut seen = [false; 128];
    text.bytes().for_each(|b| seen[usize::from(b & 127)] = true);
    seen.iter().filter(|seen| **seen).count()
}

/// An address of a Redis server, with at most the number of a database as its path.
pub(super) fn is_redis_address(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else {
        return false;
    };
    let database = url.path().trim_start_matches('/');
    matches!(url.scheme(), "redis" | "rediss")
        && url.host_str().is_some_and(|host| !host.is_empty())
        && (database.is_empty() || database.parse::<u16>().is_ok())
        && url.query().is_none()
        && url.fragment().is_none()
}

/// An address without whatever stands before its host.
pub(super) fn without_userinfo(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{MASK}@{host}"),
        None => text.to_owned(),
    }
}

/// An address with its password masked; nothing of one that cannot be read.
pub(super) fn without_password(text: &str) -> String {
    if text.starts_with("sqlite://") {
        return text.to_owned();
    }
    let Ok(mut url) = Url::parse(text) else {
        return MASK.to_owned();
    };
    if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
        return MASK.to_owned();
    }
    if url.query().is_some() {
        let harmless = [
            "host",
            "port",
            "user",
            "dbname",
            "sslmode",
            "application_name",
        ];
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        url.query_pairs_mut()
            .clear()
            .extend_pairs(pairs.into_iter().map(|(key, value)| {
                let shown = harmless.contains(&key.as_str());
                (key, if shown { value } else { MASK.to_owned() })
            }));
    }
    url.into()
}
