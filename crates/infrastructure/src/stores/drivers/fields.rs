//! The settings of every driver as a table: names, kinds, which must be there.

use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The longest value of a setting that is no key, in bytes.
const LONGEST: usize = 2048;

/// The longest key or credential, in bytes.
const LONGEST_KEY: usize = 32 * 1024;

/// Why settings cannot be used: the setting, and what was expected of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected}")]
pub struct InvalidConfig {
    /// The name of the setting; at most 64 bytes, also where a caller made it up.
    pub field: String,
    /// What was expected. Never the value.
    pub expected: String,
}

impl InvalidConfig {
    pub(super) fn new(field: &str, expected: impl Into<String>) -> Self {
        Self {
            field: field.chars().take(64).filter(|c| !c.is_control()).collect(),
            expected: expected.into(),
        }
    }
}

/// A setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it must be there.
    pub required: bool,
}

/// What a setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An `http://` or `https://` address without user and password.
    Address,
    /// Some text.
    Text,
    /// A text that nobody may see.
    Secret,
    /// A whole file that nobody may see, such as a key.
    Key,
    /// `true` or `false`.
    Flag,
    /// An absolute path of this machine.
    Path,
    /// The name of a bucket: 3–63 of `[a-z0-9-]`.
    Bucket,
    /// What the names of buckets begin with: 1–38 of `[a-z0-9-]`.
    Prefix,
    /// Names of folders with slashes between them; where it begins with one, an absolute path at a machine that has
    /// those.
    Root,
    /// A host, or `ssh://` and a host, with a port or without.
    SshAddress,
    /// The name of a user.
    User,
    /// `strict`, `add` or `accept`.
    KnownHosts,
}

impl Field {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            required: false,
        }
    }

    const fn required(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            required: true,
        }
    }

    /// Whether nobody may see its value.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::Key)
    }
}

pub(super) const FS: &[Field] = &[Field::required("path", Kind::Path)];

pub(super) const S3: &[Field] = &[
    Field::required("endpoint", Kind::Address),
    Field::new("bucket", Kind::Bucket),
    Field::new("bucket_prefix", Kind::Prefix),
    Field::new("region", Kind::Text),
    Field::required("access_key_id", Kind::Text),
    Field::required("secret_access_key", Kind::Secret),
    Field::new("path_style", Kind::Flag),
    Field::new("public_endpoint", Kind::Address),
];

pub(super) const WEBDAV: &[Field] = &[
    Field::required("endpoint", Kind::Address),
    Field::new("username", Kind::Text),
    Field::new("password", Kind::Secret),
    Field::new("token", Kind::Secret),
    Field::new("root", Kind::Root),
    Field::new("bucket", Kind::Bucket),
    Field::new("bucket_prefix", Kind::Prefix),
];

pub(super) const SFTP: &[Field] = &[
    Field::required("endpoint", Kind::SshAddress),
    Field::required("user", Kind::User),
    Field::new("key_file", Kind::Path),
    Field::new("known_hosts", Kind::KnownHosts),
    Field::new("root", Kind::Root),
    Field::new("bucket", Kind::Bucket),
    Field::new("bucket_prefix", Kind::Prefix),
];

pub(super) const AZBLOB: &[Field] = &[
    Field::required("endpoint", Kind::Address),
    Field::required("container", Kind::Bucket),
    Field::required("account_name", Kind::Text),
    Field::new("account_key", Kind::Secret),
    Field::new("sas_token", Kind::Secret),
    Field::new("root", Kind::Root),
    Field::new("bucket", Kind::Bucket),
    Field::new("bucket_prefix", Kind::Prefix),
];

pub(super) const GCS: &[Field] = &[
    Field::required("bucket", Kind::Text),
    Field::new("credential", Kind::Key),
    Field::new("endpoint", Kind::Address),
    Field::new("root", Kind::Root),
];

/// Of an account elsewhere: Google Drive, OneDrive, Dropbox.
pub(super) const ACCOUNT: &[Field] = &[
    Field::new("access_token", Kind::Key),
    Field::new("refresh_token", Kind::Key),
    Field::new("client_id", Kind::Text),
    Field::new("client_secret", Kind::Secret),
    Field::new("root", Kind::Root),
    Field::new("bucket", Kind::Bucket),
    Field::new("bucket_prefix", Kind::Prefix),
];

