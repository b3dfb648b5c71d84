//! Memory while writing to and reading from places of files and folders: bounded, whatever the size of the body.

#[cfg(test)]
use {
    bytes::Bytes,
    cloakroom_application::ports::{ObjectStore, WriteHints},
    cloakroom_application::testkit::objects::sample,
    cloakroom_domain::{AccountId, Bucket, FileId, FileName, ObjectKey},
    cloakroom_infrastructure::stores::{
        WriteBudget,
        drivers::{Budgets, Driver, DriverSettings},
        guard::Guard,
    },
    cloakroom_tests::servers::{SftpAccess, WebdavAccess},
    futures_util::StreamExt,
    serde_json::json,
};

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

#[cfg(test)]
async fn through(store: &dyn ObjectStore, chunk: &Bytes, chunks: usize) {
    let (account, file) = (AccountId::parse("7").unwrap(), FileId::random());
    let key = ObjectKey::mint(&account, &file, &FileName::clean("a.bin"));
    let bucket = Bucket::parse("files").unwrap();
    let writer = store.begin(&bucket, &key, WriteHints::default()).await;
    let mut writer = writer.unwrap();
    for _ in 0..chunks {
        writer.write(chunk.clone()).await.unwrap();
    }
    writer.finish().await.unwrap();
    let payload = store.read(&bucket, &key, None).await.unwrap();
    let (mut bytes, mut size) = (payload.into_stream(), 0);
    while let Some(bytes) = bytes.next().await {
        size += bytes.unwrap().len();
    }
    assert_eq!(size, chunks * chunk.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_go_in_and_out_in_bounded_memory() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (nginx, sshd) = (WebdavAccess::nginx(), SftpAccess::openssh());
    let root = uuid::Uuid::new_v4();
    let places = [
        (
            Driver::Webdav,
            json!({"endpoint": nginx.endpoint, "root": root.to_string()}),
        ),
        (
            Driver::Sftp,
            json!({
                "endpoint": sshd.endpoint, "user": sshd.user, "key_file": sshd.key_file,
                "known_hosts": "accept", "root": format!("{}/{root}", sshd.root),
            }),
        ),
    ];
    let budgets = Budgets {
        write: WriteBudget::new(24 * 1024 * 1024),
        ..Budgets::default()
    };
    let chunk = sample(100_000, 1);
    for (driver, config) in places {
        let settings = DriverSettings::read(driver, config.as_object().unwrap()).unwrap();
        let store = settings.open(&budgets, Guard::Strict).await.unwrap();
        through(&*store, &chunk, 50).await;
        let before = peak();
        through(&*store, &chunk, 1200).await;
        let grown = peak() - before;
        assert!(grown < 48, "{driver}: {grown} MiB more were resident");
    }
}
