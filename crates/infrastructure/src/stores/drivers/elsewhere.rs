//! The settings of `sftp` and of the drivers that OpenDAL speaks for, as they stand in JSON.

use serde::Deserialize;
use serde_json::Value;

use super::{
    fields::{InvalidConfig, ssh_address},
    settings::one_rule,
};
use crate::stores::{
    opendal::{Account, Azblob, Gcs},
    secret::Secret,
    sftp::{Sftp, SftpHosts},
};

/// Settings of `sftp`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SftpConfig {
    /// The host, as `host`, `host:port` or `ssh://host:port`.
    pub endpoint: String,
    /// The user.
    pub user: String,
    /// The file of this machine with the user's private key.
    pub key_file: Option<String>,
    /// `strict` (which it is unless told otherwise), `add` or `accept`.
    pub known_hosts: Option<String>,
    /// The folder that buckets are in; the user's own if none is given.
    pub root: Option<String>,
    /// The one bucket for everything, a folder; `files` if neither it nor a prefix is given.
    pub bucket: Option<String>,
    /// What the name of each account's bucket begins with.
    pub bucket_prefix: Option<String>,
}

impl SftpConfig {
    pub(super) fn coherent(&self) -> Result<(), InvalidConfig> {
        one_rule(self.bucket.as_deref(), self.bucket_prefix.as_deref())
    }

    /// What it takes to reach the server.
    pub(super) fn place(&self) -> Option<Sftp> {
        let (host, port) = ssh_address(&self.endpoint)?;
        Some(Sftp {
            host,
            port,
            user: self.user.clone(),
            key_file: self.key_file.clone(),
            hosts: match self.known_hosts.as_deref() {
                Some("add") => SftpHosts::Add,
                Some("accept") => SftpHosts::Accept,
                _ => SftpHosts::Strict,
            },
            root: self.root.clone().unwrap_or_default(),
        })
    }
}

/// Settings of `azblob`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AzblobConfig {
    /// `https://{account}.blob.core.windows.net`, or another address.
    pub endpoint: String,
    /// The container, which must be there.
    pub container: String,
    /// The account's name.
    pub account_name: String,
    /// The account's key; either this or a token.
    pub account_key: Option<Secret>,
    /// A shared access signature.
    pub sas_token: Option<Secret>,
    /// The folder in the container that buckets are in.
    pub root: Option<String>,
    /// The one bucket for everything, a folder; `files` if neither it nor a prefix is given.
    pub bucket: Option<String>,
    /// What the name of each account's bucket begins with.
    pub bucket_prefix: Option<String>,
}

impl AzblobConfig {
    pub(super) fn coherent(&self) -> Result<(), InvalidConfig> {
        one_rule(self.bucket.as_deref(), self.bucket_prefix.as_deref())?;
        if self.account_key.is_some() == self.sas_token.is_some() {
            let expected = "either account_key or sas_token";
            return Err(InvalidConfig::new("account_key", expected));
        }
        Ok(())
    }

    pub(super) fn place(&self) -> Azblob {
        Azblob {
            endpoint: self.endpoint.clone(),
            container: self.container.clone(),
            account_name: self.account_name.clone(),
            account_key: self.account_key.clone(),
            sas_token: self.sas_token.clone(),
            root: self.root.clone().unwrap_or_default(),
        }
    }
}

/// Settings of `gcs`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GcsConfig {
    /// The bucket in Google's cloud, which must be there. All objects lie in it below `files`.
    pub bucket: String,
    /// The JSON of a service account's key; without one nobody logs in.
    pub credential: Option<Secret>,
    /// Another address than Google's.
    pub endpoint: Option<String>,
    /// The folder in the bucket.
    pub root: Option<String>,
}

impl GcsConfig {
    pub(super) fn coherent(&self) -> Result<(), InvalidConfig> {
        let Some(credential) = &self.credential else {
            return Ok(());
        };
        // Other kinds name files and programs of this machine, and addresses to send them to.
        let kind = serde_json::from_str::<Value>(credential.reveal()).ok();
        let kind = kind.as_ref().and_then(|it| it.get("type")?.as_str());
        if kind == Some("service_account") {
            Ok(())
        } else {
            let expected = "the JSON of a service account's key";
            Err(InvalidConfig::new("credential", expected))
        }
    }

    pub(super) fn place(&self) -> Gcs {
        Gcs {
            endpoint: self.endpoint.clone(),
            bucket: self.bucket.clone(),
            credential: self.credential.clone(),
            root: self.root.clone().unwrap_or_default(),
        }
    }
}

/// Settings of `gdrive`, `onedrive` and `dropbox`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountConfig {
    /// A token that ends; either this or one to refresh.
    pub access_token: Option<Secret>,
    /// A token to get others with, together with the application's id and secret.
    pub refresh_token: Option<Secret>,
    /// The application's id.
    pub client_id: Option<String>,
    /// The application's secret.
    pub client_secret: Option<Secret>,
    /// The folder that buckets are in.
    pub root: Option<String>,
    /// The one bucket for everything, a folder; `files` if neither it nor a prefix is given.
    pub bucket: Option<String>,
    /// What the name of each account's bucket begins with.
    pub bucket_prefix: Option<String>,
}

impl AccountConfig {
    pub(super) fn coherent(&self) -> Result<(), InvalidConfig> {
        one_rule(self.bucket.as_deref(), self.bucket_prefix.as_deref())?;
        self.account().map(drop)
    }

    pub(super) fn account(&self) -> Result<Account, InvalidConfig> {
        let refresh = (&self.refresh_token, &self.client_id, &self.client_secret);
        match (&self.access_token, refresh) {
            (Some(token), (None, None, None)) => Ok(Account::Access(token.clone())),
            (None, (Some(token), Some(client_id), Some(client_secret))) => Ok(Account::Refresh {
                token: token.clone(),
                client_id: client_id.clone(),
                client_secret: client_secret.clone(),
            }),
            _ => Err(InvalidConfig::new(
                "access_token",
                "either access_token, or refresh_token, client_id and client_secret",
            )),
        }
    }

    pub(super) fn root(&self) -> &str {
        self.root.as_deref().unwrap_or_default()
    }
}
