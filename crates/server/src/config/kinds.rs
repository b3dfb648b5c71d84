//! The kinds of values that settings have: how each is written, and what it is read into.

mod callers;
mod encryption;
mod jwt;
mod links;
mod readers;
mod scrub;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use cloakroom_domain::Bucket;

use self::readers::{
    MIB, buffer, duration, endpoint, is_bucket_name, is_default_secret, mount, number, size,
    web_address, without_password, without_userinfo,
};
pub(crate) use self::{
    callers::{
        ACTIONS, CACHE_TTL, KEY_PREFIX, NETWORKS, OFFLOAD, ORIGINS, PAGE_PATH, PERMISSION_PROTOCOL,
        RATE, REDIS, RESOURCE_POLICY, ROUNDS, SECRET_KEY,
    },
    encryption::{KEY_IDS, MASTER_KEYS},
    jwt::{CLAIM, JWT_ALGORITHMS, JWT_KEY, KEY_SET_ADDRESS, PEM},
    links::{CLAIM_TIME, LINK_KEY},
    readers::origin,
    scrub::{SCRUB_INTERVAL, SCRUB_RATE},
};
use super::secret::{MASK, Secret};

/// How much of a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Masking {
    /// All of it.
    Plain,
    /// Nothing.
    Secret,
    /// An address, without its password.
    Password,
    /// An address that must have no user and no password; if it has, they are not repeated.
    Userinfo,
}

impl Masking {
    /// Whether the value may come from a file of its own, by the name of the setting with `_FILE` at its end.
    pub(crate) const fn is_secret(self) -> bool {
        !matches!(self, Self::Plain | Self::Userinfo)
    }

    /// The value as it may be shown.
    pub(crate) fn show(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Secret => MASK.to_owned(),
            Self::Password => without_password(text),
            Self::Userinfo => without_userinfo(text),
        }
    }
}

/// A kind of value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind<T> {
    /// A word or two for the document.
    pub(crate) name: &'static str,
    /// What is expected, for the one who wrote something else.
    pub(crate) expected: &'static str,
    /// How much of it may be shown.
    pub(crate) masking: Masking,
    /// Reads the text, which is never empty.
    pub(crate) read: fn(&str) -> Option<T>,
}

impl<T> Kind<T> {
    const fn new(name: &'static str, expected: &'static str, read: fn(&str) -> Option<T>) -> Self {
        Self {
            name,
            expected,
            masking: Masking::Plain,
            read,
        }
    }

    const fn masked(mut self, masking: Masking) -> Self {
        self.masking = masking;
        self
    }
}

pub(crate) const ADDRESS: Kind<SocketAddr> = Kind::new(
    "address",
    "an IP address and a port, such as 127.0.0.1:8080",
    |text| match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?))),
        None => text.parse().ok(),
    },
);

pub(crate) const WEB_ADDRESS: Kind<String> = Kind::new(
    "URL",
    "an http:// or https:// address without user, query and fragment, such as https://example.com",
    web_address,
)
.masked(Masking::Userinfo);

pub(crate) const ENDPOINT: Kind<String> = Kind::new(
    "URL",
    "an http:// or https:// address without user, query and fragment, such as http://backend:8000/check-permission",
    endpoint,
)
.masked(Masking::Userinfo);

pub(crate) const MOUNT: Kind<String> = Kind::new(
    "path",
    "`/` or a path of plain segments such as /files, and none of /health, /access, /scrub, /metrics, /docs, /openapi.json",
    mount,
);

pub(crate) const FOLDER: Kind<PathBuf> = Kind::new("path", "the path of a folder", |text| {
    (!text.contains('\0')).then(|| PathBuf::from(text))
});

pub(crate) const DATABASE: Kind<Secret> = Kind::new(
    "URL",
    "postgres://user:password@host/database or sqlite://path/of/a/file.db",
    |text| {
        let known = ["postgres://", "postgresql://", "sqlite://"];
        let rest = known
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .filter(|rest| !rest.is_empty());
        rest.map(|_| Secret::new(text.to_owned()))
    },
)
.masked(Masking::Password);

pub(crate) const SCHEMA: Kind<String> = Kind::new(
    "text",
    "1 to 63 of a-z, 0-9 and `_`, not a digit first, nor pg_",
    |text| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let begins = text.starts_with(|c: char| !c.is_ascii_digit()) && !text.starts_with("pg_");
        (text.len() <= 63 && begins && text.bytes().all(plain)).then(|| text.to_owned())
    },
);

/// Where new bodies go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    /// A folder.
    Fs,
    /// S3 or what speaks like it.
    S3,
}

impl Driver {
    /// Its name in the registry.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Fs => "fs",
            Self::S3 => "s3",
        }
    }
}

pub(crate) const DRIVER: Kind<Driver> = Kind::new("`fs` or `s3`", "fs or s3", |text| {
    [Driver::Fs, Driver::S3]
        .into_iter()
        .find(|driver| driver.as_str() == text)
});

pub(crate) const BUCKET: Kind<Bucket> = Kind::new(
    "text",
    "3 to 63 of a-z, 0-9 and `-`, with a letter or digit at both ends",
    |text| {
        let good = (3..=63).contains(&text.len()) && is_bucket_name(text);
        Bucket::parse(text).ok().filter(|_| good)
    },
);

pub(crate) const BUCKET_PREFIX: Kind<String> = Kind::new(
    "text",
    "1 to 30 of a-z, 0-9 and `-`, with a letter or digit at both ends",
    |text| (text.len() <= 30 && is_bucket_name(text)).then(|| text.to_owned()),
);

