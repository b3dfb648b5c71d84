//! The object store contract over `rclone serve sftp`.

use cloakroom_application::testkit::objects::contract::Harness;
use cloakroom_tests::servers::SftpAccess;

async fn rclone() -> Harness {
    crate::servers::harness("sftp-rclone", &SftpAccess::rclone()).await
}

cloakroom_application::object_store_contract!(rclone);
