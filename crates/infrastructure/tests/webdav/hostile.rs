//! Servers that nobody should meet.

use std::time::{Duration, Instant};

use cloakroom_application::{ports::ObjectStore, testkit::objects::sample};
use cloakroom_domain::ByteRange;
use cloakroom_infrastructure::stores::{WriteBudget, guard::Guard, webdav::webdav};

use crate::{
    fake::{Act, Fake, collection, file, multistatus},
    help::*,
    servers::store,
};

const BOMB: &str = r#"<?xml version="1.0"?><!DOCTYPE m [<!ENTITY a "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">
<!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;"><!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;">]>
<D:multistatus xmlns:D="DAV:"><D:response><D:href>&e;&e;&e;</D:href></D:response></D:multistatus>"#;

#[tokio::test]
async fn an_entity_bomb_does_not_go_off() {
    let fake = Fake::start(|_| Act::Answer(207, "", BOMB.into())).await;
    let store = store(&fake.settings());
    assert!(is_broken(&store.head(&bucket(), &key()).await));
    assert!(is_broken(&store.list(&bucket(), "", None, 10).await));
    assert!(is_broken(&store.probe().await));
    let deleted = store.delete(&bucket(), &[key()]).await.remove(0);
    assert!(is_broken(&deleted), "{deleted:?}");
    let written = put(&store, &key(), sample(10, 1)).await;
    assert!(is_broken(&written), "{written:?}");
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let open = r#"<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">"#;
    let fake = Fake::start(move |_| Act::Flood(open, "<D:response></D:response>")).await;
    let store = store(&fake.settings());
    let begun = Instant::now();
    assert!(is_broken(&store.list(&bucket(), "", None, 10).await));
    assert!(is_broken(&store.head(&bucket(), &key()).await));
    assert!(begun.elapsed() < Duration::from_secs(20));
    let sent = *fake.sent.lock().unwrap();
    assert!(sent < 24 * MIB, "{sent} bytes were read");
}

