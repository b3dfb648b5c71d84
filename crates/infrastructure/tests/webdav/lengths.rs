//! Servers that want to know how long a body is.

use bytes::Bytes;
use cloakroom_application::{
    ports::{ObjectStore, WriteHints},
    testkit::objects::sample,
};

use crate::{
    fake::{Act, Fake},
    help::*,
    servers::store,
};

/// Whatever was announced, rightly or not.
async fn takes_large_bodies(fake: &Fake) {
    let store = store(&fake.settings());
    for (announced, size) in [
        (None, 3 * MIB + 5),
        (Some(3 * MIB as u64), 3 * MIB),
        (Some(10), 2 * MIB),
        (Some(1 << 40), MIB + 1),
        (Some(1 << 40), 5),
        (None, 0),
    ] {
        let (key, body) = (key(), sample(size, 1));
        let hints = WriteHints { size: announced };
        let mut writer = store.begin(&bucket(), &key, hints).await.unwrap();
        for piece in body.chunks(300_000) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        writer.finish().await.unwrap();
        assert!(read(&store, &key, None).await.unwrap() == body);
    }
    assert_eq!(fake.paths().len(), 6, "something else was left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_any_body_is_sent_it_as_it_comes() {
    let fake = Fake::start(|_| Act::Usual).await;
    takes_large_bodies(&fake).await;
    assert_eq!(
        fake.asked("PUT")
            .iter()
            .filter(|it| it.is_chunked())
            .count(),
        5
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_wants_a_length_is_told_it() {
    for status in [411, 400, 501, 500] {
        let fake = Fake::start(move |asked| match asked.is_chunked() {
            true => Act::Answer(status, "", Vec::new()),
            false => Act::Usual,
        })
        .await;
        takes_large_bodies(&fake).await;
        let chunked = fake
            .asked("PUT")
            .iter()
            .filter(|it| it.is_chunked())
            .count();
        assert_eq!(chunked, 1, "it was asked more than once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_keeps_nothing_of_a_body_without_a_length_is_found_out() {
    let fake = Fake::start(|asked| match asked.method.as_str() {
        // It says that all is well.
        "PUT" if asked.is_chunked() => Act::Answer(201, "", Vec::new()),
        "PROPFIND" if asked.path.contains("/tmp/") && asked.nth == 0 => Act::Answer(
            207,
            "",
            crate::fake::multistatus(&crate::fake::file("/x", 0)).into(),
        ),
        _ => Act::Usual,
    })
    .await;
    takes_large_bodies(&fake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_keeps_a_part_of_a_body_is_found_out() {
    let fake = Fake::start(|asked| match asked.method.as_str() {
        "PUT" if asked.nth == 1 => Act::Answer(201, "", Vec::new()),
        _ => Act::Usual,
    })
    .await;
    // What it has is the body that it was tried with.
    let store = store(&fake.settings());
    let cut = put(&store, &key(), sample(2 * MIB, 1)).await;
    assert!(is_broken(&cut), "{cut:?}");
    eventually("removed", || fake.paths().is_empty()).await;
}
