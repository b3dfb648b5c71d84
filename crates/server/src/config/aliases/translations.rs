//! How each setting is made of the old service's variables.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use super::{
    super::{problem::Problem, values::wrong},
    OldEnvironment,
};

type Made = Result<Option<String>, Problem>;

/// The port that the old service listened at unless told otherwise.
const PORT: &str = "8000";
/// A year, as the old service said it.
const HSTS: &str = "8760h";
/// Where the old service kept its rows; ours are in a schema beside them.
const SCHEMA: &str = "cloakroom";
/// Where the backend answers, below its private address.
const CHECK_PERMISSION: &str = "/attachments/check-permission";

/// What may stand in a part of an address as it is.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// This machine, and networks that are nobody's on the internet (RFC 1918, RFC 4193).
const PRIVATE_NETWORKS: &str = "127.0.0.0/8,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7";

/// It listened at every address: in a container, behind its proxy.
pub(super) fn listen(old: &OldEnvironment) -> Made {
    let port = old.get("PORT").unwrap_or(PORT);
    match port.parse::<u16>() {
        Ok(port) => Ok(Some(format!("0.0.0.0:{port}"))),
        Err(_) => Err(wrong("PORT", port, "a port, such as 8000")),
    }
}

/// Its proxy strips `/files/`.
pub(super) fn mount(_: &OldEnvironment) -> Made {
    Ok(Some("/".to_owned()))
}

/// Its proxy is in a network of its own, and says where requests came from. Were it not believed, all the world would
/// be one client, and one who guesses credentials would lock out everybody.
pub(super) fn trusted_proxies(_: &OldEnvironment) -> Made {
    Ok(Some(PRIVATE_NETWORKS.to_owned()))
}

pub(super) fn hsts(old: &OldEnvironment) -> Made {
    Ok(in_production(old).map(|is| if is { HSTS } else { "off" }.to_owned()))
}

pub(super) fn rate_limit(old: &OldEnvironment) -> Made {
    Ok(in_production(old).map(|is| if is { "on" } else { "off" }.to_owned()))
}

fn in_production(old: &OldEnvironment) -> Option<bool> {
    old.get("CONFIG").map(|config| config == "Production")
}

/// Whether the rows were in the database that the variables name.
fn names_database(old: &OldEnvironment) -> bool {
    super::DATABASE.iter().any(|name| old.get(name).is_some())
}

pub(super) fn database_url(old: &OldEnvironment) -> Made {
    if !names_database(old) {
        return Ok(None);
    }
    let part = |name: &str, default: &'static str| {
        let text = old.get(name).unwrap_or(default).to_owned();
        utf8_percent_encode(&text, KEPT).to_string()
    };
    let (user, database) = (
        part("POSTGRES_USER", "pneumatic"),
        part("POSTGRES_DB", "pneumatic"),
    );
    let password = old.get("POSTGRES_PASSWORD");
    let password = password.map_or_else(String::new, |password| {
        format!(":{}", utf8_percent_encode(password, KEPT))
    });
    let port = old.get("POSTGRES_PORT").unwrap_or("5432");
    if port.parse::<u16>().is_err() {
        return Err(wrong("POSTGRES_PORT", port, "a port, such as 5432"));
    }
    let host = old.get("POSTGRES_HOST").unwrap_or("localhost");
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let host = match host.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) if host.bytes().all(is_plain) => host.to_owned(),
        Err(_) => return Err(wrong("POSTGRES_HOST", host, "a host's name or address")),
    };
    Ok(Some(format!(
        "postgres://{user}{password}@{host}:{port}/{database}"
    )))
}

/// The old table is called `files`, as one of ours is.
pub(super) fn database_schema(old: &OldEnvironment) -> Made {
    Ok(names_database(old).then(|| SCHEMA.to_owned()))
}

/// The prefix of the names that tell of the store in use; `None` where no store is told of.
fn s3_prefix(old: &OldEnvironment) -> Result<Option<&'static str>, Problem> {
    const LOCAL: &str = "SEAWEEDFS_S3_";
    match old.get("STORAGE_TYPE") {
        Some("local") => Ok(Some(LOCAL)),
        Some("google") => Ok(Some("GCS_S3_")),
        Some(other) => Err(wrong("STORAGE_TYPE", other, "local or google")),
        None => {
            let told = old.0.keys().any(|name| name.starts_with(LOCAL));
            Ok(told.then_some(LOCAL))
        }
    }
}

fn of_store<'a>(old: &'a OldEnvironment, what: &str) -> Result<Option<&'a str>, Problem> {
    let prefix = s3_prefix(old)?;
    Ok(prefix.and_then(|prefix| old.get(&format!("{prefix}{what}"))))
}

/// Both of its stores were spoken to over S3.
pub(super) fn store(old: &OldEnvironment) -> Made {
    Ok(s3_prefix(old)?.map(|_| "s3".to_owned()))
}

