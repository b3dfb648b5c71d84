//! Real servers for the tests, started by `make test`.

use std::sync::Arc;

use cloakroom_application::{ports::ObjectStore, testkit::objects::contract::Harness};
use cloakroom_infrastructure::stores::{
    drivers::{Budgets, Driver, DriverSettings},
    guard::Guard,
};
use cloakroom_tests::servers::SftpAccess;
use serde_json::json;

pub(crate) async fn sftp(access: &SftpAccess) -> Arc<dyn ObjectStore> {
    let root = format!("{}/{}", access.root, uuid::Uuid::new_v4());
    let config = json!({
        "endpoint": access.endpoint,
        "user": access.user,
        "key_file": access.key_file,
        "known_hosts": "accept",
        "root": root,
    });
    let settings = DriverSettings::read(Driver::Sftp, config.as_object().unwrap()).unwrap();
    settings
        .open(&Budgets::default(), Guard::Strict)
        .await
        .unwrap()
}

pub(crate) async fn harness(adapter: &'static str, access: &SftpAccess) -> Harness {
    Harness::new(adapter, sftp(access).await)
}
