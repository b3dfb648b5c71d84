//! The settings of each driver, as they stand in JSON.

use std::path::PathBuf;

use serde::Deserialize;

use super::fields::InvalidConfig;
use crate::stores::{
    guard::Guard,
    s3::{S3Secret, S3Settings},
    secret::Secret,
    webdav::{WebdavLogin, WebdavSettings},
};

/// Settings of `fs`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FsConfig {
    /// The folder, absolute.
    pub path: PathBuf,
}

/// Settings of `s3`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// `http://` or `https://`, host and port.
    pub endpoint: String,
    /// The one bucket for everything; either this or a prefix.
    pub bucket: Option<String>,
    /// What the name of each account's bucket begins with.
    pub bucket_prefix: Option<String>,
    /// The region that requests are signed for; `us-east-1` if none is given.
    pub region: Option<String>,
    /// The access key's id.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: Secret,
    /// Whether the bucket stands in the path rather than in the host's name; it does unless told otherwise.
    pub path_style: Option<bool>,
    /// The address at which clients reach the store, if it is another.
    pub public_endpoint: Option<String>,
}

impl S3Config {
    pub(super) fn coherent(&self) -> Result<(), InvalidConfig> {
        match (&self.bucket, &self.bucket_prefix) {
            (Some(_), None) | (None, Some(_)) => Ok(()),
            _ => Err(InvalidConfig::new(
                "bucket",
                "either bucket or bucket_prefix",
            )),
        }
    }
}

impl From<&S3Config> for S3Settings {
    fn from(config: &S3Config) -> Self {
        let region = config.region.clone();
        Self {
            endpoint: config.endpoint.clone(),
            region: region.unwrap_or_else(|| "us-east-1".to_owned()),
            access_key_id: config.access_key_id.clone(),
            secret_access_key: S3Secret::new(config.secret_access_key.reveal()),
            path_style: config.path_style.unwrap_or(true),
            public_endpoint: config.public_endpoint.clone(),
            guard: Guard::Open,
            cors_origins: Vec::new(),
        }
    }
}

/// Settings of `webdav`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebdavConfig {
    /// `http://` or `https://`, with the path where the server's WebDAV begins.
    pub endpoint: String,
    /// The user, with a password.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A token to log in with instead.
    pub token: Option<Secret>,
    /// The folder below the endpoint that buckets are in, made if it is not there.
    #[serde(default)]
    pub root: Option<String>,
    /// The one bucket for everything, a folder; `files` if neither it nor a prefix is given.
    pub bucket: Option<String>,
    /// What the name of each account's bucket begins with.
    pub bucket_prefix: Option<String>,
}

impl WebdavConfig {
    pub(super) fn coherent(&self) -> Result<(), InvalidConfig> {
        one_rule(self.bucket.as_deref(), self.bucket_prefix.as_deref())?;
        match (&self.username, &self.password, &self.token) {
            (Some(_), Some(_), None) | (None, None, _) => {}
            (Some(_), None, None) => {
                return Err(InvalidConfig::new("password", "one with the username"));
            }
            (None, Some(_), None) => {
                return Err(InvalidConfig::new("username", "one with the password"));
            }
            (_, _, Some(_)) => {
                let expected = "either a token or a username with a password";
                return Err(InvalidConfig::new("token", expected));
            }
        }
        if self.username.as_ref().is_some_and(|it| it.contains(':')) {
            return Err(InvalidConfig::new("username", "a name without a colon"));
        }
        Ok(())
    }
}

pub(super) fn one_rule(bucket: Option<&str>, prefix: Option<&str>) -> Result<(), InvalidConfig> {
    if bucket.is_some() && prefix.is_some() {
        let expected = "bucket or bucket_prefix, not both";
        return Err(InvalidConfig::new("bucket", expected));
    }
    Ok(())
}

impl From<&WebdavConfig> for WebdavSettings {
    fn from(config: &WebdavConfig) -> Self {
        let login = match (&config.token, &config.username, &config.password) {
            (Some(token), ..) => WebdavLogin::Token(token.clone()),
            (None, Some(name), Some(password)) => WebdavLogin::User(name.clone(), password.clone()),
            _ => WebdavLogin::None,
        };
        Self {
            endpoint: config.endpoint.clone(),
            root: config.root.clone().unwrap_or_default(),
            login,
        }
    }
}
