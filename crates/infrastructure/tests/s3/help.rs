//! Short words for what the tests do all the time.

use std::time::Duration;

use bytes::Bytes;
use cloakroom_application::{
    ports::{ObjectStore, StoreError, WriteHints},
    testkit::objects::collect,
};
use cloakroom_domain::{Bucket, ByteRange};
use cloakroom_infrastructure::stores::{
    WriteBudget,
    s3::{S3Settings, S3Store},
};

use crate::fake::{Asked, Fake, Reply};

pub(crate) use cloakroom_application::testkit::objects::{bucket, key};

pub(crate) const MIB: usize = 1024 * 1024;

pub(crate) fn store(settings: &S3Settings) -> S3Store {
    S3Store::new(settings, WriteBudget::default()).unwrap()
}

pub(crate) fn ok(body: &str) -> Reply {
    Reply::Answer(200, "ETag: \"e\"\r\n", body.to_owned())
}

pub(crate) fn error(status: u16, code: &str) -> Reply {
    Reply::Answer(status, "", format!("<Error><Code>{code}</Code></Error>"))
}

/// What a server does with an upload in parts, except where a test says otherwise.
pub(crate) fn usual(asked: &Asked) -> Reply {
    match (asked.method.as_str(), asked.target.as_str()) {
        ("POST", target) if target.contains("uploads") => ok(
            "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>",
        ),
        ("POST", _) => ok("<CompleteMultipartUploadResult></CompleteMultipartUploadResult>"),
        ("DELETE", _) => Reply::Answer(204, "", String::new()),
        ("GET", target) if target.contains("uploads") => {
            ok("<ListMultipartUploadsResult></ListMultipartUploadsResult>")
        }
        _ => ok(""),
    }
}

pub(crate) async fn put(store: &S3Store, bucket: &Bucket, body: Bytes) -> Result<(), StoreError> {
    let hints = WriteHints::default();
    let mut writer = store.begin(bucket, &key(), hints).await?;
    writer.write(body).await?;
    writer.finish().await
}

pub(crate) async fn read(fake: &Fake, range: Option<ByteRange>) -> Result<Vec<u8>, StoreError> {
    let store = store(&fake.settings());
    collect(store.read(&bucket(), &key(), range).await?).await
}

/// Waits until `done`, at most 5 s.
pub(crate) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..100 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}
