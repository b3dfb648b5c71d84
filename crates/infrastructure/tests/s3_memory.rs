//! Memory while writing to S3: bounded by the budget, whatever the size of the body.

#[cfg(test)]
#[expect(dead_code, reason = "the other tests use the rest of it")]
#[path = "s3/fake.rs"]
mod fake;

use cloakroom_application::{
    ports::{ObjectStore, WriteHints},
    testkit::objects::sample,
};
use cloakroom_domain::{Bucket, ObjectKey};
use cloakroom_infrastructure::stores::{WriteBudget, s3::S3Store};
use fake::{Fake, Reply};

/// The most memory that this process has had resident so far, in MiB.
#[cfg(test)]
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_gibibyte_is_written_within_the_budget() {
    let fake = Fake::start(|asked| {
        let body = match asked.method.as_str() {
            "POST" if asked.target.contains("?uploads") => {
                "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
            }
            "POST" => "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>",
            _ => "",
        };
        Reply::Answer(200, "ETag: \"e\"\r\n", body.to_owned())
    })
    .await;
    let budget = WriteBudget::new(48 * 1024 * 1024);
    let store = S3Store::new(&fake.settings(), budget).unwrap();
    let (bucket, key) = (
        Bucket::parse("files").unwrap(),
        ObjectKey::parse("a").unwrap(),
    );
    let chunk = sample(100_000, 1);
    let before = peak();
    for size in [None, Some(512 * 1024 * 1024)] {
        let mut writer = store
            .begin(&bucket, &key, WriteHints { size })
            .await
            .unwrap();
        for _ in 0..5369 {
            writer.write(chunk.clone()).await.unwrap();
        }
        writer.finish().await.unwrap();
    }
    assert_eq!(fake.asked("PUT", "partNumber=64&").len(), 2);
    let grown = peak() - before;
    assert!(grown < 80, "{grown} MiB more were resident");
}
