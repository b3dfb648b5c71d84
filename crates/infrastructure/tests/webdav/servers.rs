//! Real WebDAV servers for the tests, started by `make test`.

use std::sync::Arc;

use cloakroom_application::testkit::objects::contract::Harness;
use cloakroom_infrastructure::stores::{
    RemoteStore, Secret, WriteBudget,
    guard::Guard,
    webdav::{WebdavLogin, WebdavSettings, webdav},
};
use cloakroom_tests::servers::WebdavAccess;

/// Settings for the server, in a folder of one's own that is not there yet.
pub(crate) fn settings(access: &WebdavAccess) -> WebdavSettings {
    let login = if access.username.is_empty() {
        WebdavLogin::None
    } else {
        let password = Secret::new(access.password.clone());
        WebdavLogin::User(access.username.clone(), password)
    };
    WebdavSettings {
        endpoint: access.endpoint.clone(),
        root: format!("t/{}", uuid::Uuid::new_v4()),
        login,
    }
}

pub(crate) fn store(settings: &WebdavSettings) -> RemoteStore {
    let _ = rustls::crypto::ring::default_provider().install_default();
    webdav(settings, Guard::Strict, WriteBudget::default()).unwrap()
}

pub(crate) fn harness(adapter: &'static str, access: &WebdavAccess) -> Harness {
    Harness::new(adapter, Arc::new(store(&settings(access))))
}
