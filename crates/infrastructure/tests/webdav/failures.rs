//! What a WebDAV store makes of servers that fail.

use std::time::{Duration, Instant};

use cloakroom_application::{
    ports::{ObjectStore, StoreError, WriteHints},
    testkit::objects::sample,
};
use cloakroom_domain::{Bucket, ObjectKey};
use cloakroom_infrastructure::stores::{Secret, webdav::WebdavLogin};

use crate::{
    fake::{Act, Fake},
    help::*,
    servers::store,
};

#[tokio::test]
async fn a_body_that_ends_early_is_broken() {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf!";
    let fake = Fake::start(|_| Act::Raw(0, cut.to_vec())).await;
    let got = read(&store(&fake.settings()), &key(), None).await;
    assert!(is_broken(&got), "{got:?}");
}

#[tokio::test]
async fn a_body_without_a_length_is_broken() {
    let endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhow long am I?";
    let fake = Fake::start(|_| Act::Raw(0, endless.to_vec())).await;
    let got = read(&store(&fake.settings()), &key(), None).await;
    assert!(is_broken(&got), "{got:?}");
}

#[tokio::test]
async fn statuses_are_told_apart() {
    type IsRight = fn(&StoreError) -> bool;
    let cases: [(u16, IsRight); 8] = [
        (404, |e| matches!(e, StoreError::NotFound)),
        (401, |e| matches!(e, StoreError::Refused(_))),
        (403, |e| matches!(e, StoreError::Refused(_))),
        (416, |e| matches!(e, StoreError::Broken(_))),
        (423, |e| matches!(e, StoreError::Unavailable(_))),
        (429, |e| matches!(e, StoreError::Unavailable(_))),
        (503, |e| matches!(e, StoreError::Unavailable(_))),
        (507, |e| matches!(e, StoreError::Refused(_))),
    ];
    for (status, is_right) in cases {
        let fake = Fake::start(move |_| Act::Answer(status, "", b"canary".to_vec())).await;
        let store = store(&fake.settings());
        let told = read(&store, &key(), None).await.unwrap_err();
        assert!(is_right(&told), "{status} became {told:?}");
        assert!(!format!("{told:?}").contains("canary"), "{told:?}");
        let told = store.head(&bucket(), &key()).await.unwrap_err();
        assert!(is_right(&told), "{status} became {told:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_busy_for_a_moment_is_asked_again() {
    let fake = Fake::start(|asked| match asked.nth {
        0 => Act::Answer(503, "", Vec::new()),
        1 => Act::Raw(0, Vec::new()),
        _ => Act::Usual,
    })
    .await;
    let (store, key) = (store(&fake.settings()), key());
    put(&store, &key, sample(3000, 1)).await.unwrap();
    assert_eq!(read(&store, &key, None).await.unwrap(), sample(3000, 1));
    assert_eq!(store.head(&bucket(), &key).await.unwrap().size, 3000);
    let deleted = store.delete(&bucket(), &[key]).await.remove(0);
    deleted.unwrap();
    assert_eq!(fake.paths(), [""; 0]);
}

#[tokio::test]
async fn a_move_whose_answer_was_lost_is_found_done() {
    let fake = Fake::start(|asked| match (asked.method.as_str(), asked.nth) {
        ("MOVE", 0) => Act::Lost,
        _ => Act::Usual,
    })
    .await;
    let (store, key) = (store(&fake.settings()), key());
    put(&store, &key, sample(10, 1)).await.unwrap();
    assert_eq!(fake.asked("MOVE").len(), 2);
    assert_eq!(read(&store, &key, None).await.unwrap(), sample(10, 1));
    assert_eq!(fake.paths().len(), 1);
}

#[tokio::test]
async fn a_move_of_what_is_not_there_is_no_success() {
    let fake = Fake::start(|asked| match asked.method.as_str() {
        "MOVE" => Act::Answer(404, "", Vec::new()),
        _ => Act::Usual,
    })
    .await;
    let failed = put(&store(&fake.settings()), &key(), sample(10, 1)).await;
    assert!(matches!(failed, Err(StoreError::NotFound)), "{failed:?}");
    eventually("removed", || fake.paths().is_empty()).await;
}

#[tokio::test]
async fn a_server_that_refuses_half_way_ends_the_write_and_leaves_nothing() {
    for (status, expected) in [(401, "refused"), (507, "refused"), (503, "unavailable")] {
        let fake = Fake::start(move |asked| match (asked.method.as_str(), asked.nth) {
            // The first one is small and shows whether bodies without a length are taken.
            ("PUT", 1..) => Act::Raw(
                3 * MIB,
                format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").into_bytes(),
            ),
            _ => Act::Usual,
        })
        .await;
        let store = store(&fake.settings());
        let failed = put(&store, &key(), sample(40 * MIB, 1)).await;
        let right = match expected {
            "refused" => is_refused(&failed),
            _ => is_unavailable(&failed),
        };
        // A connection that breaks while bytes are under way may hide what was said.
        assert!(right || is_unavailable(&failed), "{status}: {failed:?}");
        eventually("removed", || fake.paths().is_empty()).await;
    }
}

#[tokio::test]
async fn a_server_that_freezes_in_the_middle_of_a_body_is_given_up() {
    let fake = Fake::start(|asked| match (asked.method.as_str(), asked.nth) {
        ("PUT", 1..) => Act::Freeze(2 * MIB),
        _ => Act::Usual,
    })
    .await;
    let store = store(&fake.settings());
    let begun = Instant::now();
    let failed = put(&store, &key(), sample(40 * MIB, 1)).await;
    assert!(is_unavailable(&failed), "{failed:?}");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    eventually("removed", || fake.paths().is_empty()).await;
}

#[tokio::test]
async fn a_frozen_server_is_given_up_in_time() {
    let fake = Fake::start(|_| Act::Freeze(0)).await;
    let store = store(&fake.settings());
    let begun = Instant::now();
    assert!(is_unavailable(&store.probe().await));
    assert!(begun.elapsed() < Duration::from_secs(2));
    let (bucket, head, read, small) = (bucket(), key(), key(), key());
    let (one, two, three) = tokio::join!(
        store.head(&bucket, &head),
        crate::help::read(&store, &read, None),
        put(&store, &small, sample(10, 1)),
    );
    assert!(is_unavailable(&one) && is_unavailable(&two) && is_unavailable(&three));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[tokio::test]
async fn a_move_that_fails_leaves_nothing() {
    for status in [403, 507] {
        let fake = Fake::start(move |asked| match asked.method.as_str() {
            "MOVE" => Act::Answer(status, "", Vec::new()),
            _ => Act::Usual,
        })
        .await;
        let store = store(&fake.settings());
        for size in [10, 2 * MIB] {
            assert!(is_refused(&put(&store, &key(), sample(size, 1)).await));
        }
        eventually("removed", || fake.paths().is_empty()).await;
    }
}

#[tokio::test]
async fn what_could_not_be_removed_is_found_by_reaping_and_by_deleting() {
    let fake = Fake::start(move |asked| match (asked.method.as_str(), asked.nth) {
        ("MOVE", _) => Act::Answer(403, "", Vec::new()),
        ("DELETE", 0..3) => Act::Answer(403, "", Vec::new()),
        _ => Act::Usual,
    })
    .await;
    let store = store(&fake.settings());
    let keys: Vec<ObjectKey> = (0..3).map(|_| key()).collect();
    for key in &keys {
        assert!(is_refused(&put(&store, key, sample(10, 1)).await));
    }
    eventually("tried", || fake.asked("DELETE").len() == 3).await;
    assert_eq!(fake.paths().len(), 3);
    let page = store.list(&bucket(), "", None, 10).await.unwrap();
    assert_eq!(page.objects, []);
    let deleted = store.delete(&bucket(), &keys[..1]).await.remove(0);
    deleted.unwrap();
    assert_eq!(reap(&store, Some(&keys[1])).await, 1);
    assert_eq!(fake.paths().len(), 1);
    assert_eq!(reap(&store, None).await, 1);
    assert_eq!(fake.paths(), [""; 0]);
}

#[tokio::test]
async fn odd_buckets_and_keys_are_refused_without_asking() {
    let fake = Fake::start(|_| Act::Usual).await;
    let store = store(&fake.settings());
    for name in ["..", ".", "Files", "a b", "a%2f"] {
        let odd = Bucket::parse(name).unwrap();
        let begun = store.begin(&odd, &key(), WriteHints::default()).await;
        assert!(matches!(begun, Err(StoreError::Refused(_))), "{name}");
        assert!(is_refused(&store.list(&odd, "", None, 10).await));
        assert!(is_refused(&store.delete(&odd, &[key()]).await.remove(0)));
    }
    for foreign in ["../../etc/passwd", "a", "1/2/3"] {
        let foreign = ObjectKey::parse(foreign).unwrap();
        assert!(is_refused(&store.head(&bucket(), &foreign).await));
    }
    assert!(fake.log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_login_is_sent_and_told_to_nobody() {
    let fake = Fake::start(|asked| match asked.fields.get("authorization") {
        Some(field) if field == "Basic dTpjYW5hcnk=" => Act::Usual,
        Some(field) if field == "Bearer canary" => Act::Usual,
        _ => Act::Answer(401, "WWW-Authenticate: Basic\r\n", Vec::new()),
    })
    .await;
    let mut settings = fake.settings();
    assert!(is_refused(&store(&settings).probe().await));
    for login in [
        WebdavLogin::User("u".into(), Secret::new("canary")),
        WebdavLogin::Token(Secret::new("canary")),
    ] {
        settings.login = login;
        assert!(!format!("{settings:?}{:?}", store(&settings)).contains("canary"));
        store(&settings).probe().await.unwrap();
    }
    settings.endpoint = "http://127.0.0.1:9".to_owned();
    let failed = store(&settings).head(&bucket(), &key()).await.unwrap_err();
    assert!(!format!("{failed:?}").contains("canary"));
}
