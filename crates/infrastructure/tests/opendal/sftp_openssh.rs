//! The object store contract over OpenSSH.

use cloakroom_application::testkit::objects::contract::Harness;
use cloakroom_tests::servers::SftpAccess;

async fn openssh() -> Harness {
    crate::servers::harness("sftp-openssh", &SftpAccess::openssh()).await
}

cloakroom_application::object_store_contract!(openssh);