#[tokio::test]
async fn ten_megabytes_of_xml_are_too_much() {
    let fake = Fake::start(|_| {
        let many: String = (0..40_000)
            .map(|n| file(&format!("/files/0a/{n}"), 1))
            .collect();
        Act::Answer(207, "", multistatus(&many).into())
    })
    .await;
    let store = store(&fake.settings());
    let begun = Instant::now();
    let listed = store.list(&bucket(), "", None, 10).await;
    assert!(is_broken(&listed), "{listed:?}");
    assert!(is_broken(&store.head(&bucket(), &key()).await));
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_207_with_every_status_inside_is_no_success() {
    for status in [
        102, 301, 401, 403, 404, 409, 416, 423, 424, 500, 503, 507, 599,
    ] {
        let fake = Fake::start(move |asked| match asked.method.as_str() {
            "MOVE" | "DELETE" | "PUT" | "MKCOL" => {
                let inside = format!(
                    "<D:response><D:href>/x</D:href><D:status>HTTP/1.1 {status} X</D:status></D:response>"
                );
                Act::Answer(207, "", multistatus(&inside).into())
            }
            _ => Act::Usual,
        })
        .await;
        let store = store(&fake.settings());
        let written = put(&store, &key(), sample(10, 1)).await;
        assert!(written.is_err(), "{status}");
        let deleted = store.delete(&bucket(), &[key()]).await.remove(0);
        assert_eq!(deleted.is_ok(), status == 404, "{status}: {deleted:?}");
    }
}

#[tokio::test]
async fn names_in_a_listing_lead_nowhere() {
    let minted = key();
    let leaf = minted.as_str().replace('/', "~");
    let shard = leaf.rsplit('~').next().unwrap()[..2].to_owned();
    let fake = Fake::start(move |asked| {
        if asked.method != "PROPFIND" {
            return Act::Usual;
        }
        let folders = [
            "/files/",
            &format!("/files/{shard}/"),
            "/files/..%2f/",
            "/files/zz/",
        ];
        let files = [
            format!("/files/{shard}/{leaf}"),
            "/files/0a/..%2F..%2Fsecret".to_owned(),
            "http://elsewhere/a~b~c".to_owned(),
            format!("/files/0a/{leaf}%00"),
            format!("/files/0a/7~%E2%80%AE~{}", uuid::Uuid::new_v4()),
        ];
        let told: String = match asked.path.as_str() {
            "/files/" => folders.iter().map(|path| collection(path)).collect(),
            _ => files.iter().map(|path| file(path, 3)).collect(),
        };
        Act::Answer(207, "", multistatus(&told).into())
    })
    .await;
    let store = store(&fake.settings());
    let page = store.list(&bucket(), "", None, 100).await.unwrap();
    let keys: Vec<_> = page.objects.iter().map(|object| &object.key).collect();
    assert_eq!(keys, [&minted]);
    reap(&store, None).await;
    let deleted = fake.asked("DELETE");
    assert!(
        deleted.iter().all(|it| it.path.starts_with("/files/tmp/")),
        "{deleted:?}"
    );
    assert!(
        deleted.iter().all(|it| !it.path.contains("..")),
        "{deleted:?}"
    );
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let elsewhere = Fake::start(|_| Act::Usual).await;
    let target: &'static str = format!("Location: {}/x\r\n", elsewhere.endpoint).leak();
    for status in [301, 302, 303, 307, 308] {
        let fake = Fake::start(move |_| Act::Answer(status, target, Vec::new())).await;
        let store = store(&fake.settings());
        assert!(is_refused(&read(&store, &key(), None).await), "{status}");
        assert!(is_refused(&store.head(&bucket(), &key()).await), "{status}");
        assert!(
            is_refused(&put(&store, &key(), sample(10, 1)).await),
            "{status}"
        );
        assert!(
            is_refused(&put(&store, &key(), sample(2 * MIB, 1)).await),
            "{status}"
        );
        assert!(is_refused(&store.probe().await), "{status}");
    }
    assert!(elsewhere.log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_nobody_asked_for_is_broken() {
    let range = Some(ByteRange { start: 2, end: 6 });
    let answers: [(Option<ByteRange>, u16, &str, &str); 6] = [
        (range, 200, "", "abcd"),
        (range, 206, "Content-Range: bytes 0-3/10\r\n", "abcd"),
        (range, 206, "Content-Range: bytes 2-3/4\r\n", "ab"),
        (range, 206, "", "abcd"),
        (None, 206, "Content-Range: bytes 0-3/10\r\n", "abcd"),
        (None, 207, "", "abcd"),
    ];
    for (range, status, lines, body) in answers {
        let fake = Fake::start(move |_| Act::Answer(status, lines, body.into())).await;
        let got = read(&store(&fake.settings()), &key(), range).await;
        assert!(is_broken(&got), "{status} {lines}: {got:?}");
    }
    let right = "Content-Range: bytes 2-5/10\r\n";
    let fake = Fake::start(move |_| Act::Answer(206, right, b"abcd".to_vec())).await;
    let got = read(&store(&fake.settings()), &key(), range).await;
    assert_eq!(got.unwrap(), b"abcd");
}

#[tokio::test]
async fn a_name_that_leads_to_a_forbidden_address_is_not_connected_to() {
    // This machine's own name for itself serves to show that names are looked at when they are resolved.
    let fake = Fake::start(|_| Act::Usual).await;
    let mut settings = fake.settings();
    settings.endpoint = settings.endpoint.replace("127.0.0.1", "localhost");
    put(&store(&settings), &key(), sample(10, 1)).await.unwrap();
    for endpoint in [
        "http://169.254.169.254",
        "http://[fd00:ec2::254]",
        "http://0xa9fea9fe",
    ] {
        settings.endpoint = endpoint.to_owned();
        let refused = webdav(&settings, Guard::Strict, WriteBudget::default());
        assert!(is_refused(&refused), "{endpoint}");
    }
}