/// Whether all settings are known, there and of their kinds.
pub(super) fn check(fields: &[Field], config: &Map<String, Value>) -> Result<(), InvalidConfig> {
    for name in config.keys() {
        if !fields.iter().any(|field| field.name == name) {
            let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
            let expected = format!("one of {}", names.join(", "));
            return Err(InvalidConfig::new(name, expected));
        }
    }
    for field in fields {
        match config.get(field.name) {
            None | Some(Value::Null) if field.required => {
                let expected = format!("{}; it is missing", field.kind.expected());
                return Err(InvalidConfig::new(field.name, expected));
            }
            None | Some(Value::Null) => {}
            Some(value) if field.kind.takes(value) => {}
            Some(_) => return Err(InvalidConfig::new(field.name, field.kind.expected())),
        }
    }
    Ok(())
}

/// The settings as a driver has them.
pub(super) fn parsed<T: DeserializeOwned>(config: &Map<String, Value>) -> Result<T, InvalidConfig> {
    // Checked before, so that no message of serde's, which may repeat a value, is of use.
    T::deserialize(Value::Object(config.clone()))
        .map_err(|_| InvalidConfig::new("config", "settings of their kinds"))
}

impl Kind {
    /// What is expected, in words.
    #[must_use]
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Address => "an http:// or https:// address, without user, password and query",
            Self::Text => "a text of 1 to 2048 bytes without control characters",
            Self::Secret => "a text of 1 to 2048 bytes without control characters",
            Self::Key => "a text of 1 to 32768 bytes",
            Self::Flag => "true or false",
            Self::Path => "an absolute path of this machine without `..`",
            Self::Bucket => "a name of 3 to 63 of a-z, 0-9 and inner hyphens",
            Self::Prefix => "1 to 38 of a-z, 0-9 and inner hyphens",
            Self::Root => "names of folders with slashes between them, neither `.` nor `..`",
            Self::SshAddress => "a host, or ssh://host, with :port or without",
            Self::User => {
                "the name of a user: 1 to 64 of letters, digits, dots, hyphens and underscores"
            }
            Self::KnownHosts => "strict, add or accept",
        }
    }

    fn takes(self, value: &Value) -> bool {
        if self == Self::Flag {
            return value.is_boolean();
        }
        let Some(text) = value.as_str() else {
            return false;
        };
        let longest = if self == Self::Key {
            LONGEST_KEY
        } else {
            LONGEST
        };
        if text.is_empty() && self != Self::Root || text.len() > longest {
            return false;
        }
        if self == Self::Key {
            return !text.contains('\0');
        }
        if text.chars().any(char::is_control) {
            return false;
        }
        match self {
            Self::Address => is_address(text),
            Self::Path => text.starts_with('/') && no_dots(text),
            Self::Bucket => (3..=63).contains(&text.len()) && is_plain(text),
            Self::Prefix => text.len() <= 38 && is_plain(text),
            Self::Root => no_dots(text),
            Self::SshAddress => ssh_address(text).is_some(),
            Self::User => text.len() <= 64 && is_word(text),
            Self::KnownHosts => matches!(text, "strict" | "add" | "accept"),
            Self::Text | Self::Secret | Self::Key | Self::Flag => true,
        }
    }
}

fn is_address(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

fn no_dots(path: &str) -> bool {
    !path.split('/').any(|name| matches!(name, "." | ".."))
}

fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    name.bytes().all(plain) && !name.starts_with('-') && !name.ends_with('-')
}

/// What `ssh` may be given as a word without taking it for an option.
fn is_word(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(inner)
}

/// Host and port of an SSH server.
pub(super) fn ssh_address(text: &str) -> Option<(String, u16)> {
    const PORT: u16 = 22;
    let text = text.strip_prefix("ssh://").unwrap_or(text);
    let text = text.strip_suffix('/').unwrap_or(text);
    if let Some((host, port)) = text.strip_prefix('[').and_then(|it| it.split_once(']')) {
        host.parse::<std::net::Ipv6Addr>().ok()?;
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None if port.is_empty() => PORT,
            None => return None,
        };
        return Some((host.to_owned(), port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (text, PORT),
    };
    (is_word(host) && host.len() <= 253).then(|| (host.to_owned(), port))
}