pub(super) fn s3_endpoint(old: &OldEnvironment) -> Made {
    let Some(prefix) = s3_prefix(old)? else {
        return Ok(None);
    };
    let local = prefix.starts_with("SEAWEEDFS");
    let default = if local {
        "http://seaweedfs-filer:8333"
    } else {
        "https://storage.googleapis.com"
    };
    let endpoint = of_store(old, "ENDPOINT")?.unwrap_or(default);
    if endpoint.contains("://") {
        return Ok(Some(endpoint.to_owned()));
    }
    // Without a scheme, the switch says which.
    let tls = !local || switch(old, "SEAWEEDFS_S3_USE_SSL")?;
    let scheme = if tls { "https" } else { "http" };
    Ok(Some(format!("{scheme}://{endpoint}")))
}

/// The words that the old service took for yes and no.
fn switch(old: &OldEnvironment, name: &str) -> Result<bool, Problem> {
    let Some(word) = old.get(name) else {
        return Ok(false);
    };
    match word.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "y" | "on" => Ok(true),
        "false" | "f" | "0" | "no" | "n" | "off" => Ok(false),
        _ => Err(wrong(name, word, "true or false")),
    }
}

pub(super) fn s3_region(old: &OldEnvironment) -> Made {
    Ok(of_store(old, "REGION")?.map(str::to_owned))
}

pub(super) fn s3_access_key(old: &OldEnvironment) -> Made {
    Ok(of_store(old, "ACCESS_KEY")?.map(str::to_owned))
}

pub(super) fn s3_secret_key(old: &OldEnvironment) -> Made {
    Ok(of_store(old, "SECRET_KEY")?.map(str::to_owned))
}

pub(super) fn bucket_prefix(old: &OldEnvironment) -> Made {
    Ok(old.get("BUCKET_PREFIX").map(str::to_owned))
}

pub(super) fn permission_url(old: &OldEnvironment) -> Made {
    let backend = old.get("BACKEND_PRIVATE_URL");
    Ok(backend.map(|url| format!("{}{CHECK_PERMISSION}", url.trim_end_matches('/'))))
}

/// The origins of a JSON list or of one with commas, and the forms'. The star is left out: it let any page read with
/// a visitor's cookies.
pub(super) fn allowed_origins(old: &OldEnvironment) -> Made {
    let listed = origins_of(old)?;
    let mut origins: Vec<String> = Vec::new();
    for (name, text) in listed
        .iter()
        .map(|text| ("ALLOWED_ORIGINS", text.as_str()))
        .chain(old.get("FORMS_URL").map(|text| ("FORMS_URL", text)))
        .filter(|(_, text)| *text != "*")
    {
        let expected = "origins such as https://app.example.com";
        let url = Url::parse(text).ok();
        let web = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let origin = web.ok_or_else(|| wrong(name, text, expected))?;
        let origin = origin.origin().ascii_serialization();
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    Ok((!origins.is_empty()).then(|| origins.join(",")))
}

/// The members of `ALLOWED_ORIGINS`.
fn origins_of(old: &OldEnvironment) -> Result<Vec<String>, Problem> {
    let text = old.get("ALLOWED_ORIGINS").unwrap_or_default();
    if text.trim_start().starts_with('[') {
        let expected = "a JSON list of origins, or origins with commas between";
        return serde_json::from_str(text).map_err(|_| wrong("ALLOWED_ORIGINS", text, expected));
    }
    let members = text.split(',').map(str::trim);
    let members = members.filter(|member| !member.is_empty());
    Ok(members.map(str::to_owned).collect())
}

/// Whether any origin was allowed.
pub(super) fn allows_any_origin(old: &OldEnvironment) -> bool {
    origins_of(old).is_ok_and(|origins| origins.iter().any(|origin| origin == "*"))
}

pub(super) fn upload_limit(old: &OldEnvironment) -> Made {
    limit(
        old,
        [
            ("RATE_LIMIT_UPLOAD_REQUESTS", "10"),
            ("RATE_LIMIT_UPLOAD_WINDOW", "60"),
        ],
    )
}

pub(super) fn download_limit(old: &OldEnvironment) -> Made {
    limit(
        old,
        [
            ("RATE_LIMIT_DOWNLOAD_REQUESTS", "100"),
            ("RATE_LIMIT_DOWNLOAD_WINDOW", "60"),
        ],
    )
}

/// So many requests in so many seconds; where only one of the two is set, the old default holds for the other.
fn limit(old: &OldEnvironment, names: [(&str, &str); 2]) -> Made {
    if names.iter().all(|(name, _)| old.get(name).is_none()) {
        return Ok(None);
    }
    let [requests, seconds] = names.map(|(name, default)| {
        let text = old.get(name).unwrap_or(default);
        let number = text.parse::<u32>().ok().filter(|number| *number > 0);
        number.ok_or_else(|| wrong(name, text, "a number from 1"))
    });
    Ok(Some(format!("{}/{}s", requests?, seconds?)))
}
