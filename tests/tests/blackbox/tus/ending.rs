//! How uploads end: given up, expired, and what is left then.

use std::time::Duration;

use cloakroom_tests::{
    client::{Tus, header, sample},
    inspect,
    service::Setup,
    stand::Stand,
};
use reqwest::StatusCode;

use super::{assert_answered, refused_by_tus, stand};

/// Every verb says that it was there and is not any more.
async fn assert_gone(tus: &Tus, path: &str) {
    assert_answered(&tus.head(path).await, StatusCode::GONE);
    for offset in [0, 5] {
        let patch = tus.patch(path, offset, "x").send().await.unwrap();
        refused_by_tus(patch, 410, "UPLOAD_001").await;
    }
    refused_by_tus(tus.delete(path).await, 410, "UPLOAD_001").await;
}

#[tokio::test]
async fn an_upload_that_is_given_up_is_gone_with_its_bytes() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let tus = Tus::new(&stand.user());
        let fresh = tus.created(10, &[]).await;
        let begun = tus.created(20_000_000, &[]).await;
        tus.patched(&begun, 0, &sample(11_000_000, 1)).await;
        tus.patched(&begun, 11_000_000, b"a little").await;
        let partial = tus.partial(b"partial").await;
        for path in [fresh, begun, partial] {
            assert_answered(&tus.delete(&path).await, StatusCode::NO_CONTENT);
            assert_gone(&tus, &path).await;
        }
        // At once: nobody else was writing.
        inspect::assert_nothing_left(&stand).await;
        let stretches = "SELECT count(*) FROM upload_stretches";
        assert_eq!(inspect::count(stand.database_url(), stretches).await, 0);
    }
}

#[tokio::test]
async fn giving_up_a_finished_upload_puts_its_file_into_the_trash() {
    let (stand, tus) = stand().await;
    let path = tus.created(5, &[]).await;
    tus.patched(&path, 0, b"hello").await;
    let file = path.replace("/uploads", "");
    assert_answered(&tus.delete(&path).await, StatusCode::NO_CONTENT);
    let get = async || tus.client().get(&file).send().await.unwrap().status();
    assert_eq!(get().await, StatusCode::NOT_FOUND);
    assert_gone(&tus, &path).await;
    let back = tus.client().post(&format!("{file}/restore"));
    assert_eq!(back.send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(get().await, StatusCode::OK);
    // It has changed since: whoever gave the upload up did not mean this.
    let renamed = tus
        .client()
        .call(reqwest::Method::PATCH, &format!("{file}/info"));
    let renamed = renamed.body(r#"{"filename": "kept.txt"}"#);
    assert_eq!(renamed.send().await.unwrap().status(), StatusCode::OK);
    tus.delete(&path).await;
    assert_eq!(get().await, StatusCode::OK);
    inspect::assert_only(&stand, 1).await;
}

#[tokio::test]
async fn an_upload_that_nobody_goes_on_with_expires_and_leaves_nothing() {
    for setup in Setup::extremes() {
        let settings = [
            ("CLOAKROOM_UPLOAD_EXPIRY", "2s"),
            ("CLOAKROOM_SWEEP_INTERVAL", "500ms"),
        ];
        let stand = Stand::start_with(setup, &settings).await;
        let tus = Tus::new(&stand.user());
        let path = tus.created(1_000_000, &[]).await;
        let first = tus.head(&path).await;
        let first = header(&first, "upload-expires").to_owned();
        assert!(!first.is_empty());
        // Bytes give it more time.
        let mut offset = 0;
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(900)).await;
            offset = tus.patched(&path, offset, &[7; 1000]).await;
        }
        let partial = tus.partial(b"partial").await;
        let gone = async || tus.head(&path).await.status() == StatusCode::GONE;
        stand.until("an upload expires", gone).await;
        assert_gone(&tus, &path).await;
        let gone = async || tus.head(&partial).await.status() == StatusCode::GONE;
        stand.until("a partial upload expires", gone).await;
        stand.swept().await;
        inspect::assert_nothing_left(&stand).await;
        let stretches = "SELECT count(*) FROM upload_stretches";
        assert_eq!(inspect::count(stand.database_url(), stretches).await, 0);
    }
}

#[tokio::test]
async fn a_finished_file_outlives_its_upload() {
    let settings = [
        ("CLOAKROOM_UPLOAD_EXPIRY", "1s"),
        ("CLOAKROOM_SWEEP_INTERVAL", "300ms"),
    ];
    let stand = Stand::with(&settings).await;
    let tus = Tus::new(&stand.user());
    let path = tus.created(5, &[]).await;
    tus.patched(&path, 0, b"hello").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let file = path.replace("/uploads", "");
    assert_eq!(tus.client().bytes(&file).await, b"hello");
    let answer = tus.head(&path).await.status();
    assert!([200, 404].contains(&answer.as_u16()), "{answer}");
    inspect::assert_only(&stand, 1).await;
}
