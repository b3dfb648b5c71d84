//! Services over HTTP that nobody should meet, and some that fail.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cloakroom_application::{
    ports::{ObjectStore, StoreError, WriteHints},
    testkit::objects::{collect, sample},
};
use cloakroom_infrastructure::stores::{
    drivers::{Budgets, Driver, DriverSettings},
    guard::Guard,
};
use serde_json::json;

use crate::{
    fake::{Act, Fake},
    help::{MIB, bucket, key},
};

/// Azure's and Google's clients at the same server.
async fn both(fake: &Fake) -> [Arc<dyn ObjectStore>; 2] {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let azure = json!({
        "endpoint": fake.endpoint, "container": "objects", "account_name": "a", "account_key": "Y2FuYXJ5",
    });
    let google = json!({"endpoint": fake.endpoint, "bucket": "objects"});
    let open = async |driver, config: serde_json::Value| {
        let settings = DriverSettings::read(driver, config.as_object().unwrap()).unwrap();
        let store = settings.open(&Budgets::default(), Guard::Strict).await;
        store.unwrap()
    };
    [
        open(Driver::Azblob, azure).await,
        open(Driver::Gcs, google).await,
    ]
}

async fn put(store: &dyn ObjectStore, size: usize) -> Result<(), StoreError> {
    let writer = store.begin(&bucket(), &key(), WriteHints::default()).await;
    let mut writer = writer?;
    writer.write(sample(size, 1)).await?;
    writer.finish().await
}

async fn read(store: &dyn ObjectStore) -> Result<Vec<u8>, StoreError> {
    collect(store.read(&bucket(), &key(), None).await?).await
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let fake = Fake::start(|_| Act::Flood("<?xml version=\"1.0\"?><a>", "<b></b>")).await;
    let begun = Instant::now();
    for store in both(&fake).await {
        let listed = store.list(&bucket(), "", None, 10).await;
        assert!(listed.is_err(), "{listed:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(50));
    let sent = *fake.sent.lock().unwrap();
    assert!(sent < 64 * MIB, "{sent} bytes were read");
}

#[tokio::test]
async fn xml_that_declares_something_is_broken() {
    const BOMB: &str = r#"<?xml version="1.0"?><!DOCTYPE m [<!ENTITY a "aaaaaaaa">]><EnumerationResults><Blobs><Blob><Name>&a;</Name></Blob></Blobs></EnumerationResults>"#;
    let fake = Fake::start(|_| Act::Answer(200, "", BOMB.into())).await;
    for store in both(&fake).await {
        let listed = store.list(&bucket(), "", None, 10).await;
        assert!(matches!(listed, Err(StoreError::Broken(_))), "{listed:?}");
    }
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let elsewhere = Fake::start(|_| Act::Usual).await;
    let target: &'static str = format!("Location: {}/x\r\n", elsewhere.endpoint).leak();
    for status in [301, 302, 307, 308] {
        let fake = Fake::start(move |_| Act::Answer(status, target, Vec::new())).await;
        for store in both(&fake).await {
            let outcomes = [
                read(&*store).await.map(drop),
                put(&*store, 10).await,
                store.head(&bucket(), &key()).await.map(drop),
            ];
            for outcome in outcomes {
                assert!(
                    matches!(outcome, Err(StoreError::Refused(_))),
                    "{outcome:?}"
                );
            }
        }
    }
    assert!(elsewhere.log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn statuses_are_told_apart_and_secrets_are_not_told() {
    type IsRight = fn(&StoreError) -> bool;
    let cases: [(u16, IsRight); 5] = [
        (404, |e| matches!(e, StoreError::NotFound)),
        (401, |e| matches!(e, StoreError::Refused(_))),
        (403, |e| matches!(e, StoreError::Refused(_))),
        (503, |e| matches!(e, StoreError::Unavailable(_))),
        (507, |e| matches!(e, StoreError::Refused(_))),
    ];
    for (status, is_right) in cases {
        let fake = Fake::start(move |_| Act::Answer(status, "", b"canary".to_vec())).await;
        for store in both(&fake).await {
            let told = store.head(&bucket(), &key()).await.unwrap_err();
            let name = store.driver();
            assert!(is_right(&told), "{name}: {status} became {told:?}");
            assert!(!format!("{told:?}").contains("canary"), "{name}: {told:?}");
            let deleted = store.delete(&bucket(), &[key()]).await.remove(0);
            assert_eq!(
                deleted.is_ok(),
                status == 404,
                "{name}: {status} {deleted:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_frozen_service_is_given_up_in_time() {
    let fake = Fake::start(|_| Act::Freeze(0)).await;
    let begun = Instant::now();
    let [azure, google] = both(&fake).await;
    let outcomes = tokio::join!(
        azure.probe(),
        google.probe(),
        read(&*azure),
        read(&*google),
        put(&*azure, 10),
        put(&*google, 10),
    );
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    let unavailable = |outcome: &Result<(), StoreError>| {
        assert!(
            matches!(outcome, Err(StoreError::Unavailable(_))),
            "{outcome:?}"
        );
    };
    let (one, two, three, four, five, six) = outcomes;
    for outcome in [one, two, three.map(drop), four.map(drop), five, six] {
        unavailable(&outcome);
    }
}

#[tokio::test]
async fn accounts_elsewhere_take_objects_up_to_a_size() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for driver in [Driver::Gdrive, Driver::Onedrive, Driver::Dropbox] {
        let config = json!({"access_token": "canary"});
        let settings = DriverSettings::read(driver, config.as_object().unwrap()).unwrap();
        let store = settings.open(&Budgets::default(), Guard::Strict).await;
        let store = store.unwrap();
        let writer = store.begin(&bucket(), &key(), WriteHints::default()).await;
        let mut writer = writer.unwrap();
        let refused = writer.write(sample(16 * MIB + 1, 1)).await;
        assert!(
            matches!(refused, Err(StoreError::Refused(_))),
            "{refused:?}"
        );
        assert!(!format!("{store:p} {refused:?}").contains("canary"));
    }
}
