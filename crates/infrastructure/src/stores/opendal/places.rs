//! The places, and what they want to know.

use cloakroom_application::ports::StoreError;
use opendal::{
    Builder, HttpTransporter, OperationContext, Operator,
    services::{Azblob as AzblobBuilder, Dropbox, Gcs as GcsBuilder, Gdrive, Onedrive},
};

use super::{
    files::{Files, Traits, sorted},
    transport::Transport,
};
use crate::stores::{budget::WriteBudget, guard::Guard, remote::RemoteStore, secret::Secret};

const MIB: usize = 1024 * 1024;

/// A block of an object in Azure or Google's cloud, in bytes.
const BLOCK: usize = 8 * MIB;

/// The largest object where one request writes it, in bytes.
const LARGEST_WHOLE: usize = 16 * MIB;

/// A container of Azure's blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Azblob {
    /// `https://{account}.blob.core.windows.net` or another's.
    pub endpoint: String,
    /// The container, which must be there.
    pub container: String,
    /// The account's name.
    pub account_name: String,
    /// Its key; either this or a token.
    pub account_key: Option<Secret>,
    /// A shared access signature.
    pub sas_token: Option<Secret>,
    /// The folder in the container.
    pub root: String,
}

/// A bucket of Google's cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gcs {
    /// Another address than Google's.
    pub endpoint: Option<String>,
    /// The bucket, which must be there.
    pub bucket: String,
    /// The JSON of a service account's key; nobody without one.
    pub credential: Option<Secret>,
    /// The folder in the bucket.
    pub root: String,
}

/// An account of Google Drive, OneDrive or Dropbox: an access token for as long as it lives, or what it takes to get
/// new ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// A token that ends.
    Access(Secret),
    /// A token to get others with.
    Refresh {
        /// The token.
        token: Secret,
        /// The application's id.
        client_id: String,
        /// The application's secret.
        client_secret: Secret,
    },
}

/// A store in a container of Azure's blobs.
pub(in crate::stores) fn azblob(
    settings: &Azblob,
    guard: Guard,
    budget: WriteBudget,
) -> Result<RemoteStore, StoreError> {
    let mut builder = AzblobBuilder::default()
        .endpoint(&settings.endpoint)
        .container(&settings.container)
        .account_name(&settings.account_name)
        .root(&settings.root);
    if let Some(key) = &settings.account_key {
        builder = builder.account_key(key.reveal());
    }
    if let Some(token) = &settings.sas_token {
        builder = builder.sas_token(token.reveal());
    }
    store(builder, in_blocks("azblob"), guard, budget)
}

/// A store in a bucket of Google's cloud.
pub(in crate::stores) fn gcs(
    settings: &Gcs,
    guard: Guard,
    budget: WriteBudget,
) -> Result<RemoteStore, StoreError> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    // Neither the environment nor the machine's own account has a say.
    let mut builder = GcsBuilder::default()
        .bucket(&settings.bucket)
        .root(&settings.root)
        .disable_config_load()
        .disable_vm_metadata();
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.endpoint(endpoint);
    }
    builder = match &settings.credential {
        Some(credential) => builder.credential(&STANDARD.encode(credential.reveal())),
        None => builder.skip_signature(),
    };
    store(builder, in_blocks("gcs"), guard, budget)
}

/// Builders that have the same methods, and no trait for them.
macro_rules! signed_in {
    ($builder:expr, $account:expr) => {
        match $account {
            Account::Access(token) => $builder.access_token(token.reveal()),
            Account::Refresh {
                token,
                client_id,
                client_secret,
            } => $builder
                .refresh_token(token.reveal())
                .client_id(client_id)
                .client_secret(client_secret.reveal()),
        }
    };
}

/// A store in Google Drive.
pub(in crate::stores) fn gdrive(
    account: &Account,
    root: &str,
    budget: WriteBudget,
) -> Result<RemoteStore, StoreError> {
    let builder = signed_in!(Gdrive::default().root(root), account);
    store(builder, in_one("gdrive"), Guard::Strict, budget)
}

/// A store in OneDrive.
pub(in crate::stores) fn onedrive(
    account: &Account,
    root: &str,
    budget: WriteBudget,
) -> Result<RemoteStore, StoreError> {
    let builder = signed_in!(Onedrive::default().root(root), account);
    store(builder, in_one("onedrive"), Guard::Strict, budget)
}

/// A store in Dropbox.
pub(in crate::stores) fn dropbox(
    account: &Account,
    root: &str,
    budget: WriteBudget,
) -> Result<RemoteStore, StoreError> {
    let builder = signed_in!(Dropbox::default().root(root), account);
    store(builder, in_one("dropbox"), Guard::Strict, budget)
}

/// Where an object is put together of blocks, and shows once it is.
const fn in_blocks(driver: &'static str) -> Traits {
    Traits {
        driver,
        piece: BLOCK,
        whole: false,
    }
}

/// Where an object is written in one request.
const fn in_one(driver: &'static str) -> Traits {
    Traits {
        driver,
        piece: LARGEST_WHOLE,
        whole: true,
    }
}

/// A store at a place that is reached over HTTP.
fn store(
    builder: impl Builder,
    traits: Traits,
    guard: Guard,
    budget: WriteBudget,
) -> Result<RemoteStore, StoreError> {
    let operator = Operator::new(builder).map_err(|error| sorted(&error))?;
    let transport = Transport::new(guard);
    let transport = transport.map_err(|error| StoreError::Refused(error.into()))?;
    let context = OperationContext::new();
    let context = context.with_http_transport(HttpTransporter::new(transport));
    let operator = operator.with_context(context);
    Ok(RemoteStore::new(Files { operator, traits }, budget))
}
