//! The object store contract over `rclone serve webdav`.

use cloakroom_application::testkit::objects::contract::Harness;
use cloakroom_tests::servers::WebdavAccess;

async fn rclone() -> Harness {
    crate::servers::harness("webdav-rclone", &WebdavAccess::rclone())
}

cloakroom_application::object_store_contract!(rclone);
