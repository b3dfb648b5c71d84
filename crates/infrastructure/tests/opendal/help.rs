//! What the tests have in common.

use cloakroom_application::ports::{ByteStream, ObjectStore, Payload};
use cloakroom_domain::ObjectKey;
use futures_util::StreamExt;

pub(crate) use cloakroom_application::testkit::objects::{bucket, key};

pub(crate) const MIB: usize = 1024 * 1024;

/// What follows of a body after its first chunk, which was read.
pub(crate) async fn half_read(store: &dyn ObjectStore, key: &ObjectKey) -> ByteStream {
    let payload = store.read(&bucket(), key, None).await.unwrap();
    let Payload::Stream(mut bytes) = payload else {
        panic!("no stream");
    };
    bytes.next().await.unwrap().unwrap();
    bytes
}
