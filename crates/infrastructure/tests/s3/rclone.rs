//! The object store contract over `rclone serve s3`, a second dialect.

use std::sync::{Arc, OnceLock};

use cloakroom_application::testkit::objects::contract::Harness;
use tokio::sync::Semaphore;

/// One case at a time: its folders are slow where thousands of files come and go, and others would wait in vain.
async fn rclone() -> Harness {
    static TURN: OnceLock<Arc<Semaphore>> = OnceLock::new();
    let turn = Arc::clone(TURN.get_or_init(|| Arc::new(Semaphore::new(1))));
    let turn = turn.acquire_owned().await.unwrap();
    crate::servers::harness("rclone", "CLOAKROOM_TEST_RCLONE_S3").keeping(turn)
}

cloakroom_application::object_store_contract!(rclone);
