//! The object store contract over Azurite.

use std::sync::{Arc, OnceLock};

use cloakroom_application::testkit::objects::contract::Harness;
use cloakroom_infrastructure::stores::{
    drivers::{Budgets, Driver, DriverSettings},
    guard::Guard,
};
use cloakroom_tests::servers::AzuriteAccess;
use serde_json::json;
use tokio::sync::Semaphore;

/// Two cases at a time: it is slow, and others would wait in vain.
async fn azurite() -> Harness {
    static TURN: OnceLock<Arc<Semaphore>> = OnceLock::new();
    let turn = Arc::clone(TURN.get_or_init(|| Arc::new(Semaphore::new(2))));
    let turn = turn.acquire_owned().await.unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let access = AzuriteAccess::shared();
    let config = json!({
        "endpoint": access.endpoint,
        "container": access.container,
        "account_name": access.account,
        "account_key": access.key,
        "root": uuid::Uuid::new_v4().to_string(),
    });
    let settings = DriverSettings::read(Driver::Azblob, config.as_object().unwrap()).unwrap();
    let store = settings.open(&Budgets::default(), Guard::Strict).await;
    Harness::new("azblob", store.unwrap()).keeping(turn)
}

cloakroom_application::object_store_contract!(azurite);
