//! Real S3 servers for the tests, started by `make test`.

use std::sync::Arc;

use cloakroom_application::testkit::objects::contract::Harness;
use cloakroom_infrastructure::stores::{
    WriteBudget,
    s3::{S3Secret, S3Settings, S3Store},
};

/// Settings from a variable of the form `endpoint|region|access_key|secret_key`.
pub(crate) fn settings(variable: &str) -> S3Settings {
    let Ok(text) = std::env::var(variable) else {
        panic!("{variable} is not set: run `make test`, which starts the servers that tests need");
    };
    let [endpoint, region, access_key_id, secret] = text.split('|').collect::<Vec<_>>()[..] else {
        panic!("{variable} is not of the form endpoint|region|access_key|secret_key");
    };
    S3Settings {
        endpoint: endpoint.to_owned(),
        region: region.to_owned(),
        access_key_id: access_key_id.to_owned(),
        secret_access_key: S3Secret::new(secret),
        path_style: true,
        public_endpoint: None,
        guard: cloakroom_infrastructure::stores::guard::Guard::Open,
        cors_origins: Vec::new(),
    }
}

/// A harness over the server that the variable names.
pub(crate) fn harness(adapter: &'static str, variable: &str) -> Harness {
    let store = S3Store::new(&settings(variable), WriteBudget::default()).unwrap();
    Harness::new(adapter, Arc::new(store))
}
