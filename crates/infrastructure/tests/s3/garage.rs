//! The object store contract over Garage.

use cloakroom_application::testkit::objects::contract::Harness;

async fn garage() -> Harness {
    crate::servers::harness("garage", "CLOAKROOM_TEST_GARAGE")
}

cloakroom_application::object_store_contract!(garage);
