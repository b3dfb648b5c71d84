//! The object store contract over `rclone serve s3`, a second dialect.

use cloakroom_application::testkit::objects::contract::Harness;

async fn rclone() -> Harness {
    crate::servers::harness("rclone", "CLOAKROOM_TEST_RCLONE_S3")
}

cloakroom_application::object_store_contract!(rclone);
