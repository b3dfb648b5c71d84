//! The object store contract over nginx.

use cloakroom_application::testkit::objects::contract::Harness;
use cloakroom_tests::servers::WebdavAccess;

async fn nginx() -> Harness {
    crate::servers::harness("webdav-nginx", &WebdavAccess::nginx())
}

cloakroom_application::object_store_contract!(nginx);