pub(crate) const REGION: Kind<String> =
    Kind::new("text", "1 to 64 of A-Z, a-z, 0-9, `-` and `_`", |text| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        (text.len() <= 64 && text.bytes().all(plain)).then(|| text.to_owned())
    });

pub(crate) const SECRET: Kind<Secret> =
    Kind::new("secret", "printable characters without spaces", |text| {
        text.bytes()
            .all(|b| b.is_ascii_graphic())
            .then(|| Secret::new(text.to_owned()))
    })
    .masked(Masking::Secret);

pub(crate) const ADMIN_TOKEN: Kind<Secret> = Kind::new(
    "secret",
    "8 to 1024 printable characters without spaces that are nobody's default, such as `openssl rand -hex 32` prints",
    |text| {
        let graphic = text.bytes().all(|b| b.is_ascii_graphic());
        ((8..=1024).contains(&text.len()) && graphic && !is_default_secret(text))
            .then(|| Secret::new(text.to_owned()))
    },
)
.masked(Masking::Secret);

pub(crate) const SWITCH: Kind<bool> = Kind::new("switch", "on or off", |text| match text {
    "on" | "true" | "1" => Some(true),
    "off" | "false" | "0" => Some(false),
    _ => None,
});

pub(crate) const LOG_FILTER: Kind<String> = Kind::new(
    "level or filter",
    "error, warn, info, debug, trace or off, or a filter such as info,cloakroom_presentation=debug",
    |text| {
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        // A mistyped level would be read as the name of a target.
        let plain = text
            .split(',')
            .all(|part| part.contains('=') || levels.contains(&part.trim()));
        let filter = tracing_subscriber::EnvFilter::builder().parse(text);
        (plain && filter.is_ok()).then(|| text.to_owned())
    },
);

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For programs, one object a line.
    Json,
}

pub(crate) const LOG_FORMAT: Kind<LogFormat> =
    Kind::new("`text` or `json`", "text or json", |text| match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    });

const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

pub(crate) const DURATION: Kind<Duration> = Kind::new(
    "duration",
    "a duration of at most ten years, such as 500ms, 30s, 5m or 24h",
    |text| duration(text).filter(|duration| *duration <= LONGEST),
);

pub(crate) const SECONDS_OR_MORE: Kind<Duration> = Kind::new(
    "duration",
    "a duration of at least 1s, such as 30s, 5m or 24h",
    |text| duration(text).filter(|duration| (Duration::from_secs(1)..=LONGEST).contains(duration)),
);

pub(crate) const INTERVAL: Kind<Duration> = Kind::new(
    "duration",
    "a duration from 100ms to 24h, such as 30s",
    |text| {
        let (least, most) = (
            Duration::from_millis(100),
            Duration::from_secs(24 * 60 * 60),
        );
        duration(text).filter(|duration| (least..=most).contains(duration))
    },
);

pub(crate) const PATIENCE: Kind<Duration> = Kind::new(
    "duration",
    "a duration from 100ms to 60s, such as 3s",
    |text| {
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(60));
        duration(text).filter(|duration| (least..=most).contains(duration))
    },
);

pub(crate) const DURATION_OR_OFF: Kind<Option<Duration>> = Kind::new(
    "duration or `off`",
    "off, or a duration of at most ten years, such as 8760h",
    |text| match text {
        "off" => Some(None),
        _ => duration(text)
            .filter(|duration| *duration <= LONGEST)
            .map(Some),
    },
);

pub(crate) const FILE_SIZE: Kind<u64> = Kind::new(
    "size",
    "a size of at least 1 byte, such as 104857600, 100MiB or 5GB",
    |text| size(text).filter(|size| (1..=1 << 62).contains(size)),
);

/// Between nothing that a proxy minds and what nobody wants to send for a look.
pub(crate) const BODY_SIZE: Kind<u64> =
    Kind::new("size", "a size from 1MiB to 1GiB, such as 16MiB", |text| {
        size(text).filter(|size| (MIB..=1024 * MIB).contains(size))
    });

pub(crate) const UPLOAD_BUFFER: Kind<u32> =
    Kind::new("size", "a size from 24MiB to 3GiB, such as 96MiB", |text| {
        buffer(text, 24 * MIB)
    });

pub(crate) const READ_BUFFER: Kind<u32> = Kind::new(
    "size",
    "a size of at most 3GiB, such as 64MiB; 0 for none",
    |text| buffer(text, 0),
);

pub(crate) const WORKERS: Kind<usize> = Kind::new(
    "number",
    "a number from 0 to 512; 0 for as many as there are cores",
    |text| number(text, 0, 512),
);

pub(crate) const CONNECTIONS: Kind<u32> = Kind::new("number", "a number from 1 to 1000", |text| {
    number(text, 1, 1000)
});

pub(crate) const MOVES: Kind<usize> = Kind::new("number", "a number from 1 to 256", |text| {
    number(text, 1, 256)
});

pub(crate) const REQUESTS: Kind<usize> =
    Kind::new("number", "a number from 1 to 1000000", |text| {
        number(text, 1, 1_000_000)
    });

pub(crate) const QUESTIONS: Kind<usize> = Kind::new("number", "a number from 1 to 10000", |text| {
    number(text, 1, 10_000)
});

pub(crate) const ENTRIES: Kind<u64> = Kind::new("number", "a number from 0 to 10000000", |text| {
    number(text, 0, 10_000_000)
});
